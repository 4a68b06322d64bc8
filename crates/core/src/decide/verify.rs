//! Whether an action helped. The scope of an action is the set of pods that show its result:
//! the subject's pods that were created no earlier than its effect. If it changed the number
//! of replicas, the scope includes the older pods. The action helped if the scope is not
//! empty, is ready, and was clear, with evidence, for `clearFor`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Inputs, Sight, Storm, Verdict, storm};
use crate::action::ActionScope;
use crate::execute::OutcomeReason;
use crate::ledger::{Outcome, Record, State, has_higher_number};
use crate::observation::Answer;
use crate::target::{Target, Uid};
use crate::time::{Span, after};

/// How long a source without usable answers extends the deadline of a verification.
const UNKNOWN_EXTENSION: SignedDuration = SignedDuration::from_mins(15);

/// The state of a verification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verification {
    /// The uninterrupted time in which the whole scope was clear and ready.
    pub clear: Option<Span>,
    /// Whether the newest evaluation had no usable answer.
    pub frozen: bool,
}

/// The state of the scope of an action in one evaluation, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ScopeState {
    Breached,
    Unknown,
    NoData,
    NotReady,
    Clear,
}

/// Checks each of the policy's actions in flight.
pub(super) fn judge(
    inputs: Inputs<'_>,
    sights: &BTreeMap<Uid, Sight>,
    storm: Option<Storm>,
) -> (BTreeMap<String, Verification>, Vec<Verdict>) {
    let mut verifications = BTreeMap::new();
    let mut verdicts = Vec::new();
    for record in inputs.ledger.of(&inputs.policy.key) {
        match record.state {
            State::Pending | State::Verifying if record.digest != inputs.policy.digest => {
                verdicts.push(policy_changed(record));
            }
            State::Pending if storm::forbids(inputs, storm, record) => verdicts.push(Verdict {
                action: record.name.clone(),
                outcome: Outcome::Cancelled,
                reason: OutcomeReason::Storm,
            }),
            State::Pending => verdicts.extend(recovered_before_start(record, sights)),
            State::Verifying => {
                let (verification, verdict) = verify(inputs, sights, record);
                verifications.insert(record.name.clone(), verification);
                verdicts.extend(verdict);
            }
            State::Running | State::Settling | State::Finished(_) => {}
        }
    }
    (verifications, verdicts)
}

/// The policy has changed since the action was reserved. The new condition cannot judge it.
fn policy_changed(record: &Record) -> Verdict {
    let outcome = if record.state == State::Pending { Outcome::Cancelled } else { Outcome::Inconclusive };
    Verdict { action: record.name.clone(), outcome, reason: OutcomeReason::PolicyChanged }
}

/// The actions that are being verified and that this target shows the result of.
pub(super) fn judging<'a>(inputs: Inputs<'a>, target: &'a Target) -> impl Iterator<Item = &'a Record> {
    let of_policy = inputs.ledger.of(&inputs.policy.key);
    of_policy.filter(move |record| record.state == State::Verifying && in_scope(inputs, record, target))
}

/// Whether this target shows the result of an action that is being verified.
pub(super) fn in_any_scope(inputs: Inputs<'_>, target: &Target) -> bool {
    judging(inputs, target).next().is_some()
}

pub(super) fn in_scope(inputs: Inputs<'_>, record: &Record, target: &Target) -> bool {
    // A workload that is the target is judged by its own series.
    if record.scope.is_workload() && record.target.uid == target.object.uid && record.subject.uid == record.target.uid {
        return !target.terminating;
    }
    let is_newer = target.object.uid != record.target.uid && target.created >= record.replaced_since();
    let same_subject = target.subject.uid == record.subject.uid;
    let judged_by = match record.scope {
        ActionScope::Replacement if target.name_recurs() => {
            let has_name = target.object.name == record.target.name;
            is_newer && (has_name || same_subject && may_be_renumbered(inputs, record, target))
        }
        ActionScope::Replacement | ActionScope::NewPods => is_newer && same_subject,
        ActionScope::AllPods => same_subject,
    };
    judged_by && !target.terminating && !target.has_finished()
}

/// Whether the target may replace the removed pod under a higher number. If the name of the removed pod
/// recurs, the pod with that name replaces it, and so does each pod with the name of another one.
fn may_be_renumbered(inputs: Inputs<'_>, record: &Record, target: &Target) -> bool {
    let is_back = |one: &Target| record.is_replaced_by_name(one) && !one.terminating;
    let is_other =
        |other: &Record| other.scope == ActionScope::Replacement && other.spends() && other.is_replaced_by_name(target);
    target.may_be_renumbered()
        && has_higher_number(target, record, inputs.targets)
        && !inputs.targets.iter().any(is_back)
        && !inputs.ledger.records.iter().any(is_other)
}

/// Cancels a pending action whose target is clear again.
fn recovered_before_start(record: &Record, sights: &BTreeMap<Uid, Sight>) -> Option<Verdict> {
    // One clear evaluation is enough, because `clearFor` would last longer than `startBy`.
    // `Quiet`: the target is not known to be unhealthy.
    let is_clear = matches!(sights.get(&record.target.uid), Some(Sight::Clear | Sight::Quiet));
    is_clear.then(|| Verdict {
        action: record.name.clone(),
        outcome: Outcome::Cancelled,
        reason: OutcomeReason::Recovered,
    })
}

fn verify(inputs: Inputs<'_>, sights: &BTreeMap<Uid, Sight>, record: &Record) -> (Verification, Option<Verdict>) {
    let at = inputs.observation.at;
    let state = scope_state(inputs, sights, record);
    let earlier = inputs.memory.verifications.get(&record.name).copied().unwrap_or_default();
    let verification = match state {
        ScopeState::Clear => {
            let span =
                earlier.clear.map_or(Span::start(at), |span| span.seen(at, inputs.policy.longest_gap, earlier.frozen));
            Verification { clear: Some(span), frozen: false }
        }
        ScopeState::Unknown | ScopeState::NoData => Verification { frozen: true, ..earlier },
        ScopeState::Breached | ScopeState::NotReady => Verification::default(),
    };
    let helped = verification.clear.is_some_and(|span| !verification.frozen && span.held() >= inputs.policy.clear_for);
    let verdict = if helped {
        Some((Outcome::Succeeded, OutcomeReason::Cleared))
    } else {
        overdue(state, record.verify_by, inputs.now)
    };
    let verdict = verdict.map(|(outcome, reason)| Verdict { action: record.name.clone(), outcome, reason });
    (verification, verdict)
}

/// The outcome after the deadline has passed without success. `None`: wait.
fn overdue(state: ScopeState, verify_by: Option<Timestamp>, now: Timestamp) -> Option<(Outcome, OutcomeReason)> {
    let verify_by = verify_by?;
    let deadline = if state == ScopeState::Unknown { after(verify_by, UNKNOWN_EXTENSION) } else { verify_by };
    if now < deadline {
        return None;
    }
    match state {
        ScopeState::Breached => Some((Outcome::Failed, OutcomeReason::StillBreached)),
        ScopeState::NotReady => Some((Outcome::Failed, OutcomeReason::NotReady)),
        ScopeState::NoData => Some((Outcome::Inconclusive, OutcomeReason::NoData)),
        ScopeState::Unknown => Some((Outcome::Inconclusive, OutcomeReason::SourceUnknown)),
        // Clear, but not for `clearFor` yet. A scope that became clear just before the deadline
        // still gets that time.
        ScopeState::Clear => None,
    }
}

fn scope_state(inputs: Inputs<'_>, sights: &BTreeMap<Uid, Sight>, record: &Record) -> ScopeState {
    inputs
        .targets
        .iter()
        .filter(|target| in_scope(inputs, record, target))
        .map(|target| match sights.get(&target.object.uid) {
            Some(Sight::Breached(_) | Sight::Young(_)) => ScopeState::Breached,
            Some(Sight::NoData) => ScopeState::NoData,
            Some(Sight::Clear) if target.ready => ScopeState::Clear,
            Some(Sight::Clear) => ScopeState::NotReady,
            // `Namesake` extends the deadline like `Unknown`: the samples may belong to an
            // earlier pod, and a replacement may be young for longer than `verify.within`.
            Some(Sight::Unknown | Sight::Unproven | Sight::Quiet | Sight::Namesake) | None => ScopeState::Unknown,
        })
        .min()
        .unwrap_or(if matches!(inputs.observation.breach, Answer::Unknown(_)) {
            ScopeState::Unknown
        } else {
            ScopeState::NoData
        })
}
