//! The policy as written → a policy that can be evaluated. Every default is filled
//! in, and every rule that the API server cannot check is checked. Needs no client.

#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::core::Selector;
use prunella_api::{
    Condition, Duration, DurationError, HealingPolicy, HealingPolicySpec, OnNoData, OnStorm, Promql, RESET_ANNOTATION,
    Step, TargetKind,
};
use prunella_cluster::action::{ActionError, wanted};
use prunella_core::observation::UnknownReason;
use prunella_core::policy::{
    EvidenceMatch, LadderStep, MaxUnhealthy, NoDataRule, Policy, PolicyKey, PolicyLimits, QueryTraits, SeriesMatch,
    StormRule, SubjectCap,
};
use prunella_core::time::times;
use prunella_signals::prometheus::CLUSTER;
use prunella_signals::{LabelScope, Query, QueryError, RequiredLabels};

use super::memory::Plan;
use super::rules_digest::rules_digest;
use crate::compiled::CompiledPolicy;
use crate::observe::{EvaluationSlots, SourceAccess, SourceTerms, Subscription};
use crate::records;

/// The smallest default of `verify.within`.
const VERIFY_AT_LEAST: SignedDuration = SignedDuration::from_mins(2);
/// The longest verification without a warning.
const LONG_VERIFICATION: SignedDuration = SignedDuration::from_hours(1);
/// The lookback until the source is known: the lookback for a scrape interval of one minute.
const DEFAULT_LOOKBACK: SignedDuration = SignedDuration::from_secs(150);

/// Why a policy cannot work until somebody changes it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompileError {
    #[error("{field}: {error}")]
    Duration { field: &'static str, error: DurationError },
    #[error("condition.promql.{field}: {0}", field = .0.field())]
    Query(#[from] QueryError),
    #[error("target.selector: {0}")]
    Selector(#[from] kube::core::ParseExpressionError),
    #[error("condition: give exactly one kind of condition: promql")]
    NoCondition,
    #[error("limits.minAvailable: use a number of at least 0, or a percentage from 0% to 100%")]
    MinAvailable,
    #[error("limits.maxUnhealthy: use a number of at least 1, or a percentage from 1% to 100%")]
    MaxUnhealthy,
    #[error("steps: give at least one step")]
    NoStep,
    #[error(
        "condition.promql.query has {found} different selectors, the limit is {SELECTORS_AT_MOST}, because each of them is asked for a sample of each target before an action: move parts of the query into a recording rule"
    )]
    TooManySelectors { found: usize },
    #[error("steps: two steps are named {0:?}: give each step a name of its own")]
    SameName(String),
    #[error("steps[{step}].action: {error}")]
    Action { step: String, error: ActionError },
    #[error(
        "condition.promql.source: policies of namespace {namespace} may not use the ClusterPrometheusSource {source_name}: name another source, or ask its administrator to add {namespace} to allowedNamespaces"
    )]
    SourceNotAllowed { source_name: String, namespace: String },
    #[error(
        "target.namespaceLabel: the ClusterPrometheusSource {source_name} does not allow the label {label} to hold the namespace of a series: use one of {allowed}, or ask its administrator to add {label} to namespaceLabels"
    )]
    NamespaceLabelNotAllowed { source_name: String, label: String, allowed: String },
    #[error(
        "condition.promql.source: the ClusterPrometheusSource {source_name} has series of several Kubernetes clusters: ask its administrator to set matchLabels on it, for example cluster: NAME, or add the same matcher for the label cluster to every selector of the query and of the evidence"
    )]
    SeveralClusters { source_name: String },
    #[error(
        "condition.promql.query: the query may return series of other namespaces than {namespace:?}: add {label}={namespace:?} to every selector of the query and of the evidence, or keep the label {label}"
    )]
    NamespaceNotPinned { label: String, namespace: String },
    #[error(
        "steps[{step}].verify.within is {within:#}, but verification needs {needed:#} = clearFor ({clear_for:#}) + interval ({interval:#}) + the widest range in the query ({range:#}): make it longer or leave it out"
    )]
    VerifyTooShort {
        step: String,
        within: SignedDuration,
        clear_for: SignedDuration,
        interval: SignedDuration,
        range: SignedDuration,
        needed: SignedDuration,
    },
}

impl CompileError {
    /// The reason of the `Ready` and `Stalled` conditions.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Query(error) => error.reason(),
            Self::TooManySelectors { .. } => "BadQuery",
            Self::SourceNotAllowed { .. } | Self::NamespaceLabelNotAllowed { .. } => "NotAllowed",
            Self::SeveralClusters { .. } => UnknownReason::SeveralClusters.as_str(),
            Self::NamespaceNotPinned { .. } => "NamespaceNotPinned",
            Self::VerifyTooShort { .. } => "VerifyTooShort",
            Self::Duration { .. }
            | Self::Selector(_)
            | Self::NoCondition
            | Self::MinAvailable
            | Self::MaxUnhealthy
            | Self::NoStep
            | Self::SameName(_)
            | Self::Action { .. } => "InvalidSpec",
        }
    }
}

impl CompileError {
    /// Whether a change of the source can make the policy work.
    pub(super) fn is_of_source(&self) -> bool {
        match self {
            Self::Query(error) => error.is_of_source(),
            Self::SourceNotAllowed { .. } | Self::NamespaceLabelNotAllowed { .. } | Self::SeveralClusters { .. } => {
                true
            }
            _ => false,
        }
    }
}

/// How many different selectors a query may have.
const SELECTORS_AT_MOST: usize = 20;

/// The times that depend on the query and on the source.
#[derive(Debug, Clone, Copy)]
struct Timings {
    interval: SignedDuration,
    clear_for: SignedDuration,
    /// The widest range in the query.
    range: SignedDuration,
    /// How old a sample may be and still count.
    lookback: SignedDuration,
}

/// Compiles a policy.
pub(super) fn compile(
    object: &HealingPolicy,
    terms: &SourceTerms,
    slots: &EvaluationSlots,
    subject_cap: SubjectCap,
) -> Result<Plan, CompileError> {
    let HealingPolicySpec { mode, suspend, interval, condition, target, steps, limits, history_limit: _ } =
        &object.spec;
    let key = PolicyKey { namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
    let promql = condition.promql.as_ref().ok_or(CompileError::NoCondition)?;
    let label = &target.namespace_label;
    let query = query(promql, &required(&promql.source.name, terms, &key.namespace, label)?)?;
    if has_several_clusters(terms, &query) {
        return Err(CompileError::SeveralClusters { source_name: promql.source.name.clone() });
    }
    let found = query.leaves().len();
    if found > SELECTORS_AT_MOST {
        return Err(CompileError::TooManySelectors { found });
    }
    let scope = query.scope(label, &key.namespace);
    if scope == LabelScope::Lost {
        return Err(CompileError::NamespaceNotPinned { label: label.clone(), namespace: key.namespace });
    }
    let timings = timings(interval, condition, &query, terms.lookback)?;
    let (reset_at, mut warnings) = reset(object);
    warnings.extend(too_few_actions(object));
    warnings.extend(query.advice());
    warnings.extend(past_of_new_pods(target.kind, &query));
    warnings.extend(long_verification(steps, timings));
    let policy = Policy {
        mode: records::mode(*mode),
        suspended: *suspend,
        digest: rules_digest(&object.spec),
        interval: timings.interval,
        breach_for: optional("condition.for", condition.breach_for.as_ref())?.unwrap_or(SignedDuration::ZERO),
        clear_for: timings.clear_for,
        on_no_data: match condition.on_no_data {
            OnNoData::Hold => NoDataRule::Hold,
            OnNoData::Clear => NoDataRule::Clear,
        },
        series: match (&target.series.global, &target.series.label) {
            (Some(_), _) => SeriesMatch::Global,
            (None, Some(label)) => SeriesMatch::Label(label.clone()),
            (None, None) => SeriesMatch::Label(target.kind.as_str().to_lowercase()),
        },
        namespace_label: label.clone(),
        pinned: scope == LabelScope::Pinned,
        query: traits(&query),
        min_age: duration("target.minAge", &target.min_age)?,
        signal_window: timings.range.checked_add(timings.lookback).unwrap_or(SignedDuration::MAX),
        reset_at,
        longest_gap: times(timings.interval, 2).max(timings.lookback),
        steps: ladder(steps, timings)?,
        limits: self::limits(limits, target.series.global.is_some(), subject_cap)?,
        key,
    };
    let namespace = policy.key.namespace.clone();
    let source = promql.source.name.clone();
    let slot = slots.of(&source, query.text(), timings.interval);
    let compiled = CompiledPolicy {
        policy,
        selector: Selector::try_from(target.selector.clone())?,
        kind: target.kind,
        system_critical: target.system_critical,
        query: query.text().to_owned(),
        unit: query.unit(),
        restriction: terms.access.as_ref().and_then(|access| access.restriction(&namespace, label)),
        warnings,
    };
    let access = terms.access.clone();
    Ok(Plan { compiled, subscription: Subscription { source, access, query, interval: timings.interval, slot } })
}

/// The labels that the source requires in every selector.
fn required(
    source: &str,
    terms: &SourceTerms,
    namespace: &str,
    label: &String,
) -> Result<RequiredLabels, CompileError> {
    // Without a source nothing is asked, and the policy is compiled again when there is one.
    let Some(access) = &terms.access else { return Ok(SourceAccess::unknown(label).required(namespace, label)) };
    if !access.allows(namespace) {
        let (source_name, namespace) = (source.to_owned(), namespace.to_owned());
        return Err(CompileError::SourceNotAllowed { source_name, namespace });
    }
    if let Some(allowed) = access.namespace_labels().filter(|allowed| !allowed.contains(label)) {
        let (source_name, label, allowed) = (source.to_owned(), label.clone(), allowed.join(", "));
        return Err(CompileError::NamespaceLabelNotAllowed { source_name, label, allowed });
    }
    Ok(access.required(namespace, label))
}

/// Whether the query may return series of several clusters. Their names are not for the author of a
/// policy: the status of the source has them.
fn has_several_clusters(terms: &SourceTerms, query: &Query) -> bool {
    let several = terms.access.as_ref().is_some_and(|access| access.several_clusters().is_some());
    several && !query.pins(CLUSTER)
}

/// A query that this parser does not know may still be known to the server. Then everything
/// that is normally derived must be given, and the server says whether the query is valid.
fn query(promql: &Promql, required: &RequiredLabels) -> Result<Query, CompileError> {
    let window = optional("condition.promql.signalWindow", promql.signal_window.as_ref())?;
    let window = window.map(|window| window.try_into().unwrap_or_default());
    match (Query::compile_within(&promql.query, promql.evidence.as_deref(), required), &promql.evidence, window) {
        (Err(error), Some(evidence), Some(window)) if error.is_unparsed() => {
            Ok(Query::unparsed(&promql.query, evidence, window)?)
        }
        (query, _, window) => Ok(query?.with_signal_window(window.unwrap_or_default())),
    }
}

/// What a decision needs to know about the query.
fn traits(query: &Query) -> QueryTraits {
    let evidence = if query.has_own_evidence() {
        EvidenceMatch::Target
    } else {
        EvidenceMatch::Series { except: query.varying_labels() }
    };
    QueryTraits { evidence, several_operands: query.missing_operands().is_some() }
}

/// A warning if a query compares pods with a time at which a new pod did not exist.
fn past_of_new_pods(kind: TargetKind, query: &Query) -> Option<String> {
    let past = SignedDuration::try_from(query.baseline()?).ok()?;
    (kind == TargetKind::Pod && !query.has_own_evidence()).then(|| {
        format!("the query compares with samples of {past:#} ago, which a new pod does not have: an action on a pod ends Inconclusive unless its name recurs; use a workload as target and aggregate by it, or set condition.promql.evidence")
    })
}

/// A warning if a verification takes so long that it keeps the policy from acting.
fn long_verification(steps: &[Step], timings: Timings) -> Option<String> {
    let Timings { interval, clear_for, range, lookback: _ } = timings;
    let longest = default_verify_within(timings);
    (longest > LONG_VERIFICATION && steps.iter().any(|step| step.verify.within.is_none())).then(|| {
        format!("an action is verified for up to {longest:#} = clearFor ({clear_for:#}) + 2 × interval ({interval:#}) + the widest range in the query or signalWindow ({range:#}), and counts for limits.maxConcurrent until then: use a shorter range, or set condition.clearFor")
    })
}

fn timings(
    interval: &Duration,
    condition: &Condition,
    query: &Query,
    lookback: Option<SignedDuration>,
) -> Result<Timings, CompileError> {
    let interval = duration("interval", interval)?;
    let range = SignedDuration::try_from(query.widest_range()).unwrap_or(SignedDuration::MAX);
    let clear_for = optional("condition.clearFor", condition.clear_for.as_ref())?.unwrap_or(interval.max(range));
    Ok(Timings { interval, clear_for, range, lookback: lookback.unwrap_or(DEFAULT_LOOKBACK) })
}

/// When the ladder was reset by hand, and a warning if the annotation is not a time.
fn reset(object: &HealingPolicy) -> (Option<Timestamp>, Vec<String>) {
    match object.annotations().get(RESET_ANNOTATION).map(|at| at.trim().parse::<Timestamp>()) {
        None => (None, Vec::new()),
        Some(Ok(at)) => (Some(at), Vec::new()),
        Some(Err(error)) => {
            let warning = format!(
                "the annotation {RESET_ANNOTATION} is ignored, because it is not an RFC 3339 time such as 2026-12-01T06:00:00Z: {error}"
            );
            (None, vec![warning])
        }
    }
}

fn too_few_actions(object: &HealingPolicy) -> Option<String> {
    let attempts: i64 = object.spec.steps.iter().map(|step| i64::from(step.attempts)).sum();
    let count = object.spec.limits.max_actions.count;
    (i64::from(count) < attempts).then(|| {
        format!("limits.maxActions.count is {count}, but the steps have {attempts} attempts together: the last step may never be reached; set limits.maxActions.count to at least {attempts}")
    })
}

fn limits(limits: &prunella_api::Limits, global: bool, subject_cap: SubjectCap) -> Result<PolicyLimits, CompileError> {
    Ok(PolicyLimits {
        cooldown: duration("limits.cooldown", &limits.cooldown)?,
        max_actions: u32::try_from(limits.max_actions.count).unwrap_or(0),
        window: duration("limits.maxActions.per", &limits.max_actions.per)?,
        // With one verdict for all targets, the effect of one action is seen before the next.
        max_concurrent: if global { 1 } else { u32::try_from(limits.max_concurrent).unwrap_or(0) },
        ladder_reset: duration("limits.ladderReset", &limits.ladder_reset)?,
        subject_cap,
        min_available: records::min_available(&limits.min_available).ok_or(CompileError::MinAvailable)?,
        max_unhealthy: max_unhealthy(&limits.max_unhealthy).ok_or(CompileError::MaxUnhealthy)?,
        on_storm: match limits.on_storm {
            OnStorm::Probe => StormRule::Probe,
            OnStorm::Hold => StormRule::Hold,
        },
        storm_cooldown: duration("limits.stormCooldown", &limits.storm_cooldown)?,
    })
}

fn ladder(steps: &[Step], timings: Timings) -> Result<Vec<LadderStep>, CompileError> {
    if steps.is_empty() {
        return Err(CompileError::NoStep);
    }
    let same = |(number, step): &(usize, &Step)| steps.iter().take(*number).any(|other| other.name == step.name);
    if let Some((_, step)) = steps.iter().enumerate().find(same) {
        return Err(CompileError::SameName(step.name.clone()));
    }
    steps.iter().map(|step| ladder_step(step, timings)).collect()
}

fn ladder_step(step: &Step, timings: Timings) -> Result<LadderStep, CompileError> {
    Ok(LadderStep {
        name: step.name.clone(),
        action: wanted(&step.action).map_err(|error| CompileError::Action { step: step.name.clone(), error })?,
        attempts: u32::try_from(step.attempts).unwrap_or(1).max(1),
        verify_within: verify_within(step, timings)?,
        ready_within: optional("steps.verify.readyWithin", step.verify.ready_within.as_ref())?,
    })
}

fn verify_within(step: &Step, timings: Timings) -> Result<SignedDuration, CompileError> {
    let Timings { interval, clear_for, range, lookback: _ } = timings;
    let Some(within) = optional("steps.verify.within", step.verify.within.as_ref())? else {
        return Ok(default_verify_within(timings));
    };
    let needed = sum([clear_for, interval, range]);
    if within < needed {
        let step = step.name.clone();
        return Err(CompileError::VerifyTooShort { step, within, clear_for, interval, range, needed });
    }
    Ok(within)
}

fn default_verify_within(timings: Timings) -> SignedDuration {
    let Timings { interval, clear_for, range, lookback: _ } = timings;
    VERIFY_AT_LEAST.max(sum([clear_for, times(interval, 2), range]))
}

fn sum(parts: [SignedDuration; 3]) -> SignedDuration {
    parts.into_iter().fold(SignedDuration::ZERO, |sum, part| sum.checked_add(part).unwrap_or(SignedDuration::MAX))
}

fn max_unhealthy(given: &IntOrString) -> Option<MaxUnhealthy> {
    let at_least_one = |count: &u32| *count > 0;
    match given {
        IntOrString::Int(count) => u32::try_from(*count).ok().filter(at_least_one).map(MaxUnhealthy::Count),
        IntOrString::String(share) => {
            let percent = share.strip_suffix('%')?.parse::<u32>().ok().filter(at_least_one)?;
            (percent <= 100).then_some(MaxUnhealthy::Percent(percent))
        }
    }
}

fn duration(field: &'static str, given: &Duration) -> Result<SignedDuration, CompileError> {
    given.get().map_err(|error| CompileError::Duration { field, error })
}

fn optional(field: &'static str, given: Option<&Duration>) -> Result<Option<SignedDuration>, CompileError> {
    given.map(|given| duration(field, given)).transpose()
}
