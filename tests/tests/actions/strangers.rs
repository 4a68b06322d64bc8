//! A workload with pods that the policy does not select is not changed as a whole.

use anyhow::{Result, ensure};
use prunella_e2e::{PATIENCE, eventually, in_room, name_of};
use serde_json::json;

use crate::workload::{DEPLOYMENT, POLICY};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_workload_with_pods_that_are_not_selected_is_not_restarted() -> Result<()> {
    in_room("strangers", async |room| {
        let pods = DEPLOYMENT.deploy(room, 2).await?;
        let mine = name_of(&pods[0]);
        room.kubectl(&["label", "pods", &mine, "team=mine"]).await?;
        let mut policy = DEPLOYMENT.policy(room, &json!({"rolloutRestart": {}}));
        policy["spec"]["target"]["selector"]["matchLabels"] = json!({"team": "mine"});
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(&pods[0], "gauge?value=9").await?;
        let blocked = room.until_condition(POLICY, "Blocked", "True", "NotHealable").await?;
        ensure!(blocked.message.contains("PodsNotSelected"), "{}", blocked.message);
        ensure!(room.healing_writes()?.is_empty(), "something was written");

        room.kubectl(&["label", "pods", &name_of(&pods[1]), "team=mine"]).await?;
        // All its pods are selected now, so it is restarted.
        eventually(PATIENCE, "the restart", async || {
            ensure!(room.healing_writes()?.len() == 1, "nothing was written");
            Ok(())
        })
        .await
    })
    .await
}
