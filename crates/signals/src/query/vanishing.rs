//! Metrics that have series only while something is wrong, or only since something went
//! wrong for the first time. A healed target has no series of them. So the evidence uses a
//! metric, or matchers, with which a healthy target has a series as well.
//!
//! This holds only where a missing series is not a breach: `… > 0`, not `… < 1`.

use std::collections::BTreeSet;
use std::convert::Infallible;

use promql_parser::label::Matcher;
use promql_parser::parser::{Expr, VectorSelector};
use promql_parser::util::visitor::{ExprVisitorMut, walk_expr_mut};

use super::tree::{metric_name, selectors};

/// Metrics of kube-state-metrics that exist only while a container or a pod is in that
/// state, and the metric that always exists for the same container or pod.
const REPLACED: [(&str, &str); 9] = [
    ("kube_pod_container_status_last_terminated_exitcode", "kube_pod_container_status_waiting"),
    ("kube_pod_container_status_last_terminated_reason", "kube_pod_container_status_waiting"),
    ("kube_pod_container_status_terminated_reason", "kube_pod_container_status_waiting"),
    ("kube_pod_container_status_waiting_reason", "kube_pod_container_status_waiting"),
    ("kube_pod_init_container_status_last_terminated_reason", "kube_pod_init_container_status_waiting"),
    ("kube_pod_init_container_status_terminated_reason", "kube_pod_init_container_status_waiting"),
    ("kube_pod_init_container_status_waiting_reason", "kube_pod_init_container_status_waiting"),
    ("kube_pod_status_scheduled_time", "kube_pod_created"),
    ("kube_pod_status_unschedulable", "kube_pod_created"),
];
/// The labels that only the replaced metrics have.
const OF_REPLACED: [&str; 1] = ["reason"];

/// Labels whose value is the state of the object. An `…_info` metric has one series, with
/// the current state.
const STATES: [&str; 7] = ["condition", "health", "health_status", "phase", "state", "status", "sync_status"];

/// Labels that tell a failure from a success. A counter gets a series for a value with the
/// first event.
const RESULTS: [&str; 19] = [
    "code",
    "envoy_response_code_class",
    "error",
    "exception",
    "grpc_code",
    "grpc_status",
    "http_status",
    "http_status_code",
    "level",
    "outcome",
    "reason",
    "response_code",
    "response_flags",
    "result",
    "severity",
    "status",
    "status_class",
    "status_code",
    "success",
];

/// `evidence` with series for healthy targets as well.
pub(super) fn with_healthy(mut evidence: Expr) -> Expr {
    let Ok(_) = walk_expr_mut(&mut WithHealthy, &mut evidence);
    evidence
}

struct WithHealthy;

impl ExprVisitorMut for WithHealthy {
    type Error = Infallible;

    fn pre_visit(&mut self, expr: &mut Expr) -> Result<bool, Infallible> {
        match expr {
            Expr::VectorSelector(selector) => always_there(selector),
            Expr::MatrixSelector(matrix) => always_there(&mut matrix.vs),
            Expr::Call(call) if matches!(call.func.name, "rate" | "irate" | "increase") => {
                for argument in &mut call.args.args {
                    if let Expr::MatrixSelector(matrix) = argument.as_mut() {
                        drop_matchers(&mut matrix.vs, &RESULTS);
                    }
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

fn always_there(selector: &mut VectorSelector) {
    if let Some((_, other)) = replaced(selector) {
        selector.name = Some((*other).to_owned());
        drop_matchers(selector, &OF_REPLACED);
        drop_matchers(selector, &["__name__"]);
    } else if is_info(selector) {
        drop_matchers(selector, &STATES);
    }
}

/// Removes the matchers that tell a failure from a success.
pub(super) fn drop_results(selector: &mut VectorSelector) {
    drop_matchers(selector, &RESULTS);
}

fn replaced(selector: &VectorSelector) -> Option<&'static (&'static str, &'static str)> {
    let name = metric_name(selector)?;
    REPLACED.iter().find(|(metric, _)| *metric == name)
}

fn is_info(selector: &VectorSelector) -> bool {
    metric_name(selector).is_some_and(|name| name.ends_with("_info"))
}

fn drop_matchers(selector: &mut VectorSelector, labels: &[&str]) {
    let keep = |matcher: &Matcher| !labels.contains(&matcher.name.as_str());
    selector.matchers.matchers.retain(keep);
    for group in &mut selector.matchers.or_matchers {
        group.retain(keep);
    }
}

/// For a metric that exists only in one state: the selector of the metric that always
/// exists, and the labels that it has not.
pub(super) fn replacement(selector: &VectorSelector) -> Option<(VectorSelector, Vec<String>)> {
    replaced(selector)?;
    let mut other = selector.clone();
    always_there(&mut other);
    Some((other, OF_REPLACED.map(str::to_owned).to_vec()))
}

/// The labels that have other values while the target is healthy.
pub(super) fn varying_labels(expr: &Expr) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    for selector in selectors(expr) {
        if replaced(selector).is_some() {
            labels.extend(OF_REPLACED.map(str::to_owned));
        }
        let named: &[&str] = if is_info(selector) { &STATES } else { &RESULTS };
        let or_matchers = selector.matchers.or_matchers.iter().flatten();
        let matchers = selector.matchers.matchers.iter().chain(or_matchers);
        labels.extend(matchers.map(|matcher| matcher.name.clone()).filter(|label| named.contains(&label.as_str())));
    }
    labels
}

/// What to set as evidence for a metric whose series exist only while something is wrong,
/// if nothing can be derived.
pub(super) fn advice(selector: &VectorSelector) -> Option<String> {
    let name = metric_name(selector)?;
    let fix = match name {
        "ALERTS" | "ALERTS_FOR_STATE" => "the metric that the alert is about",
        "DCGM_FI_DEV_XID_ERRORS" => "DCGM_FI_DEV_GPU_TEMP with the same matchers",
        _ => return None,
    };
    Some(format!(
        "{name} has series only while something is wrong, so a healed target has no data and its action ends Inconclusive: set condition.promql.evidence to {fix}"
    ))
}
