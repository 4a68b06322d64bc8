//! Which answers prove that a target is healthy, and which do not.

use prunella_signals::Query;

use super::evidence::check;

#[test]
fn one_branch_of_an_or_is_evidence_for_both_only_if_they_share_an_exporter() {
    check("app_lag > 5 or app_depth > 5", "app_lag or app_depth");
    check("app_lag > 5 or on (pod) app_depth > 5 or app_age > 1", "app_lag or on (pod) app_depth or app_age");
    check("a > 100 or a < 1", "a");
    check(
        "(app_lag > 5 or app_depth > 5) and b > 1",
        "(app_lag or app_depth) unless ((app_lag > 5 or app_depth > 5) unless b)",
    );
    check("sum(x > 5) or vector(0) > 3", "sum(x)");
    check("vector(1) > 2 or x > 1", "x");
    // Two exporters: either one can stop alone.
    check("a > 5 or b > 5", "!EvidenceRequired");
    check("app_lag > 5 or b > 5 or app_age > 5", "!EvidenceRequired");
    check("job:lag:max5m > 5 or job:depth:max5m > 5", "!EvidenceRequired");
    check("sum by (pod) (a) > 5 or sum by (pod) (b) > 5", "sum by (pod) (a) and sum by (pod) (b)");
    check("sum by (pod) (a) > 5 or sum by (node) (b) > 5", "!EvidenceRequired");
    check("1 - sum(a) < 5 or sum(b > 1)", "1 - sum(a) and sum(b)");
    // The right side of `unless` is not part of the evidence.
    check("up == 0 unless (a or b)", "up");
}

#[test]
fn the_exporter_of_a_metric_is_known_by_its_job_and_the_start_of_its_name() {
    // With one colon it is an ordinary name, with two it is a recording rule.
    check(
        "vllm:num_requests_waiting > 50 or vllm:gpu_cache_usage_perc > 0.95",
        "vllm:num_requests_waiting or vllm:gpu_cache_usage_perc",
    );
    check("vllm:a > 50 or sglang:b > 0.95", "!EvidenceRequired");
    check("job:lag > 5 or job:depth > 5", "!EvidenceRequired");
    check(r#"up{job="a"} == 0 or up{job="b"} == 0"#, "!EvidenceRequired");
    check(r#"app_lag{job="a"} > 5 or app_depth{job="b"} > 5"#, "!EvidenceRequired");
    check(r#"lag{job="a"} > 5 or depth{job="a"} > 5"#, r#"lag{job="a"} or depth{job="a"}"#);
    check("up == 0 or up offset 5m == 0", "up");
    // Custom resources are exported by another kube-state-metrics than pods.
    check("kube_customresource_phase == 1 or kube_pod_status_ready == 0", "!EvidenceRequired");
    // cAdvisor and the kubelet are two endpoints of one job.
    check(r#"container_x{job="kubelet"} > 1 or kubelet_y{job="kubelet"} > 1"#, "!EvidenceRequired");
}

#[test]
fn samples_of_the_past_are_no_evidence_for_now() {
    check("x > 5 or x offset 10m > 5", "x");
    check("app_lag > 5 or app_depth offset 10m > 5", "app_lag or app_depth");
    check("x offset 5m > 5 or x offset 10m > 5", "x");
    check("rate(x[5m]) > 5 or rate(x[5m] offset 1h) > 5", "rate(x[5m]) and x");
    check("max_over_time(x[5m:] offset 1h) > 5 or x > 5", "max_over_time(x[5m:]) and x or x");
}

#[test]
fn a_filled_in_value_is_no_evidence() {
    check("(app_lag or on () vector(0)) > 5", "app_lag");
    check("(vector(0) or app_lag) > 5", "app_lag");
    // `up` is there, with the value 0, while the exporter is down.
    check("(app_lag or 0 * up) > 5", "app_lag or up == 1");
    check("(sum by (pod) (app_lag) or sum by (pod) (up) * 0) > 5", "sum by (pod) (app_lag) or min by (pod) (up) == 1");
    check("(app_lag or 0 * kube_pod_info) > 5", "!EvidenceRequired");
    // A container that was seen long ago still has a series, so `absent` alone proves nothing.
    check(
        "count(container_last_seen > (time() - 90)) < 1 or absent(container_last_seen)",
        "count(container_last_seen > (time() - 90))",
    );
}

#[test]
fn a_count_of_no_series_is_not_known_to_be_healthy() {
    // If the last instance is down, no series is left to count. That is the worst breach.
    check("count by (job) (up == 1) < 3", "count by (job) (up == 1)");
    check("3 > count by (job) (up == 1)", "count by (job) (up == 1)");
    check("count by (job) (up == 0) > 3", "count by (job) (up)");
    check("sum(lag > 5) == 0", "sum(lag > 5)");
    check("sum(lag > 5) != 0", "sum(lag)");
    check("-count(up == 1) > -3", "-count(up == 1)");
    check("100 - count(up == 1) >= 2 * 49", "100 - count(up == 1)");
    check("count_over_time((lag < 5)[10m:1m]) < 3", "count_over_time((lag < 5)[10m:1m]) and (lag < 5)");
    check("count(up == 1) < scalar(quorum)", "count(up == 1) + scalar(quorum)");
    check("count by (job) (up == 1) < on (job) quorum", "count by (job) (up == 1) + on (job) quorum");
    // If no request succeeds, there is no series of successes.
    check(
        "rate(ok_total[5m]) / rate(all_total[5m]) * 100 < 99",
        "(rate(ok_total[5m]) and ok_total) / (rate(all_total[5m]) and all_total) * 100",
    );
    check("count(up == 1) / count(up) < 0.5", "count(up == 1) / count(up)");
    check("sum(a / b) > 1", "sum(a / b)");
    // A series that a filter removes is not breached.
    check("queue_depth > 5 < 100", "queue_depth");
    check(r#"label_replace(up == 0, "a", "$1", "b", "(.*)") == 0"#, r#"label_replace(up, "a", "$1", "b", "(.*)")"#);
    check("(count(up == 1) or vector(0)) < 3", "count(up)");
}

#[test]
fn the_first_part_of_an_and_can_be_evidence_alone() {
    check("a > 5 and b < 3", "a unless (a > 5 unless b)");
    check("a > 5 and on (pod) b == 1", "a unless (a > 5 unless on (pod) b)");
    check("a > 5 and b > 5 and c > 5", "a unless (a > 5 unless b) unless (a > 5 and b > 5 unless c)");
    check("a and b > 5", "a and b");
    // The first part is repeated only while it is short.
    let chain = |links: usize| (0..links).map(|i| format!("x{i} > 1")).collect::<Vec<_>>().join(" and ");
    let long = Query::compile(&chain(40), None).unwrap();
    assert!(long.evidence().len() < 1000 && long.evidence().ends_with(" and x38 and x39"), "{}", long.evidence());
}

#[test]
fn evidence_is_about_now() {
    check("increase(x_total[1h]) > 3", "increase(x_total[1h]) and x_total");
    check("rate(x_total[5m] offset 1h) > 3", "rate(x_total[5m] offset 1h) and x_total offset 1h");
    check("max_over_time(rate(x_total[5m])[1h:] offset 1h) > 3", "max_over_time(rate(x_total[5m])[1h:] offset 1h)");
    check("2 * deriv(x[5m]) > 3", "2 * (deriv(x[5m]) and x)");
    check(
        "max_over_time(min_over_time(x[5m:])[1h:]) > 3",
        "max_over_time(min_over_time(x[5m:])[1h:]) and (min_over_time(x[5m:]) and x)",
    );
}
