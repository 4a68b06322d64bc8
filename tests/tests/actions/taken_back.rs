//! What somebody else takes back is not done again, and what would not happen is not begun.

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{PATIENCE, eventually, in_room, state};
use serde_json::json;

use crate::workload::{DEPLOYMENT, POLICY, STEP, one_write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_number_that_is_taken_back_while_it_is_verified_is_not_set_again() -> Result<()> {
    in_room("taken-back", async |room| {
        let unhealthy = DEPLOYMENT.deploy(room, 1).await?.swap_remove(0);
        let mut policy = DEPLOYMENT.policy(room, &json!({"scale": {"by": 1, "max": 3}}));
        policy["spec"]["steps"][0]["attempts"] = json!(3);
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(&unhealthy, "gauge?value=9").await?;
        eventually(PATIENCE, "the verification", async || {
            let action = room.actions(POLICY).await?.into_iter().next().context("no action")?;
            ensure!(state(&action) == "Verifying", "{}", state(&action));
            Ok(())
        })
        .await?;
        room.kubectl(&["scale", "deployment", DEPLOYMENT.name, "--replicas=1"]).await?;

        let status = room.until_outcome(POLICY, 1, "Inconclusive").await?.status.unwrap_or_default();
        ensure!(status.outcome_reason.as_deref() == Some("ChangedByOthers"), "{status:?}");
        let message = status.message.unwrap_or_default();
        ensure!(message.contains("field manager: kubectl"), "{message}");
        let blocked = room.until_condition(POLICY, "Blocked", "True", "Exhausted").await?;
        ensure!(blocked.message.contains(&format!("step {STEP} (Scale): TakenBack")), "{}", blocked.message);
        one_write(room).map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_paused_deployment_is_not_restarted_and_the_status_says_what_to_do() -> Result<()> {
    in_room("paused", async |room| {
        let unhealthy = DEPLOYMENT.deploy(room, 1).await?.swap_remove(0);
        room.kubectl(&["rollout", "pause", "deployment", DEPLOYMENT.name]).await?;
        room.apply(&DEPLOYMENT.policy(room, &json!({"rolloutRestart": {}}))).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(&unhealthy, "gauge?value=9").await?;
        let blocked = room.until_condition(POLICY, "Blocked", "True", "Exhausted").await?;
        for part in ["RolloutPaused", "is paused; resume it"] {
            ensure!(blocked.message.contains(part), "{}", blocked.message);
        }
        ensure!(room.healing_writes()?.is_empty(), "something was written");
        Ok(())
    })
    .await
}
