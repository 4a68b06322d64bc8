//! The app in these tests, and checks that all of them use.

use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::ListParams;
use prunella_api::{HealingAction, HealingPolicyStatus};
use prunella_e2e::{PATIENCE, Room, eventually, name_of, steadily, what};
use serde_json::{Value, json};

pub(crate) const DEPLOYMENT: &str = "sample-app/deployment.yaml";
pub(crate) const STATEFUL_SET: &str = "sample-app/statefulset/statefulset.yaml";
/// The name of the example's Deployment, and the label `app` of its pods.
pub(crate) const APP: &str = "sample-app";
/// How long nothing must happen: six evaluations.
const QUIET: Duration = Duration::from_secs(12);

/// A workload of the examples with another name, which is also the label `app` of its pods.
pub(crate) fn manifest(room: &Room<'_>, example: &str, name: &str, replicas: usize) -> Result<Value> {
    let mut manifest = room.example(example)?;
    manifest["metadata"]["name"] = json!(name);
    manifest["metadata"]["labels"]["app"] = json!(name);
    let spec = &mut manifest["spec"];
    spec["replicas"] = json!(replicas);
    spec["selector"]["matchLabels"]["app"] = json!(name);
    let template = &mut spec["template"];
    template["metadata"]["labels"]["app"] = json!(name);
    // So that tests do not wait for pods to end or to become ready.
    template["spec"]["terminationGracePeriodSeconds"] = json!(1);
    template["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] = json!(1);
    Ok(manifest)
}

/// Creates a Deployment. Returns its pods when all are ready and scraped.
pub(crate) async fn deploy(room: &Room<'_>, name: &str, replicas: usize) -> Result<Vec<Pod>> {
    room.apply(&manifest(room, DEPLOYMENT, name, replicas)?).await?;
    let scraped = format!(r#"sample_app_gauge{{namespace="{}", pod=~"{name}-.*"}}"#, room.name());
    until_returned(room, &scraped, replicas).await?;
    ready_pods(room, name, replicas).await
}

/// Waits until Prometheus returns this number of series for a query. A policy that finds no
/// series repeats that check rarely, and a counter that is high from its first sample on never
/// increased.
pub(crate) async fn until_returned(room: &Room<'_>, query: &str, count: usize) -> Result<()> {
    eventually(PATIENCE, &format!("{count} series for {query}"), async || {
        let returned = room.ground.ask(query).await?;
        ensure!(returned.len() == count, "{returned:?}");
        Ok(())
    })
    .await
}

/// Waits until a workload has this number of pods and all are ready. Sorted by name.
pub(crate) async fn ready_pods(room: &Room<'_>, name: &str, count: usize) -> Result<Vec<Pod>> {
    eventually(PATIENCE, &format!("{count} ready pods of {name}"), async || {
        let mut pods = room.api::<Pod>().list(&ListParams::default().labels(&format!("app={name}"))).await?.items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        ensure!((ready, pods.len()) == (count, count), "{ready} of {} pods are ready", pods.len());
        pods.sort_by_key(name_of);
        Ok(pods)
    })
    .await
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

/// [`Room::policy`] with an interval of 2 s: an action must start within two intervals, on a
/// machine that is slow and shared.
pub(crate) fn policy(room: &Room<'_>, name: &str, query: &str) -> Value {
    let mut policy = room.policy(name, query);
    policy["spec"]["interval"] = json!("2s");
    policy
}

/// The present status of a policy.
pub(crate) async fn status(room: &Room<'_>, policy: &str) -> Result<HealingPolicyStatus> {
    Ok(room.policy_now(policy).await?.status.unwrap_or_default())
}

/// The guardrails, and how many targets each holds back.
pub(crate) fn blocked(status: &HealingPolicyStatus) -> Vec<(&str, i32)> {
    status.blocked.iter().map(|one| (one.reason.as_str(), one.count)).collect()
}

/// `verb resource/subresource name` of the controller's write requests for workloads.
pub(crate) fn done(room: &Room<'_>) -> Result<Vec<String>> {
    Ok(room.healing_writes()?.iter().map(what).collect())
}

/// Checks for several evaluations that there are no more writes than this.
pub(crate) async fn nothing_more(room: &Room<'_>, than: usize) -> Result<()> {
    steadily(QUIET, "no further write", async || {
        let done = done(room)?;
        ensure!(done.len() == than, "{done:#?}");
        Ok(())
    })
    .await
}

/// When an action was reserved, in whole seconds.
pub(crate) fn reserved_at(action: &HealingAction) -> Timestamp {
    action.creation_timestamp().map_or(Timestamp::MIN, |time| time.0)
}

/// When an action ended, in whole seconds.
pub(crate) fn ended_at(action: &HealingAction) -> Timestamp {
    let finished = action.status.as_ref().and_then(|status| status.finished_at.as_ref());
    finished.map_or(Timestamp::MAX, |time| time.0)
}
