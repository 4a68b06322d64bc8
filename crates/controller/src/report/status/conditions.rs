//! The conditions of a status.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use prunella_api::ConditionType::{Blocked, Healing, Healthy, Observed, Ready, Stalled};
use prunella_api::{HealingPolicyStatus, set_condition};
use prunella_core::decide::{Counts, Matching, Reach, Refused};
use prunella_core::observation::{Answer, Freshness, UnknownReason};
use prunella_core::policy::{Policy, PolicyMode};
use prunella_core::refusal::Reason;
use prunella_core::target::NotHealable;

use super::{StatusInputs, by_word};
use crate::cluster_view::Hold;
use crate::compiled::CompiledPolicy;
use crate::records::DISRUPTION_BUDGET;
use crate::report::wording;

/// How the sentence about series of other objects starts.
pub(in crate::report) const OTHER_SERIES: &str = "; other series name";

impl StatusInputs<'_> {
    pub(super) fn conditions(
        &self,
        earlier: Option<&HealingPolicyStatus>,
        blocked: &BTreeMap<Reason, usize>,
        now: &Time,
    ) -> Vec<Condition> {
        let mut conditions = earlier.map(|status| status.conditions.clone()).unwrap_or_default();
        let generation = self.policy.metadata.generation;
        let (ready, observed) = self.ready_and_observed();
        let found = [
            (Ready, ready),
            (Observed, observed),
            (Stalled, ConditionValue::no("Compiled", "the query, target and steps are valid")),
            (Healthy, self.healthy()),
            (Healing, self.healing()),
            (Blocked, self.blocked_condition(blocked)),
        ];
        for (kind, ConditionValue { status, reason, message }) in found {
            set_condition(&mut conditions, kind, status, reason, message, generation, now);
        }
        conditions
    }

    fn ready_and_observed(&self) -> (ConditionValue, ConditionValue) {
        match &self.observation.breach {
            Answer::Answered(_) => {
                let ready = match self.without_namespace() {
                    Some(message) => ConditionValue::no("NamespaceNotPinned", message),
                    None => self.evaluating(),
                };
                let observed = match self.unreached() {
                    Some((reason, message)) => ConditionValue::no(reason, message),
                    None => ConditionValue::yes(Answer::ANSWERED, self.answered()),
                };
                (ready, observed)
            }
            Answer::Unknown(unknown) => {
                let observed = ConditionValue::no(unknown.reason.as_str(), unknown.message.clone());
                (if is_usable(unknown.reason) { self.evaluating() } else { observed.clone() }, observed)
            }
        }
    }

    /// How often the policy is evaluated, whether it acts, and warnings about settings that are probably not meant.
    fn evaluating(&self) -> ConditionValue {
        let (reason, held) = match (self.compiled.policy.suspended, &self.hold) {
            (true, _) => ("Suspended", "; no new action starts while spec.suspend is true".to_owned()),
            (false, Some(Hold::SilentWatch { resource })) => {
                ("Held", format!("; no new action starts: {}", wording::silent_watch(resource)))
            }
            (false, Some(Hold::Annotation { namespace, why })) => (
                "Held",
                format!(
                    "; no new action starts while namespace {namespace} has the annotation prunella.dev/hold: {why:?}"
                ),
            ),
            (false, None) => ("Evaluating", String::new()),
        };
        let recorded = match self.compiled.policy.mode {
            PolicyMode::DryRun => "; dry run: actions are only recorded",
            PolicyMode::Enforce => "",
        };
        let Policy { interval, signal_window, clear_for, steps, .. } = &self.compiled.policy;
        let verified = steps.iter().map(|step| step.verify_within).max().unwrap_or_default();
        let every = format!(
            "evaluated every {interval:#}{recorded}{held}; samples of the last {signal_window:#} decide, clearFor is {clear_for:#}, verify.within is {verified:#}"
        );
        let warnings = self.compiled.warnings.iter().chain(&self.sparse).map(|warning| format!("; {warning}"));
        ConditionValue::yes(reason, std::iter::once(every).chain(warnings).collect::<String>())
    }

    fn healthy(&self) -> ConditionValue {
        let not_healthy = self.decision.memory.timers.len();
        let Counts { firing, selected, .. } = self.decision.counts;
        match (&self.observation.breach, not_healthy, firing) {
            (Answer::Unknown(_), _, _) => {
                ConditionValue::unknown("NotObserved", "the source gives no usable answer; see the condition Observed")
            }
            (_, 0, _) if self.is_in_progress() => ConditionValue::unknown(
                "Verifying",
                "an action has started, and it is not known yet whether it helped; see the condition Healing",
            ),
            (_, 0, _) if selected == 0 => ConditionValue::unknown("NoTarget", self.nothing_selected()),
            // Such a query returns nothing about the targets, also if all of them are unhealthy.
            (_, 0, _) if self.unreached().is_some() => {
                ConditionValue::unknown("NotObserved", "the query reaches no target; see the condition Observed")
            }
            (_, 0, _) if let Some(until) = self.decision.too_young.values().max() => {
                ConditionValue::unknown("TooYoung", self.too_young(*until))
            }
            (_, 0, _) if let Some(until) = self.decision.below_min_age.values().max() => {
                ConditionValue::unknown("TooYoung", self.younger_than_min_age(*until))
            }
            (_, 0, _) => ConditionValue::yes(
                "AllTargetsHealthy",
                format!("no selected target is breached ({selected} selected)"),
            ),
            (_, _, 0) => ConditionValue::yes(
                "TargetsPending",
                format!(
                    "{not_healthy} of {selected} selected targets {} breached, but not for {:#} yet; no action is due",
                    are(not_healthy),
                    self.compiled.policy.breach_for
                ),
            ),
            (_, _, _) => ConditionValue::no(
                "TargetsUnhealthy",
                format!("{firing} of {selected} selected targets {} unhealthy; see status.unhealthy", are(firing)),
            ),
        }
    }

    fn blocked_condition(&self, blocked: &BTreeMap<Reason, usize>) -> ConditionValue {
        // In a storm, the storm is the first thing to know.
        let storm = blocked.get_key_value(&Reason::Storm);
        match storm.or_else(|| blocked.iter().next()) {
            Some((reason, _)) => {
                let others = and_others(blocked, reason.as_str());
                ConditionValue::yes(reason.as_str(), format!("{}{others}", self.why(*reason)))
            }
            None if self.waiting_for_budget() > 0 => ConditionValue::yes(
                DISRUPTION_BUDGET,
                wording::budget(self.waiting_for_budget(), self.budget.as_deref()),
            ),
            None => ConditionValue::no("NotBlocked", "no unhealthy target is held back"),
        }
    }

    /// Targets in the answer that are not judged yet.
    fn too_young(&self, until: Timestamp) -> String {
        let count = self.decision.too_young.len();
        format!(
            "{count} of {} selected targets {} in the answer of the query, but {} as long as samples of an earlier object of the same name may be in its range: not before {until:.0}. A series with the label uid or pod of the new object is judged at once",
            self.decision.counts.selected,
            are(count),
            if count == 1 { "it is not judged" } else { "they are not judged" },
        )
    }

    /// Breached targets that are not judged yet because of their age.
    fn younger_than_min_age(&self, until: Timestamp) -> String {
        let count = self.decision.below_min_age.len();
        format!(
            "{count} of {} selected targets {} breached, but {} younger than minAge ({:#}): not judged before {until:.0}",
            self.decision.counts.selected,
            are(count),
            are(count),
            self.compiled.policy.min_age,
        )
    }

    fn nothing_selected(&self) -> String {
        let CompiledPolicy { kind, selector, policy, .. } = self.compiled;
        format!("target.selector selects no {} in namespace {}: {selector}", kind.as_str(), policy.key.namespace)
    }

    /// How many selected targets the answer names. What follows [`OTHER_SERIES`] is about objects
    /// of other people: it may be old, because a change of it alone is not written.
    fn answered(&self) -> String {
        let matching = &self.decision.matching;
        let Matching { returned, finished, first_ignored, breached, .. } = matching;
        if *returned == 0 {
            return "the query returned no series".to_owned();
        }
        let named = match breached.len() {
            0 => "the query returned series, but none of them names a selected target".to_owned(),
            1 => "the query returned series of 1 selected target".to_owned(),
            count => format!("the query returned series of {count} selected targets"),
        };
        let finished = if *finished == 0 { "" } else { "; pods that have finished are ignored" };
        let ignored = first_ignored.as_ref().map(|labels| {
            format!("{OTHER_SERIES} objects that are gone or not selected, for example {}", wording::shown(labels))
        });
        format!("{named}{finished}{}", ignored.unwrap_or_default())
    }

    /// The problem if the query does not reach the targets: judged by the series that it returned or
    /// could return. If the query has reached the targets before, its series are of deleted objects.
    fn unreached(&self) -> Option<(&'static str, String)> {
        let Matching { matched, first_ignored, .. } = &self.decision.matching;
        let reach = self.decision.memory.reached.as_ref().map(|reached| &reached.reach);
        let reaches = reach == Some(&Reach::Targets);
        match first_ignored {
            // No series can name a target if there is none. The labels are not the problem.
            Some(_) if self.decision.counts.selected == 0 => Some(("NoTarget", self.nothing_selected())),
            Some(labels) if *matched == 0 && !reaches => {
                wording::unreached(&self.compiled.policy, &Reach::NoTarget(labels.clone()))
            }
            _ => wording::unreached(&self.compiled.policy, reach?).map(|(reason, message)| {
                // The series may be there, and not of this namespace.
                let restriction = self.compiled.restriction.as_ref().filter(|_| reach == Some(&Reach::NoSeries));
                let more = restriction.map(|restriction| format!(". {restriction}")).unwrap_or_default();
                (reason, format!("{message}{more}"))
            }),
        }
    }

    /// The problem if some series have no namespace.
    fn without_namespace(&self) -> Option<String> {
        let label = &self.compiled.policy.namespace_label;
        let namespace = &self.compiled.policy.key.namespace;
        let found = self.decision.matching.first_ignored.as_ref();
        let elsewhere = found.and_then(|labels| wording::other_labels(&self.compiled.policy, labels));
        (self.decision.matching.unplaced > 0).then(|| match elsewhere {
            Some(fix) => format!("series without the label {label} are ignored, because they may belong to any namespace: {fix}"),
            None => format!("series without the label {label} are ignored, because they may belong to any namespace: add {label}={namespace:?} to every selector in condition.promql.query, or keep the label")
        })
    }

    /// How many targets this guardrail holds back, why, and when it ends at the earliest.
    fn why(&self, reason: Reason) -> String {
        let refused: Vec<&Refused> = self
            .decision
            .refusals
            .iter()
            .filter(|refused| refused.due && refused.refusal.reason.as_str() == reason.as_str())
            .collect();
        let mut why = match self.not_healable() {
            reasons if matches!(reason, Reason::NotHealable(_)) && reasons.len() > 1 => {
                wording::none_healable(&reasons)
            }
            _ => wording::why(&self.compiled.policy, reason, self.hold.as_ref()),
        };
        if reason == Reason::Exhausted {
            why.push_str(&wording::skipped(self.decision.skipped.values().next()));
        }
        if matches!(reason, Reason::NotHealable(_)) {
            let first = refused.iter().find(|refused| refused.refusal.reason == reason);
            why.push_str(&wording::owned_by(first.and_then(|first| self.decision.owners.get(&first.target))));
        }
        if reason == Reason::TargetBusy {
            why.push_str(&wording::busy(self.decision.busy.values().next()));
        }
        if reason == Reason::Stale {
            why.push_str(&self.stale().map(|what| format!("; {what}")).unwrap_or_default());
        }
        let not_judged = self.not_judged().map(|(_, until)| until).filter(|_| reason == Reason::TooYoung);
        let not_judged: Vec<Timestamp> = not_judged.collect();
        let count = refused.len() + not_judged.len();
        let until = refused.iter().filter_map(|refused| refused.refusal.until).chain(not_judged).min();
        let first = if count == 1 { "" } else { "the first one " };
        let until = until.map(|until| format!("; {first}not before {until:.0}")).unwrap_or_default();
        format!("{}: {why}{until}", targets(count))
    }

    /// Why Prunella must not act on unhealthy targets, and on how many of them for each reason.
    fn not_healable(&self) -> BTreeMap<NotHealable, usize> {
        let mut reasons = BTreeMap::new();
        for refused in self.decision.refusals.iter().filter(|refused| refused.due) {
            if let Reason::NotHealable(why) = refused.refusal.reason {
                *reasons.entry(why).or_default() += 1;
            }
        }
        reasons
    }

    /// What is missing for the first target whose samples are not fresh.
    fn stale(&self) -> Option<&str> {
        self.observation.freshness.values().find_map(|freshness| match freshness {
            Freshness::Stale(what) => Some(what.as_str()),
            Freshness::Fresh | Freshness::Unknown => None,
        })
    }
}

/// The status, reason and message of one condition.
#[derive(Debug, Clone)]
pub(super) struct ConditionValue {
    /// `None`: `Unknown`.
    status: Option<bool>,
    reason: &'static str,
    message: String,
}

impl ConditionValue {
    pub(super) fn yes(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: Some(true), reason, message: message.into() }
    }

    pub(super) fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: Some(false), reason, message: message.into() }
    }

    fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: None, reason, message: message.into() }
    }
}

/// Whether the source can give another answer without a change of the source or of the policy.
fn is_usable(reason: UnknownReason) -> bool {
    !matches!(reason, UnknownReason::SourceNotReady | UnknownReason::Unauthorized | UnknownReason::Malformed)
}

fn targets(count: usize) -> String {
    if count == 1 { "1 target".to_owned() } else { format!("{count} targets") }
}

fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// How many targets other guardrails than the first hold back, as the end of a sentence.
pub(super) fn and_others(blocked: &BTreeMap<Reason, usize>, first: &str) -> String {
    let others = by_word(blocked).into_iter().filter(|other| other.reason != first);
    let counts: Vec<String> = others.map(|other| format!("{} held back by {}", other.count, other.reason)).collect();
    if counts.is_empty() { String::new() } else { format!("; other targets: {}", counts.join(", ")) }
}
