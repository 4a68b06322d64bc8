//! Evaluates an expression at one time. It knows the shapes that policies and the queries derived
//! from them have, and refuses all others by name.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use promql_parser::parser::token::{T_AVG, T_COUNT, T_COUNT_VALUES, T_GROUP, T_MAX, T_MIN, T_SUM};
use promql_parser::parser::{AggregateExpr, AtModifier, Call, Expr, LabelModifier, Offset, VectorSelector};

use super::binary;
use super::range;
use super::samples::{LabelSet, NAME, Samples};

/// A series at one time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) labels: LabelSet,
    pub(super) value: f64,
}

/// The value of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Evaluated {
    Scalar(f64),
    Vector(Vec<Point>),
}

/// When an expression is evaluated, over which samples. Times are in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evaluation<'a> {
    pub(super) samples: &'a Samples,
    pub(super) at: i64,
    pub(super) lookback: i64,
}

/// Why an expression has no value here.
pub(super) type EvaluationError = String;

impl Evaluation<'_> {
    pub(super) fn of(&self, expr: &Expr) -> Result<Evaluated, EvaluationError> {
        Ok(match expr {
            Expr::Paren(paren) => self.of(&paren.expr)?,
            Expr::NumberLiteral(number) => Evaluated::Scalar(number.val),
            Expr::Unary(unary) => match self.of(&unary.expr)? {
                Evaluated::Scalar(value) => Evaluated::Scalar(-value),
                Evaluated::Vector(points) => Evaluated::Vector(mapped(points, |value| -value)),
            },
            Expr::VectorSelector(selector) => {
                let found = self.newest(selector).into_iter();
                Evaluated::Vector(found.map(|(labels, _, value)| Point { labels, value }).collect())
            }
            Expr::Aggregate(aggregate) => Evaluated::Vector(self.aggregate(aggregate)?),
            Expr::Binary(operation) => {
                let (left, right) = (self.of(&operation.lhs)?, self.of(&operation.rhs)?);
                binary::evaluate(operation, left, right)?
            }
            Expr::Call(call) => self.call(call)?,
            Expr::MatrixSelector(_) | Expr::Subquery(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {
                return Err(unknown(&expr.to_string()));
            }
        })
    }

    pub(super) fn vector(&self, expr: &Expr) -> Result<Vec<Point>, EvaluationError> {
        match self.of(expr)? {
            Evaluated::Vector(points) => Ok(points),
            Evaluated::Scalar(_) => Err(format!("expected an instant vector, found a scalar: {expr}")),
        }
    }

    fn scalar(&self, expr: &Expr) -> Result<f64, EvaluationError> {
        match self.of(expr)? {
            Evaluated::Scalar(value) => Ok(value),
            Evaluated::Vector(_) => Err(format!("expected a scalar, found an instant vector: {expr}")),
        }
    }

    fn newest(&self, selector: &VectorSelector) -> Vec<(LabelSet, i64, f64)> {
        self.samples.instant(selector, self.moved(selector), self.lookback)
    }

    /// The time that a selector with `offset` or `@` is about.
    fn moved(&self, selector: &VectorSelector) -> i64 {
        let at = match &selector.at {
            Some(AtModifier::At(time)) => time.duration_since(UNIX_EPOCH).map_or(0, millis),
            // An instant query starts and ends at its time.
            Some(AtModifier::Start | AtModifier::End) | None => self.at,
        };
        match &selector.offset {
            Some(Offset::Pos(by)) => at - millis(*by),
            Some(Offset::Neg(by)) => at + millis(*by),
            None => at,
        }
    }

    fn aggregate(&self, aggregate: &AggregateExpr) -> Result<Vec<Point>, EvaluationError> {
        let points = self.vector(&aggregate.expr)?;
        let name = match aggregate.param.as_deref() {
            Some(Expr::StringLiteral(name)) => Some(name.val.as_str()),
            _ => None,
        };
        let mut groups: BTreeMap<LabelSet, Vec<f64>> = BTreeMap::new();
        for point in points {
            let mut labels = grouped(&point.labels, aggregate.modifier.as_ref());
            if let (T_COUNT_VALUES, Some(name)) = (aggregate.op.id(), name) {
                labels.insert(name.to_owned(), point.value.to_string());
            }
            groups.entry(labels).or_default().push(point.value);
        }
        let value = |values: &[f64]| {
            let (sum, count) = (values.iter().sum::<f64>(), values.iter().map(|_| 1.0).sum::<f64>());
            Ok(match aggregate.op.id() {
                T_SUM => sum,
                T_AVG => sum / count,
                T_COUNT | T_COUNT_VALUES => count,
                T_MIN => values.iter().copied().fold(f64::NAN, f64::min),
                T_MAX => values.iter().copied().fold(f64::NAN, f64::max),
                T_GROUP => 1.0,
                _ => return Err(unknown(&format!("the aggregation {}", aggregate.op))),
            })
        };
        groups.into_iter().map(|(labels, values)| Ok(Point { labels, value: value(&values)? })).collect()
    }

    fn call(&self, call: &Call) -> Result<Evaluated, EvaluationError> {
        let arguments = &call.args.args;
        let argument = |at: usize| arguments.get(at).map(AsRef::as_ref);
        let (first, name) = (argument(0), call.func.name);
        Ok(match (name, first) {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of this century fit")]
            ("time", None) => Evaluated::Scalar(self.at as f64 / 1000.0),
            ("vector", Some(first)) => {
                Evaluated::Vector(vec![Point { labels: LabelSet::new(), value: self.scalar(first)? }])
            }
            ("scalar", Some(first)) => Evaluated::Scalar(match self.vector(first)?.as_slice() {
                [only] => only.value,
                _ => f64::NAN,
            }),
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of this century fit")]
            ("timestamp", Some(Expr::VectorSelector(selector))) => {
                let found = self.newest(selector).into_iter();
                Evaluated::Vector(found.map(|(labels, then, _)| point(labels, then as f64 / 1000.0)).collect())
            }
            ("absent", Some(first)) => {
                let is_empty = self.vector(first)?.is_empty();
                Evaluated::Vector(is_empty.then(|| Point { labels: LabelSet::new(), value: 1.0 }).into_iter().collect())
            }
            ("floor" | "ceil" | "abs" | "round", Some(first)) if arguments.len() == 1 => {
                let function = match name {
                    "floor" => f64::floor,
                    "ceil" => f64::ceil,
                    "abs" => f64::abs,
                    _ => f64::round,
                };
                Evaluated::Vector(unnamed(mapped(self.vector(first)?, function)))
            }
            ("clamp_min" | "clamp_max", Some(first)) => {
                let bound = argument(1).map(|bound| self.scalar(bound)).transpose()?.unwrap_or(f64::NAN);
                let clamp = |value: f64| if name == "clamp_min" { value.max(bound) } else { value.min(bound) };
                Evaluated::Vector(unnamed(mapped(self.vector(first)?, clamp)))
            }
            (_, Some(Expr::MatrixSelector(matrix))) => {
                let function = range::function(name).ok_or_else(|| unknown(&format!("the function {name}()")))?;
                let (at, range) = (self.moved(&matrix.vs), millis(matrix.range));
                let series = self.samples.range(&matrix.vs, at, range).into_iter();
                let value = |samples: &[(i64, f64)]| function(&range::Window { samples, at, range });
                Evaluated::Vector(
                    series.filter_map(|(labels, samples)| Some(point(labels, value(&samples)?))).collect(),
                )
            }
            _ => return Err(unknown(&format!("the function {name}() with these arguments"))),
        })
    }
}

fn unknown(what: &str) -> EvaluationError {
    format!("the Prometheus of this simulation does not know {what}")
}

/// A result without the metric's name.
fn point(mut labels: LabelSet, value: f64) -> Point {
    labels.remove(NAME);
    Point { labels, value }
}

fn unnamed(points: Vec<Point>) -> Vec<Point> {
    points.into_iter().map(|Point { labels, value }| point(labels, value)).collect()
}

fn mapped(points: Vec<Point>, function: impl Fn(f64) -> f64) -> Vec<Point> {
    points.into_iter().map(|Point { labels, value }| Point { labels, value: function(value) }).collect()
}

/// The labels of the group that a series belongs to.
fn grouped(labels: &LabelSet, modifier: Option<&LabelModifier>) -> LabelSet {
    let named = |name: &String| modifier.is_some_and(|modifier| modifier.labels().labels.contains(name));
    let kept = |name: &String| match modifier {
        Some(LabelModifier::Include(_)) => named(name),
        Some(LabelModifier::Exclude(_)) => !named(name) && name != NAME,
        None => false,
    };
    labels.iter().filter(|(name, _)| kept(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
