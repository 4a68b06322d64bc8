//! A lane: a Deployment with one pod and its own policy, both with the lane's name. So many heals
//! can run at the same time, and each request shows its lane.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::ListParams;
use prunella_api::HealingPolicy;
use prunella_e2e::{PATIENCE, Room, eventually};
use serde_json::{Value, json};
use testbed::audit::Event;

/// One heal, with a name of its own.
pub(crate) struct Lane<'a> {
    room: &'a Room<'a>,
    /// The name of policy and Deployment. It is not a part of another lane's name.
    pub(crate) name: String,
    /// The first pod.
    pub(crate) first: Pod,
}

impl<'a> Lane<'a> {
    /// Creates lanes, each with a ready pod that was scraped. Otherwise a policy would first report
    /// that it finds no series.
    pub(crate) async fn create(room: &'a Room<'a>, names: &[String]) -> Result<Vec<Self>> {
        let items: Vec<_> = names.iter().map(|name| deployment(room, name)).collect::<Result<_>>()?;
        room.ground.testbed.apply(&list(&items)).await?;
        let lane = async |name: &String| {
            let first = ready_pod(room, name).await?;
            let series = format!(r#"sample_app_gauge{{namespace="{}", pod="{}"}}"#, room.name(), first.name_any());
            eventually(PATIENCE, &format!("{series} to be scraped"), async || {
                ensure!(!room.ground.ask(&series).await?.is_empty(), "it has no series yet");
                Ok(())
            })
            .await?;
            Ok(Self { room, name: name.clone(), first })
        };
        try_join_all(names.iter().map(lane)).await
    }

    /// Creates a policy with this budget for each lane.
    pub(crate) async fn apply_policies(room: &Room<'_>, names: &[String], budget: u32) -> Result<()> {
        let policies: Vec<_> = names.iter().map(|name| policy(room, name, budget)).collect();
        room.ground.testbed.apply(&list(&policies)).await
    }

    /// Deletes them.
    pub(crate) async fn remove(room: &Room<'_>, names: &[String]) -> Result<()> {
        for kind in ["healingpolicies", "deployments"] {
            let mut args = vec!["delete", kind];
            args.extend(names.iter().map(String::as_str));
            room.kubectl(&args).await?;
        }
        Ok(())
    }

    /// Its pod, when it is ready.
    pub(crate) async fn pod(&self) -> Result<Pod> {
        ready_pod(self.room, &self.name).await
    }

    /// The present state of its policy.
    async fn policy(&self) -> Result<HealingPolicy> {
        self.room.policy_now(&self.name).await
    }

    /// Makes its present pod unhealthy.
    pub(crate) async fn break_target(&self) -> Result<Pod> {
        let pod = self.pod().await?;
        self.room.simulate(&pod, "gauge?value=9").await?;
        Ok(pod)
    }

    /// Checks that it was healed this number of times, that the policy reports it, and that no action
    /// is in flight.
    pub(crate) async fn healed(&self, times: usize) -> Result<()> {
        let actions = self.room.actions(&self.name).await?;
        let ended: Vec<_> = actions.iter().map(prunella_e2e::state).collect();
        // An action without effect may be followed by another.
        let succeeded = ended.iter().filter(|word| *word == "Succeeded").count();
        let others =
            ended.iter().filter(|word| !["Succeeded", "Expired", "Cancelled"].contains(&word.as_str())).count();
        ensure!((succeeded, others) == (times, 0), "the actions are {ended:?}");
        let effects: BTreeSet<_> = actions
            .iter()
            .filter(|action| prunella_e2e::state(action) == "Succeeded")
            .map(|action| &action.spec.target.uid)
            .collect();
        ensure!(effects.len() == times, "two actions had the same effect: {ended:?}");
        let held = actions.iter().filter(|action| !action.finalizers().is_empty()).count();
        ensure!(held == 0, "{held} actions still have their finalizer");
        let status = self.policy().await?.status.context("no status")?;
        ensure!(status.unhealthy.is_empty(), "the status still lists unhealthy targets: {:?}", status.unhealthy);
        let reported = serde_json::to_value(&status.last_action)?;
        let newest = actions.last().context("no action")?;
        let ended = newest.status.as_ref().context("the newest action has no status")?;
        for (field, expected) in [
            ("name", json!(newest.name_any())),
            ("outcome", json!(prunella_e2e::state(newest))),
            ("outcomeReason", json!(ended.outcome_reason)),
            ("message", json!(ended.message)),
        ] {
            ensure!(reported[field] == expected, "{field} is not {expected}: the status has {reported}");
        }
        Ok(())
    }

    /// The states of its actions, in order.
    pub(crate) async fn ends(&self) -> Result<Vec<String>> {
        Ok(self.room.actions(&self.name).await?.iter().map(prunella_e2e::state).collect())
    }

    /// Its evicted pods, by uid.
    pub(crate) fn among(&self, evicted: &[(String, String)]) -> Vec<String> {
        let own = evicted.iter().filter(|(pod, _)| pod.starts_with(&format!("{}-", self.name)));
        own.map(|(_, uid)| uid.clone()).collect()
    }

    /// Waits until the used budget blocks a pod that is unhealthy again.
    pub(crate) async fn until_spent(&self) -> Result<()> {
        self.room.until_condition(&self.name, "Blocked", "True", "MaxActions").await.map(drop)
    }
}

/// The successful evictions of the controller, from the API server's log: pod and uid.
pub(crate) fn evictions(room: &Room<'_>) -> Result<Vec<(String, String)>> {
    let granted = room.healing_writes()?.into_iter().filter(Event::succeeded);
    let uid = |write: &Event| {
        let uid = write.request_object.pointer("/deleteOptions/preconditions/uid").and_then(Value::as_str);
        uid.unwrap_or("without a uid").to_owned()
    };
    Ok(granted.map(|write| (write.object_ref.name.clone(), uid(&write))).collect())
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn deployment(room: &Room<'_>, name: &str) -> Result<Value> {
    let mut deployment = room.example("sample-app/deployment.yaml")?;
    deployment["metadata"] = json!({"name": name, "namespace": room.name()});
    let spec = &mut deployment["spec"];
    spec["replicas"] = json!(1);
    spec["selector"]["matchLabels"] = json!({"app": name});
    spec["template"]["metadata"]["labels"] = json!({"app": name});
    // So that tests do not wait for pods that are terminating.
    spec["template"]["spec"]["terminationGracePeriodSeconds"] = json!(1);
    spec["template"]["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] = json!(1);
    Ok(deployment)
}

fn policy(room: &Room<'_>, name: &str, budget: u32) -> Value {
    let query = format!(r#"sample_app_gauge{{namespace="{}", pod=~"{name}-.*"}} > 5"#, room.name());
    let mut policy = room.policy(name, &query);
    policy["metadata"]["namespace"] = room.name().into();
    let spec = &mut policy["spec"];
    // Evidence expires after two intervals, and the machine may be slow.
    spec["interval"] = json!("3s");
    // The budget must block the next action, not the end of the ladder.
    spec["steps"][0]["attempts"] = json!(5);
    spec["target"]["selector"]["matchLabels"] = json!({"app": name});
    spec["limits"]["maxActions"]["count"] = json!(budget);
    policy
}

async fn ready_pod(room: &Room<'_>, name: &str) -> Result<Pod> {
    eventually(PATIENCE, &format!("the pod of {name}"), async || {
        let pods = room.api::<Pod>().list(&ListParams::default().labels(&format!("app={name}"))).await?.items;
        let [pod] = pods.as_slice() else { anyhow::bail!("there are {} pods", pods.len()) };
        ensure!(pod.metadata.deletion_timestamp.is_none(), "it is terminating");
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        let ready = conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"));
        ensure!(ready, "it is not ready");
        Ok(pod.clone())
    })
    .await
}
