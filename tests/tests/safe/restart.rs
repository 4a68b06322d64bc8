//! A controller is killed while a target is pending. The next one continues to count the time of
//! the breach, but does not count times without observations.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use prunella_e2e::{NAMESPACE, PATIENCE, Room, alone, eventually, instant, name_of, uid_of};
use serde_json::json;
use testbed::Fault;

const POLICY: &str = "gauge";
const CONTROLLER: &str = "app.kubernetes.io/component=controller";
/// A longer time without samples never counts as breached: samples are not older.
const LOOKBACK: SignedDuration = SignedDuration::from_secs(45);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_restarted_controller_continues_to_count_where_the_killed_one_stopped() -> Result<()> {
    let (breach_for, interval) = (SignedDuration::from_secs(20), SignedDuration::from_secs(2));
    alone("restart", async |room| {
        let (unhealthy, visible) = pending(room, breach_for, interval).await?;
        until(visible + breach_for * 4 / 5).await;
        let killed = Timestamp::now();
        kill(room).await?;
        let evicted = until_evicted(room, &unhealthy).await?;
        let limit = breach_for + interval * 2 + SignedDuration::from_secs(1);
        let (after, dead) = (evicted.duration_since(visible), killed.duration_since(visible));
        println!("killed {dead:#.1} and evicted {after:#.1} after the breach became visible; limit {limit:#}");
        ensure!(after >= breach_for - interval, "evicted too early, after {after:#}");
        ensure!(after <= limit, "{after:#} is later than {limit:#}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn an_outage_during_the_restart_does_not_count() -> Result<()> {
    let (breach_for, interval) = (SignedDuration::from_secs(20), SignedDuration::from_secs(2));
    alone("restart-outage", async |room| {
        let (unhealthy, visible) = pending(room, breach_for, interval).await?;
        until(visible + breach_for * 4 / 5).await;
        let testbed = room.ground.testbed;
        testbed.fault("prometheus", Fault::Kill).await?;
        let silent = Timestamp::now();
        let killed = kill(room).await;
        if killed.is_ok() {
            until(silent + LOOKBACK + SignedDuration::from_secs(5)).await;
        }
        let early = room.healing_writes();
        let back = Timestamp::now();
        testbed.start("prometheus").await?;
        killed?;
        ensure!(early?.is_empty(), "a pod was evicted while there were no observations");
        let evicted = until_evicted(room, &unhealthy).await?;
        let (after, silence) = (evicted.duration_since(back), back.duration_since(silent));
        println!("evicted {after:#.1} after an outage of {silence:#.1} had ended; for {breach_for:#}");
        ensure!(after >= breach_for, "evicted {after:#} after the outage had ended, which is less than {breach_for:#}");
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        let since = action.spec.evidence.since.0;
        // The record has whole seconds.
        ensure!(since + SignedDuration::from_secs(1) >= back, "unhealthy since {since}, which is before {back}");
        Ok(())
    })
    .await
}

/// A pod that is pending, and the last time at which Prometheus did not show its breach.
async fn pending(room: &Room<'_>, breach_for: SignedDuration, interval: SignedDuration) -> Result<(Pod, Timestamp)> {
    let unhealthy = room.deploy(2).await?.swap_remove(0);
    let query = room.gauge_over(5);
    let mut policy = room.policy(POLICY, &query);
    policy["spec"]["interval"] = json!(format!("{}s", interval.as_secs()));
    policy["spec"]["condition"]["for"] = json!(format!("{}s", breach_for.as_secs()));
    room.apply(&policy).await?;
    room.until_evaluated(POLICY).await?;
    room.simulate(&unhealthy, "gauge?value=9").await?;
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
        let found: Vec<_> = status.unhealthy.iter().map(|one| (one.uid.clone(), one.state.as_str())).collect();
        ensure!(found == [(uid_of(&unhealthy), "Pending")], "{found:?}");
        Ok(())
    })
    .await?;
    Ok((unhealthy, unseen))
}

async fn until(time: Timestamp) {
    let left = Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
    tokio::time::sleep(left).await;
}

/// Kills the controller's pod at once, without a grace period.
async fn kill(room: &Room<'_>) -> Result<()> {
    let pods = ["delete", "pods", "--selector", CONTROLLER, "--namespace", NAMESPACE, "--grace-period=0", "--force"];
    room.ground.testbed.kubectl(&pods).await.map(drop)
}

async fn until_evicted(room: &Room<'_>, unhealthy: &Pod) -> Result<Timestamp> {
    eventually(PATIENCE, "the unhealthy pod to be evicted", async || {
        let writes = room.healing_writes()?;
        let eviction = writes.first().context("nothing was written")?;
        ensure!(eviction.object_ref.name == name_of(unhealthy), "{eviction:#?}");
        instant(eviction)
    })
    .await
}
