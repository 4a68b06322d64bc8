//! Inhibitors that a policy could never read. `lag > 30 unless on (node) maintenance` holds
//! actions back while `maintenance` has series. If the namespace of the policy is added to
//! `maintenance`, and its series have no such label, it never has one. Then the policy acts
//! during the maintenance. So such an inhibitor is refused, unless the query shows that its
//! series have the label:
//!
//! | in the query | why it is enough |
//! |---|---|
//! | the selector names the namespace itself | the author says so |
//! | series are matched on the label of the namespace | without it they would not match either |
//! | series are matched on the label of an object in a namespace, such as `pod` | who exports this label exports the namespace too |
//!
//! Rejected: requiring that the inhibitor has had a series. A maintenance may never have
//! happened yet. An inhibitor that compares values always has series, so it is checked before
//! each action instead: see [`super::leaf`].

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::token::{T_LAND, T_LUNLESS};
use promql_parser::parser::{BinaryExpr, Expr, LabelModifier, VectorSelector};

use super::evidence::is_absence;
use super::tree::{children, pin, selectors};
use super::{QueryError, RequiredNamespace, leaf};

/// Labels that name an object in a namespace.
const OF_A_NAMESPACE: [&str; 8] = [
    "container",
    "daemonset",
    "deployment",
    "horizontalpodautoscaler",
    "persistentvolumeclaim",
    "pod",
    "replicaset",
    "statefulset",
];

/// Checks a query as its author wrote it, before anything is added.
///
/// # Errors
/// The first inhibitor of which the query does not show that its series have the namespace.
pub(super) fn check(expr: &Expr, namespace: &RequiredNamespace) -> Result<(), QueryError> {
    if let Expr::Binary(binary) = expr
        && let Some(selector) = unreadable(binary, namespace)
    {
        let required = Matcher::new(MatchOp::Equal, &namespace.label, &namespace.name).to_string();
        return Err(QueryError::UnreadableInhibitor { selector: selector.to_string(), required });
    }
    children(expr).into_iter().try_for_each(|child| check(child, namespace))
}

fn unreadable(binary: &BinaryExpr, namespace: &RequiredNamespace) -> Option<VectorSelector> {
    let inhibiting = match binary.op.id() {
        T_LUNLESS if matches_within_namespace(binary, namespace) => return None,
        T_LUNLESS => leaf::inhibiting_by_existing(&binary.rhs),
        // The labels of what `absent` selects are not matched.
        T_LAND if is_absence(&binary.rhs) => selectors(&binary.rhs).into_iter().cloned().collect(),
        _ => return None,
    };
    let is_named = |one: &VectorSelector| labels(namespace).any(|label| pin(one, label) == Some(&namespace.name));
    inhibiting.into_iter().find(|one| !is_named(one))
}

/// Whether both sides must agree in a label of the namespace, or of an object in a namespace.
fn matches_within_namespace(binary: &BinaryExpr, namespace: &RequiredNamespace) -> bool {
    let matching = binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref());
    let is_matched = |label: &str| match matching {
        Some(LabelModifier::Include(on)) => on.labels.iter().any(|one| one == label),
        Some(LabelModifier::Exclude(ignoring)) => ignoring.labels.iter().all(|one| one != label),
        None => true,
    };
    let is_compared = |label: &str| is_matched(label) && leaf::passes_on(&binary.lhs, label);
    let has_no_list = !matches!(matching, Some(LabelModifier::Include(_)));
    if has_no_list && leaf::passes_on(&binary.lhs, &namespace.label) {
        // Of the other labels nobody knows whether the series have them.
        return is_matched(&namespace.label);
    }
    labels(namespace).chain(OF_A_NAMESPACE).any(is_compared)
}

fn labels(namespace: &RequiredNamespace) -> impl Iterator<Item = &str> {
    std::iter::once(&namespace.label).chain(&namespace.allowed).map(String::as_str)
}
