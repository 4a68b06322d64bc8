//! The availability floor: over all policies together, enough pods of a workload stay Ready.

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use prunella_api::HealingAction;
use prunella_e2e::{PATIENCE, Room, eventually, in_room, instant, state, uid_of, what};
use serde_json::json;

use crate::app::{self, APP, deploy, is_ready, ready_pods};

const POLICIES: [&str; 3] = ["first", "second", "third"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn three_policies_that_see_the_same_fault_evict_one_pod_at_a_time() -> Result<()> {
    in_room("floor", async |room| {
        let pods = deploy(room, APP, 3).await?;
        for name in POLICIES {
            // Each may act on all three at once. Only the floor, 75 % by default, is in the way.
            let mut policy = app::policy(room, name, &room.gauge_over(5));
            policy["spec"]["limits"]["maxConcurrent"] = json!(3);
            room.apply(&policy).await?;
        }
        for name in POLICIES {
            room.until_evaluated(name).await?;
        }
        for pod in &pods {
            room.simulate(pod, "gauge?value=9").await?;
        }

        let succeeded = eventually(PATIENCE, "all three pods to be healed", async || {
            let succeeded = succeeded(room).await?;
            ensure!(succeeded.len() == 3, "{} actions have succeeded", succeeded.len());
            Ok(succeeded)
        })
        .await?;
        let mut healed: Vec<_> = succeeded.iter().map(|action| action.spec.target.uid.clone()).collect();
        let mut unhealthy: Vec<_> = pods.iter().map(uid_of).collect();
        healed.sort_unstable();
        unhealthy.sort_unstable();
        ensure!(healed == unhealthy, "healed {healed:?}, unhealthy were {unhealthy:?}");

        let mut evicted = succeeded.iter().map(|action| evicted_at(room, action)).collect::<Result<Vec<_>>>()?;
        let mut replaced = ready_pods(room, APP, 3).await?.iter().map(ready_since).collect::<Result<Vec<_>>>()?;
        evicted.sort_unstable();
        replaced.sort_unstable();
        println!("evicted {evicted:?}, replacements Ready {replaced:?}");
        for (ready, next) in replaced.iter().zip(evicted.iter().skip(1)) {
            ensure!(ready <= next, "fewer than two other pods were Ready at {next}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn the_last_ready_pod_is_not_evicted_and_the_policy_says_why() -> Result<()> {
    in_room("last-ready", async |room| {
        let pods = deploy(room, APP, 2).await?;
        room.simulate(&pods[1], "not-ready").await?;
        eventually(PATIENCE, "one pod to be not ready", async || {
            let ready = ready(room).await?;
            ensure!(ready == 1, "{ready} are ready");
            Ok(())
        })
        .await?;
        room.apply(&app::policy(room, "gauge", &room.gauge_over(5))).await?;
        room.until_evaluated("gauge").await?;
        room.simulate(&pods[0], "gauge?value=9").await?;

        let condition = room.until_condition("gauge", "Blocked", "True", "TooFewAvailable").await?;
        println!("{}", condition.message);
        ensure!(condition.message.contains("Ready"), "{}", condition.message);
        app::nothing_more(room, 0).await
    })
    .await
}

async fn succeeded(room: &Room<'_>) -> Result<Vec<HealingAction>> {
    let mut succeeded = Vec::new();
    for name in POLICIES {
        succeeded.extend(room.actions(name).await?.into_iter().filter(|action| state(action) == "Succeeded"));
    }
    Ok(succeeded)
}

fn evicted_at(room: &Room<'_>, action: &HealingAction) -> Result<Timestamp> {
    let eviction = format!("create pods/eviction {}", action.spec.target.name);
    let request = room.healing_writes()?.into_iter().find(|write| what(write) == eviction);
    instant(&request.context("not evicted")?)
}

/// In whole seconds, rounded down.
fn ready_since(pod: &Pod) -> Result<Timestamp> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|one| one.type_ == "Ready").context("no condition Ready")?;
    Ok(ready.last_transition_time.as_ref().context("never Ready")?.0)
}

async fn ready(room: &Room<'_>) -> Result<usize> {
    let pods = room.api::<Pod>().list(&ListParams::default()).await?.items;
    Ok(pods.iter().filter(|pod| is_ready(pod)).count())
}
