//! Which crate may use which. A dependency that is not in the table is not allowed: a new
//! crate, or a new dependency between crates, is a decision about the architecture.

use std::collections::BTreeMap;

use serde_json::Value;

use super::packages;

/// Each package of the workspace with the packages of the workspace that it may use. No
/// package but the world in virtual time may use `prunella-controller`.
const MAY_USE: [(&str, &[&str]); 13] = [
    ("prunella-api", &[]),
    ("prunella-core", &[]),
    ("prunella-signals", &["prunella-core"]),
    ("prunella-cluster", &["prunella-api", "prunella-core"]),
    ("prunella-controller", &["prunella-api", "prunella-cluster", "prunella-core", "prunella-signals"]),
    ("prunella-sim", &["prunella-core"]),
    ("prunella-world", &["prunella-api", "prunella-controller", "prunella-signals"]),
    ("sample-app", &[]),
    ("testbed", &[]),
    ("prunella-demo", &["prunella-api", "testbed"]),
    ("prunella-bench", &["prunella-api", "testbed"]),
    // With the world for one suite: it compares the API server in process with the real one.
    ("prunella-e2e", &["prunella-api", "prunella-world", "testbed"]),
    ("xtask", &["prunella-api", "prunella-core"]),
];

/// Dependencies that would break the purpose of a layer.
const MUST_NOT_USE: [(&str, &[&str]); 4] = [
    // Pure: no IO, no clock of its own, no Kubernetes.
    ("prunella-core", &["kube", "k8s-openapi", "tokio", "reqwest", "futures", "serde_json"]),
    // Types only, so that tools can use them cheaply.
    ("prunella-api", &["tokio", "reqwest", "futures"]),
    // It talks to Prometheus and to nothing else.
    ("prunella-signals", &["kube", "k8s-openapi"]),
    // It changes workloads and sends no queries.
    ("prunella-cluster", &["reqwest", "promql-parser"]),
];

#[test]
fn crates_use_only_the_layers_below_them() {
    let table: BTreeMap<&str, &[&str]> = MAY_USE.into_iter().collect();
    for package in &packages() {
        let name = name(package);
        let allowed = table.get(name).unwrap_or_else(|| panic!("{name} is new: list in MAY_USE what it may use"));
        for used in dependencies(package).filter(|used| used["path"].is_string()).map(self::name) {
            assert!(allowed.contains(&used), "{name} must not use {used}: see ARCHITECTURE.md, or change MAY_USE");
        }
    }
}

#[test]
fn layers_have_no_forbidden_dependencies() {
    for package in &packages() {
        let forbidden = MUST_NOT_USE.iter().find(|(layer, _)| *layer == name(package));
        let forbidden = forbidden.map(|(_, forbidden)| *forbidden).unwrap_or_default();
        // Tests may use anything.
        for used in dependencies(package).filter(|used| used["kind"] != "dev").map(name) {
            assert!(!forbidden.contains(&used), "{} must not use {used}", name(package));
        }
    }
}

#[test]
fn the_api_crate_has_no_client() {
    let packages = packages();
    let api = packages.iter().find(|package| name(package) == "prunella-api").unwrap();
    let kube = dependencies(api).find(|used| name(used) == "kube").unwrap();
    for feature in ["client", "runtime"] {
        let on = kube["features"].as_array().unwrap().iter().any(|one| one == feature);
        assert!(!on, "prunella-api must not turn on kube's {feature}");
    }
}

fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap()
}

fn dependencies(package: &Value) -> impl Iterator<Item = &Value> {
    package["dependencies"].as_array().unwrap().iter()
}
