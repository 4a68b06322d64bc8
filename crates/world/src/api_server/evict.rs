//! Evictions: a deletion of a pod that its disruption budgets allow.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::core::{Selector, SelectorExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::kinds::Kinds;
use super::refusal::Refusal;
use super::store::{ObjectKey, Store};
use super::write::{Part, WriteContext, second};

/// Evicts the pod at `key`. The options of the deletion are in `eviction.deleteOptions`.
pub(super) fn evict(
    store: &mut Store,
    kinds: &Kinds,
    pods: &WriteContext<'_>,
    key: &ObjectKey,
    eviction: &Value,
) -> Result<(), Refusal> {
    let Some(found) = store.get(key).cloned() else { return Err(Refusal::not_found(pods.kind, &key.2)) };
    let options = eviction.get("deleteOptions").cloned().unwrap_or(json!({}));
    let pod: Pod = typed(&found)?;
    // Checked first: a refused budget must not be charged for a pod that is another one by now.
    let wanted = options.pointer("/preconditions/uid").and_then(Value::as_str);
    if let (Some(wanted), Some(is)) = (wanted, pod.metadata.uid.as_deref().filter(|is| Some(*is) != wanted)) {
        return Err(pods.other_uid(&key.2, wanted, is));
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let needs_budget =
        !matches!(phase, Some("Succeeded" | "Failed" | "Pending")) && pod.metadata.deletion_timestamp.is_none();
    if needs_budget {
        spend(store, kinds, pods, &key.1, &pod)?;
    }
    note_reason(store, pods, key)?;
    pods.delete(store, key, &options).map(|_| ())
}

/// Tells in the status of the pod why it is deleted. A write of its own, which watches show.
fn note_reason(store: &mut Store, pods: &WriteContext<'_>, key: &ObjectKey) -> Result<(), Refusal> {
    let Some(mut pod) = store.get(key).map(|pod| (**pod).clone()) else { return Ok(()) };
    let mut condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastTransitionTime": second(pods.now),
    });
    let Some(status) = pod.get_mut("status").and_then(Value::as_object_mut) else { return Ok(()) };
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else { return Ok(()) };
    match conditions.iter_mut().find(|one| one["type"] == condition["type"]) {
        Some(earlier) if earlier["status"] == condition["status"] => {
            condition["lastTransitionTime"] = earlier["lastTransitionTime"].clone();
            *earlier = condition;
        }
        Some(earlier) => *earlier = condition,
        None => conditions.push(condition),
    }
    pods.replace(store, key, pod, Part::Status).map(|_| ())
}

/// Takes one disruption from the budget of the pod.
fn spend(store: &mut Store, kinds: &Kinds, pods: &WriteContext<'_>, namespace: &str, pod: &Pod) -> Result<(), Refusal> {
    let Some((index, kind)) = kinds.of::<PodDisruptionBudget>() else { return Ok(()) };
    let mut budgets = Vec::new();
    for (key, object) in store.all(index).filter(|(key, _)| key.1 == namespace) {
        let budget: PodDisruptionBudget = typed(object)?;
        if selects(budget.spec.as_ref().and_then(|spec| spec.selector.clone()), pod) {
            budgets.push((key.clone(), budget));
        }
    }
    let (key, mut budget) = match budgets.len() {
        0 => return Ok(()),
        1 => budgets.remove(0),
        _ => {
            return Err(Refusal::unclassified(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
    };
    let spec = budget.spec.clone().unwrap_or_default();
    let status = budget.status.clone().unwrap_or_default();
    let always = spec.unhealthy_pod_eviction_policy.as_deref() == Some("AlwaysAllow");
    let number = Option::<i32>::unwrap_or_default;
    let (healthy, desired) = (number(status.current_healthy), number(status.desired_healthy));
    let allowed = number(status.disruptions_allowed);
    let is_safe = healthy >= desired && desired > 0;
    if !is_ready(pod) && (always || is_safe) {
        return Ok(());
    }
    if status.observed_generation.unwrap_or_default() < budget.metadata.generation.unwrap_or_default() {
        let words = format!("The disruption budget {} is still being processed by the server.", key.2);
        return Err(Refusal::disruption_budget(&words, Some(10)));
    }
    if allowed < 1 {
        let words = format!("The disruption budget {} needs {desired} healthy pods and has {healthy} currently", key.2);
        return Err(Refusal::disruption_budget(&words, None));
    }
    let mut disrupted = status.disrupted_pods.clone().unwrap_or_default();
    disrupted.insert(pod.metadata.name.clone().unwrap_or_default(), Time(pods.now));
    budget.status = Some(PodDisruptionBudgetStatus {
        disruptions_allowed: Some(allowed - 1),
        disrupted_pods: Some(disrupted),
        ..status
    });
    let context = WriteContext { index, kind, ..*pods };
    context.replace(store, &key, untyped(&budget)?, Part::Status).map(|_| ())
}

/// Whether a selector of labels, as in a budget, selects the pod.
pub(crate) fn selects(selector: Option<LabelSelector>, pod: &Pod) -> bool {
    let selector = selector.and_then(|selector| Selector::try_from(selector).ok());
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    selector.is_some_and(|selector| selector.matches(&labels))
}

/// Whether the pod is Ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

pub(super) fn typed<K: DeserializeOwned>(object: &Value) -> Result<K, Refusal> {
    K::deserialize(object).map_err(|error| Refusal::internal(&error.to_string()))
}

pub(super) fn untyped(object: &impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(object).map_err(|error| Refusal::internal(&error.to_string()))
}
