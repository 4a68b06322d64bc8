//! The usual alert for crash loops: its metric has series only while a container waits. So a
//! healthy pod has none, and neither has the pod that replaces one in a crash loop.

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{PATIENCE, eventually, in_room, name_of};
use serde_json::json;

const POLICY: &str = "crash-loop";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_heal_of_a_crash_loop_by_its_reason_ends_as_succeeded() -> Result<()> {
    in_room("crash-loop", async |room| {
        let pods = room.deploy(1).await?;
        let looping = pods.first().context("no pod")?;
        let query = format!(
            r#"max_over_time(kube_pod_container_status_waiting_reason{{namespace="{}", reason="CrashLoopBackOff"}}[30s]) >= 1"#,
            room.name()
        );
        let mut policy = room.policy(POLICY, &query);
        policy["spec"]["condition"]["clearFor"] = json!("10s");
        room.apply(&policy).await?;
        // All is well: the metric has no series, and that is no mistake in the query.
        room.until_condition(POLICY, "Observed", "True", "Answered").await?;
        room.until_condition(POLICY, "Healthy", "True", "AllTargetsHealthy").await?;

        eventually(PATIENCE, "an action on the crash loop", async || {
            // Refused while the container waits.
            let _ = room.simulate(looping, "crash").await;
            ensure!(!room.actions(POLICY).await?.is_empty(), "no action yet");
            Ok(())
        })
        .await?;
        let healed = room.until_outcome(POLICY, 1, "Succeeded").await?;
        ensure!(healed.spec.target.name == name_of(looping), "{}", healed.spec.target.name);
        room.until_condition(POLICY, "Healthy", "True", "AllTargetsHealthy").await.map(drop)
    })
    .await
}
