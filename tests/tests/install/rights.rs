//! An action without its right ends at once and says what is missing and how to fix it. The
//! next step, which has its right, still runs.

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{CONTROLLER, PATIENCE, alone, eventually, uid_of};
use serde_json::json;

const POLICY: &str = "gauge";
const BINDING: &str = "prunella-restart";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn what_may_not_be_done_ends_with_what_is_missing_and_the_next_step_is_taken() -> Result<()> {
    alone("rights", async |room| {
        let testbed = room.ground.testbed;
        let pods = room.deploy(2).await?;
        let unhealthy = pods.first().context("no pod")?;
        testbed.kubectl(&["delete", "clusterrolebinding", BINDING]).await?;
        let outcome = async {
            let can = ["auth", "can-i", "patch", "deployments.apps", "--all-namespaces", "--as", CONTROLLER];
            eventually(PATIENCE, "the API server to apply the change", async || {
                ensure!(testbed.kubectl(&can).await.is_err(), "the controller still has the right");
                Ok(())
            })
            .await?;
            let mut policy = room.policy(POLICY, &room.gauge_over(5));
            policy["spec"]["steps"] = json!([
                {"name": "restart", "action": {"rolloutRestart": {}}, "verify": {"within": "2m"}},
                {"name": "evict-pod", "action": {"deletePod": {}}, "verify": {"within": "2m"}},
            ]);
            room.apply(&policy).await?;
            room.until_evaluated(POLICY).await?;
            room.simulate(unhealthy, "gauge?value=10").await?;

            let failed = room.until_outcome(POLICY, 1, "Failed").await?;
            let status = failed.status.context("no status")?;
            ensure!(status.outcome_reason.as_deref() == Some("Forbidden"), "{:?}", status.outcome_reason);
            let message = status.message.unwrap_or_default();
            println!("{message}");
            for words in ["forbids `patch deployments`", "cannot patch resource", "deploy/kustomize/actions"] {
                ensure!(message.contains(words), "{words} is missing: {message}");
            }
            let healed = room.until_outcome(POLICY, 2, "Succeeded").await?;
            ensure!(
                healed.spec.action_name == "DeletePod" && healed.spec.target.uid == uid_of(unhealthy),
                "{healed:#?}"
            );

            let writes = room.healing_writes()?;
            let restarts: Vec<_> = writes.iter().filter(|event| event.object_ref.resource == "deployments").collect();
            ensure!(restarts.len() == 1 && restarts.iter().all(|one| one.response_status.code == 403), "{restarts:#?}");
            Ok(())
        }
        .await;
        // The right comes back in every case.
        room.ground.install().await?;
        outcome
    })
    .await
}
