//! Pods of a rollout that makes progress are not healed, even if they look unhealthy. Pods of a
//! stuck rollout are.

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use prunella_api::UnhealthyTarget;
use prunella_e2e::{PATIENCE, Room, eventually, in_room, instant, uid_of};
use serde_json::{Value, json};

use crate::app::{self, APP, DEPLOYMENT, deploy, manifest, status};

const POLICY: &str = "gauge";
/// Times in a status are whole seconds.
const ROUNDING: SignedDuration = SignedDuration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn nothing_is_done_to_pods_of_a_rollout_that_makes_progress() -> Result<()> {
    in_room("rollout-slow", async |room| {
        deploy(room, APP, 3).await?;
        // Each new pod must be ready before the next one starts.
        let mut next = rolled_out(room, 3)?;
        next["spec"]["minReadySeconds"] = json!(5);
        room.apply(&next).await?;
        let query = format!(r#"sample_app_gauge{{namespace="{}"}} < 1"#, room.name());
        room.apply(&app::policy(room, POLICY, &query)).await?;

        let held = until_held_back(room).await?;
        println!("{} is held back until {:?}", held.name, held.blocked_until);
        let complete = eventually(PATIENCE, "the rollout to be complete", async || {
            let Some(complete) = complete_since(room).await? else { anyhow::bail!("it is not") };
            Ok(complete)
        })
        .await?;
        // The pod was breached the whole time.
        let evicted = first_eviction(room).await?;
        println!("complete at {complete}, evicted at {evicted}");
        ensure!(evicted >= complete, "evicted in the middle of the rollout");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn pods_of_a_rollout_that_is_stuck_are_healed_when_it_has_made_no_progress_for_long() -> Result<()> {
    const WITHIN: SignedDuration = SignedDuration::from_secs(20);
    in_room("rollout-stuck", async |room| {
        let old = deploy(room, APP, 2).await?;
        let policy = app::policy(room, POLICY, &room.gauge_over(5));
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;
        // The new pods are never ready, and their owner gives them 20 s.
        let mut next = rolled_out(room, 2)?;
        next["spec"]["progressDeadlineSeconds"] = json!(WITHIN.as_secs());
        next["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"] = json!("/nowhere");
        let started = Timestamp::now();
        room.apply(&next).await?;
        room.simulate(&old[0], "gauge?value=9").await?;

        let held = until_held_back(room).await?;
        let until = held.blocked_until.context("there is no end")?.0;
        let evicted = first_eviction(room).await?;
        println!("started at {started}, held back until {until}, evicted at {evicted}");
        ensure!(
            evicted >= started + WITHIN - ROUNDING,
            "evicted {:#} after it started",
            evicted.duration_since(started)
        );
        ensure!(evicted >= until - ROUNDING, "evicted before {until}");
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        ensure!(action.spec.target.uid == uid_of(&old[0]), "{:?}", action.spec.target);
        ensure!(complete_since(room).await?.is_none(), "the rollout was not stuck");
        Ok(())
    })
    .await
}

/// The app with another pod template, rolled out one additional pod at a time.
fn rolled_out(room: &Room<'_>, replicas: usize) -> Result<Value> {
    let mut manifest = manifest(room, DEPLOYMENT, APP, replicas)?;
    manifest["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    manifest["spec"]["template"]["metadata"]["annotations"]["version"] = json!("2");
    Ok(manifest)
}

/// Waits until a target is firing, and checks that nothing was done. Returns that target.
async fn until_held_back(room: &Room<'_>) -> Result<UnhealthyTarget> {
    let blocked = room.until_condition(POLICY, "Blocked", "True", "NotHealable").await?;
    ensure!(blocked.message.contains("MidRollout (") && blocked.message.contains("not before "), "{}", blocked.message);
    let status = status(room, POLICY).await?;
    let held = status.unhealthy.into_iter().find(|unhealthy| unhealthy.blocked_by.as_deref() == Some("NotHealable"));
    let held = held.context("no target is held back")?;
    ensure!(held.state == "Firing" && held.blocked_until.is_some(), "{held:?}");
    ensure!(room.healing_writes()?.is_empty(), "{:#?}", room.healing_writes()?);
    Ok(held)
}

async fn first_eviction(room: &Room<'_>) -> Result<Timestamp> {
    eventually(PATIENCE, "an eviction", async || instant(room.healing_writes()?.first().context("there was no write")?))
        .await
}

/// Since when the newest rollout is complete, by the Deployment's status.
async fn complete_since(room: &Room<'_>) -> Result<Option<Timestamp>> {
    let deployment = room.api::<Deployment>().get(APP).await?;
    let status = deployment.status.unwrap_or_default();
    let seen = status.observed_generation == deployment.metadata.generation;
    let progressing = status.conditions.into_iter().flatten().find(|one| one.type_ == "Progressing");
    let complete = progressing.filter(|one| seen && one.reason.as_deref() == Some("NewReplicaSetAvailable"));
    Ok(complete.and_then(|one| one.last_update_time).map(|time| time.0))
}
