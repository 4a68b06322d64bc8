//! Waits between two faults until the app has all its pods, no target is unhealthy, and
//! Prometheus has samples of every pod. Otherwise the next fault would be evaluated together
//! with the remains of the last one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use prunella_api::HealingPolicy;
use tokio::time::sleep;

use crate::ground::{APP, Ground, NAMESPACE};
use crate::prometheus::Prometheus;
use crate::scenario::Scenario;
use crate::verdict::is_of_app;

/// Longer than the windows of the policies' rates, which still contain the last fault.
const CALM_WITHIN: Duration = Duration::from_mins(3);

/// Waits until the app is healthy and stable.
///
/// # Errors
/// When that takes too long, with the reason.
pub(crate) async fn wait(ground: &Ground, prometheus: Option<&Prometheus>, scenario: &Scenario) -> Result<()> {
    let deadline = Instant::now() + CALM_WITHIN;
    loop {
        match calm(ground, prometheus, scenario).await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                bail!("the app was not healthy and stable within {CALM_WITHIN:?}: {error:#}")
            }
            Err(_) => sleep(Duration::from_millis(300)).await,
        }
    }
}

async fn calm(ground: &Ground, prometheus: Option<&Prometheus>, scenario: &Scenario) -> Result<()> {
    whole(ground).await?;
    no_target_unhealthy(ground).await?;
    let Some(prometheus) = prometheus else { return Ok(()) };
    let known = prometheus.by_pod(scenario.known_by).await?;
    for pod in copies(ground).await? {
        let name = pod.name_any();
        ensure!(known.contains_key(&name), "Prometheus has no samples of {name} yet");
    }
    Ok(())
}

async fn copies(ground: &Ground) -> Result<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(ground.client.clone(), NAMESPACE);
    let pods = api.list(&ListParams::default()).await.context("cannot list the pods")?;
    Ok(pods.items.into_iter().filter(is_of_app).collect())
}

/// Whether the Deployment has all its pods, and none of them is terminating.
async fn whole(ground: &Ground) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(ground.client.clone(), NAMESPACE);
    let deployment = api.get(APP).await.context("cannot read the Deployment of the sample app")?;
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.unwrap_or_default();
    ensure!(
        status.observed_generation == deployment.metadata.generation,
        "the newest spec of the Deployment is not observed yet"
    );
    let counts = [status.replicas, status.updated_replicas, status.available_replicas].map(Option::unwrap_or_default);
    ensure!(
        counts.iter().all(|count| *count == wanted),
        "expected {wanted} pods, found {counts:?} (all, updated, available)"
    );
    let pods = copies(ground).await?;
    let going = pods.iter().find(|pod| pod.metadata.deletion_timestamp.is_some());
    ensure!(going.is_none(), "a pod is terminating");
    Ok(())
}

async fn no_target_unhealthy(ground: &Ground) -> Result<()> {
    let api: Api<HealingPolicy> = Api::namespaced(ground.client.clone(), NAMESPACE);
    for policy in api.list(&ListParams::default()).await.context("cannot list the policies")? {
        let name = policy.name_any();
        let conditions = policy.status.map(|status| status.conditions).unwrap_or_default();
        let healthy = conditions
            .iter()
            .find(|one| one.type_ == "Healthy")
            .with_context(|| format!("{name} was not evaluated yet"))?;
        ensure!(healthy.status == "True", "{name}: {}", healthy.message);
    }
    Ok(())
}
