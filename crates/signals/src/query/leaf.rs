//! The freshness check. Range functions hide a dead exporter for minutes. So before an
//! action, Prunella checks that the selectors of the breached condition have samples
//! *now*.
//!
//! A selector can also be missing *because* of the breach. Then the check is another one:
//!
//! | where the selector stands | check |
//! |---|---|
//! | `A` in `A > 5` | `A` has samples |
//! | `B` in `A unless B == 1`: it inhibits by its value | the metric has samples |
//! | `B` in `A unless B`, `A and absent(B)`: it inhibits by existing | its exporter is not down |
//! | `A` in `absent(A)`, `(A or vector(0)) < 1`: its absence is the breach | its exporter is up |
//! | `A` in `A or B` | one of them is enough |

use promql_parser::label::{MatchOp, Matcher, Matchers};
use promql_parser::parser::token::{T_COUNT_VALUES, T_LAND, T_LOR, T_LUNLESS};
use promql_parser::parser::{AggregateExpr, BinaryExpr, Call, Expr, VectorSelector};

use super::carried::Carried;
use super::evidence::is_absence;
use super::filter::picks_series;
use super::tree::{children, matches_vectors, metric_name, pin, selectors};
use super::{RequiredLabels, branches, exporter, inject, missing, vanishing};

/// The limit of leaves that the branches of an `or` are multiplied out to. Above it, a
/// sample of any one selector is enough.
const MAX_ALTERNATIVES: usize = 16;

/// How far back to look for the exporter of series that do not exist now.
const SEEN_WITHIN: &str = "1h";
/// How long ago a target of `up` may have been seen last, if its absence is the breach.
const UP_SEEN_WITHIN: &str = "1d";

/// A selector that must have samples now, or several selectors of which one must.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    alternatives: Vec<Selector>,
    /// The labels that every selector has.
    required: RequiredLabels,
}

#[derive(Debug, Clone, PartialEq)]
struct Selector {
    /// Without `offset` and `@`, because the sample must be there now.
    vector: VectorSelector,
    carried: Carried,
    requirement: Requirement,
}

/// What proves that a selector can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Requirement {
    /// It has a sample.
    Sample,
    /// Its metric has a sample, with any other matchers. Many inhibiting metrics have no
    /// series with the value that inhibits.
    Reports,
    /// No exporter that returned it lately is down.
    NotDown,
    /// The exporters that returned it lately are up. If they are gone, its metric has a
    /// sample with any other matchers.
    Up,
}

impl Leaf {
    /// An instant query that returns one series if the leaf has samples, and none if it
    /// has not. The `extra` equality matchers narrow it. A matcher is used only if its
    /// label reaches the result unchanged and the selector does not pin the label itself.
    #[must_use]
    pub fn instant_query(&self, extra: &[(&str, &str)]) -> String {
        let checks = self.alternatives.iter().map(|selector| selector.check(extra, &self.required));
        checks.collect::<Vec<_>>().join(" or ")
    }

    /// What is wrong if [`Leaf::instant_query`] returns no series.
    #[must_use]
    pub fn complaint(&self) -> String {
        let of = |requirement: fn(Requirement) -> bool| {
            let all =
                self.alternatives.iter().filter(|one| requirement(one.requirement)).map(|one| one.vector.to_string());
            all.collect::<Vec<_>>().join(" or ")
        };
        let samples = of(|requirement| matches!(requirement, Requirement::Sample | Requirement::Reports));
        let exporters = of(|requirement| matches!(requirement, Requirement::NotDown | Requirement::Up));
        match (samples.is_empty(), exporters.is_empty()) {
            (_, true) => format!("{samples} has no sample now"),
            (true, false) => format!("the exporter of {exporters} is down, or none was seen lately"),
            (false, false) => {
                format!("{samples} has no sample now, and the exporter of {exporters} is down, or none was seen lately")
            }
        }
    }

    /// Whether only samples of the selectors prove it.
    pub(super) fn needs_samples(&self) -> bool {
        let own = |one: &Selector| one.requirement == Requirement::Sample && vanishing::advice(&one.vector).is_none();
        !self.alternatives.is_empty() && self.alternatives.iter().all(own)
    }

    /// The selectors as the user wrote them, without their time shifts.
    #[must_use]
    pub fn name(&self) -> String {
        self.alternatives.iter().map(|one| one.vector.to_string()).collect::<Vec<_>>().join(" or ")
    }

    /// A query that returns one series if no selector has a series.
    pub(super) fn absent(&self) -> String {
        let absent = self.alternatives.iter().map(|one| format!("absent({})", one.vector));
        absent.collect::<Vec<_>>().join(" and on () ")
    }

    /// The leaf of a query whose selectors have the `required` labels.
    #[must_use]
    pub(super) fn within(mut self, required: &RequiredLabels) -> Self {
        if self.alternatives.iter_mut().any(|one| inject::again_to(&mut one.vector, required).is_err()) {
            return Self::unproven();
        }
        self.required = required.clone();
        self
    }

    /// A leaf that never has samples.
    pub(super) fn unproven() -> Self {
        Self { alternatives: Vec::new(), required: RequiredLabels::default() }
    }

    /// The first selector, without `offset` and `@`.
    pub(super) fn selector(&self) -> Option<&VectorSelector> {
        self.alternatives.iter().find(|one| one.requirement == Requirement::Sample).map(|one| &one.vector)
    }

    /// Whether a series of this leaf can have `label="value"` in the result.
    pub(super) fn may_carry(&self, label: &str, value: &str) -> bool {
        let own = |one: &Selector| pin(&one.vector, label).is_none_or(|pin| pin == value);
        // An overwritten label can have any value. Users restore a label this way from
        // `exported_namespace` if Prometheus scrapes without `honorLabels`.
        let may = |one: &Selector| one.carried.writes(label) || (one.carried.contains(label) && own(one));
        self.alternatives.iter().any(|one| one.requirement == Requirement::Sample && may(one))
    }

    fn requiring(mut self, requirement: Requirement) -> Self {
        for one in &mut self.alternatives {
            one.requirement = requirement;
        }
        self
    }
}

impl Selector {
    /// Returns at least one series if the selector can be relied on, and none if not.
    fn check(&self, extra: &[(&str, &str)], required: &RequiredLabels) -> String {
        let own = self.narrowed(&self.vector, extra);
        let any = self.narrowed(&of_exporter(&self.vector, required), extra);
        let lately = format!("on (job, instance) present_over_time({own}[{SEEN_WITHIN}])");
        match self.requirement {
            Requirement::Sample => format!("count({own})"),
            Requirement::Reports => format!("count({any})"),
            Requirement::NotDown => format!("absent({} == 0 and {lately})", up(required)),
            // Prometheus itself writes `up`. Of a target that was never seen, silence says nothing: the
            // selector is misspelt, or its targets are in another namespace.
            Requirement::Up if metric_name(&self.vector) == Some("up") => {
                format!("count({}) and count(present_over_time({own}[{UP_SEEN_WITHIN}]))", up(required))
            }
            Requirement::Up => {
                let up = format!("min({} and {lately})", up(required));
                format!("{up} == 1 or (count({any}) unless {up})")
            }
        }
    }

    fn narrowed(&self, vector: &VectorSelector, extra: &[(&str, &str)]) -> VectorSelector {
        let mut vector = vector.clone();
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

/// Parts of the names of labels that say which object a series is about. The other labels
/// may be its state.
const IDENTITY: [&str; 17] = [
    "__name__",
    "app",
    "cluster",
    "container",
    "daemonset",
    "deployment",
    "device",
    "host",
    "instance",
    "job",
    "machine",
    "namespace",
    "node",
    "pod",
    "service",
    "statefulset",
    "tenant",
];

/// The selector without the matchers that tell one state of an object from another one.
fn of_exporter(selector: &VectorSelector, required: &RequiredLabels) -> VectorSelector {
    let namespace = required.namespace.as_ref().map(|namespace| namespace.name.as_str());
    let is_required = |matcher: &Matcher| {
        let fixed = required.fixed.contains_key(&matcher.name);
        fixed || matches!(matcher.op, MatchOp::Equal) && namespace == Some(matcher.value.as_str())
    };
    let mut any = selector.clone();
    if any.matchers.or_matchers.is_empty() {
        let names_object = |matcher: &Matcher| IDENTITY.iter().any(|part| matcher.name.contains(part));
        any.matchers.matchers.retain(|matcher| names_object(matcher) || is_required(matcher));
    }
    any
}

/// Selects `up` of all exporters. An exporter such as kube-state-metrics is in another
/// namespace than the objects that it reports about, so its `up` has no label of the
/// policy's namespace. It is joined with series of that namespace, and only the answer
/// whether an exporter is up leaves the source.
fn up(required: &RequiredLabels) -> VectorSelector {
    let matchers = required.fixed.iter().map(|(name, value)| Matcher::new(MatchOp::Equal, name, value));
    VectorSelector::new(Some("up".to_owned()), Matchers::new(matchers.collect()))
}

/// The leaves that a breach of `expr` needs, without duplicates.
pub(super) fn needed(expr: &Expr) -> Vec<Leaf> {
    let all = under(expr, &Carried::all());
    let sampled: Vec<VectorSelector> = all.iter().filter_map(Leaf::sampled).cloned().collect();
    let mut leaves: Vec<Leaf> = Vec::new();
    for leaf in all {
        if !leaves.contains(&leaf) && !leaf.is_proven_by(&sampled) {
            leaves.push(leaf);
        }
    }
    leaves
}

/// The selectors whose absence is a breach.
pub(super) fn silent(expr: &Expr) -> Vec<String> {
    let all = needed(expr).into_iter().flat_map(|leaf| leaf.alternatives);
    let mut names: Vec<String> =
        all.filter(|one| one.requirement == Requirement::Up).map(|one| one.vector.to_string()).collect();
    names.sort();
    names.dedup();
    names
}

/// The selectors that hold actions back by existing.
pub(super) fn inhibit_by_existing(expr: &Expr) -> Vec<String> {
    let all = needed(expr).into_iter().flat_map(|leaf| leaf.alternatives);
    let mut names: Vec<String> =
        all.filter(|one| one.requirement == Requirement::NotDown).map(|one| one.vector.to_string()).collect();
    names.sort();
    names.dedup();
    names
}

/// The selectors that hold actions back by existing, if `expr` stands after `unless`, each with its
/// labels that reach `expr`.
pub(super) fn inhibiting_by_existing(expr: &Expr) -> Vec<(VectorSelector, Carried)> {
    let all = inhibiting(expr, &Carried::all(), false).into_iter().flat_map(|leaf| leaf.alternatives);
    all.filter(|one| one.requirement == Requirement::NotDown).map(|one| (one.vector, one.carried)).collect()
}

/// Whether in every branch of `expr`, `has` is true of the labels that a selector passes on.
pub(super) fn every_series(expr: &Expr, has: impl Fn(&Carried) -> bool) -> bool {
    let passes_on = |one: &Selector| one.requirement == Requirement::Sample && has(&one.carried);
    let is_loud = |leaf: Leaf| !leaf.alternatives.is_empty() && leaf.alternatives.iter().all(passes_on);
    under(expr, &Carried::all()).into_iter().any(is_loud)
}

fn under(expr: &Expr, carried: &Carried) -> Vec<Leaf> {
    match expr {
        Expr::VectorSelector(selector) => vec![Leaf::of(selector, carried, Requirement::Sample)],
        Expr::MatrixSelector(matrix) => vec![Leaf::of(&matrix.vs, carried, Requirement::Sample)],
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
        // Labels of the argument do not reach the result.
        "absent" | "absent_over_time" => {
            let all = call.args.args.iter().flat_map(|argument| selectors(argument));
            return all.map(|selector| Leaf::of(selector, &Carried::none(), Requirement::Up)).collect();
        }
        _ => of_arguments(call, carried),
    };
    call.args.args.iter().flat_map(|argument| under(argument, &inner)).collect()
}

/// The labels that the arguments of a function pass on.
fn of_arguments(call: &Call, carried: &Carried) -> Carried {
    match call.func.name {
        "scalar" => Carried::none(),
        "label_replace" | "label_join" => match call.args.args.get(1).map(AsRef::as_ref) {
            Some(Expr::StringLiteral(label)) => carried.clone().written(&label.val),
            _ => Carried::none(),
        },
        // Adds the labels of another metric.
        "info" => carried.clone().within(&["instance".to_owned(), "job".to_owned()]),
        _ => carried.clone(),
    }
}

fn under_binary(binary: &BinaryExpr, carried: &Carried) -> Vec<Leaf> {
    if !matches_vectors(binary) {
        // A scalar side reaches `under_call` as `scalar(…)`, which carries no labels.
        let leaves = [under(&binary.lhs, carried), under(&binary.rhs, carried)].concat();
        let is_loud = missing::silence_is_breach(binary) == Some(false);
        return if is_loud {
            leaves.into_iter().map(|leaf| leaf.requiring(Requirement::Sample)).collect()
        } else {
            leaves
        };
    }
    let (left, right) = carried.clone().matched(binary);
    match binary.op.id() {
        T_LUNLESS => [under(&binary.lhs, &left), inhibiting(&binary.rhs, &right, false)].concat(),
        // It inhibits by existing.
        T_LAND if is_absence(&binary.rhs) => {
            let absent = selectors(&binary.rhs).into_iter();
            let inhibiting =
                absent.map(|selector| Leaf::of(selector, &Carried::none(), Requirement::NotDown)).collect();
            [under(&binary.lhs, &left), inhibiting].concat()
        }
        T_LOR => of_branches(binary, carried),
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

fn of_branches(binary: &BinaryExpr, carried: &Carried) -> Vec<Leaf> {
    let (lhs, rhs) = (under(&binary.lhs, carried), under(&binary.rhs, carried));
    let fills = |branch: &Expr| selectors(branch).is_empty() || branches::alive(branch).is_some();
    let silent = |leaves: Vec<Leaf>| leaves.into_iter().map(|leaf| leaf.requiring(Requirement::Up)).collect();
    match (fills(&binary.lhs), fills(&binary.rhs)) {
        (false, true) => silent(lhs),
        (true, false) => silent(rhs),
        _ => either(lhs, rhs),
    }
}

/// The leaves without which `expr` could be empty although it should inhibit. `by_value`:
/// something compares the values, so there are series while it does not inhibit.
fn inhibiting(expr: &Expr, carried: &Carried, by_value: bool) -> Vec<Leaf> {
    let requirement = if by_value { Requirement::Reports } else { Requirement::NotDown };
    match expr {
        Expr::VectorSelector(selector) => vec![Leaf::of(selector, carried, requirement)],
        Expr::MatrixSelector(matrix) => vec![Leaf::of(&matrix.vs, carried, requirement)],
        Expr::Aggregate(aggregate) if picks_series(aggregate.op) => inhibiting(&aggregate.expr, carried, by_value),
        Expr::Aggregate(aggregate) => {
            inhibiting(&aggregate.expr, &carried.clone().grouped(aggregate.modifier.as_ref()), by_value)
        }
        // If the argument exists, it does not inhibit.
        Expr::Call(call) if matches!(call.func.name, "absent" | "absent_over_time") => Vec::new(),
        Expr::Call(call) => {
            let inner = of_arguments(call, carried);
            call.args.args.iter().flat_map(|argument| inhibiting(argument, &inner, by_value)).collect()
        }
        Expr::Binary(binary) => {
            let by_value = by_value || binary.op.is_comparison_operator();
            let (left, right) = if matches_vectors(binary) && binary.op.id() != T_LOR {
                carried.clone().matched(binary)
            } else {
                (carried.clone(), carried.clone())
            };
            let lhs = inhibiting(&binary.lhs, &left, by_value);
            // Without its right side, `unless` inhibits more.
            if binary.op.id() == T_LUNLESS { lhs } else { [lhs, inhibiting(&binary.rhs, &right, by_value)].concat() }
        }
        _ => children(expr).into_iter().flat_map(|child| inhibiting(child, carried, by_value)).collect(),
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
    fn of(selector: &VectorSelector, carried: &Carried, requirement: Requirement) -> Self {
        let vector = VectorSelector { offset: None, at: None, ..selector.clone() };
        // Between two crashes, the series that tells of the crash is not there.
        let (vector, carried) = match vanishing::replacement(&vector) {
            Some((other, lacks)) if requirement == Requirement::Sample => (other, carried.clone().without(&lacks)),
            _ => (vector, carried.clone()),
        };
        Self { alternatives: vec![Selector { vector, carried, requirement }], required: RequiredLabels::default() }
    }

    /// The selector that must have a sample, if there is no alternative.
    fn sampled(&self) -> Option<&VectorSelector> {
        match self.alternatives.as_slice() {
            [Selector { vector, requirement: Requirement::Sample, .. }] => Some(vector),
            _ => None,
        }
    }

    /// Whether a sample of another selector proves as much: it is of the same exporter.
    fn is_proven_by(&self, sampled: &[VectorSelector]) -> bool {
        match self.alternatives.as_slice() {
            [Selector { vector, requirement: Requirement::NotDown, .. }] => {
                sampled.iter().any(|one| exporter::same(one, vector))
            }
            _ => false,
        }
    }

    fn any_of(leaves: impl IntoIterator<Item = Self>) -> Self {
        let mut alternatives: Vec<Selector> = Vec::new();
        for selector in leaves.into_iter().flat_map(|leaf| leaf.alternatives) {
            if !alternatives.contains(&selector) {
                alternatives.push(selector);
            }
        }
        Self { alternatives, required: RequiredLabels::default() }
    }
}
