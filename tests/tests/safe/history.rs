//! Records are deleted when nothing counts them any more. To avoid waiting for a day, the test
//! writes an older end time as the controller's user.

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use prunella_api::{HealingAction, HealingPolicy};
use prunella_e2e::{CONTROLLER, PATIENCE, eventually, in_room};
use serde_json::json;

use crate::tenant::client_as;

const POLICY: &str = "gauge";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn the_records_of_a_deleted_policy_are_deleted_a_day_later() -> Result<()> {
    in_room("history", async |room| {
        let pods = room.deploy(1).await?;
        let mut policy = room.policy(POLICY, &room.gauge_over(5));
        policy["spec"]["mode"] = json!("DryRun");
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(pods.first().context("no pod")?, "gauge?value=10").await?;
        let name = room.until_outcome(POLICY, 1, "DryRun").await?.name_any();
        room.api::<HealingPolicy>().delete(POLICY, &kube::api::DeleteParams::default()).await?;

        let actions: Api<HealingAction> = Api::namespaced(client_as(room, CONTROLLER).await?, room.name());
        let ended = Timestamp::now().checked_sub(SignedDuration::from_hours(25))?;
        eventually(PATIENCE, "the record to be written", async || {
            let mut action = actions.get(&name).await?;
            action.status.get_or_insert_default().finished_at = Some(ended.into());
            Ok(actions.replace_status(&name, &PostParams::default(), &action).await.map(drop)?)
        })
        .await?;
        eventually(PATIENCE, "the record to be deleted", async || {
            ensure!(actions.get_opt(&name).await?.is_none(), "it still exists");
            Ok(())
        })
        .await?;
        let writes = room.controller_writes()?;
        let deleted = writes.iter().any(|write| write.verb == "delete" && write.object_ref.name == name);
        ensure!(deleted, "not deleted by the controller: {writes:#?}");
        Ok(())
    })
    .await
}
