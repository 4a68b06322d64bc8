//! Policies and actions in a test's namespace.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use kube::api::ListParams;
use prunella_api::{FINALIZER, HealingAction, HealingPolicy};
use serde_json::{Value, json};

use crate::room::Room;
use crate::wait::{PATIENCE, eventually};

impl Room<'_> {
    /// A policy for the app that acts on what the query returns: quick, with no
    /// cooldown, one action at a time. To be changed before it is applied.
    #[must_use]
    pub fn policy(&self, name: &str, query: &str) -> Value {
        json!({
            "apiVersion": "prunella.dev/v1alpha1",
            "kind": "HealingPolicy",
            "metadata": {"name": name},
            "spec": {
                "mode": "Enforce",
                "interval": "1s",
                "condition": {"promql": {"query": query}, "for": "2s", "clearFor": "2s"},
                // Pods are young here, and all of them may be sick: youth and storms have
                // tests of their own.
                "target": {"kind": "Pod", "selector": {"matchLabels": {"app": "sample-app"}}, "minAge": "0s"},
                "steps": [{"action": {"deletePod": {"disruption": "Evict"}}, "verify": {"within": "2m"}}],
                "limits": {"cooldown": "0s", "maxActions": {"count": 3, "per": "1h"}, "maxConcurrent": 1, "maxUnhealthy": "100%"},
            },
        })
    }

    /// A query for the app's pods here whose gauge is above the bound. The gauge of a
    /// new pod is 0.
    #[must_use]
    pub fn gauge_over(&self, bound: i32) -> String {
        format!(r#"sample_app_gauge{{namespace="{}"}} > {bound}"#, self.name())
    }

    /// A policy as it stands.
    ///
    /// # Errors
    /// When there is none of this name.
    pub async fn policy_now(&self, name: &str) -> Result<HealingPolicy> {
        self.api::<HealingPolicy>().get(name).await.with_context(|| format!("cannot get the policy {name}"))
    }

    /// Waits until a condition has this status for this reason, of the policy's newest
    /// spec.
    ///
    /// # Errors
    /// When that does not come.
    pub async fn until_condition(&self, policy: &str, kind: &str, status: &str, reason: &str) -> Result<Condition> {
        eventually(PATIENCE, &format!("{kind}={status} {reason} on the policy {policy}"), async || {
            let policy = self.policy_now(policy).await?;
            let found = condition(&policy, kind).with_context(|| format!("no condition {kind}"))?;
            let new = found.observed_generation == policy.metadata.generation;
            let wanted = new && found.status == status && found.reason == reason;
            ensure!(wanted, "{kind}={} {}: {} (of the newest spec: {new})", found.status, found.reason, found.message);
            Ok(found)
        })
        .await
    }

    /// Waits until the policy judges and has an answer to judge by.
    ///
    /// # Errors
    /// When that does not come.
    pub async fn until_judged(&self, policy: &str) -> Result<HealingPolicy> {
        eventually(PATIENCE, &format!("the policy {policy} to be judged"), async || {
            let policy = self.policy_now(policy).await?;
            for kind in ["Ready", "Observed"] {
                let found = condition(&policy, kind).with_context(|| format!("no condition {kind}"))?;
                ensure!(found.status == "True", "{kind}={} {}: {}", found.status, found.reason, found.message);
            }
            Ok(policy)
        })
        .await
    }

    /// The actions of a policy, in their order.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn actions(&self, policy: &str) -> Result<Vec<HealingAction>> {
        let mut actions = self.api::<HealingAction>().list(&ListParams::default()).await?.items;
        actions.retain(|action| action.spec.policy.name == policy);
        actions.sort_by_key(|action| action.spec.sequence);
        Ok(actions)
    }

    /// Waits until the policy's action of this number has ended so, and is written no more:
    /// the controller lets go of a record in a write after that of its outcome.
    ///
    /// # Errors
    /// When that does not come.
    pub async fn until_outcome(&self, policy: &str, sequence: usize, outcome: &str) -> Result<HealingAction> {
        eventually(PATIENCE, &format!("action {sequence} of the policy {policy} to end as {outcome}"), async || {
            let mut actions = self.actions(policy).await?;
            ensure!(actions.len() >= sequence, "there are {} actions", actions.len());
            let action = actions.swap_remove(sequence - 1);
            let ended = action.status.as_ref().and_then(|status| status.outcome.as_deref());
            ensure!(ended == Some(outcome), "{} is {}", action.name_any(), state(&action));
            let held = action.finalizers().iter().any(|one| one == FINALIZER);
            ensure!(!held, "{} is {outcome}, and still held", action.name_any());
            Ok(action)
        })
        .await
    }
}

/// One condition of a policy.
#[must_use]
pub fn condition(policy: &HealingPolicy, kind: &str) -> Option<Condition> {
    policy.status.as_ref()?.conditions.iter().find(|one| one.type_ == kind).cloned()
}

/// How far an action has come: `Pending` until its executor says otherwise.
#[must_use]
pub fn state(action: &HealingAction) -> String {
    let conditions = action.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let progressing = conditions.iter().find(|one| one.type_ == "Progressing");
    progressing.map_or_else(|| "Pending".into(), |one| one.reason.clone())
}
