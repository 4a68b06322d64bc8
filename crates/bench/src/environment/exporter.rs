//! The faults: one gauge for each Deployment and path. This process serves the gauges, so
//! the start of a fault is known exactly. It also serves the samples of the quiet pods.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use jiff::Timestamp;

use super::workloads::{QUIET, QUIET_PODS, TARGETS};
use crate::path::HealingPath;

/// The gauge of a Deployment that gets faults: 1 during a fault, otherwise 0.
pub(crate) const FAULT: &str = "bench_fault";
/// The gauge of a quiet pod: always 0.
pub(crate) const LOAD: &str = "bench_load";

/// The state of all gauges.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exporter {
    gauges: Arc<Mutex<BTreeMap<(String, HealingPath), Gauge>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Gauge {
    faulty: bool,
    episode: u32,
    /// When the fault was scraped for the first time.
    scraped: Option<Timestamp>,
}

impl Exporter {
    /// Starts a fault of a Deployment for one path. Returns the time.
    pub(crate) fn start_fault(&self, deployment: &str, path: HealingPath) -> Timestamp {
        let mut gauges = self.gauges();
        let gauge = gauges.entry((deployment.to_owned(), path)).or_default();
        *gauge = Gauge { faulty: true, episode: gauge.episode + 1, scraped: None };
        Timestamp::now()
    }

    /// Ends the fault. Returns the time of the first scrape that saw it.
    pub(crate) fn end_fault(&self, deployment: &str, path: HealingPath) -> Option<Timestamp> {
        let mut gauges = self.gauges();
        let gauge = gauges.entry((deployment.to_owned(), path)).or_default();
        gauge.faulty = false;
        gauge.scraped
    }

    /// One page for each Deployment. Prometheus spreads its scrapes over the interval, so
    /// both paths see all offsets between a scrape and an evaluation.
    pub(super) fn routes(&self) -> Router {
        Router::new()
            .route("/fault/{deployment}", get(faults))
            .route("/quiet", get(|| async { quiet() }))
            .with_state(self.clone())
    }

    fn page(&self, deployment: &str) -> String {
        let mut gauges = self.gauges();
        let mut scrape = |path| {
            let gauge = gauges.entry((deployment.to_owned(), path)).or_default();
            if gauge.faulty {
                gauge.scraped.get_or_insert_with(Timestamp::now);
            }
            *gauge
        };
        let (prunella, classic) = (scrape(HealingPath::Prunella), scrape(HealingPath::Classic));
        let labels = format!("namespace=\"{TARGETS}\",deployment=\"{deployment}\"");
        // `episode` makes each fault a new alert. Alertmanager delays an alert of a group
        // that it has notified recently by group_interval, which would be unfair.
        format!(
            "{FAULT}{{path=\"prunella\",{labels}}} {}\n{FAULT}{{path=\"classic\",{labels},episode=\"{}\"}} {}\n",
            u8::from(prunella.faulty),
            classic.episode,
            u8::from(classic.faulty),
        )
    }

    // No code panics under the lock, so the state is consistent even if it is poisoned.
    fn gauges(&self) -> MutexGuard<'_, BTreeMap<(String, HealingPath), Gauge>> {
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn faults(State(exporter): State<Exporter>, Path(deployment): Path<String>) -> String {
    exporter.page(&deployment)
}

fn quiet() -> String {
    (0..QUIET_PODS).fold(String::new(), |mut page, pod| {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "{LOAD}{{namespace=\"{QUIET}\",pod=\"{QUIET}-{pod}\"}} 0");
        page
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_affects_one_path_and_each_fault_is_a_new_alert() {
        let exporter = Exporter::default();
        exporter.start_fault("d0", HealingPath::Classic);
        let page = exporter.page("d0");
        assert!(page.contains("path=\"prunella\",namespace=\"bench\",deployment=\"d0\"} 0"), "{page}");
        assert!(page.contains("episode=\"1\"} 1"), "{page}");
        exporter.end_fault("d0", HealingPath::Classic);
        exporter.start_fault("d0", HealingPath::Classic);
        assert!(exporter.page("d0").contains("episode=\"2\"} 1"));
        assert!(exporter.page("d1").contains("episode=\"0\"} 0"), "other Deployments have no fault");
    }

    #[test]
    fn the_first_scrape_of_a_fault_is_recorded() {
        let exporter = Exporter::default();
        exporter.page("d0");
        let started = exporter.start_fault("d0", HealingPath::Prunella);
        exporter.page("d0");
        let between = Timestamp::now();
        exporter.page("d0");
        let scraped = exporter.end_fault("d0", HealingPath::Prunella).unwrap();
        assert!(started <= scraped && scraped <= between);
    }
}
