//! The sentences of the guardrails, the same in conditions, Events and log lines.

use std::collections::BTreeMap;

use prunella_core::availability::Shortage;
use prunella_core::decide::{BusyWith, POD_LABEL, Reach, Skipped, carried_uid};
use prunella_core::ledger::{BACK_OFF_LONGEST, RECORDS_AT_LEAST};
use prunella_core::observation::Labels;
use prunella_core::policy::{Policy, PolicyMode, SeriesMatch, StormRule};
use prunella_core::refusal::{Reason, Refusal};
use prunella_core::target::{NotHealable, Object};

use crate::cluster_view::Hold;
use crate::compiled::CompiledPolicy;
use crate::watch_log::SILENT_AFTER;

/// What holds a target back, and when it ends at the earliest if that is known.
pub(super) fn refusal(compiled: &CompiledPolicy, refusal: Refusal, hold: Option<&Hold>) -> String {
    let until = refusal.until.map(|until| format!("; not before {until:.0}")).unwrap_or_default();
    format!("{}{until}", why(&compiled.policy, refusal.reason, hold))
}

/// What holds all healing back, and what to do about it.
fn held(hold: Option<&Hold>) -> String {
    match hold {
        Some(Hold::Annotation { namespace, why }) => {
            format!(
                "the annotation prunella.dev/hold on namespace {namespace} stops new actions: {why:?}; remove it to continue"
            )
        }
        Some(Hold::SilentWatch { resource }) => silent_watch(resource),
        None => "the annotation prunella.dev/hold on a namespace stops new actions; remove it to continue".to_owned(),
    }
}

/// Why nothing starts while a watch is silent.
pub(super) fn silent_watch(resource: &str) -> String {
    format!(
        "the API server has not answered the watch of {resource} for {} minutes, so what is known of them may be old; see the controller's log for the error",
        SILENT_AFTER.as_secs() / 60
    )
}

/// What holds a target back.
pub(super) fn why(policy: &Policy, reason: Reason, hold: Option<&Hold>) -> String {
    let limits = &policy.limits;
    match reason {
        Reason::Suspended => "the policy is suspended (spec.suspend is true)".to_owned(),
        Reason::Held => held(hold),
        Reason::OptedOut => {
            "the target, its owner or its namespace opts out with the annotation prunella.dev/heal".to_owned()
        }
        Reason::Exhausted => format!(
            "every step was tried on this target and the pods it replaced, or does not apply; find the cause. Prunella acts again when the target has been clear for {:#}, when you change the condition, the target or the steps, or when you set the annotation prunella.dev/reset on the policy to the current time",
            limits.ladder_reset
        ),
        Reason::Stale => {
            "the samples that decide about the breach are old: an exporter may be down".to_owned()
        }
        Reason::ObservationUnknown => "the source gives no usable answer; see the condition Observed".to_owned(),
        Reason::NoData => "the source has no data about the target, or none of a series that was breached".to_owned(),
        Reason::TooYoung => format!(
            "the target is younger than minAge ({:#}), or its samples may belong to an earlier object of the same name",
            policy.min_age
        ),
        Reason::NotYetFor if policy.breach_for.is_zero() => {
            "the newest evaluation does not show the breach".to_owned()
        }
        Reason::NotYetFor => format!(
            "the target has not been breached for {:#} yet, or the newest evaluation does not show the breach",
            policy.breach_for
        ),
        Reason::NotHealable(why) => {
            format!("Prunella must not act on the target: {} ({})", why.as_str(), not_healable(why))
        }
        Reason::TargetBusy => "an action of this or another policy on the target or its owner is in flight, or the action that created the pod is not verified yet".to_owned(),
        Reason::AlreadyRecorded => {
            "mode is DryRun, and the action for this episode is already recorded as a HealingAction; set mode: Enforce to let such actions run".to_owned()
        }
        Reason::Cooldown => format!(
            "the last action on the target, its workload or the pod it replaced was less than {:#} ago (limits.cooldown)",
            limits.cooldown
        ),
        Reason::BackOff => format!(
            "the newest actions on the target ended without effect (Cancelled, Expired or Superseded); the wait before the next one doubles each time, up to {BACK_OFF_LONGEST:#}"
        ),
        Reason::TooManyRecords => format!(
            "the policy has recorded {} within a minute, whatever their outcome",
            actions(limits.max_actions.max(RECORDS_AT_LEAST))
        ),
        Reason::SubjectCap => {
            let cap = limits.subject_cap;
            format!("its workload has had {} from all policies in the last {:#} (--subject-cap)", actions(cap.count), cap.window)
        }
        Reason::MaxActions => {
            let started = match policy.mode {
                PolicyMode::Enforce => "started",
                PolicyMode::DryRun => "recorded",
            };
            format!(
                "the policy has {started} {} in the last {:#}, which is its limit (limits.maxActions)",
                actions(limits.max_actions),
                limits.window
            )
        }
        Reason::MaxConcurrent => {
            format!("the policy already has {} in flight (limits.maxConcurrent)", actions(limits.max_concurrent))
        }
        Reason::TooFewAvailable(shortage) if shortage.is_permanent() => format!(
            "limits.minAvailable requires {} Ready pods of {}, so no Ready pod of the workload may ever be removed; lower it",
            shortage.required, shortage.wanted
        ),
        Reason::TooFewAvailable(Shortage { required, wanted }) => format!(
            "without the target, fewer than {required} of the workload's {wanted} pods would be Ready (limits.minAvailable); pods that other actions are removing do not count as Ready"
        ),
        Reason::Storm => format!(
            "there is a storm: more targets are breached than limits.maxUnhealthy allows, or were within the last {:#}; {} (see status.storm)",
            limits.storm_cooldown,
            in_a_storm(limits.on_storm)
        ),
    }
}

/// What a busy target waits for, as the end of a sentence.
pub(super) fn busy(with: Option<&BusyWith>) -> String {
    match with {
        Some(BusyWith::Action { name, action, touches, policy }) => {
            format!("; it waits for HealingAction {name} ({action} on {touches}) of policy {policy}")
        }
        Some(BusyWith::Removal { policy }) => format!(
            "; it waits for policy {policy}, which is about to remove a single pod of the workload: that goes before a change of the whole workload"
        ),
        None => String::new(),
    }
}

/// Why Prunella must not act on several targets, with the number of targets for each reason.
pub(super) fn none_healable(reasons: &BTreeMap<NotHealable, usize>) -> String {
    let reasons = reasons.iter().map(|(why, count)| format!("{count} {} ({})", why.as_str(), not_healable(*why)));
    format!("Prunella must not act on them: {}", reasons.collect::<Vec<_>>().join(", "))
}

/// What is still done in a storm.
pub(super) fn in_a_storm(rule: StormRule) -> &'static str {
    match rule {
        StormRule::Probe => "one action is tried as a probe, and the next starts only after one has succeeded",
        StormRule::Hold => "no action starts, because limits.onStorm is Hold",
    }
}

/// Why Prunella must not act on a target.
fn not_healable(why: NotHealable) -> &'static str {
    match why {
        NotHealable::StaticPod => "the kubelet owns the pod",
        NotHealable::NoController => "no controller would replace the pod",
        NotHealable::OwnedByJob => "a Job retries in its own way",
        NotHealable::OwnerRunsToEnd => "its owner runs the pod to an end and does not replace it",
        NotHealable::Terminating => {
            "it is being deleted and has not ended: look at its finalizers, its volumes and its node"
        }
        NotHealable::Completed => "the pod has finished",
        NotHealable::NodeNotReady => "its node is not ready, so the state of the pod is not known",
        NotHealable::OwnerUnknown => "the controller of the pod is not known yet",
        NotHealable::Starting => {
            "it may still be starting, as its startup probes or steps[].verify.readyWithin allow, or it became Ready less than condition.for ago"
        }
        NotHealable::MidRollout => "its workload is rolling out and makes progress",
        NotHealable::SystemCritical => {
            "the pod has a system-critical priority class; set target.systemCritical to allow it"
        }
        NotHealable::OwnPod => "it is a pod of the Prunella controller",
        NotHealable::PodsNotSelected => "the action would also touch pods that target.selector does not select",
    }
}

/// The owner of a target that must not be acted on, as the end of a sentence.
pub(super) fn owned_by(owner: Option<&Object>) -> String {
    owner.map(|owner| format!("; its owner is {owner}")).unwrap_or_default()
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
            "the source has no series for this query: correct the metric name and labels, or check that the metric is scraped. A range such as [5m] must be at least four scrape intervals long. If the metric exists only while something is wrong, set condition.promql.evidence".to_owned(),
        )),
        Reach::NoOperand(selector) => Some((
            "NoSeries",
            format!(
                "the source has no series for {selector}, so the query can return nothing: correct the metric name and labels, or check that the metric is scraped. If it counts events, it may start with the first one"
            ),
        )),
        Reach::NoTarget(labels) => Some((
            "NoSeriesMatchesTargets",
            format!("no series names a selected target. The first series is {}: {}", shown(labels), fix(policy, labels)),
        )),
    }
}

/// Labels of kube-state-metrics with the name of a workload, or of what belongs to one. Its label
/// `pod` is that of the exporter then.
const WORKLOAD_LABELS: [&str; 5] = ["daemonset", "deployment", "horizontalpodautoscaler", "replicaset", "statefulset"];

/// Why these labels name no target, and the likely fix.
fn fix(policy: &Policy, labels: &Labels) -> String {
    let own = policy.key.namespace.as_str();
    let namespace_label = policy.namespace_label.as_str();
    let namespace = labels.get(namespace_label);
    let is_own = namespace.map_or(policy.pinned, |namespace| namespace == own);
    if let Some(fix) = other_labels(policy, labels).filter(|_| !is_own) {
        return fix;
    }
    match (namespace, &policy.series) {
        (Some(namespace), _) if namespace != own => {
            format!("it belongs to the namespace {namespace}, but the policy's namespace is {own}")
        }
        (None, _) if !policy.pinned => {
            format!("it has no label {namespace_label}: add {namespace_label}={own:?} to every selector")
        }
        (_, SeriesMatch::Label(own_label)) => match labels.get(own_label) {
            None if let Some(pod) = labels.get(POD_LABEL).filter(|_| own_label != POD_LABEL) => {
                let other = labels.keys().find(|label| WORKLOAD_LABELS.contains(&label.as_str()));
                let other = other.map(|label| format!(", for example {label}")).unwrap_or_default();
                format!(
                    "no selected object has a pod named {pod}: the pod is gone, or target.selector does not select its owner. If {pod} is the exporter, set target.match.label to the label that names the target{other}"
                )
            }
            None if let Some(other) = name_label(policy, labels) => {
                format!("it has no label {own_label}: set target.match.label to {other} if that label names the target")
            }
            None => format!(
                "it has no label {own_label}: if the metric has that label, keep it in the query. Otherwise set target.match.label to the label that names the target, or target.match.global if one series is about all targets"
            ),
            Some(name) => match carried_uid(labels) {
                None => format!("no selected object is named {name}: check target.selector"),
                Some(uid) => format!(
                    "no selected object is named {name} with the uid {uid}: that object is gone, or target.selector does not select it"
                ),
            },
        },
        (_, SeriesMatch::Global) => "target.selector selects no object".to_owned(),
    }
}

/// How many actions wait for a disruption budget, which one, and what can be done.
pub(super) fn budget(waiting: usize, words: Option<&str>) -> String {
    let wait = if waiting == 1 { "1 action waits".to_owned() } else { format!("{waiting} actions wait") };
    let words = words.map(|words| format!(": {}", words.trim_end_matches('.'))).unwrap_or_default();
    format!(
        "{wait}, because a PodDisruptionBudget allows no eviction now{words}. Add replicas or change the budget; with unhealthyPodEvictionPolicy: AlwaysAllow it does not protect pods that are not Ready"
    )
}

/// The fields to set if these labels have the policy's namespace in another label, all at once.
pub(super) fn other_labels(policy: &Policy, labels: &Labels) -> Option<String> {
    let own = policy.key.namespace.as_str();
    let (label, _) = labels.iter().find(|(label, value)| **label != policy.namespace_label && *value == own)?;
    let name = name_label(policy, labels).map(|name| format!(" and target.match.label to {name}")).unwrap_or_default();
    Some(format!(
        "its namespace is in the label {label}: set target.namespaceLabel to {label}{name} (the source must list {label} in its namespaceLabels), or scrape with honorLabels"
    ))
}

/// Another label that probably holds the target's name, such as `exported_pod` or
/// `kubernetes_pod_name` for `pod`.
fn name_label<'a>(policy: &Policy, labels: &'a Labels) -> Option<&'a String> {
    let SeriesMatch::Label(own) = &policy.series else { return None };
    labels.keys().find(|label| *label != own && label.contains(own.as_str()) && !label.contains("uid"))
}

/// Labels as `PromQL` writes them, cut to a readable length.
pub(super) fn shown(labels: &Labels) -> String {
    const AT_MOST: usize = 512;
    let all: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    let text = format!("{{{}}}", all.join(", "));
    if text.chars().count() <= AT_MOST { text } else { text.chars().take(AT_MOST).chain("…".chars()).collect() }
}
