//! Pods of owners that Prunella does not know: healed one by one, if the owner replaces them. What
//! was not seen is not said.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt as _;
use prunella_e2e::{PATIENCE, Room, eventually, in_room, state, steadily};
use serde_json::{Value, json};

use crate::workload::{DEPLOYMENT, POLICY, one_write, what};

/// The name of the owner. Its kind is one that no controller makes pods for.
const OWNER: &str = "cluster-example";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_replacement_of_an_unknown_owner_is_waited_for_until_it_is_seen() -> Result<()> {
    in_room("unknown-owner", async |room| {
        let pod = create(room, "sample-app-1", "Always").await?;
        room.apply(&DEPLOYMENT.policy(room, &json!({"deletePod": {}}))).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(&pod, "gauge?value=9").await?;
        eventually(PATIENCE, "the eviction", async || settling(room).await).await?;
        // Nobody makes a replacement.
        steadily(Duration::from_secs(10), "the wait for a replacement", async || settling(room).await).await?;

        let replacement = create(room, "sample-app-1", "Always").await?;
        ensure!(replacement.uid() != pod.uid(), "it was not replaced");
        let action = room.until_outcome(POLICY, 1, "Succeeded").await?;
        ensure!((&*action.spec.subject.kind, &*action.spec.subject.name) == ("ConfigMap", OWNER), "{action:?}");
        ensure!(what(&one_write(room)?) == "create pods/eviction sample-app-1");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_pod_that_runs_to_an_end_is_not_healed_and_its_owner_is_named() -> Result<()> {
    in_room("runs-to-end", async |room| {
        let pod = create(room, "sample-app-run", "Never").await?;
        room.apply(&DEPLOYMENT.policy(room, &json!({"deletePod": {}}))).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(&pod, "gauge?value=9").await?;
        let blocked = room.until_condition(POLICY, "Blocked", "True", "NotHealable").await?;
        for part in ["OwnerRunsToEnd", "its owner is ConfigMap/cluster-example"] {
            ensure!(blocked.message.contains(part), "{}", blocked.message);
        }
        ensure!(room.healing_writes()?.is_empty(), "something was written");
        Ok(())
    })
    .await
}

/// The action waits for a replacement, and says so.
async fn settling(room: &Room<'_>) -> Result<()> {
    let action = room.actions(POLICY).await?.into_iter().next().context("no action")?;
    let message = action.status.as_ref().and_then(|status| status.message.clone()).unwrap_or_default();
    ensure!(state(&action) == "Settling", "{}: {message}", state(&action));
    ensure!(message.contains("waiting until ConfigMap/cluster-example has a Ready replacement pod"), "{message}");
    Ok(())
}

/// Creates a pod of the app that a `ConfigMap` owns, and waits until it is ready.
async fn create(room: &Room<'_>, name: &str, restart_policy: &str) -> Result<Pod> {
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": OWNER}});
    room.apply(&owner).await?;
    let uid = room.api::<ConfigMap>().get(OWNER).await?.uid().context("no uid")?;
    let deployment = room.example("sample-app/deployment.yaml")?;
    let mut spec: Value = deployment["spec"]["template"]["spec"].clone();
    spec["restartPolicy"] = json!(restart_policy);
    spec["terminationGracePeriodSeconds"] = json!(1);
    room.apply(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "labels": {"app": DEPLOYMENT.name},
            "annotations": deployment["spec"]["template"]["metadata"]["annotations"],
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": OWNER, "uid": uid, "controller": true},
            ],
        },
        "spec": spec,
    }))
    .await?;
    DEPLOYMENT.ready_pods(room, 1).await?.pop().context("no pod")
}
