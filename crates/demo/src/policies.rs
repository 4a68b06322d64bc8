//! The five policies, applied together as a reader would.

use anyhow::{Context, Result, bail, ensure};
use kube::ResourceExt;
use prunella_api::{HealingPolicy, TargetKind};

use crate::console::Console;
use crate::ground::{Ground, NAMESPACE};
use crate::install::run;
use crate::kubectl;
use crate::prometheus::Prometheus;
use crate::remedy::Remedy;
use crate::scenario::{POLICIES, Scenario};

/// A policy of the demo, as far as it is followed.
pub(crate) struct Policy {
    /// Its name.
    pub(crate) name: String,
    /// What it asks.
    pub(crate) query: String,
    /// Whom it calls sick.
    pub(crate) target: TargetKind,
    /// What it does about it.
    pub(crate) remedy: Remedy,
}

/// Applies all policies and waits until they are judged.
///
/// # Errors
/// When one is not judged, or finds nothing.
pub(crate) async fn apply(ground: &Ground, console: &Console) -> Result<()> {
    console.stage("Five policies, for one app");
    run(ground, console, &format!("apply -n {NAMESPACE} -f {POLICIES}")).await?;
    // An error rate is known when requests were counted twice.
    for condition in ["Ready", "Observed"] {
        let words = format!("wait --for=condition={condition} healingpolicies --all -n {NAMESPACE} --timeout=90s");
        run(ground, console, &words).await?;
    }
    Ok(())
}

/// The scenario's policy.
///
/// # Errors
/// When the file is not what the scenario says of it.
pub(crate) fn of(scenario: &Scenario) -> Result<Policy> {
    let path = format!("{POLICIES}/{}.yaml", scenario.policy);
    let object: HealingPolicy =
        serde_yaml::from_str(&kubectl::read(&path)?).with_context(|| format!("{path} is not a HealingPolicy"))?;
    let [step] = object.spec.steps.as_slice() else { bail!("{path} has more than one step") };
    let remedy = Remedy::of(&step.action)?;
    let name = object.name_any();
    ensure!(name == scenario.policy, "{path} is the policy {name}");
    let target = object.spec.target.kind;
    let query = object.spec.condition.promql.context("the demo's policies ask PromQL")?.query.trim().to_owned();
    Ok(Policy { name, query, target, remedy })
}

/// The Prometheus that the policies ask; `None` where the demo cannot ask it, too.
///
/// # Errors
/// When that of a testbed cannot be asked.
pub(crate) async fn prometheus(ground: &Ground, console: &Console) -> Result<Option<Prometheus>> {
    let found = async {
        let prometheus = ground.prometheus().await?;
        prometheus.scalar("1").await.context("Prometheus cannot be asked from here")?;
        anyhow::Ok(prometheus)
    };
    match found.await {
        Ok(prometheus) => Ok(Some(prometheus)),
        // The controller asks from within the cluster: it may reach what we do not.
        Err(error) if ground.testbed.is_none() => {
            console.say(&format!("the timeline goes without what Prometheus shows: {error:#}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
