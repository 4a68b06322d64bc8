//! What came of a decision: the board, the memory, the status, and the end of history.

use jiff::SignedDuration;
use prunella_core::decide::{BreachPhase, Decision};
use prunella_core::ledger::{Lineage, Record};
use prunella_core::time::{after, elapsed};

use super::{Look, Stage};
use crate::api_server::Write;
use crate::objects::PolicyStatus;
use crate::process::{Ground, Posting, Process, Task, status};

/// How soon a pass comes after one that was a hair too early.
const NOT_AT_ONCE: SignedDuration = SignedDuration::from_millis(5);
/// How long a record that spent budget is kept at least: no guardrail reaches further back.
const COUNTED_AT_MOST: SignedDuration = SignedDuration::from_hours(24);
/// How long one that spent nothing is kept.
const TOLD_FOR: SignedDuration = SignedDuration::from_hours(1);

impl Process {
    /// Hands the news to the executor, remembers, and writes down what changed.
    pub(super) fn post(&mut self, look: Look, decision: Decision, ground: &mut Ground<'_>) {
        let name = look.name();
        ground.trace.decision(ground.now, self.id, &name, &decision);
        let firing = decision.memory.timers.iter().filter(|(uid, timer)| {
            let now_breached = timer.breach.is_some_and(|breach| breach.last == look.observation.at);
            timer.phase == BreachPhase::Firing && now_breached && !decision.waiting.contains(*uid)
        });
        let posting = Posting {
            policy_uid: look.policy.uid.clone(),
            observed_at: look.observation.at,
            interval: look.policy.rule.interval,
            firing: firing.map(|(uid, _)| uid.clone()).collect(),
            verdicts: decision.verdicts.clone(),
        };
        self.board.insert(name.clone(), posting);
        self.wake_executor(&name, &decision.verdicts, ground);
        let news = self.news(&look, &decision);
        let next = after(self.clock(ground), decision.next_check);
        let Some(standing) = self.desk.get_mut(&name) else { return };
        standing.memory = decision.memory;
        // A pass that did not ask may bring the next look forward only.
        standing.due = Some(standing.due.filter(|_| !look.due).map_or(next, |due| due.min(next)));
        match news {
            Some(status) => {
                let write = Write::Tell { policy: name.clone(), status: status.clone() };
                self.at_stage(&name, Stage::Telling(look, status));
                self.send(Task::Judge(name), write, ground);
            }
            None => self.finish(look, ground),
        }
    }

    /// The status, if it differs from what was written last.
    pub(super) fn news(&self, look: &Look, decision: &Decision) -> Option<PolicyStatus> {
        let status = status::status(&look.policy, &look.observation, decision, &self.caches.ledger());
        let written = self.desk.get(&look.policy.rule.key.name).and_then(|standing| standing.written.as_ref());
        (*written.unwrap_or(&look.policy.status) != status).then_some(status)
    }

    pub(super) fn finish(&mut self, look: Look, ground: &mut Ground<'_>) {
        let name = look.name();
        self.collect(&look, ground);
        let now = self.clock(ground);
        let Some(standing) = self.desk.get_mut(&name) else { return };
        standing.observation = Some(look.observation);
        let again = standing.due.map_or(NOT_AT_ONCE, |due| elapsed(now, due).max(NOT_AT_ONCE));
        self.done(Task::Judge(name), Some(again), ground);
    }

    /// History goes, except for the newest, for what still counts towards a limit, and
    /// for what is laid to an episode.
    fn collect(&self, look: &Look, ground: &mut Ground<'_>) {
        let rule = &look.policy.rule;
        let now = self.clock(ground);
        let ledger = self.caches.ledger();
        let mut finished: Vec<&Record> = ledger.of(&rule.key).filter(|record| !record.in_flight()).collect();
        finished.sort_by_key(|record| std::cmp::Reverse(record.sequence));
        for record in finished.into_iter().skip(look.policy.history_limit.max(1)) {
            let kept = if record.spends() { COUNTED_AT_MOST } else { TOLD_FOR };
            let old = elapsed(record.finished.unwrap_or(record.created), now) > kept;
            if old && !self.is_of_an_episode(look, record) {
                let write = Write::Collect { name: record.name.clone() };
                self.send(Task::Judge(look.name()), write, ground);
            }
        }
    }

    /// Whether the ladder may still count it.
    fn is_of_an_episode(&self, look: &Look, record: &Record) -> bool {
        let Some(standing) = self.desk.get(&look.policy.rule.key.name) else { return true };
        let reset = look.policy.rule.limits.ladder_reset;
        let targets = self.caches.targets(&look.policy);
        let lineage = Lineage::of(&self.caches.ledger(), &targets);
        targets.iter().any(|target| {
            standing.memory.timers.get(&target.object.uid).is_some_and(|timer| {
                record.target.uid == target.object.uid || record.counts_against(target, timer.since, reset, &lineage)
            })
        })
    }
}
