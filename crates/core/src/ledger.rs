//! The actions on record, of all policies that may touch the same objects.
//! Budgets, cooldowns and what is in flight are counted from these records and
//! from nothing else, so they survive whatever happens to the process.

use jiff::{SignedDuration, Timestamp};

use crate::action::Scope;
use crate::execute::OutcomeReason;
use crate::policy::{Mode, PolicyKey, SubjectCap};
use crate::target::{Object, Target, Uid};
use crate::time::{after, before, elapsed, whole_seconds};

/// Where an action stands. Its order is the order of the transition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Reserved: the budget is spent, nothing was touched.
    Pending,
    /// Begun: from here on an effect may have happened.
    Running,
    /// Executed: the effect is in place, the replacement is on its way.
    Settling,
    /// The replacement stands; it is watched whether it is well.
    Verifying,
    /// Over, with an outcome.
    Finished(Outcome),
}

impl State {
    /// The word used in conditions, Events, metrics and logs alike.
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

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Executed, and the scope was clear with evidence for `clearFor`.
    Succeeded,
    /// Executed, and it did not help in time.
    Failed,
    /// Executed, and nobody can say whether it helped.
    Inconclusive,
    /// Ended before it began: somebody else had done it.
    Superseded,
    /// Ended before it began: no longer wanted or not allowed.
    Cancelled,
    /// Ended without effect: it could not be begun or done in time.
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

    /// The word used in status, Events, metrics and logs alike.
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

/// How other actions on the same target or its owners stand in the way of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Overlap {
    /// None does, or only such as have to let this one go first.
    None,
    /// A later one is on record as begun. It may have looked before this one was, and act;
    /// or it looks now, and lets go.
    Beside,
    /// An earlier one is in flight, or one that is executed.
    Ahead,
}

/// One action on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The name of the `HealingAction`.
    pub name: String,
    /// Its number within the policy, from 1.
    pub sequence: u64,
    /// The policy that reserved it.
    pub policy: PolicyKey,
    /// The digest of the policy's condition, target and steps when it decided.
    pub hash: String,
    /// Whether it may be carried out.
    pub mode: Mode,
    /// What is done, by its name.
    pub action: String,
    /// What it touches, and whose health tells whether it helped.
    pub scope: Scope,
    /// What is sick, and is acted on unless the action is one on the whole workload.
    pub target: Object,
    /// The stable object behind the target.
    pub subject: Object,
    /// When it was reserved, by the API server's clock: budgets count from here.
    pub created: Timestamp,
    /// Since when the target was sick that it was reserved for.
    pub sick_since: Timestamp,
    /// Until when verification may last; known once it is settled.
    pub verify_by: Option<Timestamp>,
    /// Which rung of the ladder, from 1.
    pub rung: u32,
    /// Which attempt on that rung, from 1.
    pub attempt: u32,
    /// Where it stands.
    pub state: State,
    /// Whether it waits, begun but without effect, until a disruption budget allows it.
    pub waiting: bool,
    /// Why it ended; known once it has.
    pub reason: Option<OutcomeReason>,
    /// When it ended; known once it has.
    pub finished: Option<Timestamp>,
}

impl Record {
    /// Not over yet.
    #[must_use]
    pub fn in_flight(&self) -> bool {
        !matches!(self.state, State::Finished(_))
    }

    /// Whether it counts against a budget. Only what provably had no effect does not.
    #[must_use]
    pub fn spends(&self) -> bool {
        match (self.mode, self.state) {
            (Mode::DryRun, _) => false,
            (Mode::Enforce, State::Finished(outcome)) => !outcome.without_effect(),
            (Mode::Enforce, _) => true,
        }
    }

    /// Whether this action is in flight and was reserved before `other`; equal times are
    /// told apart by the target and the name, the same for every observer.
    #[must_use]
    pub fn precedes(&self, other: &Self) -> bool {
        // What has begun comes before what has not, whatever their second of creation.
        let order = |record: &Self| {
            (record.state == State::Pending, record.created, record.target.uid.clone(), record.name.clone())
        };
        self.mode == Mode::Enforce && self.in_flight() && order(self).cmp(&order(other)).is_lt()
    }

    /// How the others on record stand in the way of this one.
    #[must_use]
    pub fn overlap<'a>(&self, others: impl IntoIterator<Item = &'a Self>) -> Overlap {
        let stands = |other: &Self| match other.state {
            State::Settling | State::Verifying => Overlap::Ahead,
            _ if other.precedes(self) => Overlap::Ahead,
            State::Running => Overlap::Beside,
            State::Pending | State::Finished(_) => Overlap::None,
        };
        let in_the_way = |other: &&Self| other.name != self.name && other.mode == Mode::Enforce && other.overlaps(self);
        others.into_iter().filter(in_the_way).map(stands).max().unwrap_or(Overlap::None)
    }

    /// The object that is acted on.
    #[must_use]
    pub fn touches(&self) -> &Object {
        if self.scope.is_workload() { &self.subject } else { &self.target }
    }

    /// Whether both touch the same object or an owner of it.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (own, others) = (&self.touches().uid, &other.touches().uid);
        own == others || *own == other.subject.uid || self.subject.uid == *others
    }

    /// Whether it was a try at curing its target. What had no effect was none, and
    /// neither was one that nobody could judge.
    #[must_use]
    pub fn is_attempt(&self) -> bool {
        let unjudged = matches!(
            self.reason,
            Some(
                OutcomeReason::SourceUnknown
                    | OutcomeReason::TargetGone
                    | OutcomeReason::TargetBusy
                    | OutcomeReason::PolicyChanged
            )
        );
        match self.state {
            State::Finished(Outcome::Inconclusive) => !unjudged,
            State::Finished(outcome) => !outcome.without_effect(),
            _ => false,
        }
    }

    /// Whether this action is laid to `target`, which fell sick at `sick_since`.
    ///
    /// A pod with a generated name inherits from its subject what was done no later
    /// than its own birth, if it fell sick within `reset` of that birth: two old pods
    /// with two leaks are two first attempts, a replacement that is soon sick again is
    /// not. Creation times are compared with creation times only: a replacement is
    /// created within milliseconds, told in whole seconds, of the action.
    #[must_use]
    pub fn counts_against(&self, target: &Target, sick_since: Timestamp, reset: SignedDuration) -> bool {
        if !self.spends() {
            return false;
        }
        if self.target.uid == target.object.uid || self.target.uid == target.subject.uid {
            return true;
        }
        if self.subject.uid != target.subject.uid {
            return false;
        }
        // What was done to the whole was done to each pod of it, old or new.
        if self.scope.is_workload() {
            return true;
        }
        if target.stable_name {
            return self.target.name == target.object.name;
        }
        self.created <= target.created && elapsed(target.created, sick_since) <= reset
    }
}

/// All records that may matter to a decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The records, in no particular order.
    pub records: Vec<Record>,
}

impl Ledger {
    /// The number of the policy's next action: one sequence a *policy*, so that two
    /// leaders collide on the name even when they chose different targets.
    #[must_use]
    pub fn next_sequence(&self, policy: &PolicyKey) -> u64 {
        let highest = self.of(policy).map(|record| record.sequence).max().unwrap_or(0);
        highest.saturating_add(1)
    }

    /// The records of one policy.
    pub fn of<'a>(&'a self, policy: &'a PolicyKey) -> impl Iterator<Item = &'a Record> {
        self.records.iter().filter(move |record| record.policy == *policy)
    }

    /// Whether an action in flight, of any policy, touches the target or its whole
    /// workload, or has made the target: the verdict on it is still out.
    #[must_use]
    pub fn busy_with(&self, target: &Target, sick_since: Timestamp, reset: SignedDuration) -> bool {
        let in_flight = |record: &&Record| record.mode == Mode::Enforce && record.in_flight();
        self.records.iter().filter(in_flight).any(|record| record.counts_against(target, sick_since, reset))
    }

    /// Whether an action in flight, of any policy, touches the workload or one of its
    /// pods.
    #[must_use]
    pub fn workload_busy(&self, workload: &Uid) -> bool {
        // Whatever is touched of a workload, the workload is its subject.
        let own = |record: &&Record| record.subject.uid == *workload;
        self.records.iter().filter(own).any(|record| record.mode == Mode::Enforce && record.in_flight())
    }

    /// When the newest action that counts against the target was reserved.
    #[must_use]
    pub fn last_against(&self, target: &Target, sick_since: Timestamp, reset: SignedDuration) -> Option<Timestamp> {
        self.records
            .iter()
            .filter(|record| record.counts_against(target, sick_since, reset))
            .map(|record| record.created)
            .max()
    }

    /// `None` while the policy may begin another action; else when the window allows
    /// the next one.
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

    /// `None` while the subject may bear another action; else when it may.
    #[must_use]
    pub fn subject_full_until(&self, subject: &Uid, cap: SubjectCap, now: Timestamp) -> Option<Timestamp> {
        full_until(self.records.iter().filter(|record| record.subject.uid == *subject), cap.count, cap.window, now)
    }

    /// How many of the policy's actions take up a slot: those in flight but for those
    /// that wait for a disruption budget.
    #[must_use]
    pub fn in_flight(&self, policy: &PolicyKey, mode: Mode) -> usize {
        self.of(policy).filter(|record| record.mode == mode && record.in_flight() && !record.waiting).count()
    }

    /// Whether this very sickness was recorded by a dry run already.
    #[must_use]
    pub fn dry_run_recorded(&self, policy: &PolicyKey, target: &Uid, sick_since: Timestamp) -> bool {
        // A record keeps whole seconds; the sickness it was made for is not another one.
        let sick_since = whole_seconds(sick_since);
        self.of(policy).any(|record| {
            record.mode == Mode::DryRun && record.target.uid == *target && record.sick_since >= sick_since
        })
    }
}

/// `None` while fewer than `allowed` of these spend within the window that ends now; else
/// when there will be fewer.
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
    // With nothing allowed at all there is no instant at which it would be.
    Some(spent.get(surplus).map_or(Timestamp::MAX, |oldest| after(*oldest, window)))
}
