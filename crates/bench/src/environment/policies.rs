//! The policies: ten that act, and any number of quiet ones that never act.

use anyhow::{Context, Result};
use futures::stream::{self, StreamExt, TryStreamExt};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use prunella_api::{HealingAction, HealingPolicy};
use serde_json::{Value, json};

use super::exporter::{FAULT, LOAD};
use super::workloads::{self, QUIET, TARGETS};
use crate::console::Console;
use crate::wait::{PATIENCE, eventually};

/// The interval of the quiet policies and rules while the ten are measured.
pub(crate) const QUIET_INTERVAL: &str = "30s";
/// How many steps the ladder of a policy that acts has: every fault after a heal within
/// `ladderReset` climbs one step.
const STEPS: usize = 10;
/// Concurrent requests to the API server.
const CONCURRENCY: usize = 16;
/// A progress line is printed after this many policies.
const PROGRESS_EVERY: usize = 2_500;

/// The query of the policy that restarts a Deployment.
pub(crate) fn target_query(name: &str) -> String {
    format!("{FAULT}{{path=\"prunella\",namespace=\"{TARGETS}\",deployment=\"{name}\"}} > 0")
}

/// A query that returns nothing although there is data. Each number has its own query.
pub(crate) fn quiet_query(number: usize) -> String {
    format!("{LOAD}{{namespace=\"{QUIET}\"}} > {}", number + 1)
}

/// Creates the policies that restart Deployments. They are as fast as the classic path,
/// and their limits do not delay them.
///
/// # Errors
/// The API server refuses one.
pub(crate) async fn create_for_targets(client: &Client) -> Result<()> {
    let step = |number| {
        json!({
            "name": format!("restart-{number}"), "action": {"rolloutRestart": {}}, "attempts": 10,
            "verify": {"within": "2m"},
        })
    };
    let steps: Vec<Value> = (1..=STEPS).map(step).collect();
    for name in workloads::targets() {
        let spec = json!({
            "mode": "Enforce",
            "interval": "1s",
            "condition": {"promql": {"query": target_query(&name)}, "for": "0s", "clearFor": "1s"},
            "target": {"kind": "Deployment", "selector": {"matchLabels": {"app": name}}, "minAge": "0s"},
            "steps": steps,
            "limits": {
                "cooldown": "0s", "maxActions": {"count": 1000, "per": "1m"}, "maxUnhealthy": "100%",
                "ladderReset": "1m",
            },
        });
        create(client, TARGETS, &name, spec).await?;
    }
    Ok(())
}

/// Creates quiet policies with these numbers. `query` returns the query of a number.
///
/// # Errors
/// The API server refuses one.
pub(crate) async fn create_quiet(
    client: &Client,
    numbers: std::ops::Range<usize>,
    interval: &str,
    query: impl Fn(usize) -> String,
    console: &Console,
) -> Result<()> {
    let all = numbers.clone().map(|number| (number, quiet_spec(interval, &query(number))));
    stream::iter(all)
        .map(|(number, spec)| async move {
            create(client, QUIET, &format!("quiet-{number}"), spec).await?;
            if (number + 1).is_multiple_of(PROGRESS_EVERY) {
                console.print(&format!("  {} policies created", number + 1));
            }
            anyhow::Ok(())
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
}

/// The spec of a typical policy.
fn quiet_spec(interval: &str, query: &str) -> Value {
    json!({
        "mode": "Enforce",
        "interval": interval,
        "condition": {"promql": {"query": query}, "for": "1m"},
        "target": {"kind": "Pod", "selector": {"matchLabels": {"app": QUIET}}},
        "steps": [
            {"name": "delete-pod", "action": {"deletePod": {}}, "attempts": 2},
            {"name": "restart", "action": {"rolloutRestart": {}}},
        ],
    })
}

async fn create(client: &Client, namespace: &str, name: &str, spec: Value) -> Result<()> {
    let policy = json!({
        "apiVersion": "prunella.dev/v1alpha1", "kind": "HealingPolicy",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    });
    let policy: HealingPolicy = serde_json::from_value(policy).context("the bench's policy does not parse")?;
    let api: Api<HealingPolicy> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &policy).await.with_context(|| format!("cannot create the policy {name}"))?;
    Ok(())
}

/// Deletes all policies and actions of a namespace. Without this, the controller keeps
/// the actions for a day.
///
/// # Errors
/// Some are left after the time limit.
pub(crate) async fn delete_all(client: &Client, namespace: &str) -> Result<()> {
    let policies: Api<HealingPolicy> = Api::namespaced(client.clone(), namespace);
    let actions: Api<HealingAction> = Api::namespaced(client.clone(), namespace);
    let (delete, all) = (DeleteParams::default(), ListParams::default());
    policies.delete_collection(&delete, &all).await.context("cannot delete policies")?;
    actions.delete_collection(&delete, &all).await.context("cannot delete actions")?;
    eventually(PATIENCE, "the deletion of policies and actions", async || {
        let some = ListParams::default().limit(1);
        let left = policies.list_metadata(&some).await?.items.len() + actions.list_metadata(&some).await?.items.len();
        anyhow::ensure!(left == 0, "some are left");
        Ok(())
    })
    .await
}
