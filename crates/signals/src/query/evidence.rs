//! The evidence query: which targets have data. An empty answer does not prove that a
//! target is healthy. So everything that filters is removed from the expression, and
//! the rest stays.
//!
//! | expression | evidence |
//! |---|---|
//! | `A > 5`, `5 < A` | `A` |
//! | `count(A == 1) < 3` | `count(A == 1)`: see [`missing`] |
//! | `A > bool 5` | unchanged: it filters nothing |
//! | `A > B` | `A + B`: both must have data, and `NaN` stays `NaN` |
//! | `A / B` | `B > 0`, or both: see [`ratio`] |
//! | `(A == 1) * B` | `A and B`, same matching: see [`of_match`] |
//! | `A > 5 and B` | `A unless (A > 5 unless B)`: see [`of_conjunction`] |
//! | `A and B` | `A and B`, same matching |
//! | `A unless B`, `A and absent(B)` | `A` |
//! | `A or B` | `A or B` with one exporter, `A and B` with the same labels: see [`branches`] |
//! | `A > 5 or A offset 1h > 5` | `A`: data of an hour ago does not prove that there is data now |
//! | `(A or 0 * up) > 5` | `A or up == 1`: see [`branches::alive`] |
//! | `A > 0`, and `A` exists only while it is 1 | another metric: see [`vanishing`] |
//! | `absent(A)` | `A` |
//! | `topk(3, A) > 5` | `A unless A > 5`: see [`picked`] |
//! | `rate(A[5m])` | `rate(A[5m]) and A`: see [`recent`] |
//! | anything else | unchanged around the evidence for its arguments |

use std::collections::BTreeSet;

use promql_parser::parser::token::{T_ADD, T_LAND, T_LOR, T_LUNLESS, T_MAX, TokenType};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{
    AggregateExpr, BinModifier, BinaryExpr, Call, Expr, Function, FunctionArgs, ParenExpr, VectorMatchCardinality,
};

use super::branches::{self, Branches};
use super::tree::{is_vector, matches_vectors, metric_name, selectors, without_parens};
use super::{build, filter, missing, picked, ratio, recent, vanishing, window};

/// The most selectors that [`of_conjunction`] repeats. In a chain of `and`, every
/// link repeats everything before it, so the query would grow with the square of the
/// chain's length.
const MAX_REPEATED: usize = 6;

/// The evidence for `expr`, or the reason why there is none.
pub(super) fn derive(expr: &Expr) -> Result<Expr, &'static str> {
    if selectors(expr).is_empty() {
        return Err("the query selects no series");
    }
    let derived = standalone(expr);
    if selectors(&derived).is_empty() {
        return Err("without its filters the query selects no series");
    }
    if branches::any_unrelated(&derived) {
        return Err(
            "the branches of its `or` may come from different exporters, so one can stop reporting while the other continues",
        );
    }
    Ok(picked::without_hidden(expr, recent::with_recent_samples(&derived)))
}

fn evidence(expr: &Expr) -> Expr {
    match expr {
        Expr::Paren(paren) => match evidence(&paren.expr) {
            inner @ (Expr::Binary(_) | Expr::Unary(_)) => Expr::Paren(ParenExpr { expr: Box::new(inner) }),
            inner => inner,
        },
        Expr::Unary(unary) => build::negated(evidence(&unary.expr)),
        Expr::Subquery(subquery) => build::subquery(evidence(&subquery.expr), subquery),
        Expr::Aggregate(aggregate) => of_aggregate(aggregate),
        Expr::Call(call) => of_call(call),
        Expr::Binary(binary) => of_binary(binary),
        other => other.clone(),
    }
}

/// The evidence for an expression that stands alone, between parentheses or commas.
fn standalone(expr: &Expr) -> Expr {
    without_parens(&evidence(expr)).clone()
}

fn of_aggregate(aggregate: &AggregateExpr) -> Expr {
    let inner = standalone(&aggregate.expr);
    if filter::picks_series(aggregate.op) {
        return inner;
    }
    build::aggregate(aggregate.op, aggregate.param.clone(), inner, aggregate.modifier.clone())
}

fn of_call(call: &Call) -> Expr {
    let args: Vec<_> = call.args.args.iter().map(|argument| Box::new(standalone(argument))).collect();
    let func = match (call.func.name, args.as_slice()) {
        ("absent", [inner]) => return inner.as_ref().clone(),
        ("absent_over_time", _) => {
            Function::new("present_over_time", vec![ValueType::Matrix], 0, ValueType::Vector, false)
        }
        _ => call.func.clone(),
    };
    Expr::Call(Call { func, args: FunctionArgs { args } })
}

fn of_binary(binary: &BinaryExpr) -> Expr {
    let (lhs, rhs) = (binary.lhs.as_ref(), binary.rhs.as_ref());
    match binary.op.id() {
        T_LUNLESS => evidence(lhs),
        T_LAND => of_conjunction(binary),
        T_LOR => of_branches(binary),
        _ if !filter::compares(binary) => ratio::proof(binary).unwrap_or_else(|| of_match(binary, binary.op)),
        // Replaces the comparison by `+`, which has the same matching and the same
        // labels, and returns `NaN` if either side is `NaN`. Rejected: `and` loses the
        // labels of `group_left`, `bool` turns `NaN` into a number.
        _ if missing::may_hide_breach(binary) => with_inner_filters(binary),
        _ => match (is_vector(lhs), is_vector(rhs)) {
            (true, false) if selectors(rhs).is_empty() => of_compared(binary, lhs),
            (false, true) if selectors(lhs).is_empty() => of_compared(binary, rhs),
            _ => of_match(binary, TokenType::new(T_ADD)),
        },
    }
}

/// The evidence for the side of a comparison that selects series.
fn of_compared(comparison: &BinaryExpr, side: &Expr) -> Expr {
    let evidence = evidence(side);
    if missing::zero_is_healthy(comparison) { vanishing::with_healthy(evidence) } else { evidence }
}

/// Removes the comparison and keeps every filter inside its operands: a series that
/// these filters remove is not known to be healthy.
fn with_inner_filters(binary: &BinaryExpr) -> Expr {
    let (lhs, rhs) = (binary.lhs.as_ref(), binary.rhs.as_ref());
    match (is_vector(lhs), is_vector(rhs)) {
        (true, false) if selectors(rhs).is_empty() => lhs.clone(),
        (false, true) if selectors(lhs).is_empty() => rhs.clone(),
        _ => build::binary(lhs.clone(), TokenType::new(T_ADD), rhs.clone(), binary.modifier.clone()),
    }
}

/// `A op B` with the matching of `binary`.
///
/// A filter often makes matches unique, as in `… * on (pod) group_left ()
/// (kube_pod_status_phase == 1)`. Without the filter the server refuses the query. `and`
/// needs no unique matches, so it replaces the operator. Exception: if labels are copied
/// from the filtered side, that side keeps its filter, which decides the label values.
fn of_match(binary: &BinaryExpr, op: TokenType) -> Expr {
    let (lhs, rhs) = (binary.lhs.as_ref(), binary.rhs.as_ref());
    let modifier = binary.modifier.clone();
    let card = modifier.as_ref().map_or(&VectorMatchCardinality::OneToOne, |modifier| &modifier.card);
    let matching = modifier.as_ref().and_then(|modifier| modifier.matching.clone());
    let both = |many: &Expr, one: &Expr| {
        let card = VectorMatchCardinality::ManyToMany;
        let matching = BinModifier { matching: matching.clone(), card, ..BinModifier::default() };
        build::binary(evidence(many), TokenType::new(T_LAND), evidence(one), Some(matching))
    };
    let is_plain = !matches_vectors(binary) || filter::fills(binary);
    match card {
        _ if is_plain => build::binary(evidence(lhs), op, evidence(rhs), modifier),
        VectorMatchCardinality::OneToOne if filter::drops_series(lhs) || filter::drops_series(rhs) => match &matching {
            // The result has only the labels that are matched on.
            Some(labels) => build::aggregate(TokenType::new(T_MAX), None, both(lhs, rhs), Some(labels.clone())),
            None => both(lhs, rhs),
        },
        VectorMatchCardinality::ManyToOne(extra) if filter::drops_series(rhs) && extra.is_empty() => both(lhs, rhs),
        VectorMatchCardinality::ManyToOne(_) if filter::drops_series(rhs) => {
            build::binary(evidence(lhs), op, rhs.clone(), modifier)
        }
        VectorMatchCardinality::OneToMany(extra) if filter::drops_series(lhs) && extra.is_empty() => both(rhs, lhs),
        VectorMatchCardinality::OneToMany(_) if filter::drops_series(lhs) => {
            build::binary(lhs.clone(), op, evidence(rhs), modifier)
        }
        _ => build::binary(evidence(lhs), op, evidence(rhs), modifier),
    }
}

/// `A and B` is not breached if one side is not breached. So if `A` filters, data of `A`
/// is enough, except where `A` is breached and `B` has no data. This matters if `B` has no
/// series while the target is healthy, as with
/// `… and kube_pod_container_status_last_terminated_reason`.
fn of_conjunction(binary: &BinaryExpr) -> Expr {
    let (lhs, rhs) = (binary.lhs.as_ref(), binary.rhs.as_ref());
    if is_absence(rhs) || selectors(rhs).is_empty() {
        return evidence(lhs);
    }
    if !filter::filters(lhs) || selectors(lhs).len() > MAX_REPEATED {
        return build::binary(evidence(lhs), binary.op, evidence(rhs), binary.modifier.clone());
    }
    let unless = TokenType::new(T_LUNLESS);
    let card = VectorMatchCardinality::ManyToMany;
    let same_labels = BinModifier { card, ..BinModifier::default() };
    // Without a comparison, existing is the breach.
    let known = if filter::filters(rhs) { evidence(rhs) } else { vanishing::with_healthy(evidence(rhs)) };
    let unknown = build::binary(without_parens(lhs).clone(), unless, known, binary.modifier.clone());
    build::binary(evidence(lhs), unless, unknown, Some(same_labels))
}

/// A branch without selectors, as in `… or vector(0)`, always returns a series and proves
/// nothing.
fn of_branches(binary: &BinaryExpr) -> Expr {
    let alive = branches::alive(&binary.rhs);
    let (lhs, rhs) = at_one_time(evidence(&binary.lhs), alive.unwrap_or_else(|| evidence(&binary.rhs)));
    if selectors(&rhs).is_empty() || without_parens(&lhs) == without_parens(&rhs) {
        return lhs;
    }
    if selectors(&lhs).is_empty() {
        return rhs;
    }
    match branches::of(&lhs, &rhs) {
        Branches::SameLabels => build::binary(lhs, TokenType::new(T_LAND), rhs, binary.modifier.clone()),
        // A filter that stays in one branch tells healthy from unhealthy. The other branch
        // with the same metrics must not be evidence for it.
        Branches::SameExporter if keeps_filter(&lhs, &rhs) => lhs,
        Branches::SameExporter if keeps_filter(&rhs, &lhs) => rhs,
        Branches::SameExporter | Branches::Unrelated => build::binary(lhs, binary.op, rhs, binary.modifier.clone()),
    }
}

/// Whether `one` keeps a filter that `other` has not, and `other` adds no metric.
fn keeps_filter(one: &Expr, other: &Expr) -> bool {
    let names = |expr| selectors(expr).into_iter().map(metric_name).collect::<BTreeSet<_>>();
    filter::drops_series(one) && !filter::drops_series(other) && names(other).is_subset(&names(one))
}

/// Both branches without their time shifts if these differ: samples of the past are no
/// evidence for the branch that is about a later time.
fn at_one_time(lhs: Expr, rhs: Expr) -> (Expr, Expr) {
    match (window::least_shift(&lhs), window::least_shift(&rhs)) {
        (Some(left), Some(right)) if left != right => (window::unshifted(lhs), window::unshifted(rhs)),
        _ => (lhs, rhs),
    }
}

/// Whether `expr` is `absent(B)`, also compared with a number. `and absent(B)` means
/// the same as `unless B`.
pub(super) fn is_absence(expr: &Expr) -> bool {
    match without_parens(expr) {
        Expr::Call(call) => matches!(call.func.name, "absent" | "absent_over_time"),
        Expr::Binary(binary) => !matches_vectors(binary) && is_absence(&binary.lhs),
        _ => false,
    }
}
