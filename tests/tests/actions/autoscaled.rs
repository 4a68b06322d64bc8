//! An autoscaler owns the number of replicas: the step is skipped, or raises the minimum.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use prunella_e2e::{PATIENCE, Room, eventually, in_room};
use serde_json::{Value, json};

use crate::workload::{DEPLOYMENT, POLICY, STEP, one_write, what};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn an_autoscaler_is_not_touched_until_its_minimum_may_be_raised() -> Result<()> {
    in_room("autoscaled", async |room| {
        let unhealthy = DEPLOYMENT.deploy(room, 1).await?.swap_remove(0);
        let mut scaler = autoscaler(room)?;
        // Something else controls it and would revert a change.
        scaler["metadata"]["ownerReferences"] = json!([controller(room).await?]);
        room.apply(&scaler).await?;
        let mut policy = DEPLOYMENT.policy(room, &json!({"scale": {"by": 1, "max": 5}}));
        room.apply(&policy).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(&unhealthy, "gauge?value=9").await?;
        skipped_because(room, "Autoscaled").await?;

        policy["spec"]["steps"][0]["action"]["scale"]["autoscaler"] = json!("RaiseMinimum");
        room.apply(&policy).await?;
        skipped_because(room, "AutoscalerControlled").await?;
        ensure!(room.healing_writes()?.is_empty(), "something was written");

        room.kubectl(&["patch", "horizontalpodautoscalers", DEPLOYMENT.name, "--type=merge", "--patch", FREE]).await?;
        DEPLOYMENT.ready_pods(room, 2).await?;
        room.simulate(&unhealthy, "gauge?value=1").await?;
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        let scale = action.spec.action.scale.as_ref().context("not scaled")?;
        let owner = scale.autoscaler.as_ref().context("no autoscaler is recorded")?;
        ensure!((scale.from, scale.to, owner.name.as_str()) == (1, 2, DEPLOYMENT.name), "{scale:?}");
        let write = one_write(room)?;
        ensure!(what(&write) == "patch horizontalpodautoscalers sample-app" && write.succeeded(), "{write:#?}");
        let minimum =
            room.kubectl(&["get", "hpa", DEPLOYMENT.name, "--output", "jsonpath={.spec.minReplicas}"]).await?;
        ensure!(minimum == "2", "the minimum is {minimum}");
        Ok(())
    })
    .await
}

/// Removes the autoscaler's controller.
const FREE: &str = r#"{"metadata": {"ownerReferences": null}}"#;

/// From one replica to four. There are no metrics for it here, so it only keeps the number
/// within its limits.
fn autoscaler(room: &Room<'_>) -> Result<Value> {
    let mut autoscaler = room.example("sample-app/hpa.yaml")?;
    autoscaler["spec"]["minReplicas"] = json!(1);
    autoscaler["spec"]["maxReplicas"] = json!(4);
    Ok(autoscaler)
}

async fn controller(room: &Room<'_>) -> Result<Value> {
    let owner = room.api::<Deployment>().get(DEPLOYMENT.name).await?;
    let uid = owner.uid().context("no uid")?;
    Ok(json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": DEPLOYMENT.name, "uid": uid, "controller": true}))
}

/// Waits until the policy reports that its only step was skipped for this reason.
async fn skipped_because(room: &Room<'_>, why: &str) -> Result<()> {
    eventually(PATIENCE, &format!("the step to be skipped: {why}"), async || {
        let blocked = room.until_condition(POLICY, "Blocked", "True", "Exhausted").await?;
        ensure!(
            blocked.message.contains(&format!("skipped because they do not apply: step {STEP} (Scale): {why}")),
            "{}",
            blocked.message
        );
        Ok(())
    })
    .await
}
