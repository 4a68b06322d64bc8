//! The alerts on the healer itself speak of metrics that there are, lead to pages that
//! there are, and have cases for and against them.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::repository;

const FOLDER: &str = "deploy/monitoring";

#[test]
fn an_alert_asks_for_metrics_and_words_that_there_are() {
    let page = read("docs/metrics.md");
    for (name, rule) in alerts() {
        let expr = rule["expr"].as_str().unwrap();
        let metrics: Vec<_> = words(expr).filter(|word| word.starts_with("prunella_")).collect();
        assert!(!metrics.is_empty(), "{name} asks for no metric of ours");
        for metric in metrics {
            assert!(page.contains(&format!("`{metric}`")), "{name} asks for {metric}, which docs/metrics.md has not");
        }
        // What stands between quotation marks is a word of a label.
        for word in expr.split('"').skip(1).step_by(2) {
            assert!(page.contains(&format!("`{word}`")), "{name} asks for {word}, which docs/metrics.md has not");
        }
    }
}

#[test]
fn an_alert_leads_to_its_page() {
    for (name, rule) in alerts() {
        let page = rule["annotations"]["runbook_url"].as_str().unwrap();
        let text = read(page);
        assert!(text.starts_with(&format!("# {name}\n")), "{page} is not about {name}");
        for heading in ["## What it means", "## How to see", "## How to mend"] {
            assert!(text.contains(heading), "{page} has no part {heading}");
        }
    }
}

#[test]
fn an_alert_has_a_case_that_raises_it_and_one_that_does_not() {
    let tests: Value = serde_yaml::from_str(&read(&format!("{FOLDER}/alerts-test.yaml"))).unwrap();
    let mut cases: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for case in tests["tests"].as_array().unwrap().iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap()) {
        let raised = case["exp_alerts"].as_array().is_some_and(|all| !all.is_empty());
        cases.entry(case["alertname"].as_str().unwrap().to_owned()).or_default()[usize::from(raised)] += 1;
    }
    for (name, _) in alerts() {
        let [against, for_it] = cases.remove(&name).unwrap_or_default();
        assert!(against > 0 && for_it > 0, "{name} has {for_it} cases that raise it and {against} that do not");
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
