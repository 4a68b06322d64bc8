//! The policies: ten that have something to do, and as many as are wanted that never have.

use anyhow::{Context, Result};
use futures::stream::{self, StreamExt, TryStreamExt};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use prunella_api::{HealingAction, HealingPolicy};
use serde_json::{Value, json};

use crate::console::Console;
use crate::exporter::{FAULT, LOAD};
use crate::ground::{PATIENTS, QUIET};
use crate::wait::{PATIENCE, eventually};

/// How many Deployments fall sick in turns, each with a policy and an alert of its own.
pub(crate) const PATIENT_COUNT: usize = 10;
/// How often the others are judged while the ten are measured, on both paths.
pub(crate) const QUIET_INTERVAL: &str = "30s";
/// Requests to the API server at once.
const AT_ONCE: usize = 16;
/// How often progress is told.
const TELL_EVERY: usize = 2_500;

/// The names of those that fall sick.
pub(crate) fn patients() -> impl Iterator<Item = String> {
    (0..PATIENT_COUNT).map(|number| format!("patient-{number}"))
}

/// A query that returns nothing, though there is data; another one for each number.
pub(crate) fn quiet_query(number: usize) -> String {
    format!("{LOAD}{{namespace=\"{QUIET}\"}} > {}", number + 1)
}

/// The policies that restart the patients: as quick as the classic path is, with no limit
/// in the way.
///
/// # Errors
/// When one is refused.
pub(crate) async fn create_for_patients(client: &Client) -> Result<()> {
    let step = json!({"action": {"rolloutRestart": {}}, "attempts": 10, "verify": {"within": "2m"}});
    for name in patients() {
        let query = format!("{FAULT}{{way=\"ours\",namespace=\"{PATIENTS}\",deployment=\"{name}\"}} > 0");
        let spec = json!({
            "mode": "Enforce",
            "interval": "1s",
            "condition": {"promql": {"query": query}, "for": "0s", "clearFor": "1s"},
            "target": {"kind": "Deployment", "selector": {"matchLabels": {"app": name}}, "minAge": "0s"},
            // Every fault after a heal climbs: there must be enough to climb.
            "steps": vec![step.clone(); 10],
            "limits": {
                "cooldown": "0s", "maxActions": {"count": 1000, "per": "1m"}, "maxUnhealthy": "100%",
                "ladderReset": "1m",
            },
        });
        create(client, PATIENTS, &name, spec).await?;
    }
    Ok(())
}

/// Policies that have nothing to do, numbered; `query` gives each its number's query.
///
/// # Errors
/// When one is refused.
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
            if (number + 1).is_multiple_of(TELL_EVERY) {
                console.say(&format!("  {} policies created", number + 1));
            }
            anyhow::Ok(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// The spec of a policy as one would write it, with nothing to do.
fn quiet_spec(interval: &str, query: &str) -> Value {
    json!({
        "mode": "Enforce",
        "interval": interval,
        "condition": {"promql": {"query": query}, "for": "1m"},
        "target": {"kind": "Pod", "selector": {"matchLabels": {"app": QUIET}}},
        "steps": [
            {"action": {"deletePod": {}}, "attempts": 2},
            {"action": {"rolloutRestart": {}}},
        ],
    })
}

async fn create(client: &Client, namespace: &str, name: &str, spec: Value) -> Result<()> {
    let policy = json!({
        "apiVersion": "prunella.dev/v1alpha1", "kind": "HealingPolicy",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    });
    let policy: HealingPolicy = serde_json::from_value(policy).context("the bench's policy is none")?;
    let api: Api<HealingPolicy> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &policy).await.with_context(|| format!("cannot create the policy {name}"))?;
    Ok(())
}

/// Removes every policy of a namespace, and what they have done, which would else be kept
/// for a day.
///
/// # Errors
/// When they stay.
pub(crate) async fn delete_all(client: &Client, namespace: &str) -> Result<()> {
    let policies: Api<HealingPolicy> = Api::namespaced(client.clone(), namespace);
    let actions: Api<HealingAction> = Api::namespaced(client.clone(), namespace);
    let (delete, all) = (DeleteParams::default(), ListParams::default());
    policies.delete_collection(&delete, &all).await.context("cannot delete policies")?;
    actions.delete_collection(&delete, &all).await.context("cannot delete actions")?;
    eventually(PATIENCE, "policies and actions to go", async || {
        let some = ListParams::default().limit(1);
        let left = policies.list_metadata(&some).await?.items.len() + actions.list_metadata(&some).await?.items.len();
        anyhow::ensure!(left == 0, "some are left");
        Ok(())
    })
    .await
}
