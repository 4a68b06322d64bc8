//! The generated files are current. A test in the controller's crate checks the metrics
//! page, because only that crate has the binary which prints it.

use std::process::Command;

#[test]
fn the_custom_resource_definitions_are_current() {
    check(&["crds", "--check"]);
}

#[test]
fn the_api_reference_is_current() {
    check(&["docs", "--check", "--only", "api"]);
}

#[test]
fn the_rules_for_the_prometheus_operator_are_current() {
    check(&["docs", "--check", "--only", "alerts"]);
}

fn check(arguments: &[&str]) {
    let check = Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}
