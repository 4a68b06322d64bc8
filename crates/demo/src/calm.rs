//! Between two faults: the app is whole, nobody is sick, and Prometheus knows every pod.
//! A fault that came earlier would be judged together with what is left of the last.

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

/// How long calm may be in coming: a rate forgets what was after its window.
const CALM_WITHIN: Duration = Duration::from_mins(3);

/// Waits for it.
///
/// # Errors
/// When it does not come, with what is in its way.
pub(crate) async fn wait(ground: &Ground, prometheus: Option<&Prometheus>, scenario: &Scenario) -> Result<()> {
    let deadline = Instant::now() + CALM_WITHIN;
    loop {
        match calm(ground, prometheus, scenario).await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => bail!("waited {CALM_WITHIN:?} for calm: {error:#}"),
            Err(_) => sleep(Duration::from_millis(300)).await,
        }
    }
}

async fn calm(ground: &Ground, prometheus: Option<&Prometheus>, scenario: &Scenario) -> Result<()> {
    whole(ground).await?;
    nobody_sick(ground).await?;
    let Some(prometheus) = prometheus else { return Ok(()) };
    let known = prometheus.by_pod(scenario.known_by).await?;
    for pod in copies(ground).await? {
        let name = pod.name_any();
        ensure!(known.contains_key(&name), "Prometheus does not know {name} yet");
    }
    Ok(())
}

async fn copies(ground: &Ground) -> Result<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(ground.client.clone(), NAMESPACE);
    let pods = api.list(&ListParams::default()).await.context("cannot list the pods")?;
    Ok(pods.items.into_iter().filter(is_of_app).collect())
}

/// The Deployment has what it wants, and nobody is on the way out.
async fn whole(ground: &Ground) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(ground.client.clone(), NAMESPACE);
    let deployment = api.get(APP).await.context("cannot look at the sample app")?;
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.unwrap_or_default();
    ensure!(status.observed_generation == deployment.metadata.generation, "its newest spec is not seen yet");
    let counts = [status.replicas, status.updated_replicas, status.available_replicas].map(Option::unwrap_or_default);
    ensure!(counts.iter().all(|count| *count == wanted), "of {wanted} pods there are {counts:?}");
    let pods = copies(ground).await?;
    let going = pods.iter().find(|pod| pod.metadata.deletion_timestamp.is_some());
    ensure!(going.is_none(), "a pod is on its way out");
    Ok(())
}

async fn nobody_sick(ground: &Ground) -> Result<()> {
    let api: Api<HealingPolicy> = Api::namespaced(ground.client.clone(), NAMESPACE);
    for policy in api.list(&ListParams::default()).await.context("cannot list the policies")? {
        let name = policy.name_any();
        let conditions = policy.status.map(|status| status.conditions).unwrap_or_default();
        let healthy = conditions.iter().find(|one| one.type_ == "Healthy").context("nothing was judged yet")?;
        ensure!(healthy.status == "True", "{name}: {}", healthy.message);
    }
    Ok(())
}
