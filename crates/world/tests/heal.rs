//! The controller that ships heals the faults of the examples, and a seed replays.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use prunella_api::HealingAction;
use prunella_world::{EXAMPLE_POLICIES, Followed, NAMESPACE, SCENARIOS, Scenario, World, follow};
use serde_json::json;

/// For the first evaluations, and to calm down after a fault.
const CALM: Duration = Duration::from_mins(20);
const PATIENCE: Duration = Duration::from_mins(30);

/// Breaks the app in each way, one after another, and returns what happened and all requests.
fn run(seed: u64, scenarios: &[Scenario]) -> (Vec<Followed>, Vec<String>) {
    World::run(seed, async |world| {
        for policy in EXAMPLE_POLICIES {
            world.apply(policy)?;
        }
        let mut followed = Vec::new();
        for scenario in scenarios {
            world.until_calm(CALM).await?;
            tokio::time::sleep(Duration::from_mins(3)).await;
            followed.push(follow(world, scenario, PATIENCE, &mut |_| {}).await);
            world.repair();
        }
        Ok((followed, world.server().log().answered().iter().map(ToString::to_string).collect()))
    })
    .unwrap()
}

/// As `make demo` shows them on a real cluster.
#[test]
fn the_five_faults_of_the_examples_are_healed() {
    let (followed, requests) = run(7, SCENARIOS);
    let seen: Vec<_> = followed
        .iter()
        .map(|one| (one.policy.as_str(), one.action.as_str(), one.outcome.as_str(), one.actions))
        .collect();
    assert_eq!(
        seen,
        [
            ("high-memory-usage", "DeletePod", "Succeeded", 1),
            ("high-error-rate", "DeletePod", "Succeeded", 1),
            ("pod-not-ready", "DeletePod", "Succeeded", 1),
            ("pod-crash-looping", "RolloutRestart", "Succeeded", 1),
            ("high-cpu-usage", "Scale", "Succeeded", 1),
        ],
        "{followed:#?}"
    );
    // One write to a workload for each action, and no other.
    let changes = |request: &&String| {
        let is_write = ["POST", "PUT", "PATCH", "DELETE"].iter().any(|verb| request.contains(&format!("  {verb} ")));
        is_write && (request.contains("/pods/") || request.contains("/deployments/"))
    };
    let changes: Vec<_> = requests.iter().filter(changes).collect();
    assert_eq!(changes.len(), 5, "{changes:#?}");
}

/// From then on another pod can be the result of the eviction, and none that was made while it waited.
#[test]
fn an_eviction_that_waits_is_recorded_with_the_time_of_its_effect() {
    let waited = World::run(7, async |world| {
        let scenario = SCENARIOS.first().context("no scenario")?;
        world.apply(EXAMPLE_POLICIES[0])?;
        world.until_calm(CALM).await?;
        let budgets: Api<PodDisruptionBudget> = Api::namespaced(world.server().client(), NAMESPACE);
        let actions: Api<HealingAction> = Api::namespaced(world.server().client(), NAMESPACE);
        let allow = async |pods: u32| {
            let change = Patch::Merge(json!({"spec": {"maxUnavailable": pods}}));
            budgets.patch("sample-app", &PatchParams::default(), &change).await
        };
        allow(0).await?;
        let budget_is_raised = async {
            let waits =
                |action: &HealingAction| action.status.as_ref().is_some_and(|status| status.blocked_by.is_some());
            while !actions.list(&ListParams::default()).await?.iter().any(waits) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            tokio::time::sleep(Duration::from_mins(4)).await;
            allow(1).await
        };
        let mut no_output = |_: &_| {};
        let (followed, raised) = tokio::join!(follow(world, scenario, PATIENCE, &mut no_output), budget_is_raised);
        raised?;
        assert_eq!((followed.action.as_str(), followed.outcome.as_str()), ("DeletePod", "Succeeded"), "{followed:#?}");
        let action = actions.list(&ListParams::default()).await?.items.pop().context("no action")?;
        let status = action.status.context("no status")?;
        let (started, executed) =
            (status.started_at.context("startedAt")?, status.executed_after.context("executedAfter")?);
        Ok(executed.0.duration_since(started.0))
    });
    let waited = waited.unwrap();
    assert!(waited.as_secs() >= 240, "{waited:#}");
}

#[test]
fn a_seed_replays_identically() {
    let memory_leak = SCENARIOS.get(..1).unwrap();
    let (first, second) = (run(11, memory_leak), run(11, memory_leak));
    assert!(first.1.len() > 100, "{} requests", first.1.len());
    let differences: Vec<_> = first.1.iter().zip(&second.1).filter(|(one, two)| one != two).take(10).collect();
    assert!(differences.is_empty(), "{differences:#?}");
    assert_eq!(first, second);
    let (_, other) = run(12, memory_leak);
    assert_ne!(first.1, other, "another seed is another world");
}
