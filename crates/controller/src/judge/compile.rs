//! Stage 1: the policy as written → the policy as judged. Every default is filled
//! in and every rule that the API server cannot check is checked, so that what
//! comes out cannot be wrong. Needs no client.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::core::Selector;
use prunella_api::{
    AutoscalerRule, Duration, DurationError, HealingPolicy, OnNoData, OnStorm, Promql, RESET_ANNOTATION,
    RolloutRestart, Scale, TargetKind,
};
use prunella_core::action::{ActionSpec, ScaleSpec, Towards};
use prunella_core::policy::{self, Limits, Policy, PolicyKey, SeriesMatch, StepSpec, SubjectCap, Unhealthy};
use prunella_core::time::times;
use prunella_signals::{Query, QueryError, Scope};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::places::{Place, Places};
use crate::ledger;
use crate::sources::Sources;

/// The least default of `verify.within`.
const VERIFY_AT_LEAST: SignedDuration = SignedDuration::from_mins(2);
/// The lookback taken while the source is not known yet: that of a scrape interval
/// of one minute.
const DEFAULT_LOOKBACK: SignedDuration = SignedDuration::from_secs(150);

/// A policy that can be judged.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) policy: Policy,
    pub(crate) query: Query,
    pub(crate) selector: Selector,
    pub(crate) kind: TargetKind,
    /// Whether system-critical pods may be healed, too.
    pub(crate) system_critical: bool,
    pub(crate) source: String,
    /// Where in its interval it is looked at.
    pub(crate) place: Arc<Place>,
    /// A digest of condition, target and steps.
    pub(crate) hash: String,
    /// What makes sense, but perhaps not the sense that was meant.
    pub(crate) warnings: Vec<String>,
}

/// Why a policy can never work until somebody changes it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompileError {
    #[error("{field}: {error}")]
    Duration { field: &'static str, error: DurationError },
    #[error("condition.promql.query: {0}")]
    Query(#[from] QueryError),
    #[error("target.selector: {0}")]
    Selector(#[from] kube::core::ParseExpressionError),
    #[error("exactly one kind of condition must be given: promql")]
    NoCondition,
    #[error("limits.maxUnhealthy must be a number from 1 or a percentage from 1% to 100%")]
    MaxUnhealthy,
    #[error("at least one step must be given")]
    NoStep,
    #[error("steps.action: exactly one kind of action must be given: deletePod, rolloutRestart or scale")]
    NoAction,
    #[error("steps.action.scale: exactly one of by and to must be given")]
    NoNumber,
    #[error(
        "no series of condition.promql.query can tell that it is of the policy's namespace: add {label}={namespace:?} to every selector in it and in the evidence, or keep the label {label}"
    )]
    NamespaceNotPinned { label: String, namespace: String },
    #[error(
        "steps.verify.within is {within:?}, but clearFor ({clear_for:?}) + interval ({interval:?}) + the widest range in the query ({range:?}) need {needed:?}: lengthen it or leave it out"
    )]
    VerifyTooShort {
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
            Self::NamespaceNotPinned { .. } => "NamespaceNotPinned",
            Self::VerifyTooShort { .. } => "VerifyTooShort",
            Self::Duration { .. }
            | Self::Selector(_)
            | Self::NoCondition
            | Self::MaxUnhealthy
            | Self::NoStep
            | Self::NoAction
            | Self::NoNumber => "InvalidSpec",
        }
    }
}

/// Compiles a policy.
pub(crate) fn compile(
    object: &HealingPolicy,
    sources: &Sources,
    places: &Places,
    subject_cap: SubjectCap,
) -> Result<Compiled, CompileError> {
    let spec = &object.spec;
    let key = PolicyKey { namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
    let promql = spec.condition.promql.as_ref().ok_or(CompileError::NoCondition)?;
    let query = query(promql)?;
    let label = &spec.target.namespace_label;
    let scope = query.scope(label, &key.namespace);
    if scope == Scope::Lost {
        return Err(CompileError::NamespaceNotPinned { label: label.clone(), namespace: key.namespace });
    }
    let interval = duration("interval", &spec.interval)?;
    let range = SignedDuration::try_from(query.widest_range()).unwrap_or(SignedDuration::MAX);
    let clear_for = spec
        .condition
        .clear_for
        .as_ref()
        .map(|given| duration("condition.clearFor", given))
        .transpose()?
        .unwrap_or(interval.max(range));
    let lookback = sources.lookback(&promql.source.name).unwrap_or(DEFAULT_LOOKBACK);
    if spec.steps.is_empty() {
        return Err(CompileError::NoStep);
    }
    let reset = object.annotations().get(RESET_ANNOTATION).map(|at| at.trim().parse::<Timestamp>());
    let mut warnings = Vec::new();
    if let Some(Err(error)) = &reset {
        warnings.push(format!("the annotation {RESET_ANNOTATION} is no RFC 3339 time and does nothing: {error}"));
    }
    let attempts = spec.steps.iter().map(|step| i64::from(step.attempts)).sum::<i64>();
    if i64::from(spec.limits.max_actions.count) < attempts {
        let count = spec.limits.max_actions.count;
        warnings.push(format!(
            "maxActions.count is {count}, fewer than the {attempts} attempts of the steps together: the last of them may never be reached"
        ));
    }
    let hash = digest(&(&spec.condition, &spec.target, &spec.steps));
    let limits = &spec.limits;
    let policy = Policy {
        mode: ledger::mode(spec.mode),
        suspended: spec.suspend,
        hash: hash.clone(),
        interval,
        breach_for: spec
            .condition
            .breach_for
            .as_ref()
            .map(|given| duration("condition.for", given))
            .transpose()?
            .unwrap_or(SignedDuration::ZERO),
        clear_for,
        on_no_data: match spec.condition.on_no_data {
            OnNoData::Hold => policy::OnNoData::Hold,
            OnNoData::Clear => policy::OnNoData::Clear,
        },
        series: match (&spec.target.series.global, &spec.target.series.label) {
            (Some(_), _) => SeriesMatch::Global,
            (None, Some(label)) => SeriesMatch::Label(label.clone()),
            (None, None) => SeriesMatch::Label(spec.target.kind.as_str().to_lowercase()),
        },
        namespace_label: label.clone(),
        pinned: scope == Scope::Pinned,
        min_age: duration("target.minAge", &spec.target.min_age)?,
        signal_window: range.checked_add(lookback).unwrap_or(SignedDuration::MAX),
        reset_at: reset.and_then(Result::ok),
        longest_gap: times(interval, 2).max(lookback),
        steps: spec.steps.iter().map(|step| self::step(step, clear_for, interval, range)).collect::<Result<_, _>>()?,
        limits: Limits {
            cooldown: duration("limits.cooldown", &limits.cooldown)?,
            max_actions: u32::try_from(limits.max_actions.count).unwrap_or(0),
            window: duration("limits.maxActions.per", &limits.max_actions.per)?,
            // One verdict for the whole: what one action did to it is seen before the next.
            max_concurrent: match spec.target.series.global {
                Some(_) => 1,
                None => u32::try_from(limits.max_concurrent).unwrap_or(0),
            },
            ladder_reset: duration("limits.ladderReset", &limits.ladder_reset)?,
            subject_cap,
            max_unhealthy: unhealthy(&limits.max_unhealthy).ok_or(CompileError::MaxUnhealthy)?,
            on_storm: match limits.on_storm {
                OnStorm::Probe => policy::OnStorm::Probe,
                OnStorm::Hold => policy::OnStorm::Hold,
            },
            storm_cooldown: duration("limits.stormCooldown", &limits.storm_cooldown)?,
        },
        key,
    };
    let selector = Selector::try_from(spec.target.selector.clone())?;
    let system_critical = spec.target.system_critical;
    let kind = spec.target.kind;
    let source = promql.source.name.clone();
    let place = places.of(&source, query.text(), interval);
    Ok(Compiled { policy, query, selector, kind, system_critical, source, place, hash, warnings })
}

/// What our parser does not know the server may: then all that is derived elsewhere must
/// be given, and whether it is a query at all the server will say.
fn query(promql: &Promql) -> Result<Query, CompileError> {
    let window = promql.signal_window.as_ref().map(|given| duration("condition.promql.signalWindow", given));
    let window = window.transpose()?.map(|window| window.try_into().unwrap_or_default());
    match (Query::compile(&promql.query, promql.evidence.as_deref()), &promql.evidence, window) {
        (Err(error), Some(evidence), Some(window)) if error.is_unread() => {
            Ok(Query::unread(&promql.query, evidence, window)?)
        }
        (query, _, window) => Ok(query?.with_signal_window(window.unwrap_or_default())),
    }
}

fn step(
    step: &prunella_api::Step,
    clear_for: SignedDuration,
    interval: SignedDuration,
    range: SignedDuration,
) -> Result<StepSpec, CompileError> {
    Ok(StepSpec {
        action: action(&step.action)?,
        attempts: u32::try_from(step.attempts).unwrap_or(1).max(1),
        verify_within: verify_within(step, clear_for, interval, range)?,
    })
}

fn action(wanted: &prunella_api::Action) -> Result<ActionSpec, CompileError> {
    let prunella_api::Action { delete_pod, rollout_restart, scale } = wanted;
    match (delete_pod, rollout_restart, scale) {
        (Some(delete), None, None) => {
            let (disruption, grace) = ledger::removal(delete);
            Ok(ActionSpec::DeletePod { disruption, grace })
        }
        (None, Some(RolloutRestart {}), None) => Ok(ActionSpec::RolloutRestart),
        (None, None, Some(Scale { by, to, min, max, autoscaler })) => Ok(ActionSpec::Scale(ScaleSpec {
            towards: match (*by, *to) {
                (Some(by), None) => Towards::By(by),
                (None, Some(to)) => Towards::To(to),
                _ => return Err(CompileError::NoNumber),
            },
            min: *min,
            max: *max,
            raise_minimum: *autoscaler == AutoscalerRule::RaiseMinimum,
        })),
        _ => Err(CompileError::NoAction),
    }
}

fn verify_within(
    step: &prunella_api::Step,
    clear_for: SignedDuration,
    interval: SignedDuration,
    range: SignedDuration,
) -> Result<SignedDuration, CompileError> {
    let sum = |parts: [SignedDuration; 3]| {
        parts.into_iter().fold(SignedDuration::ZERO, |sum, part| sum.checked_add(part).unwrap_or(SignedDuration::MAX))
    };
    let Some(given) = &step.verify.within else {
        return Ok(VERIFY_AT_LEAST.max(sum([clear_for, times(interval, 2), range])));
    };
    let within = duration("steps.verify.within", given)?;
    let needed = sum([clear_for, interval, range]);
    if within < needed {
        return Err(CompileError::VerifyTooShort { within, clear_for, interval, range, needed });
    }
    Ok(within)
}

fn unhealthy(given: &IntOrString) -> Option<Unhealthy> {
    let at_least_one = |count: &u32| *count > 0;
    match given {
        IntOrString::Int(count) => u32::try_from(*count).ok().filter(at_least_one).map(Unhealthy::Count),
        IntOrString::String(share) => {
            let percent = share.strip_suffix('%')?.parse::<u32>().ok().filter(at_least_one)?;
            (percent <= 100).then_some(Unhealthy::Percent(percent))
        }
    }
}

fn duration(field: &'static str, given: &Duration) -> Result<SignedDuration, CompileError> {
    given.get().map_err(|error| CompileError::Duration { field, error })
}

/// A digest of anything that serialises, stable across processes: JSON with the
/// fields in the order of the types.
pub(super) fn digest(value: &impl Serialize) -> String {
    // These types have string keys only and serialise always.
    let json = serde_json::to_vec(value).unwrap_or_default();
    Sha256::digest(json).iter().take(8).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Compiles a sound policy in namespace `shop` with `change` merged into its spec.
    fn compiled(change: &serde_json::Value) -> Result<Compiled, CompileError> {
        let mut spec = json!({
            "condition": {"promql": {"query": "up{namespace=\"shop\"} > 5"}},
            "target": {"kind": "Pod", "selector": {"matchLabels": {"app": "web"}}},
            "steps": [{"action": {"deletePod": {}}}],
        });
        merge(&mut spec, change);
        let object = json!({
            "apiVersion": "prunella.dev/v1alpha1", "kind": "HealingPolicy",
            "metadata": {"name": "web", "namespace": "shop"}, "spec": spec,
        });
        let cap = SubjectCap { count: 5, window: SignedDuration::from_hours(1) };
        compile(&serde_json::from_value(object).unwrap(), &Sources::new(), &Places::default(), cap)
    }

    fn merge(into: &mut serde_json::Value, change: &serde_json::Value) {
        match (into, change) {
            (serde_json::Value::Object(into), serde_json::Value::Object(change)) => {
                for (key, value) in change {
                    merge(into.entry(key.clone()).or_insert(serde_json::Value::Null), value);
                }
            }
            (into, change) => *into = change.clone(),
        }
    }

    fn query(text: &str) -> serde_json::Value {
        json!({"condition": {"promql": {"query": text}}})
    }

    #[test]
    fn what_can_never_work_is_refused_with_the_mend() {
        for (change, reason, mend) in [
            (query("up{namespace=\"shop\"}"), "NoComparison", "compare it"),
            (query("up{namespace=\"shop\"} >"), "BadQuery", ""),
            (query("sum by (pod) (up) > 5"), "NamespaceNotPinned", "add namespace=\"shop\""),
            (query("up{namespace=\"bank\"} > 5"), "NamespaceNotPinned", "add namespace=\"shop\""),
            (
                json!({"target": {"namespaceLabel": "ns"}, "condition": {"promql": {"query": "sum by (namespace) (up) > 5"}}}),
                "NamespaceNotPinned",
                "keep the label ns",
            ),
            (json!({"limits": {"maxUnhealthy": 0}}), "InvalidSpec", "maxUnhealthy"),
            (json!({"limits": {"maxUnhealthy": "101%"}}), "InvalidSpec", "maxUnhealthy"),
            (
                json!({"condition": {"promql": {"query": "sum by (pod) (up{namespace=\"shop\"}) > 5", "evidence": "up"}}}),
                "NamespaceNotPinned",
                "to every selector in it and in the evidence",
            ),
            (
                json!({"condition": {"clearFor": "30s"}, "interval": "10s",
                       "steps": [{"action": {"deletePod": {}}, "verify": {"within": "39s"}}]}),
                "VerifyTooShort",
                "40s",
            ),
            (json!({"interval": "1.5s"}), "InvalidSpec", "interval"),
            (json!({"steps": [{"action": {}}]}), "InvalidSpec", "steps"),
            (
                json!({"target": {"selector": {"matchExpressions": [{"key": "app", "operator": "Near"}]}}}),
                "InvalidSpec",
                "target.selector",
            ),
        ] {
            let error = compiled(&change).map(|_| ()).unwrap_err();
            assert_eq!(error.reason(), reason, "{change}: {error}");
            assert!(error.to_string().contains(mend), "{change}: {error}");
        }
    }

    #[test]
    fn what_is_left_out_has_the_documented_defaults() {
        let policy = compiled(&query("rate(up{namespace=\"shop\"}[5m]) > 5")).unwrap().policy;
        let minutes = SignedDuration::from_mins;
        assert_eq!(policy.mode, policy::Mode::DryRun);
        assert_eq!(policy.interval, SignedDuration::from_secs(30));
        assert_eq!(policy.clear_for, minutes(5), "the widest range");
        assert_eq!(policy.steps[0].verify_within, minutes(11), "clearFor + 2 × interval + the widest range");
        assert_eq!(policy.steps[0].attempts, 1);
        assert_eq!((policy.limits.cooldown, policy.limits.window), (minutes(5), minutes(60)));
        assert_eq!((policy.limits.max_actions, policy.limits.max_concurrent), (3, 1));
        let short = compiled(&json!({})).unwrap().policy;
        assert_eq!((short.clear_for, short.steps[0].verify_within), (SignedDuration::from_secs(30), minutes(2)));
    }

    /// Only a server with a feature switched on knows `anchored`.
    fn unread(namespace: &str, more: &serde_json::Value) -> serde_json::Value {
        let selector = format!("up{{namespace={namespace:?}}}[5m] anchored");
        let mut condition = json!({"query": format!("increase({selector}) > 5")});
        merge(&mut condition, more);
        json!({"condition": {"promql": condition}})
    }

    #[test]
    fn what_only_the_server_can_read_needs_evidence_and_signal_window() {
        for more in [json!({}), json!({"evidence": "up"}), json!({"signalWindow": "5m"})] {
            let error = compiled(&unread("shop", &more)).map(|_| ()).unwrap_err();
            assert_eq!(error.reason(), "BadQuery", "{more}: {error}");
            assert!(error.to_string().contains("set `evidence` and `signalWindow`"), "{more}: {error}");
        }
        let given = json!({"evidence": "increase(up[5m] anchored)", "signalWindow": "6m"});
        let Compiled { policy, query, .. } = compiled(&unread("shop", &given)).unwrap();
        assert_eq!(query.text(), "increase(up{namespace=\"shop\"}[5m] anchored) > 5");
        assert_eq!(query.evidence(), "increase(up[5m] anchored)");
        assert_eq!(policy.clear_for, SignedDuration::from_mins(6));
        assert!(!policy.pinned, "every series must tell its namespace");
    }

    #[test]
    fn a_signal_window_lengthens_what_verify_waits_for() {
        let window = |window| {
            let promql = json!({"query": "rate(up{namespace=\"shop\"}[5m]) > 5", "signalWindow": window});
            compiled(&json!({"condition": {"promql": promql}})).unwrap().policy
        };
        assert_eq!(window("1m").clear_for, SignedDuration::from_mins(5));
        let wide = window("1h");
        assert_eq!(wide.clear_for, SignedDuration::from_mins(60));
        assert_eq!(wide.steps[0].verify_within, SignedDuration::from_mins(121));
        assert!(wide.pinned);
    }

    #[test]
    fn the_digest_is_of_condition_target_and_steps_alone() {
        let hash = |change| compiled(&change).unwrap().hash;
        let sound = hash(json!({}));
        assert_eq!(sound, hash(json!({"mode": "Enforce", "interval": "5s", "limits": {"cooldown": "1m"}})));
        assert_ne!(sound, hash(json!({"condition": {"for": "1m"}})));
        assert_ne!(sound, hash(json!({"target": {"selector": {"matchLabels": {"app": "other"}}}})));
        assert_ne!(sound, hash(json!({"steps": [{"action": {"deletePod": {}}, "attempts": 2}]})));
    }
}
