//! Stage 5: what was decided becomes status and metrics. The status is built whole
//! from the decision and written only when it differs from what was written last:
//! a quiet policy makes no write. Needs the client for writes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, ResourceExt};
use prunella_api::ConditionType::{Blocked, Healing, Healthy, Observed, Ready, Stalled};
use prunella_api::{
    ActionSummary, HealingPolicy, HealingPolicyStatus, RefusalCount, SickTarget, TargetCounts, set_condition,
};
use prunella_cluster::ClusterError;
use prunella_core::decide::{Decision, Phase, Timer};
use prunella_core::ledger::{Ledger, Record, State};
use prunella_core::observation::{Answer, Observation, UnknownReason};
use prunella_core::refusal::{Reason, Refusal};
use prunella_core::target::{NotHealable, Uid};
use tracing::{info, warn};

use super::compile::CompileError;
use super::reserve::decimal;
use super::{Compiled, Standing};
use crate::context::Context;
use crate::writes::apply_status;

/// The most sick targets that a status names.
const SICK_AT_MOST: usize = 100;

/// Every brake that is counted as blocking, by its word.
pub(crate) const REASONS: [&str; 14] = [
    Reason::Suspended.as_str(),
    Reason::Held.as_str(),
    Reason::ObservationUnknown.as_str(),
    Reason::NoData.as_str(),
    Reason::NotYetFor.as_str(),
    Reason::OptedOut.as_str(),
    Reason::NotHealable(NotHealable::StaticPod).as_str(),
    Reason::TargetBusy.as_str(),
    Reason::Exhausted.as_str(),
    Reason::AlreadyRecorded.as_str(),
    Reason::Cooldown.as_str(),
    Reason::MaxActions.as_str(),
    Reason::MaxConcurrent.as_str(),
    Reason::Stale.as_str(),
];

/// Writes what was decided.
pub(super) async fn record(
    policy: &HealingPolicy,
    compiled: &Compiled,
    observation: &Observation,
    decision: &Decision,
    standing: &mut Standing,
    context: &Context,
) -> Result<(), ClusterError> {
    let ledger = context.book.ledger(&compiled.policy.key.namespace);
    let scene = Scene { policy, compiled, observation, decision, ledger: &ledger };
    let blocked = scene.blocked();
    count(compiled, decision, &blocked, context);
    let earlier = standing.written.as_ref().or(policy.status.as_ref());
    let status = scene.status(earlier, &blocked, &context.now().into());
    write(policy, standing, status, context).await
}

/// Writes that the policy cannot work until somebody changes it.
pub(super) async fn stalled(
    policy: &HealingPolicy,
    standing: &mut Standing,
    error: &CompileError,
    context: &Context,
) -> Result<(), ClusterError> {
    let earlier = standing.written.as_ref().or(policy.status.as_ref());
    let mut conditions = earlier.map(|status| status.conditions.clone()).unwrap_or_default();
    let generation = policy.metadata.generation;
    let now: Time = context.now().into();
    let message = format!("{error}");
    set_condition(&mut conditions, Ready, Some(false), error.reason(), message.clone(), generation, &now);
    set_condition(&mut conditions, Stalled, Some(true), error.reason(), message, generation, &now);
    for kind in [Observed, Healthy] {
        set_condition(&mut conditions, kind, None, "Stalled", "the policy is not judged", generation, &now);
    }
    for kind in [Healing, Blocked] {
        set_condition(&mut conditions, kind, Some(false), "Stalled", "the policy is not judged", generation, &now);
    }
    let status = HealingPolicyStatus {
        observed_generation: generation,
        conditions,
        targets: None,
        sick: Vec::new(),
        blocked: Vec::new(),
        last_action: earlier.and_then(|status| status.last_action.clone()),
    };
    write(policy, standing, status, context).await
}

async fn write(
    policy: &HealingPolicy,
    standing: &mut Standing,
    status: HealingPolicyStatus,
    context: &Context,
) -> Result<(), ClusterError> {
    if standing.written.as_ref().or(policy.status.as_ref()) == Some(&status) {
        return Ok(());
    }
    log(policy, standing.written.as_ref().or(policy.status.as_ref()), &status);
    let namespace = policy.namespace().unwrap_or_default();
    let api: Api<HealingPolicy> = Api::namespaced(context.writes.clone(), &namespace);
    match apply_status(&api, &policy.name_any(), &status).await {
        Ok(_) => {
            standing.written = Some(status);
            Ok(())
        }
        // Deleted meanwhile: there is nobody to tell.
        Err(ClusterError::Kube(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
        Err(error) => {
            standing.written = None;
            Err(error)
        }
    }
}

/// A line for every condition that changed.
fn log(policy: &HealingPolicy, earlier: Option<&HealingPolicyStatus>, status: &HealingPolicyStatus) {
    let name = policy.name_any();
    let namespace = policy.namespace().unwrap_or_default();
    for condition in &status.conditions {
        let before = earlier.and_then(|status| status.conditions.iter().find(|one| one.type_ == condition.type_));
        if before.is_some_and(|before| (&before.status, &before.reason) == (&condition.status, &condition.reason)) {
            continue;
        }
        let line = format!("{}={} {}: {}", condition.type_, condition.status, condition.reason, condition.message);
        let bad = matches!(
            (condition.type_.as_str(), condition.status.as_str()),
            ("Ready" | "Observed" | "Healthy", "False") | ("Stalled" | "Blocked", "True")
        );
        if bad {
            warn!(namespace, policy = name, "{line}");
        } else {
            info!(namespace, policy = name, "{line}");
        }
    }
}

fn count(compiled: &Compiled, decision: &Decision, blocked: &BTreeMap<Reason, usize>, context: &Context) {
    let key = &compiled.policy.key;
    let counts = decision.counts;
    for (state, count) in crate::metrics::STATES.into_iter().zip([
        counts.selected,
        counts.pending,
        counts.firing,
        counts.verifying,
        counts.exhausted,
    ]) {
        context.metrics.set_targets(key, state, count);
    }
    for word in REASONS {
        let count = blocked.iter().filter(|(reason, _)| reason.as_str() == word).map(|(_, count)| count).sum();
        context.metrics.set_blocked(key, word, count);
    }
}

/// One decision and what it was made from.
struct Scene<'a> {
    policy: &'a HealingPolicy,
    compiled: &'a Compiled,
    observation: &'a Observation,
    decision: &'a Decision,
    ledger: &'a Ledger,
}

impl Scene<'_> {
    /// The brakes that hold back targets that are firing and not in an action's hands.
    /// A target that is only pending is not held back: nothing is due yet.
    fn blocked(&self) -> BTreeMap<Reason, usize> {
        let mut blocked = BTreeMap::new();
        for refused in &self.decision.refusals {
            let firing =
                self.decision.memory.timers.get(&refused.target).is_some_and(|timer| timer.phase == Phase::Firing);
            if firing && self.action_on(&refused.target).is_none() {
                *blocked.entry(refused.refusal.reason).or_default() += 1;
            }
        }
        blocked
    }

    /// The policy's own action in flight for a target.
    fn action_on(&self, target: &Uid) -> Option<&Record> {
        self.ledger.of(&self.compiled.policy.key).find(|record| record.in_flight() && record.target.uid == *target)
    }

    fn status(
        &self,
        earlier: Option<&HealingPolicyStatus>,
        blocked: &BTreeMap<Reason, usize>,
        now: &Time,
    ) -> HealingPolicyStatus {
        let counts = self.decision.counts;
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        HealingPolicyStatus {
            observed_generation: self.policy.metadata.generation,
            conditions: self.conditions(earlier, blocked, now),
            targets: Some(TargetCounts {
                selected: number(counts.selected),
                pending: number(counts.pending),
                firing: number(counts.firing),
                verifying: number(counts.verifying),
                exhausted: number(counts.exhausted),
            }),
            sick: self.sick(),
            blocked: blocked
                .iter()
                .map(|(reason, count)| RefusalCount { reason: reason.as_str().to_owned(), count: number(*count) })
                .collect(),
            last_action: self.last_action(),
        }
    }

    fn conditions(
        &self,
        earlier: Option<&HealingPolicyStatus>,
        blocked: &BTreeMap<Reason, usize>,
        now: &Time,
    ) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
        let mut conditions = earlier.map(|status| status.conditions.clone()).unwrap_or_default();
        let generation = self.policy.metadata.generation;
        let mut set = |kind, status, reason: &str, message: String| {
            set_condition(&mut conditions, kind, status, reason, message, generation, now);
        };
        let matching = &self.decision.matching;
        let known = match &self.observation.breach {
            Answer::Answered(_) => {
                set(Ready, Some(true), "Judging", format!("judged every {:#}", self.compiled.policy.interval));
                let message = format!(
                    "{} series breached, {} of them name a selected target",
                    matching.returned, matching.matched
                );
                let ignored = matching
                    .first_ignored
                    .as_ref()
                    .map(|labels| format!("; the first that does not: {labels:?}"))
                    .unwrap_or_default();
                set(Observed, Some(true), "Answered", format!("{message}{ignored}"));
                true
            }
            Answer::Unknown(unknown) if unknown.reason == UnknownReason::SourceNotReady => {
                set(Ready, Some(false), unknown.reason.as_str(), unknown.message.clone());
                set(Observed, Some(false), unknown.reason.as_str(), unknown.message.clone());
                false
            }
            Answer::Unknown(unknown) => {
                set(Ready, Some(true), "Judging", format!("judged every {:#}", self.compiled.policy.interval));
                set(Observed, Some(false), unknown.reason.as_str(), unknown.message.clone());
                false
            }
        };
        set(Stalled, Some(false), "Compiled", "the policy makes sense".to_owned());

        let sick = self.decision.memory.timers.len();
        let firing = self.decision.counts.firing;
        match (known, sick, firing) {
            (false, _, _) => set(Healthy, None, "NotObserved", "the source gives no answer to rely on".to_owned()),
            (true, 0, _) if self.decision.counts.verifying > 0 => {
                set(Healthy, None, "Verifying", "it is being watched whether the newest action helped".to_owned());
            }
            (true, 0, _) => set(Healthy, Some(true), "NoTargetSick", "no selected target is sick".to_owned()),
            (true, _, 0) => {
                set(Healthy, Some(true), "TargetsPending", format!("{sick} breached, not yet for long enough"));
            }
            (true, _, _) => set(Healthy, Some(false), "TargetsSick", format!("{firing} sick")),
        }
        match self.ledger.of(&self.compiled.policy.key).find(|record| record.in_flight()) {
            Some(record) => {
                let message = format!("{} on {}", record.name, record.target);
                set(Healing, Some(true), record.state.as_str(), message);
            }
            None => set(Healing, Some(false), "NoActionInFlight", "no action is in flight".to_owned()),
        }
        match blocked.iter().next() {
            Some((reason, _)) => set(Blocked, Some(true), reason.as_str(), self.why(*reason)),
            None => set(Blocked, Some(false), "NotBlocked", "no sick target is held back".to_owned()),
        }
        conditions
    }

    /// In words: what holds the first target back that this brake refuses, and until when.
    fn why(&self, reason: Reason) -> String {
        let limits = &self.compiled.policy.limits;
        let refused: Vec<Refusal> = self
            .decision
            .refusals
            .iter()
            .map(|refused| refused.refusal)
            .filter(|refusal| refusal.reason == reason)
            .collect();
        let what = match reason {
            Reason::Suspended => "the policy is suspended".to_owned(),
            Reason::Held => "healing is held back by an annotation prunella.dev/hold on a namespace".to_owned(),
            Reason::OptedOut => "an annotation prunella.dev/heal wants the target left alone".to_owned(),
            Reason::Exhausted => {
                format!("every step was tried, and the target has not been clear for {:#} since", limits.ladder_reset)
            }
            Reason::Stale => "the samples behind the breach are not fresh: its exporter is silent".to_owned(),
            Reason::ObservationUnknown => "the source gives no answer to rely on".to_owned(),
            Reason::NoData => "there is no data about the target any more".to_owned(),
            Reason::NotYetFor => "the breach is not there at this moment, or not yet for long enough".to_owned(),
            Reason::NotHealable(why) => format!("the target may not be healed: {}", why.as_str()),
            Reason::TargetBusy => "an action on the target or its owners is in flight".to_owned(),
            Reason::AlreadyRecorded => "mode is DryRun, and this sickness is on record already".to_owned(),
            Reason::Cooldown => format!("less than {:#} since the last action that counts against it", limits.cooldown),
            Reason::MaxActions => format!("{} actions in {:#} are spent", limits.max_actions, limits.window),
            Reason::MaxConcurrent => format!("{} action(s) may be in flight at once, and are", limits.max_concurrent),
        };
        let until = refused.iter().filter_map(|refusal| refusal.until).min();
        let until = until.map(|until| format!("; until {until:.0}")).unwrap_or_default();
        format!("{} target(s): {what}{until}", refused.len())
    }

    /// The targets that are not healthy: those in an action's hands first, then the
    /// longest sick.
    fn sick(&self) -> Vec<SickTarget> {
        let mut acted_on: Vec<SickTarget> = self
            .ledger
            .of(&self.compiled.policy.key)
            .filter(|record| record.in_flight())
            .map(|record| SickTarget {
                uid: record.target.uid.to_string(),
                name: record.target.name.clone(),
                state: state_word(record.state).to_owned(),
                since: record.sick_since.into(),
                value_at_transition: self.timer(&record.target.uid).map(|timer| decimal(timer.value)),
                rung: i32::try_from(record.rung).ok(),
                attempt: i32::try_from(record.attempt).ok(),
                action: Some(record.name.clone()),
                blocked_by: None,
                blocked_until: None,
            })
            .collect();
        acted_on.sort_by(|a, b| a.name.cmp(&b.name));
        let mut waiting: Vec<SickTarget> = self
            .decision
            .refusals
            .iter()
            .filter(|refused| self.action_on(&refused.target).is_none())
            .filter_map(|refused| {
                let timer = self.timer(&refused.target)?;
                Some(SickTarget {
                    uid: refused.target.to_string(),
                    name: self.name_of(&refused.target)?,
                    state: self.phase_word(&refused.target, timer.phase).to_owned(),
                    since: timer.since.into(),
                    value_at_transition: Some(decimal(timer.value)),
                    rung: None,
                    attempt: None,
                    action: None,
                    blocked_by: Some(refused.refusal.reason.as_str().to_owned()),
                    blocked_until: refused.refusal.until.map(Into::into),
                })
            })
            .collect();
        waiting.sort_by(|a, b| (&a.since, &a.uid).cmp(&(&b.since, &b.uid)));
        acted_on.into_iter().chain(waiting).take(SICK_AT_MOST).collect()
    }

    fn timer(&self, uid: &Uid) -> Option<&Timer> {
        self.decision.memory.timers.get(uid)
    }

    fn phase_word(&self, target: &Uid, phase: Phase) -> &'static str {
        match phase {
            _ if self.decision.memory.exhausted.contains(target) => "Exhausted",
            Phase::Pending => "Pending",
            Phase::Firing => "Firing",
        }
    }

    fn name_of(&self, uid: &Uid) -> Option<String> {
        self.decision.names.get(uid).cloned()
    }

    fn last_action(&self) -> Option<ActionSummary> {
        let newest = self.ledger.of(&self.compiled.policy.key).max_by_key(|record| record.sequence)?;
        Some(ActionSummary {
            name: newest.name.clone(),
            action: newest.action.clone(),
            target: newest.target.to_string(),
            time: newest.created.into(),
            outcome: match newest.state {
                State::Finished(outcome) => Some(outcome.as_str().to_owned()),
                _ => None,
            },
        })
    }
}

fn state_word(state: State) -> &'static str {
    match state {
        State::Pending | State::Running => "Acting",
        State::Settling => "Settling",
        State::Verifying | State::Finished(_) => "Verifying",
    }
}
