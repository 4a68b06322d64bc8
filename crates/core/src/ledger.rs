//! The recorded actions of all policies that may touch the same objects.
//!
//! Budgets, cooldowns and the actions in flight are counted from these records only. So
//! they survive a restart of the process.

use jiff::{SignedDuration, Timestamp};

use crate::action::ActionScope;
use crate::execute::OutcomeReason;
use crate::policy::{PolicyKey, PolicyMode, SubjectCap};
use crate::target::{Object, Target, Uid};
use crate::time::{after, before, elapsed, times, whole_seconds};

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

/// The wait after the first action without effect on a target.
pub const BACK_OFF_FIRST: SignedDuration = SignedDuration::from_secs(10);
/// The longest such wait: as long as an eviction waits for a disruption budget.
pub const BACK_OFF_LONGEST: SignedDuration = SignedDuration::from_mins(10);
/// The window in which all records of a policy count, whatever their outcome.
pub const RECORDS_WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// How many actions a policy may record within [`RECORDS_WINDOW`]. If its `maxActions` is
/// larger, that number applies.
pub const RECORDS_AT_LEAST: u32 = 10;

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
    /// When the target became unhealthy.
    pub unhealthy_since: Timestamp,
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

impl Record {
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
    /// - The action was created no later than the pod.
    /// - The pod became unhealthy within `reset` of its creation.
    ///
    /// So two old pods with two leaks are two first attempts, and a replacement that is soon
    /// unhealthy again is a second one. Only creation times are compared with each other: a
    /// replacement is created milliseconds after the action, and the API keeps whole seconds.
    #[must_use]
    pub fn counts_against(&self, target: &Target, unhealthy_since: Timestamp, reset: SignedDuration) -> bool {
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
        if self.subject.uid != target.subject.uid {
            return false;
        }
        // An action on the workload counts against each of its pods, old or new.
        if self.scope.is_workload() {
            return true;
        }
        if target.stable_name {
            return self.target.name == target.object.name;
        }
        self.created <= target.created && elapsed(target.created, unhealthy_since) <= reset
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

    /// Whether an action in flight, of any policy, counts against the target: it touches the
    /// target or its workload, or the target is its replacement.
    #[must_use]
    pub fn busy_with(&self, target: &Target, unhealthy_since: Timestamp, reset: SignedDuration) -> bool {
        let in_flight = |record: &&Record| record.mode == PolicyMode::Enforce && record.in_flight();
        self.records.iter().filter(in_flight).any(|record| record.counts_against(target, unhealthy_since, reset))
    }

    /// Whether an action in flight, of any policy, touches the workload or one of its
    /// pods.
    #[must_use]
    pub fn workload_busy(&self, workload: &Uid) -> bool {
        // The workload is the subject of an action on it and of an action on one of its pods.
        let own = |record: &&Record| record.subject.uid == *workload;
        self.records.iter().filter(own).any(|record| record.mode == PolicyMode::Enforce && record.in_flight())
    }

    /// When the newest action that counts against the target was reserved.
    #[must_use]
    pub fn last_against(
        &self,
        target: &Target,
        unhealthy_since: Timestamp,
        reset: SignedDuration,
    ) -> Option<Timestamp> {
        self.records
            .iter()
            .filter(|record| record.counts_against(target, unhealthy_since, reset))
            // A blocked eviction waits for ten minutes before it ends.
            .map(|record| record.finished.filter(|_| record.is_blocked_attempt()).unwrap_or(record.created))
            .max()
    }

    /// When the policy's window allows the next action. `None`: it allows one now.
    #[must_use]
    pub fn window_full_until(
        &self,
        policy: &PolicyKey,
        max_actions: u32,
        window: SignedDuration,
        now: Timestamp,
    ) -> Option<Timestamp> {
        full_until(self.of(policy), max_actions, window, now)
    }

    /// When the target may be acted on again after actions that finished without effect. `None`:
    /// it may be now.
    ///
    /// Such actions give their budget back and start no cooldown. Without this wait they would
    /// be repeated without end. The wait doubles with each such action in a row, from
    /// [`BACK_OFF_FIRST`] to [`BACK_OFF_LONGEST`]. An action with an effect ends the row.
    #[must_use]
    pub fn back_off_until(&self, policy: &PolicyKey, target: &Target, now: Timestamp) -> Option<Timestamp> {
        let concerns = |record: &&Record| {
            record.mode == PolicyMode::Enforce
                && (record.target.uid == target.object.uid
                    || (record.scope.is_workload() && record.subject.uid == target.subject.uid))
        };
        let ended = |record: &'_ Record| record.finished.unwrap_or(record.created);
        let mut finished: Vec<&Record> =
            self.of(policy).filter(concerns).filter(|record| !record.in_flight()).collect();
        finished.sort_by_key(|record| std::cmp::Reverse(record.sequence));
        let newest = finished.first().map(|record| ended(record))?;
        // Actions of another day are not part of the row.
        let longest_gap = times(BACK_OFF_LONGEST, 2);
        let mut later = newest;
        let row = finished.iter().take_while(|record| {
            let is_near = elapsed(ended(record), later) <= longest_gap;
            later = record.created;
            is_near && matches!(record.state, State::Finished(outcome) if outcome.without_effect())
        });
        let row = row.count();
        let doublings = u32::try_from(row.checked_sub(1)?).unwrap_or(u32::MAX);
        let factor = 2_i32.checked_pow(doublings).unwrap_or(i32::MAX);
        let until = after(newest, times(BACK_OFF_FIRST, factor).min(BACK_OFF_LONGEST));
        (now < until).then_some(until)
    }

    /// When the policy may record another action: no more than `most` within
    /// [`RECORDS_WINDOW`], whatever their outcomes. `None`: it may now.
    #[must_use]
    pub fn records_full_until(&self, policy: &PolicyKey, most: u32, now: Timestamp) -> Option<Timestamp> {
        let mut created: Vec<Timestamp> = self.of(policy).map(|record| record.created).collect();
        created.sort_unstable();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let oldest = created.len().checked_sub(most).and_then(|at| created.get(at))?;
        let until = after(*oldest, RECORDS_WINDOW);
        (now < until).then_some(until)
    }

    /// When the subject may be acted on again. `None`: it may be now.
    #[must_use]
    pub fn subject_full_until(&self, subject: &Uid, cap: SubjectCap, now: Timestamp) -> Option<Timestamp> {
        full_until(self.records.iter().filter(|record| record.subject.uid == *subject), cap.count, cap.window, now)
    }

    /// How many of the policy's actions count against `maxConcurrent`: those in flight,
    /// except the ones that wait for a disruption budget.
    #[must_use]
    pub fn in_flight(&self, policy: &PolicyKey, mode: PolicyMode) -> usize {
        self.of(policy).filter(|record| record.mode == mode && record.in_flight() && !record.waiting).count()
    }

    /// Whether a dry run has already recorded this episode.
    #[must_use]
    pub fn dry_run_recorded(&self, policy: &PolicyKey, target: &Uid, unhealthy_since: Timestamp) -> bool {
        // A record keeps whole seconds. With the fraction, the same episode would look newer.
        let unhealthy_since = whole_seconds(unhealthy_since);
        self.of(policy).any(|record| {
            record.mode == PolicyMode::DryRun
                && record.target.uid == *target
                && record.unhealthy_since >= unhealthy_since
        })
    }
}

/// When fewer than `allowed` of these records spend budget within the window that ends
/// then. `None`: there are fewer now.
fn full_until<'a>(
    records: impl Iterator<Item = &'a Record>,
    allowed: u32,
    window: SignedDuration,
    now: Timestamp,
) -> Option<Timestamp> {
    let from = before(now, window);
    let mut spent: Vec<Timestamp> =
        records.filter(|record| record.spends() && record.created > from).map(|record| record.created).collect();
    spent.sort_unstable();
    let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
    let surplus = spent.len().checked_sub(allowed)?;
    // If `allowed` is 0, the window never opens.
    Some(spent.get(surplus).map_or(Timestamp::MAX, |oldest| after(*oldest, window)))
}
