//! How many actions a policy, a target and a subject may have, counted from the records.

use jiff::{SignedDuration, Timestamp};

use super::{Ledger, Lineage, Outcome, Record, State};
use crate::policy::{PolicyKey, PolicyMode, SubjectCap};
use crate::target::{Target, Uid};
use crate::time::{after, before, elapsed, times, whole_seconds};

/// The wait after the first action without effect on a target.
pub const BACK_OFF_FIRST: SignedDuration = SignedDuration::from_secs(10);
/// The longest such wait: as long as an eviction waits for a disruption budget.
pub const BACK_OFF_LONGEST: SignedDuration = SignedDuration::from_mins(10);
/// The window in which all records of a policy count, whatever their outcome.
pub const RECORDS_WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// How many actions a policy may record within [`RECORDS_WINDOW`]. If its `maxActions` is
/// larger, that number applies.
pub const RECORDS_AT_LEAST: u32 = 10;

/// What an action of a policy is paid from.
///
/// A dry run has a budget of its own. The actions of all policies count, and so do its own dry
/// runs, as if they had been executed. So it records no more than the policy would do. No
/// policy that acts counts a dry run: a switch to `Enforce` starts with the whole budget.
#[derive(Debug, Clone, Copy)]
pub struct ActionBudget<'a> {
    /// The policy.
    pub policy: &'a PolicyKey,
    /// Its mode.
    pub mode: PolicyMode,
}

impl ActionBudget<'_> {
    /// Whether the record spends this budget.
    #[must_use]
    pub fn counts(self, record: &Record) -> bool {
        record.spends() || self.is_own_dry_run(record)
    }

    /// Whether the record is a dry run of this policy, and the policy only records.
    fn is_own_dry_run(self, record: &Record) -> bool {
        let recorded = record.in_flight() || record.state == State::Finished(Outcome::DryRun);
        self.mode == PolicyMode::DryRun
            && record.mode == PolicyMode::DryRun
            && record.policy == *self.policy
            && recorded
    }

    /// Whether it is a dry run of this policy that would have touched the target. A dry run
    /// replaces nothing, so no pod inherits it.
    fn is_own_dry_run_on(self, record: &Record, target: &Target) -> bool {
        let touches = record.target.uid == target.object.uid
            || (record.scope.is_workload() && record.subject.uid == target.subject.uid);
        touches && self.is_own_dry_run(record)
    }
}

impl Ledger {
    /// When the newest action that counts against the target was reserved.
    #[must_use]
    pub fn last_against(
        &self,
        budget: ActionBudget<'_>,
        target: &Target,
        unhealthy_since: Timestamp,
        reset: SignedDuration,
        lineage: &Lineage,
    ) -> Option<Timestamp> {
        self.records
            .iter()
            .filter(|record| {
                record.counts_against(target, unhealthy_since, reset, lineage)
                    || budget.is_own_dry_run_on(record, target)
            })
            // A blocked eviction waits for ten minutes before it ends.
            .map(|record| record.finished.filter(|_| record.is_blocked_attempt()).unwrap_or(record.created))
            .max()
    }

    /// When the policy's window allows the next action. `None`: it allows one now.
    #[must_use]
    pub fn window_full_until(
        &self,
        budget: ActionBudget<'_>,
        max_actions: u32,
        window: SignedDuration,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let spent = self.of(budget.policy).filter(|record| budget.counts(record));
        full_until(spent, max_actions, window, now)
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

    /// When the policy may record another action: no more than `most` of its mode within
    /// [`RECORDS_WINDOW`], whatever their outcomes. `None`: it may now.
    #[must_use]
    pub fn records_full_until(&self, budget: ActionBudget<'_>, most: u32, now: Timestamp) -> Option<Timestamp> {
        let own = self.of(budget.policy).filter(|record| record.mode == budget.mode);
        let mut created: Vec<Timestamp> = own.map(|record| record.created).collect();
        created.sort_unstable();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let oldest = created.len().checked_sub(most).and_then(|at| created.get(at))?;
        let until = after(*oldest, RECORDS_WINDOW);
        (now < until).then_some(until)
    }

    /// When the subject may be acted on again. `None`: it may be now.
    #[must_use]
    pub fn subject_full_until(
        &self,
        budget: ActionBudget<'_>,
        subject: &Uid,
        cap: SubjectCap,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let own = self.records.iter().filter(|record| record.subject.uid == *subject);
        full_until(own.filter(|record| budget.counts(record)), cap.count, cap.window, now)
    }

    /// How many of the policy's actions count against `maxConcurrent`: those in flight,
    /// except the ones that wait for a disruption budget.
    #[must_use]
    pub fn in_flight(&self, policy: &PolicyKey, mode: PolicyMode) -> usize {
        self.of(policy).filter(|record| record.mode == mode && record.in_flight() && !record.waiting).count()
    }

    /// Whether a pod that an action removed from this subject is still ending, and its replacement
    /// is not Ready.
    #[must_use]
    pub fn removed_pod_ends_slowly(&self, subject: &Uid) -> bool {
        self.records.iter().any(|record| {
            record.mode == PolicyMode::Enforce
                && record.state == State::Settling
                && record.waiting
                && record.subject.uid == *subject
        })
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

/// When fewer than `allowed` of the records that spend a budget are within the window that
/// ends then. `None`: there are fewer now.
fn full_until<'a>(
    spent: impl Iterator<Item = &'a Record>,
    allowed: u32,
    window: SignedDuration,
    now: Timestamp,
) -> Option<Timestamp> {
    let from = before(now, window);
    let mut spent: Vec<Timestamp> = spent.map(|record| record.created).filter(|created| *created > from).collect();
    spent.sort_unstable();
    let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
    let surplus = spent.len().checked_sub(allowed)?;
    // If `allowed` is 0, the window never opens.
    Some(spent.get(surplus).map_or(Timestamp::MAX, |oldest| after(*oldest, window)))
}
