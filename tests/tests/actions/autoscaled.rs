//! An autoscaler owns a number of replicas: it is left alone, or its minimum is raised.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use prunella_e2e::{PATIENCE, Room, eventually, in_room};
use serde_json::{Value, json};

use crate::workload::{DEPLOYMENT, POLICY, one_write, what};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn an_autoscaler_is_left_alone_until_its_minimum_may_be_raised() -> Result<()> {
    in_room("autoscaled", async |room| {
        let sick = DEPLOYMENT.deploy(room, 1).await?.swap_remove(0);
        let mut scaler = autoscaler(room)?;
        // Something else made it: whatever is changed would be taken back.
        scaler["metadata"]["ownerReferences"] = json!([controller(room).await?]);
        room.apply(&scaler).await?;
        let mut policy = DEPLOYMENT.policy(room, &json!({"scale": {"by": 1, "max": 5}}));
        room.apply(&policy).await?;
        room.until_judged(POLICY).await?;
        room.simulate(&sick, "gauge?value=9").await?;
        passed_over(room, "Autoscaled").await?;

        policy["spec"]["steps"][0]["action"]["scale"]["autoscaler"] = json!("RaiseMinimum");
        room.apply(&policy).await?;
        passed_over(room, "AutoscalerControlled").await?;
        ensure!(room.healing_writes()?.is_empty(), "something was written");

        room.kubectl(&["patch", "horizontalpodautoscalers", DEPLOYMENT.name, "--type=merge", "--patch", FREE]).await?;
        DEPLOYMENT.ready_pods(room, 2).await?;
        room.simulate(&sick, "gauge?value=1").await?;
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

/// Takes the controller off it.
const FREE: &str = r#"{"metadata": {"ownerReferences": null}}"#;

/// From one copy to four. There is no source of metrics here: it does nothing but keep
/// the number within its bounds.
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

/// Waits until the policy tells that its one step was passed over for this reason.
async fn passed_over(room: &Room<'_>, why: &str) -> Result<()> {
    eventually(PATIENCE, &format!("the step to be passed over: {why}"), async || {
        let blocked = room.until_condition(POLICY, "Blocked", "True", "Exhausted").await?;
        ensure!(blocked.message.contains(&format!("step 1, Scale: {why}")), "{}", blocked.message);
        Ok(())
    })
    .await
}
