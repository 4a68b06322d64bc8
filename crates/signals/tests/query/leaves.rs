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
fn what_would_inhibit_the_breach_must_report() {
    let lag = r#"count(lag{namespace="shop",pod="web-1"})"#;
    // It inhibits by its value, so it has series while it does not inhibit.
    check("lag > 1 unless on (node) drain == 1", &[lag, "count(drain)"]);
    check("lag > 1 unless on (pod) drain == 1", &[lag, r#"count(drain{pod="web-1"})"#]);
    check(
        "lag > 1 unless (drain == 1 or hold == 1)",
        &[lag, r#"count(drain{namespace="shop",pod="web-1"})"#, r#"count(hold{namespace="shop",pod="web-1"})"#],
    );
    // An info metric has no series with the value that does not inhibit.
    check(
        r#"lag > 1 unless on (pod) kube_persistentvolumeclaim_access_mode{namespace="shop", access_mode="ReadOnlyMany"} == 1"#,
        &[lag, r#"count(kube_persistentvolumeclaim_access_mode{namespace="shop",pod="web-1"})"#],
    );
    // Without the right side, the inner `unless` inhibits more.
    check("lag > 1 unless (drain == 1 unless rush == 1)", &[lag, r#"count(drain{namespace="shop",pod="web-1"})"#]);
    // If the series exists, it does not inhibit.
    check("lag > 1 unless on () absent(drain)", &[lag]);
}

#[test]
fn the_exporter_of_what_inhibits_by_existing_must_not_be_down() {
    let lag = r#"count(lag{namespace="shop",pod="web-1"})"#;
    let not_down = |selector: &str| format!("absent(up == 0 and on (job, instance) present_over_time({selector}[1h]))");
    check("lag > 1 unless on (pod) ready", &[lag, &not_down(r#"ready{pod="web-1"}"#)]);
    check("lag > 1 and on () absent(maintenance)", &[lag, &not_down("maintenance")]);
    check("lag > 1 and on () (absent(maintenance) == 1)", &[lag, &not_down("maintenance")]);
    // The same exporter is proven by its other metric.
    check(
        "kube_pod_status_ready == 0 unless on (namespace, pod) kube_pod_deletion_timestamp",
        &[r#"count(kube_pod_status_ready{namespace="shop",pod="web-1"})"#],
    );
}

#[test]
fn if_silence_is_the_breach_the_exporter_must_be_up() {
    let up = |own: &str, any: &str| {
        let up = format!("min(up and on (job, instance) present_over_time({own}[1h]))");
        format!("{up} == 1 or (count({any}) unless {up})")
    };
    check("absent(heartbeat)", &[&up("heartbeat", "heartbeat")]);
    check(
        r#"(count(redis_instance_info{namespace="shop", role="master"}) or vector(0)) < 1"#,
        &[&up(r#"redis_instance_info{namespace="shop",role="master"}"#, r#"redis_instance_info{namespace="shop"}"#)],
    );
    check(
        "lag > 1 or absent(heartbeat)",
        &[&format!(r#"count(lag{{namespace="shop",pod="web-1"}}) or {}"#, up("heartbeat", "heartbeat"))],
    );
    // Prometheus writes `up` itself. A target that it never scraped is misspelt, or elsewhere.
    check(r#"absent(up{job="web"})"#, &[r#"count(up) and count(present_over_time(up{job="web"}[1d]))"#]);
    // The value that is filled in is healthy here.
    check("(count(lag) or vector(0)) > 5", &["count(lag)"]);
    check("(lag or 0 * up) > 5", &[r#"count(lag{namespace="shop",pod="web-1"})"#]);
}

#[test]
fn the_series_that_tells_of_a_crash_may_be_missing_between_two_crashes() {
    check(
        r#"max_over_time(kube_pod_container_status_waiting_reason{reason="CrashLoopBackOff"}[5m]) >= 1"#,
        &[r#"count(kube_pod_container_status_waiting{namespace="shop",pod="web-1"})"#],
    );
    let compiled =
        Query::compile(r#"kube_pod_container_status_waiting_reason{reason="CrashLoopBackOff"} == 1"#, None).unwrap();
    let asked = compiled.leaves().first().unwrap().instant_query(&[("pod", "web-1"), ("reason", "CrashLoopBackOff")]);
    assert_eq!(asked, r#"count(kube_pod_container_status_waiting{pod="web-1"})"#, "it has no label reason");
}

#[test]
fn a_query_names_each_operand_without_series() {
    let missing = |query: &str| Query::compile(query, Some("up")).unwrap().missing_operands();
    assert_eq!(
        missing(r#"a{x="1"} == 0 and on (pod) b == 1 unless c"#).unwrap(),
        r#"label_replace(absent(a{x="1"}), "operand", "0", "", "") or label_replace(absent(b), "operand", "1", "", "")"#
    );
    assert_eq!(
        missing("a > 1 or b > 2 and c > 3").unwrap(),
        r#"label_replace(absent(a) and on () absent(b), "operand", "0", "", "") or label_replace(absent(a) and on () absent(c), "operand", "1", "", "")"#
    );
    // Nothing has failed yet.
    assert_eq!(
        missing("sum by (pod) (rate(x_failed_total[5m])) / sum by (pod) (rate(x_total[5m])) > 0.1 and on (pod) y > 1")
            .unwrap(),
        r#"label_replace(absent(x_total), "operand", "0", "", "") or label_replace(absent(y), "operand", "1", "", "")"#
    );
    assert_eq!(missing(r#"rate(x_total{code="500"}[5m]) > 1 and rate(x_total[5m]) > 1"#), None);
    assert_eq!(missing("a > 1"), None, "the evidence tells");
    assert_eq!(missing("absent(a)"), None);
    assert_eq!(missing("ALERTS == 1 and on (pod) a > 1"), None, "it exists only while something is wrong");
    let operands = Query::compile("a > 1 and b > 2", None).unwrap().operands();
    assert_eq!(operands.iter().map(prunella_signals::Leaf::name).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn what_may_surprise_is_said_with_the_fix() {
    let advice = |query: &str| Query::compile(query, None).unwrap().advice().join("; ");
    for (query, words) in [
        (r#"ALERTS{alertname="WebHung"} == 1"#, "set condition.promql.evidence to the metric that the alert is about"),
        ("DCGM_FI_DEV_XID_ERRORS > 0", "DCGM_FI_DEV_GPU_TEMP"),
        ("topk(1, lag) > 30", "leave out breached targets"),
        ("absent(heartbeat)", "while nothing scrapes heartbeat: before an action"),
        ("(count(lag) or vector(0)) < 1", "while nothing scrapes lag: "),
    ] {
        assert!(advice(query).contains(words), "{query}: {}", advice(query));
    }
    for query in [
        "lag > 30",
        "(count(lag) or vector(0)) > 1",
        "lag > 30 unless on (node) drain == 1",
        r#"kube_pod_container_status_waiting_reason{reason="CrashLoopBackOff"} == 1"#,
    ] {
        assert_eq!(advice(query), "", "{query}");
    }
    assert_eq!(Query::compile("ALERTS == 1", Some("up")).unwrap().advice(), Vec::<String>::new());
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
