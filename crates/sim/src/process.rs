//! A controller process: what it has seen, what it remembers, and what it is at. It
//! drives the judgement as the controller does: caches that lag, a judge for each
//! policy, an executor for each action, a board between them, one write a pass.
//!
//! A process never calls the API server to change something: it *sends* a write, and
//! learns of its fate later, or never.

mod caches;
mod executor;
mod judge;
mod status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use prunella_core::decide::Verdict;
use prunella_core::target::Uid;
use prunella_core::time::{after, before, elapsed, times};

use crate::api_server::{Answer, ApiServer, Kind, Write};
use crate::check::Check;
use crate::dice::Dice;
use crate::faults::Weather;
use crate::prometheus::Prometheus;
use crate::queue::{Event, Queue, Reply, Request, Step};
use crate::trace::Trace;
pub(crate) use caches::Caches;
use judge::Standing;

/// What a pass is about; each is done one pass at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    /// Judge this policy.
    Judge(String),
    /// Carry this action on.
    Execute(String),
}

/// What a process stands on: the world, as far as it can reach it.
pub(crate) struct Ground<'a> {
    pub(crate) now: Timestamp,
    pub(crate) api: &'a ApiServer,
    pub(crate) prometheus: &'a Prometheus,
    pub(crate) queue: &'a mut Queue,
    pub(crate) dice: &'a mut Dice,
    pub(crate) weather: &'a Weather,
    pub(crate) looks_move: bool,
    pub(crate) check: &'a mut Check,
    pub(crate) trace: &'a mut Trace,
}

/// One controller process, over all its lives.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: usize,
    pub(crate) life: u32,
    pub(crate) alive: bool,
    pub(crate) paused_until: Option<Timestamp>,
    /// Until when no watch event reaches it.
    pub(crate) blind_until: Option<Timestamp>,
    /// How far its clock lags behind the API server's: what it learns of it is a
    /// lower bound.
    lag: SignedDuration,
    caches: Caches,
    desk: BTreeMap<String, Standing>,
    board: BTreeMap<String, Posting>,
    turns: BTreeMap<Task, Turn>,
    /// Until when an eviction that was refused is not tried again.
    patience: BTreeMap<String, Timestamp>,
    /// The policies that are reserving, with the uids that each has for itself meanwhile, and
    /// those that wait for one of them to end.
    reserving: BTreeMap<String, BTreeSet<Uid>>,
    waiting: VecDeque<String>,
}

/// Whose turn it is when.
#[derive(Debug, Default)]
struct Turn {
    running: bool,
    due: Option<Timestamp>,
    /// The wake-up that counts; others were overtaken.
    token: u64,
}

/// What the judge hands to the executor.
#[derive(Debug)]
struct Posting {
    policy_uid: Uid,
    observed_at: Timestamp,
    interval: SignedDuration,
    firing: BTreeSet<Uid>,
    verdicts: Vec<Verdict>,
}

impl Process {
    pub(crate) fn new(id: usize) -> Self {
        Self {
            id,
            life: 0,
            alive: false,
            paused_until: None,
            blind_until: None,
            lag: SignedDuration::ZERO,
            caches: Caches::default(),
            desk: BTreeMap::new(),
            board: BTreeMap::new(),
            turns: BTreeMap::new(),
            patience: BTreeMap::new(),
            reserving: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Everything it knew is gone; what it sent is not.
    pub(crate) fn dies(&mut self) {
        *self = Self { life: self.life + 1, ..Self::new(self.id) };
    }

    /// It lists the world and begins.
    pub(crate) fn starts(&mut self, ground: &mut Ground<'_>) {
        self.alive = true;
        self.lag = ground.dice.millis(0, 950);
        self.caches = Caches::list(ground.api);
        for policy in ground.api.policies.keys() {
            self.wake(Task::Judge(policy.clone()), SignedDuration::ZERO, ground);
        }
        for action in ground.api.actions.keys() {
            self.wake(Task::Execute(action.clone()), SignedDuration::ZERO, ground);
        }
    }

    /// Takes the next step of one of its passes.
    pub(crate) fn goes(&mut self, step: Step, ground: &mut Ground<'_>) {
        match step {
            Step::Sees(kind, upto) => self.sees(kind, upto, ground),
            Step::Relists(listed) => self.relists(*listed, ground),
            Step::Wakes(task, token) => self.wakes(task, token, ground),
            Step::Hears(policy) => self.hears(&policy, ground),
            Step::Surveys(action) => self.surveys(&action, ground),
            // The world takes it from here.
            Step::Sends(_) => {}
            Step::Learns(request, answer) => match &request.task {
                Task::Judge(policy) => self.judge_learns(&policy.clone(), &request, &answer, ground),
                Task::Execute(action) => self.executor_learns(&action.clone(), &request, &answer, ground),
            },
        }
    }

    /// The API server's time, as this process knows it.
    fn clock(&self, ground: &Ground<'_>) -> Timestamp {
        before(ground.now, self.lag)
    }

    fn sees(&mut self, kind: Kind, upto: usize, ground: &mut Ground<'_>) {
        for task in self.caches.follow(kind, upto, &ground.api.journal) {
            self.wake(task, SignedDuration::ZERO, ground);
        }
    }

    /// A new list replaces all at once. What changed since it was made, own writes
    /// among it, the watch tells again from there.
    fn relists(&mut self, listed: Caches, ground: &mut Ground<'_>) {
        self.caches = listed;
        for kind in Kind::ALL {
            let delay = ground.dice.millis(1, 200);
            self.later(delay, Step::Sees(kind, ground.api.journal.len()), ground);
        }
    }

    /// The task is to have a turn no later than after this time.
    fn wake(&mut self, task: Task, delay: SignedDuration, ground: &mut Ground<'_>) {
        let at = after(ground.now, delay);
        let turn = self.turns.entry(task.clone()).or_default();
        if turn.due.is_some_and(|due| due <= at) {
            return;
        }
        turn.due = Some(at);
        if !turn.running {
            turn.token += 1;
            let step = Step::Wakes(task, turn.token);
            ground.queue.push(at, Event::Goes { process: self.id, life: self.life, step });
        }
    }

    fn wakes(&mut self, task: Task, token: u64, ground: &mut Ground<'_>) {
        let Some(turn) = self.turns.get_mut(&task).filter(|turn| !turn.running && turn.token == token) else { return };
        turn.running = true;
        turn.due = None;
        match task {
            Task::Judge(policy) => self.judge_wakes(&policy, ground),
            Task::Execute(action) => self.executor_wakes(&action, ground),
        }
    }

    /// A pass is over; the next comes after `again`, or when something changes.
    fn done(&mut self, task: Task, again: Option<SignedDuration>, ground: &mut Ground<'_>) {
        let Some(turn) = self.turns.get_mut(&task) else { return };
        turn.running = false;
        let woken = turn.due.take();
        let at = again.map(|again| after(ground.now, again)).into_iter().chain(woken).min();
        if let Some(at) = at {
            let delay = elapsed(ground.now, at).max(SignedDuration::ZERO);
            self.wake(task, delay, ground);
        }
    }

    fn later(&self, delay: SignedDuration, step: Step, ground: &mut Ground<'_>) {
        let at = after(ground.now, delay);
        ground.queue.push(at, Event::Goes { process: self.id, life: self.life, step });
    }

    /// Hands a write to the network, an instant after the decision: in between the
    /// process may be killed or paused.
    fn send(&self, task: Task, write: Write, ground: &mut Ground<'_>) {
        let request =
            Request { process: self.id, life: self.life, task, write, decided: ground.now, reply: Reply::Lost };
        let delay = ground.dice.millis(0, 3);
        self.later(delay, Step::Sends(Box::new(request)), ground);
    }

    /// Wakes the executor for every action that the judge has news about.
    fn wake_executor(&mut self, policy: &str, verdicts: &[Verdict], ground: &mut Ground<'_>) {
        let concerned: Vec<String> = self
            .caches
            .actions()
            .values()
            .filter(|action| action.policy() == policy && action.status.outcome.is_none())
            .filter(|action| {
                action.status.started_at.is_none() || verdicts.iter().any(|verdict| verdict.action == action.name)
            })
            .map(|action| action.name.clone())
            .collect();
        for action in concerned {
            self.wake(Task::Execute(action), SignedDuration::ZERO, ground);
        }
    }

    /// Whether the board shows the target firing by news no older than two intervals.
    fn is_firing(&self, policy: &str, uid: &Uid, target: &Uid, now: Timestamp) -> bool {
        self.board.get(policy).is_some_and(|posting| {
            posting.policy_uid == *uid
                && posting.firing.contains(target)
                && elapsed(posting.observed_at, now) <= times(posting.interval, 2)
        })
    }

    /// Takes an own write down at once, before the watch shows it.
    fn note(&mut self, answer: &Answer) {
        if let Answer::Written(action) = answer {
            self.caches.note(action);
        }
    }
}
