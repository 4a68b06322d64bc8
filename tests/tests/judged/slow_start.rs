//! Pods that take long to start, and pods that take long to end.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use prunella_e2e::{PATIENCE, eventually, in_room, name_of, uid_of};
use serde_json::json;

use crate::app::{self, APP, DEPLOYMENT, deploy, done, is_ready, manifest, ready_pods};

const POLICY: &str = "gauge";
/// How long the app takes to start, in seconds. Longer than any time that a policy of these tests
/// gives it.
const START: i64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_slow_starter_is_not_killed() -> Result<()> {
    in_room("slow-start", async |room| {
        let mut slow = manifest(room, DEPLOYMENT, APP, 1)?;
        let container = &mut slow["spec"]["template"]["spec"]["containers"][0];
        container["startupProbe"]["failureThreshold"] = json!(120);
        let env = container["env"].as_array_mut().context("no env")?;
        env.push(json!({"name": "STARTUP_DELAY", "value": format!("{START}s")}));
        room.apply(&slow).await?;
        // The pod is breached from its first sample on.
        let query = format!(r#"sample_app_gauge{{namespace="{}"}} < 1"#, room.name());
        room.apply(&app::policy(room, POLICY, &query)).await?;
        let blocked = room.until_condition(POLICY, "Blocked", "True", "NotHealable").await?;
        ensure!(
            blocked.message.contains("Starting (") && blocked.message.contains("not before "),
            "{}",
            blocked.message
        );
        let first = eventually(PATIENCE, "the pod to be ready", async || {
            let pods = room.api::<Pod>().list(&kube::api::ListParams::default()).await?.items;
            ensure!(pods.len() == 1 && done(room)?.is_empty(), "the pod was removed while it started");
            let pod = pods.into_iter().next().context("no pod")?;
            ensure!(is_ready(&pod), "it is starting");
            Ok(pod)
        })
        .await?;

        // It is evicted when it has been Ready for `for`, and its replacement gets the same time.
        eventually(PATIENCE, "the eviction", async || {
            ensure!(done(room)? == [format!("create pods/eviction {}", name_of(&first))], "{:#?}", done(room)?);
            Ok(())
        })
        .await?;
        let second = ready_pods(room, APP, 1).await?.swap_remove(0);
        ensure!(uid_of(&second) != uid_of(&first), "it was not replaced");
        ensure!(done(room)?.len() == 1, "the replacement was removed while it started: {:#?}", done(room)?);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_pod_that_hangs_while_it_ends_holds_nothing_up_and_is_named() -> Result<()> {
    in_room("hangs", async |room| {
        let pods = deploy(room, APP, 2).await?;
        let hangs = name_of(&pods[0]);
        let finalizer = |all: &str| format!(r#"{{"metadata":{{"finalizers":{all}}}}}"#);
        room.kubectl(&["patch", "pod", &hangs, "--type=merge", "-p", &finalizer(r#"["example.org/wait"]"#)]).await?;
        room.apply(&app::policy(room, POLICY, &room.gauge_over(5))).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(&pods[0], "gauge?value=9").await?;
        let action = room.until_outcome(POLICY, 1, "Succeeded").await;
        let still_there = room.api::<Pod>().get(&hangs).await?;
        room.kubectl(&["patch", "pod", &hangs, "--type=merge", "-p", &finalizer("null")]).await?;
        ensure!(still_there.metadata.deletion_timestamp.is_some(), "it did not hang");
        let action = action?;
        let events = room.events_on(&action.spec.policy.uid).await?;
        ensure!(events.iter().any(|event| event.note.contains("is still terminating until")), "{events:#?}");
        Ok(())
    })
    .await
}
