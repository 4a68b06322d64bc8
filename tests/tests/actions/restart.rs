//! A workload is restarted: one annotation on its pod template, and its own controller
//! replaces all pods.

use anyhow::{Context as _, Result, ensure};
use kube::api::ListParams;
use prunella_api::HealingAction;
use prunella_e2e::{Room, Story, in_room, uid_of};
use serde_json::{Value, json};

use crate::workload::{DAEMON_SET, DEPLOYMENT, POLICY, STATEFUL_SET, Workload, one_write, what};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_deployment_with_an_unhealthy_pod_is_restarted_once() -> Result<()> {
    in_room("restart-deployment", async |room| restarted(room, DEPLOYMENT).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_stateful_set_with_an_unhealthy_pod_is_restarted_once() -> Result<()> {
    in_room("restart-stateful", async |room| restarted(room, STATEFUL_SET).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_daemon_set_with_an_unhealthy_pod_is_restarted_once() -> Result<()> {
    in_room("restart-daemon", async |room| restarted(room, DAEMON_SET).await).await
}

async fn restarted(room: &Room<'_>, workload: Workload) -> Result<()> {
    let before = workload.deploy(room, 2).await?;
    let story = Story::of(room);
    room.apply(&workload.policy(room, &json!({"rolloutRestart": {}}))).await?;
    room.until_evaluated(POLICY).await?;
    room.simulate(&before[0], "gauge?value=9").await?;
    let action = room.until_outcome(POLICY, 1, "Succeeded").await?;

    let write = one_write(room)?;
    ensure!(what(&write) == format!("patch {} {}", workload.resource, workload.name), "{}", what(&write));
    ensure!(write.succeeded(), "{write:#?}");
    let uid = action.metadata.uid.clone().context("no uid")?;
    let mark = write.request_object.pointer("/spec/template/metadata/annotations/prunella.dev~1restarted-by");
    ensure!(mark == Some(&Value::String(uid)), "{}", write.request_object);

    let after = workload.ready_pods(room, 2).await?;
    let old: Vec<_> = before.iter().map(uid_of).collect();
    ensure!(after.iter().all(|pod| !old.contains(&uid_of(pod))), "a pod was not replaced");
    let name = action.metadata.name.as_deref().unwrap_or_default();
    let seen = story.action_states(name);
    ensure!(seen == ["Pending", "Running", "Settling", "Verifying", "Succeeded"], "{seen:?}");
    ensure!(action.spec.action_name == "RolloutRestart", "{}", action.spec.action_name);
    ensure!(action.spec.subject.kind == workload.kind && action.spec.subject.name == workload.name);
    let status = action.status.context("no status")?;
    let writes: Vec<_> = status.writes.iter().map(|write| format!("{} {}", write.request, write.object)).collect();
    ensure!(writes == [format!("patch {} {}/{}", workload.resource, workload.kind, workload.name)], "{writes:?}");
    Ok(())
}

/// It used to be reserved and superseded ten times a second, without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_restart_of_a_workload_without_pods_is_skipped_and_records_nothing() -> Result<()> {
    in_room("restart-zero", async |room| {
        DEPLOYMENT.deploy(room, 0).await?;
        let mut policy = DEPLOYMENT.policy(room, &json!({"rolloutRestart": {}}));
        let query = format!(r#"sum(kube_deployment_spec_replicas{{namespace="{}"}}) == 0"#, room.name());
        policy["spec"]["condition"]["promql"]["query"] = json!(query);
        policy["spec"]["target"] =
            json!({"kind": "Deployment", "match": {"global": {}}, "selector": {"matchLabels": {"app": DEPLOYMENT.name}}});
        room.apply(&policy).await?;
        let blocked = room.until_condition(POLICY, "Blocked", "True", "Exhausted").await?;
        ensure!(blocked.message.contains("ScaledToZero"), "{}", blocked.message);
        let actions = room.api::<HealingAction>().list(&ListParams::default()).await?.items;
        ensure!(actions.is_empty(), "{actions:#?}");
        Ok(())
    })
    .await
}
