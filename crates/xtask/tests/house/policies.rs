//! The policies that documents and examples show are policies: they parse as the API's
//! types, and every field in them exists.

use std::fs;

use prunella_api::{ClusterPrometheusSource, HealingPolicy};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::documents::documents;
use super::files;

const VERSION: &str = "prunella.dev/v1alpha1";

#[test]
fn every_policy_in_the_documents_parses() {
    let mut count = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            count += check(&document.display().to_string(), block);
        }
    }
    assert!(count > 5, "only {count} policies");
}

#[test]
fn every_policy_in_the_examples_parses() {
    let count: usize = files("examples", "yaml")
        .into_iter()
        .map(|path| check(&path.display().to_string(), &fs::read_to_string(&path).unwrap()))
        .sum();
    assert!(count > 10, "only {count} objects");
}

/// Checks the objects of our kinds in a YAML text, and counts them.
fn check(place: &str, text: &str) -> usize {
    let mut count = 0;
    for part in text.split("\n---\n").filter(|part| part.contains(VERSION)) {
        let written: Value = serde_yaml::from_str(part).unwrap_or_else(|error| panic!("{place}: {error}\n{part}"));
        if written["apiVersion"] != VERSION {
            continue;
        }
        let read = match written["kind"].as_str() {
            Some("HealingPolicy") => read_back::<HealingPolicy>(place, &written),
            Some("ClusterPrometheusSource") => read_back::<ClusterPrometheusSource>(place, &written),
            other => panic!("{place}: unknown kind {other:?}"),
        };
        if let Some(field) = missing("", &written, &read) {
            panic!("{place}: there is no field {field}");
        }
        count += 1;
    }
    count
}

/// What the types make of an object. They ignore an unknown field, so it is missing here.
fn read_back<K: DeserializeOwned + Serialize>(place: &str, written: &Value) -> Value {
    let object: K = serde_json::from_value(written.clone()).unwrap_or_else(|error| panic!("{place}: {error}"));
    serde_json::to_value(object).unwrap()
}

/// The first field that was written and not read.
fn missing(path: &str, written: &Value, read: &Value) -> Option<String> {
    match (written, read) {
        (Value::Object(written), _) => written.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            read.get(name).map_or(Some(path.clone()), |read| missing(&path, value, read))
        }),
        (Value::Array(written), Value::Array(read)) => {
            written.iter().zip(read).find_map(|(written, read)| missing(&format!("{path}[]"), written, read))
        }
        _ => None,
    }
}

#[test]
fn an_unknown_field_is_found() {
    let written = serde_json::json!({"spec": {"steps": [{"name": "a", "attempt": 2}]}});
    let read = serde_json::json!({"spec": {"steps": [{"name": "a", "attempts": 1}]}});
    assert_eq!(missing("", &written, &read).as_deref(), Some(".spec.steps[].attempt"));
}
