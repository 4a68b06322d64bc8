//! The alerts on Prunella itself use metrics that exist, link to runbooks that exist, and
//! have test cases in which they fire and in which they do not.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::repository;

const FOLDER: &str = "deploy/monitoring";
const METRICS: &str = "docs/reference/metrics.md";

#[test]
fn an_alert_uses_metrics_and_label_values_that_exist() {
    let page = read(METRICS);
    for (name, rule) in alerts() {
        let expr = rule["expr"].as_str().unwrap();
        let metrics: Vec<_> = words(expr).filter(|word| word.starts_with("prunella_")).collect();
        assert!(!metrics.is_empty(), "{name} uses no metric of ours");
        for metric in metrics {
            assert!(page.contains(&format!("`{metric}`")), "{name} uses {metric}, which is not in {METRICS}");
        }
        // The text between quotation marks is the value of a label.
        for word in expr.split('"').skip(1).step_by(2) {
            assert!(page.contains(&format!("`{word}`")), "{name} uses {word}, which is not in {METRICS}");
        }
    }
}

#[test]
fn an_alert_links_to_its_runbook() {
    for (name, rule) in alerts() {
        let page = rule["annotations"]["runbook_url"].as_str().unwrap();
        let text = read(page);
        assert!(text.starts_with(&format!("# {name}\n")), "{page} is not about {name}");
        for heading in ["## What it means", "## How to check", "## How to fix"] {
            assert!(text.contains(heading), "{page} has no section {heading}");
        }
    }
}

#[test]
fn an_alert_has_test_cases_that_raise_it_and_that_do_not() {
    let tests: Value = serde_yaml::from_str(&read(&format!("{FOLDER}/alerts-test.yaml"))).unwrap();
    let mut cases: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for case in tests["tests"].as_array().unwrap().iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap()) {
        let raised = case["exp_alerts"].as_array().is_some_and(|all| !all.is_empty());
        cases.entry(case["alertname"].as_str().unwrap().to_owned()).or_default()[usize::from(raised)] += 1;
    }
    for (name, _) in alerts() {
        let [quiet, raised] = cases.remove(&name).unwrap_or_default();
        assert!(quiet > 0 && raised > 0, "{name} has {raised} cases that raise it and {quiet} that do not");
    }
    assert!(cases.is_empty(), "cases without an alert: {cases:?}");
}

fn alerts() -> Vec<(String, Value)> {
    let file: Value = serde_yaml::from_str(&read(&format!("{FOLDER}/alerts.yaml"))).unwrap();
    let rules = file["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone());
    rules.map(|rule| (rule["alert"].as_str().unwrap().to_owned(), rule)).collect()
}

fn words(expr: &str) -> impl Iterator<Item = &str> {
    expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}
