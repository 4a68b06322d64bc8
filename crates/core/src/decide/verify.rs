//! Did it help? An action has a scope: the subject's pods created no earlier
//! than the action, and where it changed the number of them, the old ones too. It has
//! helped when the scope is not empty, stands ready and has been clear, with evidence,
//! for `clearFor`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Inputs, Sight, Storm, Verdict, storm};
use crate::action::Scope;
use crate::execute::OutcomeReason;
use crate::ledger::{Outcome, Record, State};
use crate::observation::Answer;
use crate::target::{Target, Uid};
use crate::time::{Span, after};

/// How long a silent source extends the deadline of a verification.
const UNKNOWN_EXTENDS: SignedDuration = SignedDuration::from_mins(15);

/// What is remembered of an action being verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verification {
    /// The unbroken time over which the whole scope was clear and ready.
    pub clear: Option<Span>,
    /// Whether the newest look gave no usable answer.
    pub frozen: bool,
}

/// How the scope of an action looks at one instant, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ScopeSight {
    Breached,
    Unknown,
    NoData,
    NotReady,
    Clear,
}

/// Looks at each of the policy's actions in flight.
pub(super) fn judge(
    inputs: Inputs<'_>,
    sights: &BTreeMap<Uid, Sight>,
    storm: Option<Storm>,
) -> (BTreeMap<String, Verification>, Vec<Verdict>) {
    let mut verifications = BTreeMap::new();
    let mut verdicts = Vec::new();
    for record in inputs.ledger.of(&inputs.policy.key) {
        match record.state {
            State::Pending | State::Verifying if record.hash != inputs.policy.hash => {
                verdicts.push(policy_changed(record));
            }
            State::Pending if storm::forbids(inputs, storm, record) => verdicts.push(Verdict {
                action: record.name.clone(),
                outcome: Outcome::Cancelled,
                reason: OutcomeReason::Storm,
            }),
            State::Pending => verdicts.extend(recovered_by_itself(record, sights)),
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

/// What another rule wanted is not judged by this one.
fn policy_changed(record: &Record) -> Verdict {
    let outcome = if record.state == State::Pending { Outcome::Cancelled } else { Outcome::Inconclusive };
    Verdict { action: record.name.clone(), outcome, reason: OutcomeReason::PolicyChanged }
}

/// Whether a running action is verified by this target.
pub(super) fn in_any_scope(inputs: Inputs<'_>, target: &Target) -> bool {
    inputs.ledger.of(&inputs.policy.key).any(|record| record.state == State::Verifying && in_scope(record, target))
}

fn in_scope(record: &Record, target: &Target) -> bool {
    // A workload that is a target itself is judged by its own series.
    if record.scope.is_workload() && record.target.uid == target.object.uid && record.subject.uid == record.target.uid {
        return !target.terminating;
    }
    let successor = target.object.uid != record.target.uid && target.created >= record.created;
    let same_subject = target.subject.uid == record.subject.uid;
    let judged_by = match record.scope {
        Scope::Successor if target.stable_name => successor && target.object.name == record.target.name,
        Scope::Successor | Scope::NewPods => successor && same_subject,
        Scope::AllPods => same_subject,
    };
    judged_by && !target.terminating
}

/// A breach that was seen to end before the action was begun: nothing is to be done.
fn recovered_by_itself(record: &Record, sights: &BTreeMap<Uid, Sight>) -> Option<Verdict> {
    // Clear by evidence is enough: waiting out `clearFor` would outlast `startBy`. Quiet is
    // who was not known to be sick at all.
    let well = matches!(sights.get(&record.target.uid), Some(Sight::Clear | Sight::Quiet));
    well.then(|| Verdict { action: record.name.clone(), outcome: Outcome::Cancelled, reason: OutcomeReason::Recovered })
}

fn verify(inputs: Inputs<'_>, sights: &BTreeMap<Uid, Sight>, record: &Record) -> (Verification, Option<Verdict>) {
    let at = inputs.observation.at;
    let sight = look(inputs, sights, record);
    let earlier = inputs.memory.verifications.get(&record.name).copied().unwrap_or_default();
    let verification = match sight {
        ScopeSight::Clear => {
            let span =
                earlier.clear.map_or(Span::start(at), |span| span.seen(at, inputs.policy.longest_gap, earlier.frozen));
            Verification { clear: Some(span), frozen: false }
        }
        ScopeSight::Unknown | ScopeSight::NoData => Verification { frozen: true, ..earlier },
        ScopeSight::Breached | ScopeSight::NotReady => Verification::default(),
    };
    let helped = verification.clear.is_some_and(|span| !verification.frozen && span.held() >= inputs.policy.clear_for);
    let verdict = if helped {
        Some((Outcome::Succeeded, OutcomeReason::Cleared))
    } else {
        overdue(sight, record.verify_by, inputs.now)
    };
    let verdict = verdict.map(|(outcome, reason)| Verdict { action: record.name.clone(), outcome, reason });
    (verification, verdict)
}

/// What is to be said once the deadline has passed without success.
fn overdue(sight: ScopeSight, verify_by: Option<Timestamp>, now: Timestamp) -> Option<(Outcome, OutcomeReason)> {
    let verify_by = verify_by?;
    let deadline = if sight == ScopeSight::Unknown { after(verify_by, UNKNOWN_EXTENDS) } else { verify_by };
    if now < deadline {
        return None;
    }
    match sight {
        ScopeSight::Breached => Some((Outcome::Failed, OutcomeReason::StillBreached)),
        ScopeSight::NotReady => Some((Outcome::Failed, OutcomeReason::NotReady)),
        ScopeSight::NoData => Some((Outcome::Inconclusive, OutcomeReason::NoData)),
        ScopeSight::Unknown => Some((Outcome::Inconclusive, OutcomeReason::SourceUnknown)),
        // Clear, but not for long enough yet: the deadline was computed so that
        // what becomes clear late may still be seen clear for `clearFor`.
        ScopeSight::Clear => None,
    }
}

fn look(inputs: Inputs<'_>, sights: &BTreeMap<Uid, Sight>, record: &Record) -> ScopeSight {
    inputs
        .targets
        .iter()
        .filter(|target| in_scope(record, target))
        .map(|target| match sights.get(&target.object.uid) {
            Some(Sight::Breached(_) | Sight::Young(_)) => ScopeSight::Breached,
            Some(Sight::NoData) => ScopeSight::NoData,
            Some(Sight::Clear) if target.ready => ScopeSight::Clear,
            Some(Sight::Clear) => ScopeSight::NotReady,
            // Whose samples they are is as unknown as if there were none: it extends the
            // deadline, for a healed pod is young for longer than verification may last.
            Some(Sight::Unknown | Sight::Unproven | Sight::Quiet | Sight::Namesake) | None => ScopeSight::Unknown,
        })
        .min()
        .unwrap_or(if matches!(inputs.observation.breach, Answer::Unknown(_)) {
            ScopeSight::Unknown
        } else {
            ScopeSight::NoData
        })
}
