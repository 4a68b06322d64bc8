//! From fault to write, on both paths by turns: both see the same machine.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::ListParams;
use prunella_api::{HealingAction, HealingPolicy, POLICY_LABEL};
use serde::Serialize;

use crate::console::Console;
use crate::ground::{Ground, PATIENTS, QUIET};
use crate::journal::Journal;
use crate::policies::{self, PATIENT_COUNT, QUIET_INTERVAL};
use crate::prometheus;
use crate::wait::{PATIENCE, eventually};

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Way {
    /// Prometheus' rule, Alertmanager, webhook.
    Classic,
    /// The controller.
    Ours,
}

impl Way {
    /// Both by turns.
    fn of_turn(turn: usize) -> Self {
        if turn.is_multiple_of(2) { Self::Ours } else { Self::Classic }
    }
}

/// A fault that is not answered within this is lost.
const LOST_AFTER: Duration = Duration::from_mins(1);
/// Older than the samples that count at the testbed's scrape interval.
const OLD_ENOUGH: SignedDuration = SignedDuration::from_secs(50);
/// How often scrapes and rules are given other places in their second.
const DRAWS: usize = 5;
/// How long both paths are left alone after that: the controller asks every twenty looks
/// where scrapes are. Outside of a bench they move when a pod does.
const SETTLED_IN: Duration = Duration::from_secs(25);
/// How often the request log is read on.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Both paths at one number of policies, in seconds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Latency {
    pub(crate) policies: usize,
    /// How many faults there are at a time.
    pub(crate) at_once: usize,
    pub(crate) classic: Spread,
    pub(crate) ours: Spread,
}

/// How a number of samples is spread, in seconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Spread {
    pub(crate) samples: usize,
    /// Faults that nobody answered: they are in no percentile.
    pub(crate) lost: usize,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
}

impl Spread {
    /// Of these, by nearest rank: every figure is a sample that was seen.
    fn of(faults: &[Option<f64>]) -> Self {
        let mut seconds: Vec<f64> = faults.iter().copied().flatten().collect();
        seconds.sort_by(f64::total_cmp);
        let samples = seconds.len();
        let rank = |percent: usize| {
            let rank = (samples * percent).div_ceil(100).max(1);
            seconds.get(rank - 1).copied().unwrap_or(f64::NAN)
        };
        Self { samples, lost: faults.len() - samples, p50: rank(50), p90: rank(90), p99: rank(99) }
    }
}

/// Measures at each number of policies; leaves none behind.
///
/// # Errors
/// When a fault is not answered at all.
pub(crate) async fn measure(
    ground: &Ground,
    numbers: &[usize],
    samples: usize,
    console: &Console,
) -> Result<Vec<Latency>> {
    let mut measured = Vec::new();
    let mut quiet = 0;
    policies::create_for_patients(&ground.client).await?;
    for &number in numbers {
        let more = number.saturating_sub(PATIENT_COUNT);
        let controller = ground.controller().await?;
        let before = ground.evaluations(&controller).await?;
        prometheus::configure(ground, more, 0).await?;
        let query = policies::quiet_query;
        policies::create_quiet(&ground.client, quiet..more, QUIET_INTERVAL, query, console).await?;
        ground.until_evaluated(&controller, before, more - quiet).await?;
        quiet = more;
        until_judged(ground).await?;
        until_old(ground).await?;
        console.say(&format!("fault to write with {number} policies: {samples} faults on each path, one at a time"));
        measured.push(told(round(ground, number, 1, samples).await?, console));
        if number == PATIENT_COUNT {
            let samples = samples / 2;
            console.say(&format!("the same with {PATIENT_COUNT} at a time: {samples} faults on each path"));
            measured.push(told(round(ground, number, PATIENT_COUNT, samples).await?, console));
        }
    }
    for namespace in [PATIENTS, QUIET] {
        policies::delete_all(&ground.client, namespace).await?;
    }
    Ok(measured)
}

fn told(latency: Latency, console: &Console) -> Latency {
    let Latency { classic, ours, .. } = &latency;
    console.say(&format!("  p50 {:.2} s, the classic path {:.2} s", ours.p50, classic.p50));
    latency
}

/// A workload that is younger than the samples that count might be taken for an earlier
/// one of its name: the controller does not judge it yet.
async fn until_old(ground: &Ground) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(ground.client.clone(), PATIENTS);
    eventually(PATIENCE, "the patients to be old enough to be judged", async || {
        for patient in api.list(&ListParams::default()).await?.items {
            let created = patient.metadata.creation_timestamp.context("a patient has no creation time")?.0;
            let age = Timestamp::now().duration_since(created);
            ensure!(age > OLD_ENOUGH, "one is {age:#} old");
        }
        Ok(())
    })
    .await
}

async fn until_judged(ground: &Ground) -> Result<()> {
    let api: Api<HealingPolicy> = Api::namespaced(ground.client.clone(), PATIENTS);
    eventually(PATIENCE, "the patients' policies to be judged", async || {
        for policy in api.list(&ListParams::default()).await?.items {
            let conditions = policy.status.unwrap_or_default().conditions;
            let observed = conditions.iter().find(|one| one.type_ == "Observed").context("not looked at yet")?;
            ensure!(observed.status == "True", "{}: {}", observed.reason, observed.message);
        }
        Ok(())
    })
    .await
}

/// Every patient falls sick for one path and for the other by turns, one patient after
/// another or all at once: so both paths meet the same load. Now and then scrapes and rules
/// are given other places in their second: what is between them and the looks of a policy
/// stays the same else, and ten of these are few.
async fn round(ground: &Ground, policies: usize, at_once: usize, samples: usize) -> Result<Latency> {
    let journal = Journal::open(&ground.testbed)?;
    let each = samples.div_ceil(PATIENT_COUNT * DRAWS);
    let names: Vec<String> = policies::patients().collect();
    let mut all = Vec::new();
    for draw in 1..=DRAWS {
        prometheus::configure(ground, policies.saturating_sub(PATIENT_COUNT), draw).await?;
        tokio::time::sleep(SETTLED_IN).await;
        if at_once == 1 {
            for turn in 0..2 * each {
                for (number, name) in names.iter().enumerate() {
                    all.push(sample(ground, &journal, name, Way::of_turn(turn + number)).await?);
                }
            }
        } else {
            let drawn = try_join_all(names.iter().enumerate().map(|(number, name)| {
                let journal = &journal;
                async move {
                    let mut drawn = Vec::new();
                    for turn in 0..2 * each {
                        drawn.push(sample(ground, journal, name, Way::of_turn(turn + number)).await?);
                    }
                    anyhow::Ok(drawn)
                }
            }));
            all.extend(drawn.await?.into_iter().flatten());
        }
    }
    let of = |way| all.iter().filter(|(by, _)| *by == way).map(|(_, seconds)| *seconds).collect::<Vec<_>>();
    let (classic, ours) = (Spread::of(&of(Way::Classic)), Spread::of(&of(Way::Ours)));
    Ok(Latency { policies, at_once, classic, ours })
}

/// One fault of a patient that is well, at any time of its second.
async fn sample(ground: &Ground, journal: &Journal, name: &str, way: Way) -> Result<(Way, Option<f64>)> {
    until_well(ground, name).await?;
    // Getting well ends with a look of the controller: without this every fault would begin
    // at the same point of its interval.
    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..1000))).await;
    Ok((way, fault(ground, journal, name, way).await))
}

/// One fault; seconds until the API server had taken the patch, if that came at all.
async fn fault(ground: &Ground, journal: &Journal, name: &str, way: Way) -> Option<f64> {
    let begun = ground.exporter.break_it(name, way);
    let taken = loop {
        if let Some(taken) = journal.restarted(name, way, begun) {
            break Some(taken);
        }
        if Timestamp::now().duration_since(begun).unsigned_abs() > LOST_AFTER {
            lost(ground, name, way).await;
            break None;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    ground.exporter.mend(name, way);
    Some(taken?.duration_since(begun).as_secs_f64())
}

/// Tells of a fault that was not answered, and what the policy says of it.
async fn lost(ground: &Ground, name: &str, way: Way) {
    eprintln!("bench: {name} was not restarted by {way:?} within {LOST_AFTER:?}");
    let api: Api<HealingPolicy> = Api::namespaced(ground.client.clone(), PATIENTS);
    let status = api.get(name).await.ok().and_then(|policy| policy.status).unwrap_or_default();
    for one in status.conditions {
        eprintln!("bench:   {}={} {}: {}", one.type_, one.status, one.reason, one.message);
    }
}

/// Waits until a patient is whole again and no action on it is under way: what comes of the
/// one path's restart must not hold the other one back.
async fn until_well(ground: &Ground, name: &str) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(ground.client.clone(), PATIENTS);
    let actions: Api<HealingAction> = Api::namespaced(ground.client.clone(), PATIENTS);
    let own = ListParams::default().labels(&format!("{POLICY_LABEL}={name}"));
    eventually(PATIENCE, &format!("{name} to be well"), async || {
        let deployment = deployments.get(name).await?;
        let status = deployment.status.unwrap_or_default();
        let complete = status
            .conditions
            .iter()
            .flatten()
            .any(|one| one.type_ == "Progressing" && one.reason.as_deref() == Some("NewReplicaSetAvailable"));
        let seen = status.observed_generation == deployment.metadata.generation;
        let whole = status.replicas == Some(1) && status.ready_replicas == Some(1);
        ensure!(complete && seen && whole, "its rollout is under way");
        for action in actions.list(&own).await?.items {
            let over = action.status.is_some_and(|status| status.outcome.is_some());
            ensure!(over, "an action on it is under way");
        }
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_percentile_is_a_sample_that_was_seen() {
        for (samples, expected) in [
            (vec![Some(3.0), Some(1.0), Some(2.0)], [2.0, 3.0, 3.0]),
            ((1..=100).map(|one| Some(f64::from(one))).collect(), [50.0, 90.0, 99.0]),
            (vec![Some(7.0), None], [7.0; 3]),
        ] {
            let Spread { p50, p90, p99, lost, .. } = Spread::of(&samples);
            assert_eq!(lost, samples.iter().filter(|one| one.is_none()).count());
            assert!([p50, p90, p99].iter().zip(expected).all(|(is, told)| (is - told).abs() < 1e-9));
        }
    }
}
