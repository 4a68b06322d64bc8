//! Policies and actions in a test's namespace.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use kube::api::ListParams;
use prunella_api::{FINALIZER, HealingAction, HealingPolicy};
use serde_json::{Value, json};

use crate::room::Room;
use crate::wait::{PATIENCE, eventually};

/// The name of the only step of [`Room::policy`].
pub const STEP: &str = "evict-pod";

impl Room<'_> {
    /// A policy for the app that evicts a pod that the query returns: with short times, no
    /// cooldown, and one action at a time. Tests change it before they apply it.
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
                // Pods are young here, and all of them may be unhealthy. minAge and storms have
                // their own tests.
                "target": {"kind": "Pod", "selector": {"matchLabels": {"app": "sample-app"}}, "minAge": "0s"},
                "steps": [{"name": STEP, "action": {"deletePod": {"disruption": "Evict"}}, "verify": {"within": "2m"}}],
                "limits": {"cooldown": "0s", "maxActions": {"count": 3, "per": "1h"}, "maxConcurrent": 1, "maxUnhealthy": "100%"},
            },
        })
    }

    /// A query for the app's pods in this namespace whose gauge is above the limit. The gauge
    /// of a new pod is 0.
    #[must_use]
    pub fn gauge_over(&self, limit: i32) -> String {
        format!(r#"sample_app_gauge{{namespace="{}"}} > {limit}"#, self.name())
    }

    /// The present state of a policy.
    ///
    /// # Errors
    /// When there is no policy of this name.
    pub async fn policy_now(&self, name: &str) -> Result<HealingPolicy> {
        self.api::<HealingPolicy>().get(name).await.with_context(|| format!("cannot get the policy {name}"))
    }

    /// Waits until a condition has this status and reason for the policy's newest spec.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn until_condition(&self, policy: &str, kind: &str, status: &str, reason: &str) -> Result<Condition> {
        eventually(PATIENCE, &format!("{kind}={status} {reason} on the policy {policy}"), async || {
            let policy = self.policy_now(policy).await?;
            let found = condition(&policy, kind).with_context(|| format!("no condition {kind}"))?;
            let newest = found.observed_generation == policy.metadata.generation;
            let wanted = newest && found.status == status && found.reason == reason;
            ensure!(
                wanted,
                "{kind}={} {}: {} (for the newest spec: {newest})",
                found.status,
                found.reason,
                found.message
            );
            Ok(found)
        })
        .await
    }

    /// Waits until the policy is evaluated with an answer of its source.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn until_evaluated(&self, policy: &str) -> Result<HealingPolicy> {
        eventually(PATIENCE, &format!("the policy {policy} to be evaluated"), async || {
            let policy = self.policy_now(policy).await?;
            for kind in ["Ready", "Observed"] {
                let found = condition(&policy, kind).with_context(|| format!("no condition {kind}"))?;
                ensure!(found.status == "True", "{kind}={} {}: {}", found.status, found.reason, found.message);
            }
            Ok(policy)
        })
        .await
    }

    /// The actions of a policy, by sequence.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn actions(&self, policy: &str) -> Result<Vec<HealingAction>> {
        let mut actions = self.api::<HealingAction>().list(&ListParams::default()).await?.items;
        actions.retain(|action| action.spec.policy.name == policy);
        actions.sort_by_key(|action| action.spec.sequence);
        Ok(actions)
    }

    /// Waits until the policy's action of this number has ended with this outcome, and its
    /// finalizer is removed. That is a write of its own, after the outcome.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn until_outcome(&self, policy: &str, sequence: usize, outcome: &str) -> Result<HealingAction> {
        eventually(PATIENCE, &format!("action {sequence} of the policy {policy} to end as {outcome}"), async || {
            let mut actions = self.actions(policy).await?;
            ensure!(actions.len() >= sequence, "there are {} actions", actions.len());
            let action = actions.swap_remove(sequence - 1);
            let ended = action.status.as_ref().and_then(|status| status.outcome.as_deref());
            ensure!(ended == Some(outcome), "{} is {}", action.name_any(), state(&action));
            let held = action.finalizers().iter().any(|one| one == FINALIZER);
            ensure!(!held, "{} is {outcome}, but still has its finalizer", action.name_any());
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

/// The state of an action. `Pending` while it has no status.
#[must_use]
pub fn state(action: &HealingAction) -> String {
    let conditions = action.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let progressing = conditions.iter().find(|one| one.type_ == "Progressing");
    progressing.map_or_else(|| "Pending".into(), |one| one.reason.clone())
}
