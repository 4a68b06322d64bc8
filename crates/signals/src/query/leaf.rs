//! The freshness check. Range functions hide a dead exporter for minutes. So before an
//! action, Prunella checks that the selectors of the breached condition have samples
//! *now*.
//!
//! Not every selector must have samples. The right side of `unless` and the argument of
//! `absent` are missing *because* of the breach. One branch of an `or` is enough.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::token::{T_COUNT_VALUES, T_LOR, T_LUNLESS};
use promql_parser::parser::{AggregateExpr, BinaryExpr, Call, Expr, VectorSelector};

use super::carried::Carried;
use super::filter::picks_series;
use super::tree::{children, matches_vectors, pin};

/// The limit of leaves that the branches of an `or` are multiplied out to. Above it, a
/// sample of any one selector is enough.
const MAX_ALTERNATIVES: usize = 16;

/// A selector that must have samples now, or several selectors of which one must.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    alternatives: Vec<Selector>,
}

#[derive(Debug, Clone, PartialEq)]
struct Selector {
    /// Without `offset` and `@`, because the sample must be there now.
    vector: VectorSelector,
    carried: Carried,
}

impl Leaf {
    /// An instant query that returns one series if the leaf has samples, and none if it
    /// has not. The `extra` equality matchers narrow it. A matcher is used only if its
    /// label reaches the result unchanged and the selector does not pin the label itself.
    #[must_use]
    pub fn instant_query(&self, extra: &[(&str, &str)]) -> String {
        let counts = self.alternatives.iter().map(|selector| format!("count({})", selector.narrowed(extra)));
        counts.collect::<Vec<_>>().join(" or ")
    }

    /// A leaf that never has samples.
    pub(super) fn unproven() -> Self {
        Self { alternatives: Vec::new() }
    }

    /// The first selector, without `offset` and `@`.
    pub(super) fn selector(&self) -> Option<&VectorSelector> {
        self.alternatives.first().map(|selector| &selector.vector)
    }

    /// Whether a series of this leaf can have `label="value"` in the result.
    pub(super) fn may_carry(&self, label: &str, value: &str) -> bool {
        let own = |one: &Selector| pin(&one.vector, label).is_none_or(|pin| pin == value);
        // An overwritten label can have any value. Users restore a label this way from
        // `exported_namespace` if Prometheus scrapes without `honorLabels`.
        let may = |one: &Selector| one.carried.writes(label) || (one.carried.contains(label) && own(one));
        self.alternatives.iter().any(may)
    }
}

impl Selector {
    fn narrowed(&self, extra: &[(&str, &str)]) -> VectorSelector {
        let mut vector = self.vector.clone();
        for (label, value) in extra {
            if !self.carried.contains(label) || pin(&self.vector, label).is_some() {
                continue;
            }
            let matcher = Matcher::new(MatchOp::Equal, label, value);
            for group in &mut vector.matchers.or_matchers {
                group.push(matcher.clone());
            }
            if vector.matchers.or_matchers.is_empty() {
                vector.matchers.matchers.push(matcher);
            }
        }
        vector
    }
}

/// The leaves that a breach of `expr` needs, without duplicates.
pub(super) fn needed(expr: &Expr) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = Vec::new();
    for leaf in under(expr, &Carried::all()) {
        if !leaves.contains(&leaf) {
            leaves.push(leaf);
        }
    }
    leaves
}

fn under(expr: &Expr, carried: &Carried) -> Vec<Leaf> {
    match expr {
        Expr::VectorSelector(selector) => vec![Leaf::of(selector, carried)],
        Expr::MatrixSelector(matrix) => vec![Leaf::of(&matrix.vs, carried)],
        Expr::Aggregate(aggregate) => under_aggregate(aggregate, carried),
        Expr::Call(call) => under_call(call, carried),
        Expr::Binary(binary) => under_binary(binary, carried),
        _ => children(expr).into_iter().flat_map(|child| under(child, carried)).collect(),
    }
}

fn under_aggregate(aggregate: &AggregateExpr, carried: &Carried) -> Vec<Leaf> {
    let inner = match (aggregate.op.id(), aggregate.param.as_deref()) {
        // Picked series keep their labels.
        _ if picks_series(aggregate.op) => carried.clone(),
        (T_COUNT_VALUES, Some(Expr::StringLiteral(label))) => {
            carried.clone().without(std::slice::from_ref(&label.val)).grouped(aggregate.modifier.as_ref())
        }
        _ => carried.clone().grouped(aggregate.modifier.as_ref()),
    };
    let mut leaves = under(&aggregate.expr, &inner);
    leaves.extend(aggregate.param.iter().flat_map(|param| under(param, &Carried::none())));
    leaves
}

fn under_call(call: &Call, carried: &Carried) -> Vec<Leaf> {
    let inner = match call.func.name {
        "absent" | "absent_over_time" => return Vec::new(),
        "scalar" => Carried::none(),
        "label_replace" | "label_join" => match call.args.args.get(1).map(AsRef::as_ref) {
            Some(Expr::StringLiteral(label)) => carried.clone().written(&label.val),
            _ => Carried::none(),
        },
        // Adds the labels of another metric.
        "info" => carried.clone().within(&["instance".to_owned(), "job".to_owned()]),
        _ => carried.clone(),
    };
    call.args.args.iter().flat_map(|argument| under(argument, &inner)).collect()
}

fn under_binary(binary: &BinaryExpr, carried: &Carried) -> Vec<Leaf> {
    if !matches_vectors(binary) {
        // A scalar side reaches `under_call` as `scalar(…)`, which carries no labels.
        return [under(&binary.lhs, carried), under(&binary.rhs, carried)].concat();
    }
    let (left, right) = carried.clone().matched(binary);
    match binary.op.id() {
        T_LUNLESS => under(&binary.lhs, &left),
        T_LOR => either(under(&binary.lhs, carried), under(&binary.rhs, carried)),
        _ => {
            let fill = binary.modifier.as_ref().map(|modifier| modifier.fill_values.clone()).unwrap_or_default();
            let lhs = under(&binary.lhs, &left);
            let rhs = under(&binary.rhs, &right);
            match (fill.lhs, fill.rhs) {
                (Some(_), Some(_)) => either(lhs, rhs),
                (Some(_), None) => rhs,
                (None, Some(_)) => lhs,
                (None, None) => [lhs, rhs].concat(),
            }
        }
    }
}

/// `(a and b) or (c and d)` is `(a or c) and (a or d) and (b or c) and (b or d)`.
fn either(left: Vec<Leaf>, right: Vec<Leaf>) -> Vec<Leaf> {
    // A branch that needs no data can breach without any.
    if left.is_empty() || right.is_empty() {
        return Vec::new();
    }
    if left.len().saturating_mul(right.len()) > MAX_ALTERNATIVES {
        return vec![Leaf::any_of(left.into_iter().chain(right))];
    }
    let pairs = left.iter().flat_map(|a| right.iter().map(move |b| [a.clone(), b.clone()]));
    pairs.map(Leaf::any_of).collect()
}

impl Leaf {
    fn of(selector: &VectorSelector, carried: &Carried) -> Self {
        let vector = VectorSelector { offset: None, at: None, ..selector.clone() };
        Self { alternatives: vec![Selector { vector, carried: carried.clone() }] }
    }

    fn any_of(leaves: impl IntoIterator<Item = Self>) -> Self {
        let mut alternatives: Vec<Selector> = Vec::new();
        for selector in leaves.into_iter().flat_map(|leaf| leaf.alternatives) {
            if !alternatives.contains(&selector) {
                alternatives.push(selector);
            }
        }
        Self { alternatives }
    }
}
