//! Inhibitors that a policy could never read. `lag > 30 unless on (node) maintenance` holds
//! actions back while `maintenance` has series. If the namespace of the policy is added to
//! `maintenance`, and its series have no such label, it never has one. Then the policy acts
//! during the maintenance. So such an inhibitor is refused, unless the query shows that its
//! series have the label:
//!
//! | in the query | why it is enough |
//! |---|---|
//! | the selector names the namespace itself | the author says so |
//! | its series are matched on the label that is added | without it they would not match either |
//! | its series are matched on the label of an object in a namespace, such as `pod`, and the label that is added is `namespace` | Prometheus writes both, from the same scraped pod |
//!
//! A match shows something only if every selector on the left has the label that is added. With
//! `lag{exported_namespace="shop"}` on the left, the series that match are those of the exporter's
//! namespace.
//!
//! Rejected: requiring that the inhibitor has had a series. A maintenance may never have
//! happened yet. An inhibitor that compares values always has series, so it is checked before
//! each action instead: see [`super::leaf`].

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::token::{T_LAND, T_LUNLESS};
use promql_parser::parser::{BinaryExpr, Expr, LabelModifier, VectorSelector};

use super::carried::Carried;
use super::evidence::is_absence;
use super::tree::{children, pin, selectors};
use super::{QueryError, RequiredLabels, RequiredNamespace, inject, leaf};

/// The label that Prometheus writes itself, together with those of [`OF_A_NAMESPACE`].
const NAMESPACE: &str = "namespace";

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

/// What more series of an expression lead to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MoreSeries {
    /// More actions, never fewer.
    Act,
    /// Fewer actions, never more.
    HoldBack,
    /// It depends on their values.
    Unknown,
}

impl MoreSeries {
    /// For what stands after `unless`, or in `absent`.
    fn inverted(self) -> Self {
        match self {
            Self::Act => Self::HoldBack,
            Self::HoldBack => Self::Act,
            Self::Unknown => Self::Unknown,
        }
    }
}

/// Checks a query as its author wrote it, before anything is added.
///
/// # Errors
/// The first inhibitor of which the query does not show that its series have the namespace.
pub(super) fn check(expr: &Expr, namespace: &RequiredNamespace) -> Result<(), QueryError> {
    check_part(expr, namespace, MoreSeries::Act)
}

fn check_part(expr: &Expr, namespace: &RequiredNamespace, effect: MoreSeries) -> Result<(), QueryError> {
    match expr {
        Expr::Binary(binary) => {
            // An inhibitor of an inhibitor holds nothing back: without its series, more is inhibited.
            if effect != MoreSeries::HoldBack
                && let Some(selector) = unreadable(binary, namespace)
            {
                let required = Matcher::new(MatchOp::Equal, &namespace.label, &namespace.name).to_string();
                return Err(QueryError::UnreadableInhibitor { selector: selector.to_string(), required });
            }
            let right = if binary.op.id() == T_LUNLESS { effect.inverted() } else { effect };
            check_part(&binary.lhs, namespace, effect)?;
            check_part(&binary.rhs, namespace, right)
        }
        Expr::Paren(paren) => check_part(&paren.expr, namespace, effect),
        _ => {
            let inner = if is_absence(expr) { effect.inverted() } else { MoreSeries::Unknown };
            children(expr).into_iter().try_for_each(|child| check_part(child, namespace, inner))
        }
    }
}

fn unreadable(binary: &BinaryExpr, namespace: &RequiredNamespace) -> Option<VectorSelector> {
    let inhibiting = match binary.op.id() {
        T_LUNLESS => leaf::inhibiting_by_existing(&binary.rhs),
        // The labels of what `absent` selects are not matched.
        T_LAND if is_absence(&binary.rhs) => {
            selectors(&binary.rhs).into_iter().map(|one| (one.clone(), Carried::none())).collect()
        }
        _ => return None,
    };
    let enough = enough_to_match(binary, namespace);
    let is_named = |one: &VectorSelector| labels(namespace).any(|label| pin(one, label) == Some(&namespace.name));
    let is_matched = |carried: &Carried| enough.iter().any(|label| carried.contains(label));
    inhibiting.into_iter().find(|(one, carried)| !is_named(one) && !is_matched(carried)).map(|(one, _)| one)
}

/// The labels in which both sides agree, and which only series with the namespace have.
fn enough_to_match<'a>(binary: &BinaryExpr, namespace: &'a RequiredNamespace) -> Vec<&'a str> {
    if !selectors(&binary.lhs).into_iter().all(|one| gets_the_label(one, namespace)) {
        return Vec::new();
    }
    let matching = binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref());
    let is_matched = |label: &str| match matching {
        Some(LabelModifier::Include(on)) => on.labels.iter().any(|one| one == label),
        Some(LabelModifier::Exclude(ignoring)) => ignoring.labels.iter().all(|one| one != label),
        None => true,
    };
    let has_list = matches!(matching, Some(LabelModifier::Include(_)));
    let own = namespace.label.as_str();
    // Of a label that the query does not name, nobody knows whether the series have it.
    let is_compared = |label: &str| {
        is_matched(label)
            && leaf::every_series(&binary.lhs, |carried| {
                let kept = carried.contains(label) && (has_list || label == own || carried.names(label));
                kept || (label != own && carried.writes(label))
            })
    };
    let of_objects = OF_A_NAMESPACE.into_iter().filter(|_| own == NAMESPACE);
    std::iter::once(own).chain(of_objects).filter(|label| is_compared(label)).collect()
}

/// Whether `selector`, as it is sent, requires the namespace by the label that is added.
fn gets_the_label(selector: &VectorSelector, namespace: &RequiredNamespace) -> bool {
    let required = RequiredLabels { namespace: Some(namespace.clone()), ..RequiredLabels::default() };
    let mut sent = selector.clone();
    inject::again_to(&mut sent, &required).is_ok() && pin(&sent, &namespace.label) == Some(&namespace.name)
}

fn labels(namespace: &RequiredNamespace) -> impl Iterator<Item = &str> {
    std::iter::once(&namespace.label).chain(&namespace.allowed).map(String::as_str)
}
