//! Operations on two values: arithmetic, comparisons, and sets.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::parser::token::{
    T_ADD, T_DIV, T_EQLC, T_GTE, T_GTR, T_LAND, T_LOR, T_LSS, T_LTE, T_LUNLESS, T_MOD, T_MUL, T_NEQ, T_POW, T_SUB,
    TokenType,
};
use promql_parser::parser::{BinModifier, BinaryExpr, LabelModifier, VectorMatchCardinality};

use super::evaluate::{Evaluated, EvaluationError, Point};
use super::samples::{LabelSet, NAME};

/// The value of an operation on two values.
pub(super) fn evaluate(
    operation: &BinaryExpr,
    left: Evaluated,
    right: Evaluated,
) -> Result<Evaluated, EvaluationError> {
    let op = operation.op;
    let modifier = operation.modifier.clone().unwrap_or_default();
    Ok(match (left, right) {
        (Evaluated::Scalar(left), Evaluated::Scalar(right)) => {
            let applied = applied(op, left, right)?;
            // Between scalars, a comparison is always with `bool`.
            Evaluated::Scalar(applied.value.unwrap_or_else(|| applied.holds.into()))
        }
        (Evaluated::Vector(points), Evaluated::Scalar(scalar)) => {
            Evaluated::Vector(each(points, op, &modifier, |value| (value, value, scalar))?)
        }
        (Evaluated::Scalar(scalar), Evaluated::Vector(points)) => {
            Evaluated::Vector(each(points, op, &modifier, |value| (value, scalar, value))?)
        }
        (Evaluated::Vector(left), Evaluated::Vector(right)) => Evaluated::Vector(match op.id() {
            T_LAND => with_match(left, &right, &modifier, true),
            T_LUNLESS => with_match(left, &right, &modifier, false),
            T_LOR => {
                let more = with_match(right, &left, &modifier, false);
                left.into_iter().chain(more).collect()
            }
            _ => matched(left, right, op, &modifier)?,
        }),
    })
}

/// What an operation makes of two numbers.
struct Applied {
    /// The result of arithmetic. `None`: it is a comparison.
    value: Option<f64>,
    /// Whether the comparison holds.
    holds: bool,
}

#[expect(clippy::float_cmp, reason = "`==` of PromQL compares exactly")]
fn applied(op: TokenType, left: f64, right: f64) -> Result<Applied, EvaluationError> {
    let value = match op.id() {
        T_ADD => left + right,
        T_SUB => left - right,
        T_MUL => left * right,
        T_DIV => left / right,
        T_MOD => left % right,
        T_POW => left.powf(right),
        other => {
            let holds = match other {
                T_EQLC => left == right,
                T_NEQ => left != right,
                T_GTR => left > right,
                T_GTE => left >= right,
                T_LSS => left < right,
                T_LTE => left <= right,
                _ => return Err(format!("the Prometheus of this simulation does not know the operator {op}")),
            };
            return Ok(Applied { value: None, holds });
        }
    };
    Ok(Applied { value: Some(value), holds: true })
}

/// A vector and a scalar. `operands` returns what a comparison keeps, and the two sides.
fn each(
    points: Vec<Point>,
    op: TokenType,
    modifier: &BinModifier,
    operands: impl Fn(f64) -> (f64, f64, f64),
) -> Result<Vec<Point>, EvaluationError> {
    let mut results = Vec::new();
    for Point { labels, value } in points {
        let (kept, left, right) = operands(value);
        results.extend(result(labels, kept, &applied(op, left, right)?, modifier));
    }
    Ok(results)
}

fn result(mut labels: LabelSet, kept: f64, applied: &Applied, modifier: &BinModifier) -> Option<Point> {
    let value = match applied.value {
        Some(value) => value,
        None if modifier.return_bool => applied.holds.into(),
        None => return applied.holds.then_some(Point { labels, value: kept }),
    };
    labels.remove(NAME);
    Some(Point { labels, value })
}

/// The labels by which series of the two sides belong together.
fn signature(labels: &LabelSet, modifier: &BinModifier) -> LabelSet {
    let named = |name: &String, all: &promql_parser::label::Labels| all.labels.contains(name);
    let counts = |name: &String| match &modifier.matching {
        Some(LabelModifier::Include(all)) => named(name, all),
        Some(LabelModifier::Exclude(all)) => !named(name, all) && name != NAME,
        None => name != NAME,
    };
    labels.iter().filter(|(name, _)| counts(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The series that have, or do not have, a partner on the other side.
fn with_match(points: Vec<Point>, others: &[Point], modifier: &BinModifier, wanted: bool) -> Vec<Point> {
    let partners: Vec<LabelSet> = others.iter().map(|other| signature(&other.labels, modifier)).collect();
    let has = |point: &Point| partners.contains(&signature(&point.labels, modifier));
    points.into_iter().filter(|point| has(point) == wanted).collect()
}

fn matched(
    left: Vec<Point>,
    right: Vec<Point>,
    op: TokenType,
    modifier: &BinModifier,
) -> Result<Vec<Point>, EvaluationError> {
    // The side on which several series may have the same partner, and the labels that the other lends.
    let is_swapped = matches!(modifier.card, VectorMatchCardinality::OneToMany(_));
    let added = modifier.card.labels();
    let (many, one) = if is_swapped { (right, left) } else { (left, right) };
    let mut partners: BTreeMap<LabelSet, Point> = BTreeMap::new();
    for point in one {
        if partners.insert(signature(&point.labels, modifier), point).is_some() {
            return Err("many-to-many matching not allowed: matching labels must be unique on one side".to_owned());
        }
    }
    let mut seen: BTreeSet<LabelSet> = BTreeSet::new();
    let mut results = Vec::new();
    for point in many {
        let key = signature(&point.labels, modifier);
        let Some(partner) = partners.get(&key) else { continue };
        if added.is_none() && !seen.insert(key.clone()) {
            return Err("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                .to_owned());
        }
        let (left, right) = if is_swapped { (partner.value, point.value) } else { (point.value, partner.value) };
        let applied = applied(op, left, right)?;
        let mut labels = match added {
            None if applied.value.is_some() || modifier.matching.is_some() => key,
            _ => point.labels.clone(),
        };
        for name in added.into_iter().flat_map(|added| &added.labels) {
            match partner.labels.get(name) {
                Some(value) => labels.insert(name.clone(), value.clone()),
                None => labels.remove(name),
            };
        }
        results.extend(result(labels, left, &applied, modifier));
    }
    Ok(results)
}
