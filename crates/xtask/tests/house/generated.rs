//! What is committed as generated is what would be generated.

use std::process::Command;

#[test]
fn the_custom_resource_definitions_are_what_the_types_say() {
    let check = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["crds", "--check"]).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}
