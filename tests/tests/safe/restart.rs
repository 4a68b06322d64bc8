//! A controller that is killed while a breach is being waited out: its successor goes on
//! counting where it stopped, and counts nothing that nobody can have seen.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use prunella_e2e::{NAMESPACE, PATIENCE, Room, alone, eventually, instant, name_of, uid_of};
use serde_json::json;
use testbed::Fault;

const POLICY: &str = "gauge";
const CONTROLLER: &str = "app.kubernetes.io/component=controller";
/// Silence that is longer than this is never breach time: no sample is older.
const LOOKBACK: SignedDuration = SignedDuration::from_secs(45);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_successor_goes_on_counting_where_the_killed_one_stopped() -> Result<()> {
    let (breach_for, interval) = (SignedDuration::from_secs(20), SignedDuration::from_secs(2));
    alone("restart", async |room| {
        let (sick, visible) = pending(room, breach_for, interval).await?;
        until(visible + breach_for * 4 / 5).await;
        let killed = Timestamp::now();
        kill(room).await?;
        let evicted = until_evicted(room, &sick).await?;
        let bound = breach_for + interval * 2 + SignedDuration::from_secs(1);
        let (after, dead) = (evicted.duration_since(visible), killed.duration_since(visible));
        println!("killed {dead:#.1} and evicted {after:#.1} after the breach became visible; bound {bound:#}");
        ensure!(after >= breach_for - interval, "{after:#} is early");
        ensure!(after <= bound, "{after:#} is later than {bound:#}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn an_outage_inside_counts_for_nothing() -> Result<()> {
    let (breach_for, interval) = (SignedDuration::from_secs(20), SignedDuration::from_secs(2));
    alone("restart-outage", async |room| {
        let (sick, visible) = pending(room, breach_for, interval).await?;
        until(visible + breach_for * 4 / 5).await;
        let testbed = room.ground.testbed;
        testbed.fault("prometheus", Fault::Kill).await?;
        let silent = Timestamp::now();
        let killed = kill(room).await;
        if killed.is_ok() {
            until(silent + LOOKBACK + SignedDuration::from_secs(5)).await;
        }
        let early = room.healing_writes();
        let begun = Timestamp::now();
        testbed.start("prometheus").await?;
        killed?;
        ensure!(early?.is_empty(), "something was evicted while nobody could look");
        let evicted = until_evicted(room, &sick).await?;
        let (after, silence) = (evicted.duration_since(begun), begun.duration_since(silent));
        println!("evicted {after:#.1} after an outage of {silence:#.1} had ended; for {breach_for:#}");
        ensure!(after >= breach_for, "evicted {after:#} after the outage had ended: the breach was not seen for long");
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        let since = action.spec.evidence.since.0;
        // Kept in whole seconds.
        ensure!(since + SignedDuration::from_secs(1) >= begun, "sick since {since}, which is before {begun}");
        Ok(())
    })
    .await
}

/// A pod that is breached and known to be, and when Prometheus did not show it yet.
async fn pending(room: &Room<'_>, breach_for: SignedDuration, interval: SignedDuration) -> Result<(Pod, Timestamp)> {
    let sick = room.deploy(2).await?.swap_remove(0);
    let query = room.gauge_over(5);
    let mut policy = room.policy(POLICY, &query);
    policy["spec"]["interval"] = json!(format!("{}s", interval.as_secs()));
    policy["spec"]["condition"]["for"] = json!(format!("{}s", breach_for.as_secs()));
    room.apply(&policy).await?;
    room.until_judged(POLICY).await?;
    room.simulate(&sick, "gauge?value=9").await?;
    let mut unseen = Timestamp::now();
    eventually(PATIENCE, "the breach in Prometheus", async || {
        let asked = Timestamp::now();
        if room.ground.ask(&query).await?.is_empty() {
            unseen = asked;
            anyhow::bail!("no series");
        }
        Ok(())
    })
    .await?;
    eventually(PATIENCE, "the breach in the status", async || {
        let status = room.policy_now(POLICY).await?.status.unwrap_or_default();
        let found: Vec<_> = status.sick.iter().map(|one| (one.uid.clone(), one.state.as_str())).collect();
        ensure!(found == [(uid_of(&sick), "Pending")], "{found:?}");
        Ok(())
    })
    .await?;
    Ok((sick, unseen))
}

async fn until(time: Timestamp) {
    let left = Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
    tokio::time::sleep(left).await;
}

/// At once, and without a chance to tidy up.
async fn kill(room: &Room<'_>) -> Result<()> {
    let pods = ["delete", "pods", "--selector", CONTROLLER, "--namespace", NAMESPACE, "--grace-period=0", "--force"];
    room.ground.testbed.kubectl(&pods).await.map(drop)
}

async fn until_evicted(room: &Room<'_>, sick: &Pod) -> Result<Timestamp> {
    eventually(PATIENCE, "the sick pod to be evicted", async || {
        let writes = room.healing_writes()?;
        let eviction = writes.first().context("nothing was written")?;
        ensure!(eviction.object_ref.name == name_of(sick), "{eviction:#?}");
        instant(eviction)
    })
    .await
}
