//! The selectors that must have samples now, so that a breach is fresh.

use std::time::Duration;

use prunella_signals::Query;

const WEB: [(&str, &str); 2] = [("namespace", "shop"), ("pod", "web-1")];

#[track_caller]
fn check(query: &str, want: &[&str]) {
    let compiled = Query::compile(query, Some("up")).unwrap();
    let got: Vec<_> = compiled.leaves().iter().map(|leaf| leaf.instant_query(&WEB)).collect();
    assert_eq!(got, want, "for {query}");
    for leaf in &got {
        Query::compile(leaf, Some("up")).unwrap();
    }
}

#[test]
fn a_leaf_is_narrowed_to_the_target_and_to_now() {
    check("lag > 1", &[r#"count(lag{namespace="shop",pod="web-1"})"#]);
    check(
        "rate(x_total{code='500'}[5m] offset 1h) > 1",
        &[r#"count(x_total{code="500",namespace="shop",pod="web-1"})"#],
    );
    check("heap / heap offset 1h > 2", &[r#"count(heap{namespace="shop",pod="web-1"})"#]);
    check(
        "max_over_time(rate(x_total[1m])[1h:] @ 1600000000) > 1",
        &[r#"count(x_total{namespace="shop",pod="web-1"})"#],
    );
}

#[test]
fn a_label_that_the_selector_pins_is_not_added() {
    check(r#"lag{namespace="shop"} > 1"#, &[r#"count(lag{namespace="shop",pod="web-1"})"#]);
    check(r#"lag{pod=~"web-.*"} > 1"#, &[r#"count(lag{namespace="shop",pod="web-1",pod=~"web-.*"})"#]);
}

#[test]
fn values_are_escaped() {
    let compiled = Query::compile("lag > 1", None).unwrap();
    let leaves = compiled.leaves();
    let leaf = leaves.first().unwrap();
    assert_eq!(leaf.instant_query(&[("pod", "a\"} or up{b=\"\\")]), r#"count(lag{pod="a\"} or up{b=\"\\"})"#);
}

#[test]
fn both_sides_of_a_match_need_samples() {
    check(
        "used > on (namespace, pod) limit",
        &[r#"count(used{namespace="shop",pod="web-1"})"#, r#"count(limit{namespace="shop",pod="web-1"})"#],
    );
    check("lag > scalar(max_lag)", &[r#"count(lag{namespace="shop",pod="web-1"})"#, "count(max_lag)"]);
}

#[test]
fn a_leaf_is_narrowed_only_by_labels_that_reach_the_result() {
    check("lag * on (node) group_left () load > 1", &[r#"count(lag{namespace="shop",pod="web-1"})"#, "count(load)"]);
    check(
        "lag * on (instance) group_left (pod) info > 1",
        &[r#"count(lag{namespace="shop"})"#, r#"count(info{pod="web-1"})"#],
    );
    check("sum by (pod) (lag) > 1", &[r#"count(lag{pod="web-1"})"#]);
    check("sum without (pod) (lag) > 1", &[r#"count(lag{namespace="shop"})"#]);
    check("sum(lag) > 1", &["count(lag)"]);
    check("topk(3, lag) > 1", &[r#"count(lag{namespace="shop",pod="web-1"})"#]);
    check(r#"label_replace(lag, "pod", "$1", "instance", "(.*)") > 1"#, &[r#"count(lag{namespace="shop"})"#]);
    check(
        "a and on (namespace) b > 1",
        &[r#"count(a{namespace="shop",pod="web-1"})"#, r#"count(b{namespace="shop"})"#],
    );
    check("a + ignoring (pod) b > 1", &[r#"count(a{namespace="shop"})"#, r#"count(b{namespace="shop"})"#]);
}

#[test]
fn a_selector_that_the_breach_makes_disappear_needs_no_samples() {
    check("absent(up)", &[]);
    check("lag > 1 unless on (pod) ready", &[r#"count(lag{namespace="shop",pod="web-1"})"#]);
    check("lag > 1 or absent(up)", &[]);
}

#[test]
fn one_branch_of_an_or_is_enough() {
    check(
        "lag > 1 or depth > 2",
        &[r#"count(lag{namespace="shop",pod="web-1"}) or count(depth{namespace="shop",pod="web-1"})"#],
    );
    let compiled = Query::compile("a > b or c > d", Some("up")).unwrap();
    let got: Vec<_> = compiled.leaves().iter().map(|leaf| leaf.instant_query(&[])).collect();
    assert_eq!(got, ["count(a) or count(c)", "count(a) or count(d)", "count(b) or count(c)", "count(b) or count(d)"]);
}

#[test]
fn the_number_of_leaves_of_an_or_is_limited() {
    let branch = |prefix: &str| (0..8).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>().join(" + ");
    let query = format!("{} > 1 or {} > 1", branch("a"), branch("b"));
    let compiled = Query::compile(&query, Some("up")).unwrap();
    assert_eq!(compiled.leaves().len(), 1);
}

#[test]
fn the_ages_are_of_the_first_selector_that_a_breach_needs() {
    let ages = |query: &str, millis| Query::compile(query, Some("up")).unwrap().ages(Duration::from_millis(millis), 64);
    assert_eq!(
        ages("rate(lag{app=\"web\"}[5m] offset 1m) / on (pod) size > 5", 30_000).unwrap(),
        r#"count_values("age", floor((time() - timestamp(lag{app="web"})) % 30 / 30 * 64))"#
    );
    assert_eq!(
        ages("lag > 5", 500).unwrap(),
        r#"count_values("age", floor((time() - timestamp(lag)) % 0.5 / 0.5 * 64))"#
    );
    assert_eq!(ages("absent(lag)", 30_000), None);
}
