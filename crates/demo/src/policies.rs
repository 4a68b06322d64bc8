//! The five policies of the demo.

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

/// The parts of a policy that the demo uses.
pub(crate) struct Policy {
    /// The name.
    pub(crate) name: String,
    /// The query.
    pub(crate) query: String,
    /// The kind of its targets.
    pub(crate) target: TargetKind,
    /// The action of its step.
    pub(crate) remedy: Remedy,
}

/// Applies all policies and waits until they are evaluated.
///
/// # Errors
/// When a policy is not evaluated, or its query finds nothing.
pub(crate) async fn apply(ground: &Ground, console: &Console) -> Result<()> {
    console.stage("Five policies, for one app");
    run(ground, console, &format!("apply -n {NAMESPACE} -f {POLICIES}")).await?;
    // An error rate needs two samples.
    for condition in ["Ready", "Observed"] {
        let words = format!("wait --for=condition={condition} healingpolicies --all -n {NAMESPACE} --timeout=90s");
        run(ground, console, &words).await?;
    }
    Ok(())
}

/// The scenario's policy.
///
/// # Errors
/// When the file does not match the scenario.
pub(crate) fn of(scenario: &Scenario) -> Result<Policy> {
    let path = format!("{POLICIES}/{}.yaml", scenario.policy);
    let object: HealingPolicy =
        serde_yaml::from_str(&kubectl::read(&path)?).with_context(|| format!("{path} is not a HealingPolicy"))?;
    let [step] = object.spec.steps.as_slice() else { bail!("{path} has more than one step") };
    let remedy = Remedy::of(&step.action)?;
    let name = object.name_any();
    ensure!(name == scenario.policy, "{path} contains the policy {name}");
    let target = object.spec.target.kind;
    let query = object
        .spec
        .condition
        .promql
        .with_context(|| format!("{path} has no promql condition"))?
        .query
        .trim()
        .to_owned();
    Ok(Policy { name, query, target, remedy })
}

/// The Prometheus that the policies query. `None`: it is not reachable from here.
///
/// # Errors
/// When the Prometheus of a testbed is not reachable.
pub(crate) async fn prometheus(ground: &Ground, console: &Console) -> Result<Option<Prometheus>> {
    let found = async {
        let prometheus = ground.prometheus().await?;
        prometheus.scalar("1").await.context("Prometheus is not reachable from this machine")?;
        anyhow::Ok(prometheus)
    };
    match found.await {
        Ok(prometheus) => Ok(Some(prometheus)),
        // The controller runs in the cluster, so it may reach what this machine does not.
        Err(error) if ground.testbed.is_none() => {
            console.say(&format!("the timeline does not show values from Prometheus: {error:#}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
