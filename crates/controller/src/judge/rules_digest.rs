//! The digest of a policy's condition, target and steps. A change of it restarts the ladder
//! and the timers, so it covers what they *mean*, not how they are written.

use prunella_api::{Duration, HealingPolicySpec};
use serde_json::Value;

use crate::compiled::digest;

/// A digest of the *meaning* of condition, target and steps: a change of it restarts the
/// ladder and the timers.
///
/// A field that is left out means its default. So defaults are removed before the digest is
/// made: a field that a later version adds with a default then changes no digest. Durations
/// count by their length (`60s` is `1m`), and the names of steps do not count.
pub(super) fn rules_digest(spec: &HealingPolicySpec) -> String {
    let HealingPolicySpec { condition, target, steps, .. } = spec;
    let json = |value: serde_json::Result<Value>| value.unwrap_or_default();
    let mut rules = serde_json::json!({
        "condition": json(serde_json::to_value(condition)),
        "target": json(serde_json::to_value(target)),
        "steps": json(serde_json::to_value(steps)),
    });
    if let Some(steps) = rules["steps"].as_array_mut() {
        for step in steps.iter_mut().filter_map(Value::as_object_mut) {
            step.remove("name");
        }
    }
    // The label that names a target is its kind in lower case by default.
    let default_label = target.kind.as_str().to_lowercase();
    if rules.pointer("/target/match/label").and_then(Value::as_str) == Some(default_label.as_str())
        && let Some(series) = rules.pointer_mut("/target/match").and_then(Value::as_object_mut)
    {
        series.remove("label");
    }
    without_defaults(&mut rules, "");
    digest(&sorted(&rules))
}

/// The defaults, by the path of the field without list positions. A field with another value
/// counts.
const DEFAULTS: [(&str, &str); 13] = [
    (".condition.for", "0"),
    (".condition.onNoData", "Hold"),
    (".condition.promql.source.kind", "ClusterPrometheusSource"),
    (".condition.promql.source.name", "default"),
    (".target.namespaceLabel", "namespace"),
    (".target.minAge", "30000"),
    (".target.systemCritical", "false"),
    (".steps.attempts", "1"),
    (".steps.action.deletePod.disruption", "Evict"),
    (".steps.action.deletePod.protectedPods", "Skip"),
    (".steps.action.scale.min", "1"),
    (".steps.action.scale.autoscaler", "Refuse"),
    (".steps.action.scale.volumeLoss", "Refuse"),
];

/// The fields that hold a duration.
const DURATIONS: [&str; 6] = [
    ".condition.for",
    ".condition.clearFor",
    ".condition.promql.signalWindow",
    ".target.minAge",
    ".steps.verify.within",
    ".steps.verify.readyWithin",
];

/// Removes defaults, and what is empty after that. The kinds of actions stay: an empty
/// `rolloutRestart` means something.
fn without_defaults(value: &mut Value, path: &str) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                without_defaults(field, &format!("{path}.{name}"));
            }
            fields.retain(|name, field| {
                let path = format!("{path}.{name}");
                let text = field.as_str().map_or_else(|| field.to_string(), str::to_owned);
                let is_default = DEFAULTS.contains(&(path.as_str(), text.as_str()));
                let is_empty = field.as_object().is_some_and(serde_json::Map::is_empty)
                    || field.as_array().is_some_and(Vec::is_empty);
                let is_kind = path.starts_with(".steps.action.") || path == ".target.match.global";
                !is_default && !field.is_null() && (!is_empty || is_kind)
            });
        }
        Value::Array(items) => {
            for item in items {
                without_defaults(item, path);
            }
        }
        Value::String(text) if DURATIONS.contains(&path) => {
            if let Ok(length) = Duration::from(text.as_str()).get() {
                *text = length.as_millis().to_string();
            }
        }
        _ => {}
    }
}

/// The same value with the fields of every object in alphabetical order, whatever order the
/// map type keeps.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let ordered: std::collections::BTreeMap<_, _> =
                fields.iter().map(|(name, field)| (name.clone(), sorted(field))).collect();
            ordered.into_iter().collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(spec: &Value) -> String {
        rules_digest(&serde_json::from_value(spec.clone()).unwrap())
    }

    fn minimal() -> Value {
        json!({
            "condition": {"promql": {"query": "up > 5"}},
            "target": {"kind": "Pod", "selector": {"matchLabels": {"app": "web"}}},
            "steps": [{"name": "evict", "action": {"deletePod": {}}}, {"name": "restart", "action": {"rolloutRestart": {}}}],
        })
    }

    #[test]
    fn a_default_that_is_written_out_changes_no_digest() {
        let written_out = json!({
            "mode": "Enforce", "interval": "10s", "limits": {"cooldown": "1m"},
            "condition": {
                "promql": {"query": "up > 5", "source": {"kind": "ClusterPrometheusSource", "name": "default"}},
                "for": "0s", "onNoData": "Hold",
            },
            "target": {
                "kind": "Pod", "selector": {"matchLabels": {"app": "web"}, "matchExpressions": []}, "match": {"label": "pod"},
                "namespaceLabel": "namespace", "minAge": "30s", "systemCritical": false,
            },
            "steps": [
                {"name": "other", "action": {"deletePod": {"disruption": "Evict", "protectedPods": "Skip"}}, "attempts": 1, "verify": {}},
                {"name": "name", "action": {"rolloutRestart": {}}},
            ],
        });
        assert_eq!(of(&written_out), of(&minimal()));
    }

    #[test]
    fn a_duration_counts_by_its_length() {
        let with = |minutes: &str| {
            let mut spec = minimal();
            spec["condition"]["for"] = json!(minutes);
            of(&spec)
        };
        assert_eq!(with("1m"), with("60s"));
        assert_ne!(with("1m"), with("61s"));
    }

    #[test]
    fn every_change_of_meaning_changes_the_digest() {
        let mut seen = vec![of(&minimal())];
        for (pointer, value) in [
            ("/condition/promql/query", json!("up > 6")),
            ("/condition/onNoData", json!("Clear")),
            ("/condition/for", json!("1m")),
            ("/condition/clearFor", json!("1m")),
            ("/condition/promql/evidence", json!("up")),
            ("/condition/promql/signalWindow", json!("1m")),
            ("/target/systemCritical", json!(true)),
            ("/target/match", json!({"global": {}})),
            ("/target/match", json!({"label": "container"})),
            ("/target/minAge", json!("31s")),
            ("/target/selector/matchLabels/app", json!("api")),
            ("/steps/0/attempts", json!(2)),
            ("/steps/0/verify", json!({"readyWithin": "20m"})),
            ("/steps/0/action/deletePod/disruption", json!("Delete")),
            ("/steps/0/action/deletePod/protectedPods", json!("Remove")),
            ("/steps/1/action", json!({"scale": {"by": 1, "max": 5}})),
            ("/steps/1/action", json!({"scale": {"by": 1, "max": 6}})),
            ("/steps/1/action", json!({"scale": {"by": -1, "max": 6}})),
            ("/steps/1/action", json!({"scale": {"by": -1, "max": 6, "volumeLoss": "Allow"}})),
        ] {
            let mut spec = minimal();
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            spec.pointer_mut(parent).unwrap()[field] = value;
            let digest = of(&spec);
            assert!(!seen.contains(&digest), "{pointer}");
            seen.push(digest);
        }
        let mut swapped = minimal();
        swapped["steps"].as_array_mut().unwrap().reverse();
        assert!(!seen.contains(&of(&swapped)), "the order of steps is the ladder");
    }

    /// These digests are stored in records and statuses. If one of them changes, every ladder
    /// restarts with the upgrade: give a new field a row in `DEFAULTS` instead.
    #[test]
    fn digests_of_stored_policies_never_change() {
        for (stored, expected) in [
            (include_str!("../../../api/tests/stored/0.2/healingpolicy-minimal.yaml"), "6a5782de9aefa01f"),
            (include_str!("../../../api/tests/stored/0.2/healingpolicy-full.yaml"), "610e4f6d9dbd98dd"),
        ] {
            let policy: prunella_api::HealingPolicy = serde_yaml::from_str(stored).unwrap();
            assert_eq!(rules_digest(&policy.spec), expected, "{stored}");
        }
    }
}
