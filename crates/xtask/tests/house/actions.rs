//! The catalogue of actions in `crates/core/src/action.rs` is complete: every action has its
//! files, its field, its rights, its documentation and a break that a test catches.

use std::collections::BTreeSet;
use std::fs;

use kube::CustomResourceExt;
use prunella_api::HealingPolicy;
use prunella_core::action::CATALOGUE;
use serde_json::Value;

use super::repository;

fn text(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fields of `spec.steps[].action` in the API.
fn fields() -> BTreeSet<String> {
    let crd = serde_json::to_value(HealingPolicy::crd()).unwrap();
    let action =
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/steps/items/properties/action/properties";
    crd.pointer(action).and_then(Value::as_object).unwrap().keys().cloned().collect()
}

#[test]
fn the_catalogue_has_every_action_of_the_api_and_no_other() {
    let listed: BTreeSet<String> = CATALOGUE.iter().map(|entry| entry.field.to_owned()).collect();
    assert_eq!(listed, fields());
}

#[test]
fn every_action_has_one_file_in_each_layer_and_no_file_is_left_over() {
    for (layer, others) in [("api", vec![]), ("core", vec!["applicability"]), ("cluster", vec![])] {
        let folder = repository().join(format!("crates/{layer}/src/action"));
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files: BTreeSet<String> =
            files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        let expected: BTreeSet<String> =
            CATALOGUE.iter().map(|entry| entry.file).chain(others).map(str::to_owned).collect();
        assert_eq!(files, expected, "crates/{layer}/src/action");
    }
}

#[test]
fn every_component_of_rights_belongs_to_one_action_and_is_part_of_the_base() {
    let base = text("deploy/kustomize/base/kustomization.yaml");
    let mut listed = BTreeSet::new();
    for entry in CATALOGUE {
        for component in entry.rights {
            assert!(listed.insert((*component).to_owned()), "{component} belongs to two actions");
            assert!(base.contains(&format!("../actions/{component}\n")), "{component} is not part of the base");
        }
    }
    let folder = fs::read_dir(repository().join("deploy/kustomize/actions")).unwrap();
    let there: BTreeSet<String> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(listed, there);
}

#[test]
fn every_action_is_documented_with_its_rights_and_kinds() {
    let page = text("docs/reference/actions.md");
    for entry in CATALOGUE {
        let row = format!("| `{}: ", entry.field);
        let row = page.lines().find(|line| line.starts_with(&row));
        let row = row.unwrap_or_else(|| panic!("docs/reference/actions.md has no row for {}", entry.field));
        for word in entry.rights.iter().chain(entry.kinds) {
            assert!(row.contains(word), "{word} is missing: {row}");
        }
        assert!(page.contains(&format!("\n## {}\n", entry.field)), "{} has no section", entry.field);
    }
}

#[test]
fn every_action_has_a_break_that_a_test_catches() {
    let breaks = text("tests/break-it/promises.yaml") + &text("tests/break-it/guardrails.yaml");
    for entry in CATALOGUE {
        let file = format!("crates/core/src/action/{}.rs", entry.file);
        assert!(breaks.contains(&file), "tests/break-it breaks nothing in {file}");
    }
}
