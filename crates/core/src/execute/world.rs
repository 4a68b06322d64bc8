//! The objects around an action, read from the API server for each instruction.

use jiff::Timestamp;

use super::OutcomeReason;
use crate::ledger::{Outcome, Overlap};
use crate::readiness::ReadyTimes;
use crate::target::NotHealable;

/// The objects around an action, as they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionWorld {
    /// The policy that reserved it.
    pub policy: PolicyStanding,
    /// The target, by uid.
    pub target: LiveTarget,
    /// The workload behind it.
    pub subject: LiveSubject,
    /// The value that the action changes.
    pub field: LiveField,
    /// When a target that is being deleted must have ended, by the API server's clock. `None`: it
    /// is not being deleted.
    pub terminating_until: Option<Timestamp>,
    /// How long the owner of the workload lets its pods take to become Ready.
    pub ready_times: ReadyTimes,
    /// When the rollout of the workload last made progress. `None`: no rollout.
    pub rollout_progress: Option<Timestamp>,
    /// How many replicas the workload wants. 0: not known.
    pub replicas: usize,
    /// How other actions conflict with this one.
    pub overlap: Overlap,
    /// Whether too few pods of the workload would stay Ready. `Some` also says how the actions
    /// that remove others conflict with this one. `None`: enough would stay.
    pub too_few_available: Option<Overlap>,
    /// Whether the target is firing, by an observation of this process that is no older than
    /// two intervals.
    pub firing: bool,
    /// The verdict of the judge on this action.
    pub verdict: Option<(Outcome, OutcomeReason)>,
}

/// The state of the policy that reserved an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyStanding {
    /// It exists with the recorded uid and enforces.
    Enforces,
    /// It exists with the recorded uid, and it is suspended or a hold stops healing.
    Suspended,
    /// It exists with the recorded uid and only records.
    DryRun,
    /// It does not exist, is being deleted, or has another uid.
    Gone,
}

/// The state of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveTarget {
    /// It exists with the recorded uid, and the policy selects it.
    Present,
    /// It exists, but the policy's selector no longer matches it.
    NotSelected,
    /// It exists, but its owner has opted out.
    OptedOut,
    /// It exists, but Prunella must not act on it.
    NotHealable(NotHealable),
    /// It is being deleted.
    Terminating,
    /// No object with the recorded uid exists.
    Gone,
}

/// The state of the workload behind the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveSubject {
    /// As many replicas are ready as its spec asks for. After a restart, all of them must be
    /// new. After the removal of a pod, the removed pod does not count, even while it is still
    /// ending, and pods that were not ready before the removal need not be ready.
    Restored,
    /// Fewer replicas are ready.
    NotRestored,
    /// It is gone, or scaled to zero.
    Gone,
}

/// The value that an action changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveField {
    /// The action changes no value: it removes its target.
    None,
    /// The mark of a restart on the pod template.
    Restarted {
        /// Whether the mark is of this action.
        by_this: bool,
    },
    /// The number of replicas, or the autoscaler's minimum.
    Count(i32),
    /// The number has another owner than at the time of the decision: its autoscaler is gone,
    /// or an autoscaler has taken it over.
    Disowned,
}

/// Whether the effect of an action is in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectState {
    /// It is not in place, and nothing prevents it.
    Absent,
    /// It is in place.
    InPlace,
    /// Somebody else has written another value. Prunella never overwrites it.
    Foreign,
    /// The workload to change is gone, or scaled to zero.
    Gone,
}
