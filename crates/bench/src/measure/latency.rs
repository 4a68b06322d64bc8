//! The time from a fault to the write, on both paths in turns, so that both run on the same
//! machine under the same conditions.

mod ready;
mod spread;

use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use jiff::Timestamp;
use kube::Api;
use prunella_api::HealingPolicy;
use serde::{Deserialize, Serialize};

pub(crate) use self::spread::Spread;
use super::timeline::{FaultTimeline, Observed};
use crate::console::Console;
use crate::environment::Environment;
use crate::environment::policies::{self, QUIET_INTERVAL};
use crate::environment::query_log::QueryLog;
use crate::environment::request_log::{self, RequestLog};
use crate::environment::workloads::{self, QUIET, TARGET_COUNT, TARGETS};
use crate::path::HealingPath;

/// A fault without a write after this time is lost.
const LOST_AFTER: Duration = Duration::from_mins(1);
/// How often scrapes and rules get other offsets. One set of offsets would favour one path:
/// the offset between a scrape and an evaluation stays the same otherwise.
const OFFSET_SETS: usize = 5;
/// The time between new offsets and the first fault. The controller learns the offset of
/// scrapes every 20 evaluations. In a cluster, offsets change only when a pod changes.
const SETTLE_TIME: Duration = Duration::from_secs(25);
/// How often the request log is read.
const POLL: Duration = Duration::from_millis(20);

/// Both paths at one number of policies.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Latency {
    pub(crate) policies: usize,
    /// How many faults there are at the same time.
    pub(crate) at_once: usize,
    pub(crate) classic: Spread,
    #[serde(rename = "ours")]
    pub(crate) prunella: Spread,
}

/// What [`measure`] found.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) rounds: Vec<Latency>,
    /// The timelines of the faults at the same time, if they were asked for.
    pub(crate) timelines: Vec<FaultTimeline>,
}

/// Measures at each number of policies. Deletes all policies afterwards. `timeline` turns on
/// Prometheus' query log for the round with several faults at the same time.
///
/// # Errors
/// A server does not answer, or a target does not become healthy again.
pub(crate) async fn measure(
    environment: &Environment,
    numbers: &[usize],
    samples: usize,
    timeline: bool,
    console: &Console,
) -> Result<Measured> {
    let mut measured = Measured::default();
    let mut quiet = 0;
    policies::create_for_targets(&environment.client).await?;
    for &number in numbers {
        let more = number.saturating_sub(TARGET_COUNT);
        let controller = environment.controller().await?;
        let before = environment.evaluations(&controller).await?;
        environment.prometheus.configure(more, 0).await?;
        let query = policies::quiet_query;
        policies::create_quiet(&environment.client, quiet..more, QUIET_INTERVAL, query, console).await?;
        environment.until_evaluated(&controller, before, more - quiet).await?;
        quiet = more;
        ready::until_observed(environment).await?;
        ready::until_old_enough(environment).await?;
        console.print(&format!("{number} policies: {samples} faults on each path, one at a time"));
        let faults = round(environment, number, 1, samples).await?;
        measured.rounds.push(summary(number, 1, &faults, console));
        if number == TARGET_COUNT {
            let samples = samples / 2;
            console.print(&format!("{number} policies: {samples} faults on each path, {TARGET_COUNT} at a time"));
            let log = if timeline {
                Some(QueryLog::start(&environment.testbed, &environment.prometheus).await?)
            } else {
                None
            };
            let started = Timestamp::now();
            let faults = round(environment, number, TARGET_COUNT, samples).await?;
            measured.rounds.push(summary(number, TARGET_COUNT, &faults, console));
            if let Some(log) = log {
                measured.timelines = timelines(environment, log, started, &faults).await?;
            }
        }
    }
    for namespace in [TARGETS, QUIET] {
        policies::delete_all(&environment.client, namespace).await?;
    }
    Ok(measured)
}

fn summary(policies: usize, at_once: usize, faults: &[Observed], console: &Console) -> Latency {
    let seconds = |path| {
        let of_path = faults.iter().filter(move |one| one.path == path);
        of_path.map(Observed::seconds).collect::<Vec<_>>()
    };
    let (classic, prunella) = (Spread::of(&seconds(HealingPath::Classic)), Spread::of(&seconds(HealingPath::Prunella)));
    console.print(&format!("  p50: {:.2} s; the classic path: {:.2} s", prunella.p50, classic.p50));
    Latency { policies, at_once, classic, prunella }
}

/// The timelines of faults, from all logs.
async fn timelines(
    environment: &Environment,
    log: QueryLog,
    started: Timestamp,
    faults: &[Observed],
) -> Result<Vec<FaultTimeline>> {
    let names: Vec<String> = workloads::targets().collect();
    let queries: Vec<String> = names.iter().map(|name| policies::target_query(name)).collect();
    let evaluations = log.stop(&environment.prometheus, &queries).await?;
    let records = request_log::records(&environment.testbed, started, Timestamp::now())?;
    let timeline = |fault: &Observed| match fault.path {
        HealingPath::Classic => {
            let delivery = environment.webhook.first_delivery(&fault.deployment, fault.started);
            FaultTimeline::classic(fault, delivery.as_ref())
        }
        HealingPath::Prunella => {
            let own = names.iter().position(|name| *name == fault.deployment);
            let own = own.and_then(|number| evaluations.get(number)).map_or(&[][..], Vec::as_slice);
            FaultTimeline::prunella(fault, own, &records)
        }
    };
    Ok(faults.iter().map(timeline).collect())
}

/// Every target gets faults for both paths in turns, one target after another or all
/// targets at the same time. So both paths have the same load.
async fn round(environment: &Environment, policies: usize, at_once: usize, samples: usize) -> Result<Vec<Observed>> {
    let log = RequestLog::open(&environment.testbed)?;
    let each = samples.div_ceil(TARGET_COUNT * OFFSET_SETS);
    let names: Vec<String> = workloads::targets().collect();
    let mut all = Vec::new();
    for offsets in 1..=OFFSET_SETS {
        environment.prometheus.configure(policies.saturating_sub(TARGET_COUNT), offsets).await?;
        tokio::time::sleep(SETTLE_TIME).await;
        if at_once == 1 {
            for turn in 0..2 * each {
                for (number, name) in names.iter().enumerate() {
                    all.push(sample(environment, &log, name, HealingPath::of_turn(turn + number)).await?);
                }
            }
        } else {
            let samples = try_join_all(names.iter().enumerate().map(|(number, name)| {
                let log = &log;
                async move {
                    let mut samples = Vec::new();
                    for turn in 0..2 * each {
                        samples.push(sample(environment, log, name, HealingPath::of_turn(turn + number)).await?);
                    }
                    anyhow::Ok(samples)
                }
            }));
            all.extend(samples.await?.into_iter().flatten());
        }
    }
    Ok(all)
}

/// One fault of a healthy target, at a random time within a second.
async fn sample(environment: &Environment, log: &RequestLog, name: &str, path: HealingPath) -> Result<Observed> {
    ready::until_healthy(environment, name).await?;
    // The wait above ends with an evaluation. Without a random delay, every fault would
    // start at the same point of the policy's interval.
    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..1000))).await;
    Ok(fault(environment, log, name, path).await)
}

/// One fault: from its start until the API server has accepted the write.
async fn fault(environment: &Environment, log: &RequestLog, name: &str, path: HealingPath) -> Observed {
    let started = environment.exporter.start_fault(name, path);
    let restart = loop {
        if let Some(restart) = log.first_restart(name, path, started) {
            break Some(restart);
        }
        if Timestamp::now().duration_since(started).unsigned_abs() > LOST_AFTER {
            report_lost(environment, name, path).await;
            break None;
        }
        tokio::time::sleep(POLL).await;
    };
    let scraped = environment.exporter.end_fault(name, path);
    Observed { deployment: name.to_owned(), path, started, scraped, restart }
}

/// Prints the policy's status for a fault without a write.
async fn report_lost(environment: &Environment, name: &str, path: HealingPath) {
    let (seconds, path) = (LOST_AFTER.as_secs(), path.as_str());
    eprintln!("bench: the {path} path did not restart {name} within {seconds} s; the policy's status:");
    let api: Api<HealingPolicy> = Api::namespaced(environment.client.clone(), TARGETS);
    let status = api.get(name).await.ok().and_then(|policy| policy.status).unwrap_or_default();
    for one in status.conditions {
        eprintln!("bench:   {}={} {}: {}", one.type_, one.status, one.reason, one.message);
    }
}

impl Observed {
    /// Seconds from the fault to the accepted write. `None` if the fault is lost.
    fn seconds(&self) -> Option<f64> {
        Some(self.restart.as_ref()?.accepted.duration_since(self.started).as_secs_f64())
    }
}
