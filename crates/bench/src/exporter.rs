//! The faults: a gauge for each Deployment and path, served by this very process, so
//! that the instant at which something falls sick is known exactly. And the samples of
//! those that never do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use jiff::Timestamp;

use crate::ground::{PATIENTS, QUIET};
use crate::latency::Way;

/// The gauge of the sick, 1 while it is.
pub(crate) const FAULT: &str = "bench_fault";
/// The gauge of those that are never sick, always 0.
pub(crate) const LOAD: &str = "bench_load";
/// How many pods the quiet policies choose.
pub(crate) const QUIET_PODS: usize = 3;

/// Who is sick.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exporter {
    gauges: Arc<Mutex<BTreeMap<(String, Way), Gauge>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Gauge {
    sick: bool,
    episode: u32,
}

impl Exporter {
    /// From now on a Deployment is sick for one of the two paths; tells when that was.
    pub(crate) fn break_it(&self, deployment: &str, way: Way) -> Timestamp {
        let mut gauges = self.gauges();
        let gauge = gauges.entry((deployment.to_owned(), way)).or_default();
        gauge.episode += 1;
        gauge.sick = true;
        Timestamp::now()
    }

    /// It is well again.
    pub(crate) fn mend(&self, deployment: &str, way: Way) {
        self.gauges().entry((deployment.to_owned(), way)).or_default().sick = false;
    }

    /// One page for each Deployment: Prometheus spreads its targets over the interval,
    /// so both paths see every offset between a scrape and what follows it.
    pub(crate) fn routes(&self) -> Router {
        Router::new()
            .route("/fault/{deployment}", get(faults))
            .route("/quiet", get(|| async { quiet() }))
            .with_state(self.clone())
    }

    fn page(&self, deployment: &str) -> String {
        let gauges = self.gauges();
        let of = |way| gauges.get(&(deployment.to_owned(), way)).copied().unwrap_or_default();
        let (ours, classic) = (of(Way::Ours), of(Way::Classic));
        let labels = format!("namespace=\"{PATIENTS}\",deployment=\"{deployment}\"");
        // Each fault is another alert to Alertmanager: one of a group that it has seen
        // lately would wait for group_interval, which would be unjust.
        format!(
            "{FAULT}{{way=\"ours\",{labels}}} {}\n{FAULT}{{way=\"classic\",{labels},episode=\"{}\"}} {}\n",
            u8::from(ours.sick),
            classic.episode,
            u8::from(classic.sick),
        )
    }

    // Nothing can be half done under the lock.
    fn gauges(&self) -> MutexGuard<'_, BTreeMap<(String, Way), Gauge>> {
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
    fn one_path_is_sick_without_the_other_and_each_fault_is_another_alert() {
        let exporter = Exporter::default();
        exporter.break_it("d0", Way::Classic);
        let page = exporter.page("d0");
        assert!(page.contains("way=\"ours\",namespace=\"bench\",deployment=\"d0\"} 0"), "{page}");
        assert!(page.contains("episode=\"1\"} 1"), "{page}");
        exporter.mend("d0", Way::Classic);
        exporter.break_it("d0", Way::Classic);
        assert!(exporter.page("d0").contains("episode=\"2\"} 1"));
        assert!(exporter.page("d1").contains("episode=\"0\"} 0"), "nobody else is sick");
    }
}
