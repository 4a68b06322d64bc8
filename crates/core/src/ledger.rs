//! The recorded actions of all policies that may touch the same objects.
//!
//! Budgets, cooldowns and the actions in flight are counted from these records only. So
//! they survive a restart of the process.
//!
//! - `budget`: how many actions a policy, a target and a subject may have.
//! - `lineage`: which pod may have replaced which.

mod budget;
mod lineage;

use jiff::{SignedDuration, Timestamp};

use crate::action::ActionScope;
use crate::execute::OutcomeReason;
use crate::observation::Labels;
use crate::policy::{PolicyKey, PolicyMode};
use crate::target::{Object, Target, Uid};
use crate::time::{before, elapsed, whole_seconds};

pub use budget::{ActionBudget, BACK_OFF_FIRST, BACK_OFF_LONGEST, RECORDS_AT_LEAST, RECORDS_WINDOW};
pub use lineage::Lineage;
pub(crate) use lineage::has_higher_number;

/// The state of an action. The order is the order of the transition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Reserved: the budget is spent, nothing was changed yet.
    Pending,
    /// Started: from here on an effect may have happened.
    Running,
    /// Executed: the effect is in place, the replacement is not ready yet.
    Settling,
    /// The replacement is ready. Evaluations check whether it stays healthy.
    Verifying,
    /// Finished, with an outcome.
    Finished(Outcome),
}

impl State {
    /// The word in conditions, Events, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Settling => "Settling",
            Self::Verifying => "Verifying",
            Self::Finished(outcome) => outcome.as_str(),
        }
    }
}

/// How an action finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Executed, and the pods that show the result were clear, with evidence, for `clearFor`.
    Succeeded,
    /// Executed, and it did not help in time.
    Failed,
    /// Executed, or possibly executed, and it is unknown whether it helped.
    Inconclusive,
    /// Finished before it started: somebody else had already made the change.
    Superseded,
    /// Finished before it started: no longer wanted, or not allowed.
    Cancelled,
    /// Finished without effect: it could not start, or could not be executed, in time.
    Expired,
    /// Decided and recorded only.
    DryRun,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 7] = [
        Self::Succeeded,
        Self::Failed,
        Self::Inconclusive,
        Self::Superseded,
        Self::Cancelled,
        Self::Expired,
        Self::DryRun,
    ];

    /// The word in status, Events, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Inconclusive => "Inconclusive",
            Self::Superseded => "Superseded",
            Self::Cancelled => "Cancelled",
            Self::Expired => "Expired",
            Self::DryRun => "DryRun",
        }
    }

    /// Whether the action provably had no effect, so that its budget is given back.
    #[must_use]
    pub fn without_effect(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Inconclusive => false,
            Self::Superseded | Self::Cancelled | Self::Expired | Self::DryRun => true,
        }
    }
}

/// How other actions on the same target or its owners conflict with an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Overlap {
    /// No action conflicts. The others are finished, or are pending and come after this one.
    None,
    /// A later action is recorded as running. If its controller read the records before
    /// this one appeared, it acts. Otherwise it sees this one and gives up.
    Beside,
    /// An earlier action is in flight, or another action was already executed.
    Ahead,
}

/// One recorded action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The name of the `HealingAction`.
    pub name: String,
    /// Its number within the policy, from 1.
    pub sequence: u64,
    /// The policy that reserved it.
    pub policy: PolicyKey,
    /// The digest of the policy's condition, target and steps when it decided.
    pub digest: String,
    /// Whether it may be executed.
    pub mode: PolicyMode,
    /// The name of the kind of action, for example `DeletePod`.
    pub action: String,
    /// What it touches, and which pods show whether it helped.
    pub scope: ActionScope,
    /// The unhealthy object. The action changes it, or the whole workload: see `scope`.
    pub target: Object,
    /// The stable object behind the target.
    pub subject: Object,
    /// When it was reserved, by the API server's clock. Budgets count from here.
    pub created: Timestamp,
    /// The last time at which its effect was certainly not in place yet. `None`: it is not known,
    /// or the action was not executed.
    pub executed_after: Option<Timestamp>,
    /// When the target became unhealthy.
    pub unhealthy_since: Timestamp,
    /// The labels of the series that was breached. Empty if it has finished.
    pub breached: Labels,
    /// The deadline of the verification. `None` before it has settled.
    pub verify_by: Option<Timestamp>,
    /// The name of the step.
    pub step_name: String,
    /// Which step of the ladder, from 1.
    pub step: u32,
    /// Which attempt on that step, from 1.
    pub attempt: u32,
    /// Its state.
    pub state: State,
    /// Whether it has started and waits, without effect, for a disruption budget.
    pub waiting: bool,
    /// Why it finished. `None` while it is in flight.
    pub reason: Option<OutcomeReason>,
    /// When it finished. `None` while it is in flight.
    pub finished: Option<Timestamp>,
}

/// How far the times that the controller measures may be from creation times. The API server writes
/// these in whole seconds, and the clocks of several API servers differ by a few.
const CLOCK_MARGIN: SignedDuration = SignedDuration::from_secs(5);

/// From when on a new pod can be the result of an action that was reserved at `created`: never
/// before its effect.
///
/// Harmful case: an eviction waits for nine minutes for a disruption budget. A pod that a scale-up
/// made meanwhile is not its replacement: it must neither inherit the attempt nor show whether
/// the eviction helped.
#[must_use]
pub fn replaced_since(created: Timestamp, executed_after: Option<Timestamp>) -> Timestamp {
    executed_after.map_or(created, |at| created.max(before(whole_seconds(at), CLOCK_MARGIN)))
}

impl Record {
    /// From when on a new pod can be the result of this action. See [`replaced_since`].
    #[must_use]
    pub fn replaced_since(&self) -> Timestamp {
        replaced_since(self.created, self.executed_after)
    }

    /// Whether it has not finished.
    #[must_use]
    pub fn in_flight(&self) -> bool {
        !matches!(self.state, State::Finished(_))
    }

    /// Whether it counts against a budget. Actions that certainly had no effect do not.
    #[must_use]
    pub fn spends(&self) -> bool {
        match (self.mode, self.state) {
            (PolicyMode::DryRun, _) => false,
            (PolicyMode::Enforce, State::Finished(outcome)) => !outcome.without_effect(),
            (PolicyMode::Enforce, _) => true,
        }
    }

    /// Whether this action is in flight and comes before `other`. Target and name break a
    /// tie of creation times, so every controller computes the same order.
    #[must_use]
    pub fn precedes(&self, other: &Self) -> bool {
        // A started action comes before a pending one, whatever their creation times.
        let order = |record: &Self| {
            (record.state == State::Pending, record.created, record.target.uid.clone(), record.name.clone())
        };
        self.mode == PolicyMode::Enforce && self.in_flight() && order(self).cmp(&order(other)).is_lt()
    }

    /// How `others` conflict with this action.
    #[must_use]
    pub fn overlap<'a>(&self, others: impl IntoIterator<Item = &'a Self>) -> Overlap {
        let in_the_way =
            |other: &&Self| other.name != self.name && other.mode == PolicyMode::Enforce && other.overlaps(self);
        others.into_iter().filter(in_the_way).map(|other| self.conflict(other)).max().unwrap_or(Overlap::None)
    }

    /// How one other action that is in the way conflicts with this one.
    #[must_use]
    pub fn conflict(&self, other: &Self) -> Overlap {
        match other.state {
            State::Settling | State::Verifying => Overlap::Ahead,
            _ if other.precedes(self) => Overlap::Ahead,
            State::Running => Overlap::Beside,
            State::Pending | State::Finished(_) => Overlap::None,
        }
    }

    /// The object that the action changes.
    #[must_use]
    pub fn touches(&self) -> &Object {
        if self.scope.is_workload() { &self.subject } else { &self.target }
    }

    /// Whether both actions touch the same object, or one touches the owner of the other's
    /// object.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (own, others) = (&self.touches().uid, &other.touches().uid);
        own == others || *own == other.subject.uid || self.subject.uid == *others
    }

    /// Whether it counts as an attempt on its step. An action without effect does not, and
    /// neither does one that could not be judged.
    #[must_use]
    pub fn is_attempt(&self) -> bool {
        let unjudged = matches!(
            self.reason,
            Some(
                OutcomeReason::SourceUnknown
                    | OutcomeReason::TargetGone
                    | OutcomeReason::TargetBusy
                    | OutcomeReason::TooFewAvailable
                    | OutcomeReason::PolicyChanged
                    | OutcomeReason::NotExecuted
            )
        );
        match self.state {
            State::Finished(Outcome::Inconclusive) => !unjudged,
            State::Finished(outcome) => !outcome.without_effect() || self.is_blocked_attempt(),
            _ => false,
        }
    }

    /// Whether a disruption budget refused it for the whole waiting time. It had no effect and
    /// gives its budget back. But it counts as an attempt and starts a cooldown, so that the
    /// ladder reaches a step that the budget allows.
    #[must_use]
    pub fn is_blocked_attempt(&self) -> bool {
        matches!(self.reason, Some(OutcomeReason::BlockedByDisruptionBudget | OutcomeReason::SeveralDisruptionBudgets))
    }

    /// Whether this action counts against `target`, which became unhealthy at
    /// `unhealthy_since`.
    ///
    /// For a pod with a generated name, an action on another pod of the same subject counts
    /// if both hold:
    /// - The pod may have replaced that pod: see [`Lineage`].
    /// - The pod became unhealthy within `reset` of its creation.
    ///
    /// So two old pods with two leaks are two first attempts, and a replacement that is soon
    /// unhealthy again is a second one.
    #[must_use]
    pub fn counts_against(
        &self,
        target: &Target,
        unhealthy_since: Timestamp,
        reset: SignedDuration,
        lineage: &Lineage,
    ) -> bool {
        self.is_on(target) || self.is_inherited_by(target, unhealthy_since, reset, lineage)
    }

    /// Whether it was an action on the target itself: on this object, on its whole workload, or
    /// on the object of the same name before it, where names recur.
    #[must_use]
    pub fn is_on(&self, target: &Target) -> bool {
        // A blocked eviction replaced nothing, so it counts against its own target only.
        if self.is_blocked_attempt() {
            return self.target.uid == target.object.uid;
        }
        if !self.spends() {
            return false;
        }
        if self.target.uid == target.object.uid || self.target.uid == target.subject.uid {
            return true;
        }
        // An action on the workload counts against each of its pods, old or new.
        let same_name = || target.name_recurs() && self.target.name == target.object.name;
        self.subject.uid == target.subject.uid && (self.scope.is_workload() || same_name())
    }

    /// Whether the target has the name of the pod that it removed, and was created since. Where
    /// names recur, it is the replacement.
    #[must_use]
    pub fn is_replaced_by_name(&self, target: &Target) -> bool {
        self.target.name == target.object.name
            && self.target.uid != target.object.uid
            && self.subject.uid == target.subject.uid
            && target.created >= self.replaced_since()
    }

    /// Whether it was an action on a pod that the target may have replaced, and the target
    /// became unhealthy soon after that.
    #[must_use]
    pub fn is_inherited_by(
        &self,
        target: &Target,
        unhealthy_since: Timestamp,
        reset: SignedDuration,
        lineage: &Lineage,
    ) -> bool {
        (!target.name_recurs() || target.may_be_renumbered())
            && elapsed(target.created, unhealthy_since) <= reset
            && lineage.may_have_replaced(&target.object.uid, &self.name)
    }
}

/// All records that can affect a decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The records, in no particular order.
    pub records: Vec<Record>,
}

impl Ledger {
    /// The number of the policy's next action. There is one sequence for each *policy* and
    /// not for each target, so two leaders collide on the name even for different targets.
    #[must_use]
    pub fn next_sequence(&self, policy: &PolicyKey) -> u64 {
        let highest = self.of(policy).map(|record| record.sequence).max().unwrap_or(0);
        highest.saturating_add(1)
    }

    /// The records of one policy.
    pub fn of<'a>(&'a self, policy: &'a PolicyKey) -> impl Iterator<Item = &'a Record> {
        self.records.iter().filter(move |record| record.policy == *policy)
    }

    /// The action in flight, of any policy, that counts against the target: it touches the
    /// target or its workload, or the target may be its replacement.
    #[must_use]
    pub fn busy_with(
        &self,
        target: &Target,
        unhealthy_since: Timestamp,
        reset: SignedDuration,
        lineage: &Lineage,
    ) -> Option<&Record> {
        self.under_way().find(|record| record.counts_against(target, unhealthy_since, reset, lineage))
    }

    /// The action in flight, of any policy, that touches the workload or one of its pods.
    #[must_use]
    pub fn workload_busy(&self, workload: &Uid) -> Option<&Record> {
        // The workload is the subject of an action on it and of an action on one of its pods.
        self.under_way().find(|record| record.subject.uid == *workload)
    }

    /// The actions in flight that may be executed.
    fn under_way(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.mode == PolicyMode::Enforce && record.in_flight())
    }
}
