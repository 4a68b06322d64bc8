//! A lane: a Deployment of one pod and a policy of its own, both of the lane's name, so
//! that many heals run beside each other and each request tells whose it is.

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

/// One heal, told from the others by its name.
pub(crate) struct Lane<'a> {
    room: &'a Room<'a>,
    /// Of policy and Deployment; no lane's name is a part of another's.
    pub(crate) name: String,
    /// The pod that was there first.
    pub(crate) first: Pod,
}

impl<'a> Lane<'a> {
    /// Lays lanes, each with a ready pod that was scraped: a policy that finds no series says
    /// that first.
    pub(crate) async fn lay(room: &'a Room<'a>, names: &[String]) -> Result<Vec<Self>> {
        let items: Vec<_> = names.iter().map(|name| deployment(room, name)).collect::<Result<_>>()?;
        room.ground.testbed.apply(&list(&items)).await?;
        let lay = async |name: &String| {
            let first = ready_pod(room, name).await?;
            let series = format!(r#"sample_app_gauge{{namespace="{}", pod="{}"}}"#, room.name(), first.name_any());
            eventually(PATIENCE, &format!("{series} to be scraped"), async || {
                ensure!(!room.ground.ask(&series).await?.is_empty(), "it is not yet");
                Ok(())
            })
            .await?;
            Ok(Self { room, name: name.clone(), first })
        };
        try_join_all(names.iter().map(lay)).await
    }

    /// Gives each of them a policy with this budget.
    pub(crate) async fn govern(room: &Room<'_>, names: &[String], budget: u32) -> Result<()> {
        let policies: Vec<_> = names.iter().map(|name| policy(room, name, budget)).collect();
        room.ground.testbed.apply(&list(&policies)).await
    }

    /// Takes them away.
    pub(crate) async fn remove(room: &Room<'_>, names: &[String]) -> Result<()> {
        for kind in ["healingpolicies", "deployments"] {
            let mut args = vec!["delete", kind];
            args.extend(names.iter().map(String::as_str));
            room.kubectl(&args).await?;
        }
        Ok(())
    }

    /// Its pod, ready.
    pub(crate) async fn pod(&self) -> Result<Pod> {
        ready_pod(self.room, &self.name).await
    }

    /// Its policy as it stands.
    async fn policy(&self) -> Result<HealingPolicy> {
        self.room.policy_now(&self.name).await
    }

    /// Makes its pod sick, whichever it is now.
    pub(crate) async fn sicken(&self) -> Result<Pod> {
        let pod = self.pod().await?;
        self.room.simulate(&pod, "gauge?value=9").await?;
        Ok(pod)
    }

    /// Checks that it was healed so many times, that it was told, and that nothing is
    /// under way any more.
    pub(crate) async fn healed(&self, times: usize) -> Result<()> {
        let actions = self.room.actions(&self.name).await?;
        let ended: Vec<_> = actions.iter().map(prunella_e2e::state).collect();
        // What was cut short before it had any effect is told so, and may be tried again.
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
        ensure!(held == 0, "{held} actions are still held");
        let status = self.policy().await?.status.context("no status")?;
        ensure!(status.sick.is_empty(), "these are still told to be sick: {:?}", status.sick);
        let told = serde_json::to_value(&status.last_action)?;
        let newest = actions.last().context("no action")?;
        let expected = (json!(newest.name_any()), json!(prunella_e2e::state(newest)));
        ensure!((told["name"].clone(), told["outcome"].clone()) == expected, "the policy tells {told}");
        Ok(())
    }

    /// How its actions ended, in their order.
    pub(crate) async fn ends(&self) -> Result<Vec<String>> {
        Ok(self.room.actions(&self.name).await?.iter().map(prunella_e2e::state).collect())
    }

    /// Which pods of its own are among the evicted, by uid.
    pub(crate) fn among(&self, evicted: &[(String, String)]) -> Vec<String> {
        let own = evicted.iter().filter(|(pod, _)| pod.starts_with(&format!("{}-", self.name)));
        own.map(|(_, uid)| uid.clone()).collect()
    }

    /// Waits until the policy refuses to act on a pod that is sick again.
    pub(crate) async fn until_spent(&self) -> Result<()> {
        self.room.until_condition(&self.name, "Blocked", "True", "MaxActions").await.map(drop)
    }
}

/// What the controller evicted: pod and uid of each eviction that was granted, from the
/// API server's own log.
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
    // Nobody is to wait for a pod that is on its way out.
    spec["template"]["spec"]["terminationGracePeriodSeconds"] = json!(1);
    spec["template"]["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] = json!(1);
    Ok(deployment)
}

fn policy(room: &Room<'_>, name: &str, budget: u32) -> Value {
    let query = format!(r#"sample_app_gauge{{namespace="{}", pod=~"{name}-.*"}} > 5"#, room.name());
    let mut policy = room.policy(name, &query);
    policy["metadata"]["namespace"] = room.name().into();
    let spec = &mut policy["spec"];
    // Evidence is good for two intervals, and the machine may be slow.
    spec["interval"] = json!("3s");
    // It is the budget that is to hold the next action back, not the end of the ladder.
    spec["steps"][0]["attempts"] = json!(5);
    spec["target"]["selector"]["matchLabels"] = json!({"app": name});
    spec["limits"]["maxActions"]["count"] = json!(budget);
    policy
}

async fn ready_pod(room: &Room<'_>, name: &str) -> Result<Pod> {
    eventually(PATIENCE, &format!("the pod of {name}"), async || {
        let pods = room.api::<Pod>().list(&ListParams::default().labels(&format!("app={name}"))).await?.items;
        let [pod] = pods.as_slice() else { anyhow::bail!("there are {}", pods.len()) };
        ensure!(pod.metadata.deletion_timestamp.is_none(), "it is on its way out");
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        let ready = conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"));
        ensure!(ready, "it is not ready");
        Ok(pod.clone())
    })
    .await
}
