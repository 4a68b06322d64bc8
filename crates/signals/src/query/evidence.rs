//! The evidence query: for whom there is data at all. Empty is not proof of
//! health, so everything that filters is taken out of the expression and the
//! rest is kept as it is.
//!
//! | expression | evidence |
//! |---|---|
//! | `A > 5`, `5 < A` | `A` |
//! | `count(A == 1) < 3` | `count(A == 1)`: see [`missing`] |
//! | `A > bool 5` | itself: it filters nothing |
//! | `A > B` | `A + B`: both must be there, and `NaN` stays `NaN` |
//! | `A / B` | `B > 0`, or both: see [`ratio`] |
//! | `(A == 1) * B` | `A and B`, same matching: see [`of_match`] |
//! | `A > 5 and B` | `A unless (A > 5 unless B)`: see [`of_conjunction`] |
//! | `A and B` | `A and B`, same matching |
//! | `A unless B`, `A and absent(B)` | `A` |
//! | `A or B` | `A or B` where they are scraped together, else both: see [`branches`] |
//! | `absent(A)` | `A` |
//! | `topk(3, A)` | `A`: it chooses, and what is not chosen is no less there |
//! | `rate(A[5m])` | `rate(A[5m]) and A`: see [`recent`] |
//! | all else | itself, around what is inside |

use promql_parser::parser::token::{T_ADD, T_LAND, T_LOR, T_LUNLESS, T_MAX, TokenType};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{
    AggregateExpr, BinModifier, BinaryExpr, Call, Expr, Function, FunctionArgs, ParenExpr, VectorMatchCardinality,
};

use super::branches::{self, Branches};
use super::tree::{is_vector, matches_vectors, peeled, selectors};
use super::{build, filter, missing, ratio, recent};

/// The most selectors of a condition that [`of_conjunction`] repeats. A chain of
/// `and` repeats its beginning once per link.
const MAX_REPEATED: usize = 6;

/// The evidence for `expr`, or why there is none.
pub(super) fn derive(expr: &Expr) -> Result<Expr, &'static str> {
    if selectors(expr).is_empty() {
        return Err("for the query selects no series");
    }
    let derived = bare(expr);
    if selectors(&derived).is_empty() {
        return Err("for without its filters the query selects no series");
    }
    if branches::any_torn(&derived) {
        return Err(
            "for the branches of its `or` are not scraped together, so one can fall silent while another goes on",
        );
    }
    Ok(recent::held(&derived))
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

/// The evidence for what stands alone, between parentheses or commas.
fn bare(expr: &Expr) -> Expr {
    peeled(&evidence(expr)).clone()
}

fn of_aggregate(aggregate: &AggregateExpr) -> Expr {
    let inner = bare(&aggregate.expr);
    if filter::choosing(aggregate.op) {
        return inner;
    }
    build::aggregate(aggregate.op, aggregate.param.clone(), inner, aggregate.modifier.clone())
}

fn of_call(call: &Call) -> Expr {
    let args: Vec<_> = call.args.args.iter().map(|argument| Box::new(bare(argument))).collect();
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
        // A comparison without the comparison. `+` keeps what decides: matching
        // and labels are the comparison's own, and `NaN` on either side is `NaN`.
        // `and` would lose the labels of `group_left`, `bool` make a number of
        // `NaN`.
        _ if missing::may_hide_breach(binary) => of_whole(binary),
        _ => match (is_vector(lhs), is_vector(rhs)) {
            (true, false) if selectors(rhs).is_empty() => evidence(lhs),
            (false, true) if selectors(lhs).is_empty() => evidence(rhs),
            _ => of_match(binary, TokenType::new(T_ADD)),
        },
    }
}

/// A comparison without the comparison and with every filter inside: what is missing
/// for them is not known to be healthy.
fn of_whole(binary: &BinaryExpr) -> Expr {
    let (lhs, rhs) = (binary.lhs.as_ref(), binary.rhs.as_ref());
    match (is_vector(lhs), is_vector(rhs)) {
        (true, false) if selectors(rhs).is_empty() => lhs.clone(),
        (false, true) if selectors(lhs).is_empty() => rhs.clone(),
        _ => build::binary(lhs.clone(), TokenType::new(T_ADD), rhs.clone(), binary.modifier.clone()),
    }
}

/// `A op B` with the matching of `binary`.
///
/// Often it is a filter that makes matches unique, as in `… * on (pod) group_left
/// () (kube_pod_status_phase == 1)`: without it the server refuses the query. `and`
/// asks for no uniqueness and takes its place, unless labels are taken over from
/// the filtered side; then that side stays filtered, for it says which.
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
        VectorMatchCardinality::OneToOne if filter::chooses(lhs) || filter::chooses(rhs) => match &matching {
            // The result has the labels that are matched on, and no others.
            Some(labels) => build::aggregate(TokenType::new(T_MAX), None, both(lhs, rhs), Some(labels.clone())),
            None => both(lhs, rhs),
        },
        VectorMatchCardinality::ManyToOne(extra) if filter::chooses(rhs) && extra.is_empty() => both(lhs, rhs),
        VectorMatchCardinality::ManyToOne(_) if filter::chooses(rhs) => {
            build::binary(evidence(lhs), op, rhs.clone(), modifier)
        }
        VectorMatchCardinality::OneToMany(extra) if filter::chooses(lhs) && extra.is_empty() => both(rhs, lhs),
        VectorMatchCardinality::OneToMany(_) if filter::chooses(lhs) => {
            build::binary(lhs.clone(), op, evidence(rhs), modifier)
        }
        _ => build::binary(evidence(lhs), op, evidence(rhs), modifier),
    }
}

/// `A and B` is refuted by either of them. So where `A` filters, it is enough that `A`
/// is there, unless it breaches and nothing is known of `B`. That matters where `B` has
/// no series in good health: `… and kube_pod_container_status_last_terminated_reason`.
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
    let unknown = build::binary(peeled(lhs).clone(), unless, evidence(rhs), binary.modifier.clone());
    build::binary(evidence(lhs), unless, unknown, Some(same_labels))
}

/// What is always there, as in `… or vector(0)`, proves nothing.
fn of_branches(binary: &BinaryExpr) -> Expr {
    let (lhs, rhs) = (evidence(&binary.lhs), evidence(&binary.rhs));
    if selectors(&rhs).is_empty() || peeled(&lhs) == peeled(&rhs) {
        return lhs;
    }
    if selectors(&lhs).is_empty() {
        return rhs;
    }
    match branches::of(&lhs, &rhs) {
        Branches::Alike => build::binary(lhs, TokenType::new(T_LAND), rhs, binary.modifier.clone()),
        Branches::Together | Branches::Torn => build::binary(lhs, binary.op, rhs, binary.modifier.clone()),
    }
}

/// `absent(B)`, also compared with a number: as the right side of `and` it is an
/// `unless B` in other words.
fn is_absence(expr: &Expr) -> bool {
    match peeled(expr) {
        Expr::Call(call) => matches!(call.func.name, "absent" | "absent_over_time"),
        Expr::Binary(binary) => !matches_vectors(binary) && is_absence(&binary.lhs),
        _ => false,
    }
}
