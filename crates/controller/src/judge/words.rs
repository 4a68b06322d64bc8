//! The sentences of the brakes, used wherever one is told: conditions, Events, log lines.

use prunella_core::decide::{POD_LABEL, Reach, UID_LABEL};
use prunella_core::observation::Labels;
use prunella_core::policy::{OnStorm, Policy, SeriesMatch};
use prunella_core::refusal::{Reason, Refusal};

use super::Compiled;

/// What holds a target back, and until when where that is known.
pub(super) fn refusal(compiled: &Compiled, refusal: Refusal) -> String {
    let until = refusal.until.map(|until| format!("; until {until:.0}")).unwrap_or_default();
    format!("{}{until}", why(&compiled.policy, refusal.reason))
}

/// What holds a target back.
pub(super) fn why(policy: &Policy, reason: Reason) -> String {
    let limits = &policy.limits;
    match reason {
        Reason::Suspended => "the policy is suspended".to_owned(),
        Reason::Held => "healing is held back by an annotation prunella.dev/hold on a namespace".to_owned(),
        Reason::OptedOut => "an annotation prunella.dev/heal wants the target left alone".to_owned(),
        Reason::Exhausted => {
            format!(
                "every step was tried, on it or on those in whose place it was made: it is left alone until it has been clear for {:#}, the rule changes, or the annotation prunella.dev/reset is set anew",
                limits.ladder_reset
            )
        }
        Reason::Stale => "the samples behind the breach are not fresh: its exporter is silent".to_owned(),
        Reason::ObservationUnknown => "the source gives no answer to rely on".to_owned(),
        Reason::NoData => "there is no data about the target any more".to_owned(),
        Reason::TooYoung => {
            format!("it is younger than {:#}, or its samples may be its predecessor's", policy.min_age)
        }
        Reason::NotYetFor => "the breach is not there at this moment, or not yet for long enough".to_owned(),
        Reason::NotHealable(why) => format!("the target may not be healed: {}", why.as_str()),
        Reason::TargetBusy => "an action on the target or its owners is in flight".to_owned(),
        Reason::AlreadyRecorded => "mode is DryRun, and this sickness is on record already".to_owned(),
        Reason::Cooldown => format!("less than {:#} since the last action that counts against it", limits.cooldown),
        Reason::SubjectCap => {
            let cap = limits.subject_cap;
            format!("its workload has borne {} action(s) in {:#}, of all policies together", cap.count, cap.window)
        }
        Reason::MaxActions => format!("{} action(s) in {:#} are spent", limits.max_actions, limits.window),
        Reason::MaxConcurrent => format!("{} action(s) may be in flight at once, and are", limits.max_concurrent),
        Reason::Storm => match limits.on_storm {
            OnStorm::Probe => "more targets are breached than maxUnhealthy allows: one action is tried as a probe, and the next only after one has succeeded".to_owned(),
            OnStorm::Hold => "more targets are breached than maxUnhealthy allows, and onStorm is Hold".to_owned(),
        },
    }
}

/// What is to be mended when the query does not reach the targets; `None` when it does.
pub(super) fn astray(policy: &Policy, reach: &Reach) -> Option<(&'static str, String)> {
    match reach {
        Reach::Targets => None,
        Reach::NoSeries => Some((
            "NoSeries",
            "the query can return nothing, for the source has no series it is about: correct its metric and labels, or see whether they are scraped".to_owned(),
        )),
        Reach::NoTarget(labels) => Some((
            "NoSeriesMatchesTargets",
            format!("no series names a selected target: {}; the first is {}", mend(policy, labels), shown(labels)),
        )),
    }
}

/// Why these labels name no target, and what is likely to be mended.
fn mend(policy: &Policy, labels: &Labels) -> String {
    let own = policy.key.namespace.as_str();
    let place = policy.namespace_label.as_str();
    let elsewhere = labels.iter().find(|(label, value)| label.as_str() != place && *value == own);
    match (labels.get(place), &policy.series) {
        (Some(namespace), _) if namespace != own && elsewhere.is_some() => {
            let label = elsewhere.map_or("", |(label, _)| label);
            format!(
                "its namespace is in the label {label}; set target.namespaceLabel to it, or scrape with honorLabels"
            )
        }
        (Some(namespace), _) if namespace != own => format!("it is of the namespace {namespace}, not {own}"),
        (None, _) if !policy.pinned => format!("it carries no label {place}: add {place}={own:?} to every selector"),
        (_, SeriesMatch::Label(label)) => match labels.get(label) {
            None if let Some(pod) = labels.get(POD_LABEL).filter(|_| label != POD_LABEL) => {
                format!(
                    "no selected object has a pod called {pod}: it is of one that is gone, or compare target.selector"
                )
            }
            None => format!(
                "it carries no label {label}: keep it in the query, or set target.match.label, or target.match.global where one series speaks of all"
            ),
            Some(name) => match labels.get(UID_LABEL) {
                None => format!("no selected object is called {name}: compare target.selector"),
                Some(uid) => format!(
                    "no selected object is called {name} and has the uid {uid}: it is of one that is gone, or compare target.selector"
                ),
            },
        },
        (_, SeriesMatch::Global) => "the selector chooses no object".to_owned(),
    }
}

/// Labels as `PromQL` writes them, cut where a sentence would become a page.
pub(super) fn shown(labels: &Labels) -> String {
    const AT_MOST: usize = 512;
    let all: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    let text = format!("{{{}}}", all.join(", "));
    if text.chars().count() <= AT_MOST { text } else { text.chars().take(AT_MOST).chain("…".chars()).collect() }
}
