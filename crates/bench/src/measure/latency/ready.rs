//! Waits until targets and policies are ready for a fault.

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::ListParams;
use prunella_api::{HealingAction, HealingPolicy, POLICY_LABEL};

use crate::environment::Environment;
use crate::environment::workloads::TARGETS;
use crate::wait::{PATIENCE, eventually};

/// Longer than the lookback at the testbed's scrape interval.
const OLD_ENOUGH: SignedDuration = SignedDuration::from_secs(50);

/// Waits until the targets are old enough. The controller ignores a workload that is younger
/// than the lookback: the samples could belong to an earlier workload of the same name.
pub(super) async fn until_old_enough(environment: &Environment) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(environment.client.clone(), TARGETS);
    eventually(PATIENCE, "the targets to be old enough", async || {
        for target in api.list(&ListParams::default()).await?.items {
            let created = target.metadata.creation_timestamp.context("a target has no creation time")?.0;
            let age = Timestamp::now().duration_since(created);
            ensure!(age > OLD_ENOUGH, "a target is only {age:#} old");
        }
        Ok(())
    })
    .await
}

/// Waits until the controller has evaluated the policies of the targets.
pub(super) async fn until_observed(environment: &Environment) -> Result<()> {
    let api: Api<HealingPolicy> = Api::namespaced(environment.client.clone(), TARGETS);
    eventually(PATIENCE, "the evaluation of the targets' policies", async || {
        for policy in api.list(&ListParams::default()).await?.items {
            let conditions = policy.status.unwrap_or_default().conditions;
            let observed = conditions.iter().find(|one| one.type_ == "Observed");
            let observed = observed.context("a policy is not evaluated yet")?;
            ensure!(observed.status == "True", "{}: {}", observed.reason, observed.message);
        }
        Ok(())
    })
    .await
}

/// Waits until a target is healthy and no action on it is in flight: the restart by one path
/// must not delay the other path.
pub(super) async fn until_healthy(environment: &Environment, name: &str) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(environment.client.clone(), TARGETS);
    let actions: Api<HealingAction> = Api::namespaced(environment.client.clone(), TARGETS);
    let own = ListParams::default().labels(&format!("{POLICY_LABEL}={name}"));
    eventually(PATIENCE, &format!("{name} to be healthy"), async || {
        let deployment = deployments.get(name).await?;
        let status = deployment.status.unwrap_or_default();
        let complete = status
            .conditions
            .iter()
            .flatten()
            .any(|one| one.type_ == "Progressing" && one.reason.as_deref() == Some("NewReplicaSetAvailable"));
        let observed = status.observed_generation == deployment.metadata.generation;
        let ready = status.replicas == Some(1) && status.ready_replicas == Some(1);
        ensure!(complete && observed && ready, "its rollout is not complete");
        for action in actions.list(&own).await?.items {
            let finished = action.status.is_some_and(|status| status.outcome.is_some());
            ensure!(finished, "an action on it is in flight");
        }
        Ok(())
    })
    .await
}
