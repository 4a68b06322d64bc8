//! Derives evidence queries, which return the targets that have data.

use prunella_signals::Query;

/// `want` is the evidence query, or `!` and the reason of the refusal.
#[track_caller]
pub(super) fn check(query: &str, want: &str) {
    let got = match Query::compile(query, None) {
        Ok(compiled) => {
            assert_eq!(compiled.text(), query, "the user's text is sent unchanged");
            compiled.evidence().to_owned()
        }
        Err(error) => format!("!{}", error.reason()),
    };
    assert_eq!(got, want, "for {query}");
}

#[test]
fn a_comparison_with_a_number_is_removed() {
    check(
        r#"container_memory_working_set_bytes{namespace="shop", container="web"} > 200 * 1024 * 1024"#,
        r#"container_memory_working_set_bytes{container="web",namespace="shop"}"#,
    );
    check("up == 0", "up");
    check("5 < queue_depth", "queue_depth");
    check("(((queue_depth))) > 5", "queue_depth");
    check("(queue_depth > 5)", "queue_depth");
    check("queue_depth > 5 < 100", "queue_depth");
    check("time() - job_last_success_seconds > 3600", "time() - job_last_success_seconds");
    check("-temperature < -90", "-temperature");
    check("- (a + b) < 0", "-(a + b)");
    check(
        r#"sum by (pod) (rate(log_lines_total{level=~"error|fatal"}[5m])) > 1"#,
        "sum by (pod) (rate(log_lines_total[5m]) and log_lines_total)",
    );
    check(
        "increase(kube_pod_container_status_restarts_total[15m]) > 3",
        "increase(kube_pod_container_status_restarts_total[15m]) and kube_pod_container_status_restarts_total",
    );
    check(
        "changes(process_start_time_seconds[30m]) > 2",
        "changes(process_start_time_seconds[30m]) and process_start_time_seconds",
    );
    check(
        "predict_linear(node_filesystem_avail_bytes[6h], 4 * 3600) < 0",
        "predict_linear(node_filesystem_avail_bytes[6h], 4 * 3600) and node_filesystem_avail_bytes",
    );
    check("deriv(heap_bytes[1h]) > 1e6", "deriv(heap_bytes[1h]) and heap_bytes");
    check("queue_depth offset 5m > 10", "queue_depth offset 5m");
    check("queue_depth @ end() > 10", "queue_depth @ end()");
}

#[test]
fn aggregations_and_label_functions_are_kept() {
    check("count by (node) (up == 0) > 2", "count by (node) (up)");
    check("sum without (cpu) (rate(x_total[1m]) > 0.5)", "sum without (cpu) (rate(x_total[1m]) and x_total)");
    check("sum by () (x) > 1", "sum(x)");
    check("quantile by (pod) (0.9, latency_seconds > 0) > 2", "quantile by (pod) (0.9, latency_seconds)");
    check(r#"count_values("version", build_info) > 10"#, r#"count_values("version", build_info)"#);
    check(
        r#"label_replace(probe_success == 0, "pod", "$1", "instance", "(.*):\\d+")"#,
        r#"label_replace(probe_success, "pod", "$1", "instance", "(.*):\\d+")"#,
    );
    check(r#"label_join(up == 0, "id", "/", "namespace", "pod")"#, r#"label_join(up, "id", "/", "namespace", "pod")"#);
    check("round(lag_seconds > 30)", "round(lag_seconds)");
    check("sort_desc(lag_seconds > 30)", "sort_desc(lag_seconds)");
    check(
        "histogram_quantile(0.99, sum by (le, pod) (rate(http_request_duration_seconds_bucket[5m]))) > 1.5",
        "histogram_quantile(0.99, sum by (le, pod) (rate(http_request_duration_seconds_bucket[5m]) and http_request_duration_seconds_bucket))",
    );
}

#[test]
fn a_series_that_is_not_picked_is_evidence_only_if_it_is_healthy() {
    check("topk(1, lag_seconds) > 30", "lag_seconds unless lag_seconds > 30");
    check("topk(3, lag_seconds > 30)", "lag_seconds unless lag_seconds > 30");
    check("bottomk by (zone) (2, free_slots) < 1", "free_slots unless free_slots < 1");
    check(
        "sum by (pod) (topk(3, lag_seconds)) > 30",
        "sum by (pod) (lag_seconds) unless sum by (pod) (lag_seconds) > 30",
    );
    check(
        "topk(1, lag_seconds) > 30 and b > 1",
        "lag_seconds unless (topk(1, lag_seconds) > 30 unless b) unless (lag_seconds > 30 and b > 1)",
    );
    // One value for all targets, and a pick that makes a match unique, hide no target.
    check("sum(topk(3, lag_seconds)) > 30", "sum(lag_seconds)");
    check("topk(3, lag_seconds)", "!NoComparison");
}

#[test]
fn the_evidence_for_a_ratio_of_counters_is_its_denominator() {
    check(
        r#"sum by (pod) (rate(http_requests_total{code=~"5.."}[5m])) / sum by (pod) (rate(http_requests_total[5m])) > 0.05"#,
        "sum by (pod) (rate(http_requests_total[5m]) and http_requests_total) > 0",
    );
    check(
        "rate(errors_total[5m]) / rate(requests_total[5m]) > 0.1",
        "(rate(requests_total[5m]) and requests_total) > 0",
    );
    check(
        "100 * increase(container_cpu_cfs_throttled_periods_total[5m]) / increase(container_cpu_cfs_periods_total[5m]) > 25",
        "(increase(container_cpu_cfs_periods_total[5m]) and container_cpu_cfs_periods_total) > 0",
    );
    check(
        "rate(ok_total[5m]) / rate(all_total[5m]) * 100 < 99",
        "(rate(ok_total[5m]) and ok_total) / (rate(all_total[5m]) and all_total) * 100",
    );
    check(
        "1 - rate(ok_total[5m]) / rate(all_total[5m]) > 0.01",
        "1 - (rate(ok_total[5m]) and ok_total) / (rate(all_total[5m]) and all_total)",
    );
    check(
        "(sum(rate(errors_total[5m])) or vector(0)) / sum(rate(requests_total[5m])) > 0.1",
        "sum(rate(requests_total[5m]) and requests_total) > 0",
    );
    check(
        "rate(errors_total[5m]) / (rate(requests_total[5m]) > 10) > 0.1",
        "(rate(requests_total[5m]) and requests_total) > 0",
    );
    check(
        "rate(errors_total[5m]) / sum by (pod) (rate(requests_total[5m]) > 1) > 0.1",
        "sum by (pod) (rate(requests_total[5m]) and requests_total) > 0",
    );
    check(
        "rate(e_total[5m]) / (rate(a_total[5m]) + rate(b_total[5m])) > 0.1",
        "(rate(a_total[5m]) and a_total) + (rate(b_total[5m]) and b_total) > 0",
    );
}

#[test]
fn the_evidence_for_a_ratio_has_the_labels_of_its_result() {
    check("rate(e_total[5m]) / on (pod) rate(r_total[5m]) > 0.1", "max by (pod) (rate(r_total[5m]) and r_total) > 0");
    check(
        "rate(e_total[5m]) / on (pod, ns) sum by (ns, pod) (rate(r_total[5m])) > 0.1",
        "sum by (ns, pod) (rate(r_total[5m]) and r_total) > 0",
    );
    check(
        "rate(e_total[5m]) / ignoring (code) rate(r_total[5m]) > 0.1",
        "max without (code) (rate(r_total[5m]) and r_total) > 0",
    );
    check(
        "rate(e_total[5m]) / on () min by () ((rate(r_total[5m]))) > 0.1",
        "max(min((rate(r_total[5m]) and r_total))) > 0",
    );
    check("e_total / ignoring () r_total > 1", "e_total / r_total");
    check("rate(e_total[5m]) / on (job) group_right () rate(r_total[5m]) > 0.1", "(rate(r_total[5m]) and r_total) > 0");
    check(
        "rate(e_total[5m]) / on (job) group_left () rate(r_total[5m]) > 0.1",
        "(rate(e_total[5m]) and e_total) / on (job) group_left () (rate(r_total[5m]) and r_total)",
    );
}

#[test]
fn a_ratio_of_two_exporters_needs_both() {
    check(
        r#"container_memory_working_set_bytes / on (namespace, pod, container) kube_pod_container_resource_limits{resource="memory"} > 0.9"#,
        r#"container_memory_working_set_bytes / on (namespace, pod, container) kube_pod_container_resource_limits{resource="memory"}"#,
    );
    check(
        "sum by (pod) (rate(container_cpu_usage_seconds_total[5m])) / sum by (pod) (kube_pod_container_resource_limits) > 0.8",
        "sum by (pod) (rate(container_cpu_usage_seconds_total[5m]) and container_cpu_usage_seconds_total) / sum by (pod) (kube_pod_container_resource_limits)",
    );
    // Counters of the kubelet and of the app.
    check(
        "sum by (pod) (rate(container_cpu_usage_seconds_total[5m])) / sum by (pod) (rate(http_requests_total[5m])) > 0.5",
        "sum by (pod) (rate(container_cpu_usage_seconds_total[5m]) and container_cpu_usage_seconds_total) / sum by (pod) (rate(http_requests_total[5m]) and http_requests_total)",
    );
    check(
        r#"sum by (pod) (rate(x_total{job="a"}[5m])) / sum by (pod) (rate(x_total{job="b"}[5m])) > 0.5"#,
        r#"sum by (pod) (rate(x_total{job="a"}[5m]) and x_total{job="a"}) / sum by (pod) (rate(x_total{job="b"}[5m]) and x_total{job="b"})"#,
    );
    // Data of an hour ago does not prove that there is data now.
    check("jvm_used / jvm_used offset 1h > 2", "jvm_used / jvm_used offset 1h");
    check(
        "rate(a_total[5m]) / max_over_time(rate(a_total[5m])[1h:] offset 1d) > 2",
        "(rate(a_total[5m]) and a_total) / max_over_time(rate(a_total[5m])[1h:] offset 1d)",
    );
}

#[test]
fn a_comparison_of_vectors_needs_both() {
    check("used_bytes > limit_bytes", "used_bytes + limit_bytes");
    check("used_bytes > 0.9 * limit_bytes", "used_bytes + 0.9 * limit_bytes");
    check(
        "kube_deployment_status_replicas_available != kube_deployment_spec_replicas",
        "kube_deployment_status_replicas_available + kube_deployment_spec_replicas",
    );
    check(
        "used_bytes > on (node) group_left (zone) limit_bytes",
        "used_bytes + on (node) group_left (zone) limit_bytes",
    );
    check("lag_seconds > scalar(max_lag_seconds)", "lag_seconds + scalar(max_lag_seconds)");
    check("heap_bytes - heap_bytes offset 1h > 1e8", "heap_bytes - heap_bytes offset 1h");
}

#[test]
fn joins_are_kept() {
    check(
        r#"(kube_pod_status_ready{condition="true"} == 0) * on (namespace, pod) group_left (owner_name) kube_pod_owner{owner_kind="ReplicaSet"}"#,
        r#"kube_pod_status_ready{condition="true"} * on (namespace, pod) group_left (owner_name) kube_pod_owner{owner_kind="ReplicaSet"}"#,
    );
    check(
        r#"sum by (namespace, pod) (kube_pod_status_phase{phase=~"Pending|Unknown"} * on (namespace, pod) group_left (owner_kind) kube_pod_owner{owner_kind!="Job"}) > 0"#,
        r#"sum by (namespace, pod) (kube_pod_status_phase{phase=~"Pending|Unknown"} * on (namespace, pod) group_left (owner_kind) kube_pod_owner{owner_kind!="Job"})"#,
    );
    // `phase` is copied from the filtered side, so that side keeps its filter.
    check(
        "lag_seconds * on (pod) group_left (phase) (kube_pod_status_phase == 1) > 30",
        "lag_seconds * on (pod) group_left (phase) (kube_pod_status_phase == 1)",
    );
    // Only one phase of five has the value 1: without the filter the match is not unique.
    check(
        "lag_seconds * on (pod) group_left () (kube_pod_status_phase == 1) > 30",
        "lag_seconds and on (pod) kube_pod_status_phase",
    );
    check(
        "(kube_pod_status_phase == 1) * on (pod) group_right () lag_seconds > 30",
        "lag_seconds and on (pod) kube_pod_status_phase",
    );
    check("lag_seconds + (depth > 5)", "lag_seconds and depth");
    check("lag_seconds + on (pod) (depth > 5)", "max by (pod) (lag_seconds and on (pod) depth)");
    check("lag_seconds + ignoring (code) (depth > 5)", "max without (code) (lag_seconds and ignoring (code) depth)");
    check("lag_seconds > on (pod) topk by (pod) (1, depth)", "max by (pod) (lag_seconds and on (pod) depth)");
    check(
        "node_load5 / on (instance) count by (instance) (node_cpu_seconds_total) > 2",
        "node_load5 / on (instance) count by (instance) (node_cpu_seconds_total)",
    );
}

#[test]
fn set_operators_keep_their_matching() {
    check("a and ignoring (code) (b > 1)", "a and ignoring (code) b");
    check("lag > 30 and on () hour() > 8", "lag");
    check(
        r#"kube_pod_status_ready{condition="false"} == 1 unless on (namespace, pod) kube_pod_deletion_timestamp"#,
        r#"kube_pod_status_ready{condition="false"}"#,
    );
    check("kube_pod_info unless on (pod) app_heartbeat", "kube_pod_info");
    check("lag > 30 and on () absent(maintenance)", "lag");
    check("lag > 30 and on () (absent(maintenance) == 1)", "lag");
}

#[test]
fn a_filter_under_an_aggregation_is_removed_also_if_the_result_is_joined_or_rounded() {
    check(
        r#"count by (namespace, pod) (kube_pod_status_ready{condition="true"} == 0) * on (namespace, pod) group_left (node) max by (namespace, pod, node) (kube_pod_info) > 0"#,
        r#"count by (namespace, pod) (kube_pod_status_ready{condition="true"}) * on (namespace, pod) group_left (node) max by (namespace, pod, node) (kube_pod_info)"#,
    );
    check(
        r#"round(100 * sum by (pod) (rate(x_total{code=~"5.."}[2m])) / sum by (pod) (rate(x_total[2m])), 0.1) > 5"#,
        "round(sum by (pod) (rate(x_total[2m]) and x_total) > 0, 0.1)",
    );
    // A sum with a missing value is not known.
    check("count by (pod) (a == 0) + on (pod) b > 5", "count by (pod) (a == 0) + on (pod) b");
    check("count by (pod) (a == 0) * on (pod) b < 5", "count by (pod) (a == 0) * on (pod) b");
}

#[test]
fn a_metric_that_exists_only_while_unhealthy_is_replaced() {
    check(
        r#"max_over_time(kube_pod_container_status_waiting_reason{namespace="shop", reason="CrashLoopBackOff"}[5m]) >= 1"#,
        r#"max_over_time(kube_pod_container_status_waiting{namespace="shop"}[5m]) and kube_pod_container_status_waiting{namespace="shop"}"#,
    );
    check("kube_pod_status_unschedulable == 1", "kube_pod_created");
    check(
        r#"argocd_app_info{dest_namespace="shop", health_status!="Healthy"} > 0"#,
        r#"argocd_app_info{dest_namespace="shop"}"#,
    );
    check(
        r#"sum by (pod) (increase(http_requests_total{code=~"5..", path="/"}[5m])) * 60 > 5"#,
        r#"sum by (pod) (increase(http_requests_total{path="/"}[5m]) and http_requests_total{path="/"}) * 60"#,
    );
    // Where a missing series is the breach, it stays as it is.
    check(r#"rate(x_total{code="200"}[5m]) < 1"#, r#"rate(x_total{code="200"}[5m]) and x_total{code="200"}"#);
    check(
        r#"count(argocd_app_info{health_status="Healthy"}) < 3"#,
        r#"count(argocd_app_info{health_status="Healthy"})"#,
    );
}

#[test]
fn the_evidence_for_absent_is_its_argument() {
    check(r#"absent(up{job="web"})"#, r#"up{job="web"}"#);
    check(r#"absent(up{job="web"} == 1)"#, r#"up{job="web"}"#);
    check("absent_over_time(heartbeat[10m])", "present_over_time(heartbeat[10m])");
    check("absent_over_time((heartbeat > 0)[10m:1m])", "present_over_time(heartbeat[10m:1m])");
}

#[test]
fn filters_inside_subqueries_are_removed() {
    check(
        "max_over_time(rate(x_total[1m])[30m:]) > 5",
        "max_over_time(rate(x_total[1m])[30m:]) and (rate(x_total[1m]) and x_total)",
    );
    check("count_over_time((lag > 30)[10m:1m]) > 5", "count_over_time(lag[10m:1m]) and lag");
    check("avg_over_time((used > limit)[10m:1m]) > 5", "avg_over_time((used + limit)[10m:1m]) and (used + limit)");
    check("min_over_time((up == bool 0)[5m:30s]) == 1", "min_over_time((up == bool 0)[5m:30s]) and (up == bool 0)");
    check("max_over_time((a / b)[5m:] offset 1h) > 5", "max_over_time((a / b)[5m:] offset 1h)");
}

#[test]
fn operator_precedence_is_kept_when_filters_are_removed() {
    check("(a > 5) * 2 ^ b", "a and 2 ^ b");
    check("2 * (a > 5) ^ 2", "2 * a ^ 2");
    check("a ^ (b > bool c)", "!NoComparison");
    check("a ^ (b > c)", "a and (b + c)");
    check("2 ^ (a > b)", "2 ^ (a + b)");
    check("(a > b) ^ 2", "(a + b) ^ 2");
    check("1 - (a > b)", "1 - (a + b)");
    check("1 - (1 - (b > 0))", "1 - (1 - b)");
    check("-a ^ 2 < 0", "-a ^ 2");
    check("(-a) ^ 2 < 0", "(-a) ^ 2");
    check("(-2) ^ a < 0", "(-2) ^ a");
    check("-(1.5) / a < 0", "(-1.5) / a");
    check("-(-(1.5)) / a < 0", "1.5 / a");
    check("a * -2 < -1", "a * (-2)");
    check("2 * -a < 0", "2 * (-a)");
    check("1 - (-a) < 0", "1 - (-a)");
}

#[test]
fn a_query_that_does_not_filter_is_refused() {
    check("rate(x_total[5m])", "!NoComparison");
    check("up", "!NoComparison");
    check("up == bool 0", "!NoComparison");
    check("sum by (pod) (up == bool 0)", "!NoComparison");
    check("(a > bool 1) * (b > bool 2)", "!NoComparison");
    check("a and b", "!NoComparison");
    check("a > 1 or b", "!NoComparison");
    check("sum(x > 5) or vector(0)", "!NoComparison");
    check("vector(scalar(x > 5))", "!NoComparison");
    check("histogram_quantile(0.9, x_bucket)", "!NoComparison");
    check("(up == bool 0) == 1", "up == bool 0");
}

#[test]
fn a_query_without_selectors_has_no_evidence() {
    check("vector(1) > 0", "!EvidenceRequired");
    check("hour() > 8", "!EvidenceRequired");
    check("vector(0) > 1 unless up", "!EvidenceRequired");
}

#[test]
fn a_query_that_is_not_an_instant_vector_is_refused() {
    for query in ["", "  \n", "up >", "x[5m]", "1 + 1", r#""text""#, "1 > 0", "nosuch(x) > 1", "x{a=b} > 1", "x > 1)"] {
        check(query, "!BadQuery");
    }
}

#[test]
fn names_and_values_that_need_quotes_are_kept() {
    check(
        r#"{"http.server.errors", "k8s.pod"="web \"1\""} > 1"#,
        r#"{"k8s.pod"="web \"1\"",__name__="http.server.errors"}"#,
    );
    check("x{path='C:\\\\tmp', q=`a\"b`} > 1", r#"x{path="C:\\tmp",q="a\"b"}"#);
    check("job:errors:ratio5m > 0.1", "job:errors:ratio5m");
    check("x{name=\"größe\"} > 1 # why", "x{name=\"größe\"}");
    // The server reads a byte, the parser reads a character: nothing may be derived.
    check(r#"x{a="\xff"} > 1"#, "!BadQuery");
    check(r#"x{a="\377"} > 1"#, "!BadQuery");
    check(r#"x{a=~"\\xff|\x41"} > 1"#, r#"x{a=~"\\xff|A"}"#);
}

#[test]
fn the_evidence_of_the_user_is_used_unchanged() {
    let query = Query::compile("up == bool 0", Some("up{ job = 'web' }")).unwrap();
    assert_eq!(query.evidence(), "up{ job = 'web' }");
    let refused = |evidence| Query::compile("up == 0", Some(evidence)).unwrap_err();
    assert_eq!(refused("up[5m]").reason(), "BadEvidence");
    assert_eq!(refused("up{").reason(), "BadEvidence");
    assert_eq!(refused("up{").field(), "evidence");
    assert!(refused("up{").to_string().starts_with("the query does not parse"));
}

#[test]
fn a_refusal_says_how_to_fix_the_query() {
    let refused = |query| Query::compile(query, None).unwrap_err().to_string();
    assert!(refused("up").contains("set `evidence`"));
    assert!(refused("hour() > 8").contains("selects no series; set `evidence`"));
    assert!(
        refused("x[1m:1s] > smooth").contains("not allow") || refused("x[1m:1s] > smooth").contains("does not parse")
    );
    let long = refused(&format!("{}(", "unknown_function_name_".repeat(100)));
    assert!(long.chars().count() < 400, "the message is too long: {long}");
}
