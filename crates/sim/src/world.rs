//! The world: everything that is, and the loop that lets one thing happen after the
//! other.

mod cluster;
mod network;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use prunella_core::target::Uid;
use prunella_core::time::after;

use crate::api_server::{ApiServer, Kind};
use crate::check::Check;
use crate::dice::Dice;
use crate::faults::Weather;
use crate::process::{Caches, Ground, Process};
use crate::prometheus::{Health, Prometheus};
use crate::queue::{Event, Queue, Step};
use crate::report::{Deed, Report};
use crate::scenario::{Happening, Scenario};
use crate::trace::Trace;
use prunella_core::ledger::State;

/// When every history begins, in seconds since 1970.
const BEGINNING: i64 = 1_800_000_000;
/// How often the checks that need time to pass are made.
const AUDIT_EVERY: SignedDuration = SignedDuration::from_secs(5);

/// Lets a scenario happen.
#[must_use]
pub fn run(scenario: &Scenario) -> Report {
    World::new(scenario, false).happen().0
}

/// Lets a scenario happen and writes down what there is to see.
#[must_use]
pub fn run_traced(scenario: &Scenario) -> (Report, Trace) {
    World::new(scenario, true).happen()
}

struct World<'a> {
    scenario: &'a Scenario,
    now: Timestamp,
    begun: Timestamp,
    queue: Queue,
    dice: Dice,
    api: ApiServer,
    prometheus: Prometheus,
    processes: Vec<Process>,
    weather: Weather,
    looks_move: bool,
    check: Check,
    trace: Trace,
    /// The pods that are unhealthy right now.
    unhealthy: BTreeSet<Uid>,
    /// How many pods were ever made.
    made: usize,
    /// How far the journal was handed to the watches.
    announced: usize,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, traced: bool) -> Self {
        let begun = Timestamp::from_second(BEGINNING).unwrap_or_default();
        Self {
            scenario,
            now: begun,
            begun,
            queue: Queue::default(),
            dice: Dice::new(scenario.seed ^ 0x5eed),
            api: ApiServer::default(),
            prometheus: Prometheus::new(scenario.lookback, scenario.uid_label),
            processes: (0..scenario.controllers).map(Process::new).collect(),
            weather: scenario.weather.clone(),
            looks_move: scenario.looks_move,
            check: Check::new(scenario, begun),
            trace: Trace::new(traced, begun),
            unhealthy: BTreeSet::new(),
            made: 0,
            announced: 0,
        }
    }

    fn happen(mut self) -> (Report, Trace) {
        self.furnish();
        for process in 0..self.processes.len() {
            let at = after(self.now, self.dice.millis(0, 2000));
            self.queue.push(at, Event::Starts(process));
        }
        for (at, happening) in &self.scenario.happenings {
            self.queue.push(after(self.begun, *at), Event::Happens(*happening));
        }
        let calm = after(self.begun, self.scenario.storm);
        self.queue.push(calm, Event::Happens(Happening::Calm));
        self.queue.push(self.now, Event::Scrape);
        self.queue.push(calm, Event::Audit);
        let end = after(calm, self.scenario.calm);
        let enough = end.min(after(calm, self.scenario.at_least_calm));
        while let Some((at, event)) = self.queue.pop() {
            if at > end || self.check.is_broken() || at > enough && self.is_quiet() {
                break;
            }
            self.now = at;
            self.check.tally.events += 1;
            self.take(event);
            self.announce();
        }
        let deeds = self.deeds();
        (Report { violations: self.check.violations, deeds, tally: self.check.tally }, self.trace)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Scrape => self.scrape(),
            Event::Audit => {
                self.check.audit(self.now, &self.api, &self.prometheus);
                self.queue.push(after(self.now, AUDIT_EVERY), Event::Audit);
            }
            Event::Happens(happening) => self.happens(happening),
            Event::PodGone(uid) => self.pod_gone(&uid),
            Event::PodReplaced(uid) => self.pod_replaced(&uid),
            Event::PodAdded(workload) => self.pod_added(workload),
            Event::RollsOut(workload) => self.rolls_out(workload),
            Event::PodReady(uid) => self.pod_ready(&uid),
            Event::PodUnhealthy(uid, unhealthy) => self.pod_unhealthy(uid, unhealthy),
            Event::Arrives(request) => self.arrives(*request),
            Event::Starts(process) => self.starts(process),
            Event::Goes { process, life, step } => self.goes(process, life, step),
        }
    }

    /// A process takes a step, unless it is killed or stopped just before it.
    fn goes(&mut self, process: usize, life: u32, step: Step) {
        let current = &self.processes[process];
        if current.life != life || !current.alive {
            return;
        }
        if let Some(until) = current.paused_until.filter(|until| self.now < *until) {
            return self.queue.push(until, Event::Goes { process, life, step });
        }
        if self.weather.kills(&mut self.dice) {
            return self.kill(process, "between two steps");
        }
        if let Some(pause) = self.weather.pauses(&mut self.dice) {
            self.pause(process, pause);
            return self.queue.push(after(self.now, pause), Event::Goes { process, life, step });
        }
        match step {
            Step::Sends(request) => self.sends(*request),
            step => {
                let (process, mut ground) = self.ground(process);
                process.goes(step, &mut ground);
            }
        }
    }

    fn ground(&mut self, process: usize) -> (&mut Process, Ground<'_>) {
        let ground = Ground {
            now: self.now,
            api: &self.api,
            prometheus: &self.prometheus,
            queue: &mut self.queue,
            dice: &mut self.dice,
            weather: &self.weather,
            looks_move: self.looks_move,
            check: &mut self.check,
            trace: &mut self.trace,
        };
        (&mut self.processes[process], ground)
    }

    fn starts(&mut self, process: usize) {
        if self.processes[process].alive {
            return;
        }
        self.trace.say(self.now, "process", || format!("{process} starts"));
        let (process, mut ground) = self.ground(process);
        process.starts(&mut ground);
    }

    fn kill(&mut self, process: usize, when: &str) {
        if !self.processes[process].alive {
            return;
        }
        self.trace.say(self.now, "process", || format!("{process} is killed {when}"));
        self.check.tally.kills += 1;
        self.processes[process].dies();
        let down = if self.dice.percent(80) { self.dice.seconds(0, 10) } else { self.dice.seconds(10, 200) };
        let starts = after(self.now, down);
        self.queue.push(starts, Event::Starts(process));
    }

    fn pause(&mut self, process: usize, pause: SignedDuration) {
        self.trace.say(self.now, "process", || format!("{process} is stopped for {pause:#}"));
        let until = after(self.now, pause);
        self.check.silent_between(self.now, until);
        let process = &mut self.processes[process];
        process.paused_until = process.paused_until.max(Some(until));
    }

    /// Hands what is new in the journal to every watch, each with its own delay.
    fn announce(&mut self) {
        let new = &self.api.journal[self.announced..];
        let kinds: Vec<Kind> =
            Kind::ALL.into_iter().filter(|kind| new.iter().any(|change| change.kind() == *kind)).collect();
        self.announced = self.api.journal.len();
        for kind in kinds {
            for process in 0..self.processes.len() {
                self.watch_tells(process, kind);
            }
        }
    }

    fn watch_tells(&mut self, process: usize, kind: Kind) {
        let upto = self.api.journal.len();
        let Process { id, life, alive, blind_until, .. } = self.processes[process];
        if alive {
            let delay = if self.dice.percent(5) { self.dice.millis(300, 3000) } else { self.dice.millis(2, 200) };
            let from = blind_until.map_or(self.now, |until| until.max(self.now));
            self.queue.push(after(from, delay), Event::Goes { process: id, life, step: Step::Sees(kind, upto) });
        }
    }

    fn happens(&mut self, happening: Happening) {
        self.trace.say(self.now, "happening", || format!("{happening:?}"));
        match happening {
            Happening::Crash(process) => self.kill(process, "from outside"),
            Happening::Pause(process, time) => self.pause(process, time),
            Happening::Blind(process, time) => self.processes[process].blind_until = Some(after(self.now, time)),
            Happening::Relist(process) => self.relist(process),
            Happening::Source(health) => self.prometheus.becomes(health, self.now),
            Happening::Silence(share) => self.silence(share),
            Happening::Speak => self.prometheus.silent.clear(),
            Happening::Disruption(workload, allowed) => self.allow_disruption(workload, allowed),
            Happening::Suspend(policy, suspended) => self.suspend(policy, suspended),
            Happening::Deleted(workload) => self.delete_one_of(workload),
            Happening::Unhealthy(workload, pod) => self.falls_unhealthy(workload, pod),
            Happening::Calm => self.calm(),
        }
    }

    fn relist(&mut self, process: usize) {
        let Process { id, life, .. } = self.processes[process];
        let listed = Box::new(Caches::list(&self.api));
        let arrives = after(self.now, self.dice.millis(5, 3000));
        self.queue.push(arrives, Event::Goes { process: id, life, step: Step::Relists(listed) });
    }

    /// From here on nothing goes wrong.
    fn calm(&mut self) {
        self.weather = Weather::calm();
        self.prometheus.becomes(Health::Up, self.now);
        self.prometheus.silent.clear();
        for workload in 0..self.api.workloads.len() {
            self.allow_disruption(workload, true);
        }
        for policy in 0..self.scenario.policies.len() {
            self.suspend(policy, false);
        }
        for process in 0..self.processes.len() {
            self.processes[process].blind_until = None;
            self.starts(process);
            for kind in Kind::ALL {
                self.watch_tells(process, kind);
            }
        }
        self.check.calms(self.now);
    }

    /// Whether no action is under way: nothing is left to wait for.
    fn is_quiet(&self) -> bool {
        self.api.actions.values().all(|action| matches!(action.state(), State::Finished(_)))
    }

    fn deeds(&self) -> Vec<Deed> {
        let mut actions: Vec<_> = self.api.actions.values().collect();
        actions.sort_by_key(|action| (action.created, action.revision));
        actions
            .into_iter()
            .map(|action| Deed {
                name: action.name.clone(),
                target: action.spec.target.name.clone(),
                place: (action.spec.step, action.spec.attempt),
                outcome: match action.state() {
                    State::Finished(outcome) => Some(outcome),
                    _ => None,
                },
            })
            .collect()
    }
}
