//! Objects as earlier versions stored them. Every later version must read them without losing
//! a field: a policy or a record that cannot be read is not evaluated, and its budget counts
//! for nothing. Never change a file under `stored/`; add a folder for each release.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::path::Path;

use prunella_api::{ClusterPrometheusSource, HealingAction, HealingPolicy};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_yaml::Value;

/// Reads the object with its type and writes it again: nothing may be lost.
fn survives<K: DeserializeOwned + Serialize>(text: &str) -> Result<(), String> {
    let stored: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let object: K = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let written = serde_yaml::to_value(&object).map_err(|error| error.to_string())?;
    lost(&stored, &written, "").map_or(Ok(()), Err)
}

/// The first field of `stored` that is missing or different in `written`.
fn lost(stored: &Value, written: &Value, path: &str) -> Option<String> {
    match (stored, written) {
        (Value::Mapping(stored), Value::Mapping(written)) => stored.iter().find_map(|(name, field)| {
            let path = format!("{path}.{}", name.as_str().unwrap_or_default());
            match written.get(name) {
                Some(written) => lost(field, written, &path),
                None => Some(format!("{path} is lost")),
            }
        }),
        (Value::Sequence(stored), Value::Sequence(written)) if stored.len() == written.len() => {
            stored.iter().zip(written).enumerate().find_map(|(at, (a, b))| lost(a, b, &format!("{path}[{at}]")))
        }
        (stored, written) if stored == written => None,
        (stored, written) => Some(format!("{path} was {stored:?} and is {written:?}")),
    }
}

#[test]
fn objects_of_every_released_version_are_read_without_loss() {
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored");
    let mut read = 0;
    for version in std::fs::read_dir(stored).unwrap() {
        for file in std::fs::read_dir(version.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let kind = text.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap();
            let result = match kind {
                "HealingPolicy" => survives::<HealingPolicy>(&text),
                "HealingAction" => survives::<HealingAction>(&text),
                "ClusterPrometheusSource" => survives::<ClusterPrometheusSource>(&text),
                other => panic!("{}: no such kind: {other}", path.display()),
            };
            assert_eq!(result, Ok(()), "{}", path.display());
            read += 1;
        }
    }
    assert!(read >= 5, "{read} objects");
}
