//! The sentences of the guardrails, the same in conditions, Events and log lines.

use prunella_core::availability::Shortage;
use prunella_core::decide::{POD_LABEL, Reach, Skipped, UID_LABEL};
use prunella_core::ledger::RECORDS_AT_LEAST;
use prunella_core::observation::Labels;
use prunella_core::policy::{Policy, SeriesMatch, StormRule};
use prunella_core::refusal::{Reason, Refusal};

use crate::cluster_view::Hold;
use crate::compiled::CompiledPolicy;

/// What holds a target back, and until when if that is known.
pub(super) fn refusal(compiled: &CompiledPolicy, refusal: Refusal, hold: Option<&Hold>) -> String {
    let until = refusal.until.map(|until| format!("; until {until:.0}")).unwrap_or_default();
    format!("{}{until}", why(&compiled.policy, refusal.reason, hold))
}

/// What holds a target back.
pub(super) fn why(policy: &Policy, reason: Reason, hold: Option<&Hold>) -> String {
    let limits = &policy.limits;
    match reason {
        Reason::Suspended => "the policy is suspended (spec.suspend is true)".to_owned(),
        Reason::Held => match hold {
            Some(Hold { namespace, why }) => {
                format!("namespace {namespace} holds healing back with the annotation prunella.dev/hold: {why:?}")
            }
            None => "a namespace holds healing back with the annotation prunella.dev/hold".to_owned(),
        },
        Reason::OptedOut => {
            "the target, its owner or its namespace opts out with the annotation prunella.dev/heal".to_owned()
        }
        Reason::Exhausted => format!(
            "every step was tried without success, on this target or the pods it replaced, or does not apply; no action starts until it has been clear for {:#}, you change the policy, or you reset the ladder with the annotation prunella.dev/reset",
            limits.ladder_reset
        ),
        Reason::Stale => {
            "the samples behind the breach are old: the exporter may be down".to_owned()
        }
        Reason::ObservationUnknown => "the source gives no reliable answer; see the condition Observed".to_owned(),
        Reason::NoData => "the source has no data about the target".to_owned(),
        Reason::TooYoung => format!(
            "the target is younger than minAge ({:#}), or its samples may belong to an earlier object of the same name",
            policy.min_age
        ),
        Reason::NotYetFor => {
            format!("the target is not breached at the moment, or not yet for {:#}", policy.breach_for)
        }
        Reason::NotHealable(why) => format!("the target must not be healed: {}", why.as_str()),
        Reason::TargetBusy => "an action on the target or its owner is in flight".to_owned(),
        Reason::AlreadyRecorded => {
            "mode is DryRun, and what would be done in this episode is already recorded".to_owned()
        }
        Reason::Cooldown => {
            format!("the last action that counts against the target was less than {:#} ago (limits.cooldown)", limits.cooldown)
        }
        Reason::BackOff => {
            "the newest actions on the target ended without effect; the next one waits, longer each time".to_owned()
        }
        Reason::TooManyRecords => format!(
            "the policy has recorded {} within a minute, whatever became of them",
            actions(limits.max_actions.max(RECORDS_AT_LEAST))
        ),
        Reason::SubjectCap => {
            let cap = limits.subject_cap;
            format!("its workload has had {} in {:#} from all policies (--subject-cap)", actions(cap.count), cap.window)
        }
        Reason::MaxActions => {
            format!("the policy has used {} in {:#} (limits.maxActions)", actions(limits.max_actions), limits.window)
        }
        Reason::MaxConcurrent => {
            format!("the policy already has {} in flight (limits.maxConcurrent)", actions(limits.max_concurrent))
        }
        Reason::TooFewAvailable(Shortage { remaining, required }) => format!(
            "{remaining} pods of its workload would stay Ready besides it and what else is being removed, but {required} must (limits.minAvailable)"
        ),
        Reason::Storm => match limits.on_storm {
            StormRule::Probe => "more targets are breached than maxUnhealthy allows; one action is tried as a probe, and the next starts only after one has succeeded".to_owned(),
            StormRule::Hold => "more targets are breached than maxUnhealthy allows, and onStorm is Hold".to_owned(),
        },
    }
}

fn actions(count: u32) -> String {
    if count == 1 { "1 action".to_owned() } else { format!("{count} actions") }
}

/// The steps that were skipped and why, as the end of a sentence.
pub(super) fn skipped(skipped: Option<&Vec<Skipped>>) -> String {
    let all: Vec<String> = skipped.into_iter().flatten().map(ToString::to_string).collect();
    if all.is_empty() { String::new() } else { format!("; skipped because they do not apply: {}", all.join("; ")) }
}

/// The problem when the query does not reach the targets, and the likely fix. `None`: it
/// reaches them.
pub(super) fn unreached(policy: &Policy, reach: &Reach) -> Option<(&'static str, String)> {
    match reach {
        Reach::Targets => None,
        Reach::NoSeries => Some((
            "NoSeries",
            "the source has no series for this query: correct the metric name and labels, or check that the metric is scraped".to_owned(),
        )),
        Reach::NoTarget(labels) => Some((
            "NoSeriesMatchesTargets",
            format!("no series names a selected target: {}; the first series is {}", fix(policy, labels), shown(labels)),
        )),
    }
}

/// Why these labels name no target, and the likely fix.
fn fix(policy: &Policy, labels: &Labels) -> String {
    let own = policy.key.namespace.as_str();
    let namespace_label = policy.namespace_label.as_str();
    let elsewhere = labels.iter().find(|(label, value)| label.as_str() != namespace_label && *value == own);
    match (labels.get(namespace_label), &policy.series) {
        (Some(namespace), _) if namespace != own && elsewhere.is_some() => {
            let label = elsewhere.map_or("", |(label, _)| label);
            format!(
                "its namespace is in the label {label}: set target.namespaceLabel to {label}, or scrape with honorLabels"
            )
        }
        (Some(namespace), _) if namespace != own => {
            format!("it belongs to the namespace {namespace}, but the policy's namespace is {own}")
        }
        (None, _) if !policy.pinned => {
            format!("it has no label {namespace_label}: add {namespace_label}={own:?} to every selector")
        }
        (_, SeriesMatch::Label(label)) => match labels.get(label) {
            None if let Some(pod) = labels.get(POD_LABEL).filter(|_| label != POD_LABEL) => {
                format!(
                    "no selected object has a pod named {pod}: the pod is gone, or target.selector does not select its owner"
                )
            }
            None => format!(
                "it has no label {label}: keep that label in the query, set target.match.label, or set target.match.global if one series is about all targets"
            ),
            Some(name) => match labels.get(UID_LABEL) {
                None => format!("no selected object is named {name}: check target.selector"),
                Some(uid) => format!(
                    "no selected object is named {name} with the uid {uid}: that object is gone, or target.selector does not select it"
                ),
            },
        },
        (_, SeriesMatch::Global) => "target.selector selects no object".to_owned(),
    }
}

/// Labels as `PromQL` writes them, cut to a readable length.
pub(super) fn shown(labels: &Labels) -> String {
    const AT_MOST: usize = 512;
    let all: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    let text = format!("{{{}}}", all.join(", "));
    if text.chars().count() <= AT_MOST { text } else { text.chars().take(AT_MOST).chain("…".chars()).collect() }
}
