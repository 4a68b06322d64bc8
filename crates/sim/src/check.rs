//! The promises, checked after every step. The oracle is the model world itself: what
//! the API server holds, which writes had effect, what was sampled. Nothing that a
//! process believes is asked, and no rule of the judgement is called to judge itself.

mod audit;
mod breach;
mod floor;
mod lineage;
mod transitions;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use prunella_core::action::Action;
use prunella_core::decide::{Change, Decision, Inputs};
use prunella_core::ledger::{RECORDS_AT_LEAST, RECORDS_WINDOW, Record, State};
use prunella_core::policy::StormRule;
use prunella_core::target::Uid;
use prunella_core::time::{after, elapsed, times};

use crate::api_server::ApiServer;
use crate::objects::{ActionObject, Pod};
use crate::prometheus::Prometheus;
use crate::queue::Request;
use crate::report::{Tally, Violation};
use crate::scenario::Scenario;

/// What was seen, as far as the promises need it.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) violations: Vec<Violation>,
    pub(crate) tally: Tally,
    begun: Timestamp,
    /// From when on nothing goes wrong any more.
    calm: Timestamp,
    /// Every pod that ever was.
    pods: BTreeMap<Uid, Birth>,
    /// What each action really changed, once for each time.
    effects: BTreeMap<String, Vec<Uid>>,
    /// The pods that somebody else ended, their own workload among them.
    deleted_by_others: BTreeSet<Uid>,
    /// The Ready pods that were evicted, and all pods that were ever Ready.
    removed: BTreeSet<Uid>,
    ever_ready: BTreeSet<Uid>,
    /// Since when each suspended policy has been so.
    suspended: BTreeMap<String, Timestamp>,
    /// When a process was stopped, or did not look for other reasons.
    silences: Vec<(Timestamp, Timestamp)>,
    /// When each process last asked the source for each policy.
    looks: BTreeMap<(usize, String), Timestamp>,
    /// The highest number that each policy ever used.
    highest: BTreeMap<String, u64>,
    /// Since when each pod has been breached without a break, by policy.
    breached: BTreeMap<(String, Uid), Timestamp>,
    /// When each policy was last in a storm that was not about to be over.
    stormy: BTreeMap<String, Timestamp>,
}

/// How a pod came to be.
#[derive(Debug)]
struct Birth {
    name: String,
    workload: usize,
    created: Timestamp,
    replaces: Option<Uid>,
}

impl Check {
    pub(crate) fn new(scenario: &Scenario, begun: Timestamp) -> Self {
        Self {
            violations: Vec::new(),
            tally: Tally::default(),
            begun,
            calm: after(begun, scenario.storm),
            pods: BTreeMap::new(),
            effects: BTreeMap::new(),
            deleted_by_others: BTreeSet::new(),
            removed: BTreeSet::new(),
            ever_ready: BTreeSet::new(),
            suspended: BTreeMap::new(),
            silences: Vec::new(),
            looks: BTreeMap::new(),
            highest: BTreeMap::new(),
            breached: BTreeMap::new(),
            stormy: BTreeMap::new(),
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        !self.violations.is_empty()
    }

    fn require(&mut self, holds: bool, now: Timestamp, promise: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(Violation { at: elapsed(self.begun, now), promise, what: what() });
        }
    }

    pub(crate) fn born(&mut self, pod: &Pod) {
        let birth = Birth {
            name: pod.object.name.clone(),
            workload: pod.workload,
            created: pod.created,
            replaces: pod.replaces.clone(),
        };
        self.pods.insert(pod.object.uid.clone(), birth);
    }

    /// The workload and the name of a pod that may be gone.
    pub(crate) fn origin(&self, uid: &Uid) -> Option<(usize, String)> {
        self.pods.get(uid).map(|birth| (birth.workload, birth.name.clone()))
    }

    pub(crate) fn deleted_by_others(&mut self, uid: &Uid) {
        self.deleted_by_others.insert(uid.clone());
    }

    pub(crate) fn suspended(&mut self, policy: &str, since: Option<Timestamp>) {
        match since {
            Some(since) => drop(self.suspended.insert(policy.to_owned(), since)),
            None => drop(self.suspended.remove(policy)),
        }
    }

    pub(crate) fn silent_between(&mut self, from: Timestamp, until: Timestamp) {
        self.silences.push((from, until));
    }

    /// From here on nothing goes wrong any more.
    pub(crate) fn calms(&mut self, now: Timestamp) {
        let goes_on = self.silences.iter().map(|(_, until)| *until).max();
        self.calm = goes_on.map_or(now, |goes_on| goes_on.max(now));
    }

    /// A decision was made.
    pub(crate) fn decided(&mut self, now: Timestamp, process: usize, inputs: Inputs<'_>, decision: &Decision) {
        self.tally.decisions += 1;
        let look = (process, inputs.policy.key.name.clone());
        let last = self.looks.insert(look, inputs.observation.at);
        if let Some(last) = last.filter(|last| elapsed(*last, now) > times(inputs.policy.interval, 2)) {
            self.silent_between(last, now);
        }
        let exhausted = decision.transitions.iter().filter(|one| one.change == Change::Exhausted).count();
        self.tally.exhausted += u64::try_from(exhausted).unwrap_or(0);
        let next = decision.next_check;
        self.require(next.is_positive() && next <= inputs.policy.interval, now, "HP-10", || {
            format!("the next look is in {next:#}")
        });
        let memory = &decision.memory;
        let bounded = memory.timers.len() <= inputs.targets.len()
            && memory.exhausted.len() <= inputs.targets.len()
            && memory.verifications.len() <= inputs.ledger.in_flight(&inputs.policy.key, inputs.policy.mode);
        self.require(bounded, now, "HP-9", || "more is remembered than there are targets and actions".into());
        self.check_storm(now, inputs, decision);
        let mut answers: BTreeMap<&Uid, usize> = BTreeMap::new();
        let reserved = decision.reservations.iter().map(|one| &one.target.uid);
        for uid in decision.refusals.iter().map(|one| &one.target).chain(reserved) {
            *answers.entry(uid).or_default() += 1;
        }
        let one_each =
            answers.values().all(|count| *count == 1) && memory.timers.keys().all(|uid| answers.contains_key(uid));
        self.require(one_each, now, "HP-12", || "an unhealthy target is not answered exactly once".into());
    }

    /// In a storm nothing is begun while something is under way, and never two things.
    fn check_storm(&mut self, now: Timestamp, inputs: Inputs<'_>, decision: &Decision) {
        if decision.memory.storm.is_none() {
            return;
        }
        self.tally.storms += u64::from(decision.storm.is_some());
        // From when on it has been calm only the judge can say: an outage is not calm, and
        // whoever takes a storm over begins to count anew.
        let calm = decision.memory.storm.and_then(|storm| storm.calm.filter(|_| !storm.frozen));
        if calm.is_none_or(|calm| calm.held().is_zero()) {
            self.stormy.insert(inputs.policy.key.name.clone(), now);
        }
        let limits = &inputs.policy.limits;
        let under_way = inputs.ledger.of(&inputs.policy.key).any(Record::in_flight);
        let most = usize::from(limits.on_storm == StormRule::Probe && !under_way);
        let count = decision.reservations.len();
        self.require(count <= most, now, "HP-3", || format!("{count} are begun in a storm where {most} may be"));
    }

    /// A decision was made again with its own plan on record.
    pub(crate) fn decided_again(&mut self, now: Timestamp, again: &Decision) {
        self.require(again.reservations.is_empty(), now, "HP-6", || {
            format!("{} is reserved again", again.reservations[0].target)
        });
    }

    /// A reservation is on record.
    pub(crate) fn created(&mut self, now: Timestamp, action: &ActionObject, api: &ApiServer, prometheus: &Prometheus) {
        self.tally.reserved += 1;
        self.tally.climbed += u64::from((action.spec.step, action.spec.attempt) != (1, 1));
        let rule = &action.spec.policy.rule;
        let limits = &rule.limits;
        let own = || api.actions.values().filter(|other| other.policy() == action.policy());

        let spent = own()
            .filter(|other| other.record().spends() && elapsed(other.created, action.created) < limits.window)
            .count();
        self.require(spent <= limits.max_actions as usize, now, "HP-1", || {
            format!("{} is number {spent} in {:#}; {} are allowed", action.name, limits.window, limits.max_actions)
        });
        // HP-9: whatever became of them. An action that ends without effect spends no budget.
        let recorded = own().filter(|other| elapsed(other.created, action.created) < RECORDS_WINDOW).count();
        let most = limits.max_actions.max(RECORDS_AT_LEAST) as usize;
        self.require(recorded <= most, now, "HP-9", || {
            format!("{} is record number {recorded} within a minute; {most} are allowed", action.name)
        });
        // What waits for a disruption budget yields its slot.
        let takes_a_slot = |record: &Record| record.in_flight() && !record.waiting;
        let in_flight = own().filter(|other| takes_a_slot(&other.record())).count();
        self.require(in_flight <= limits.max_concurrent as usize, now, "maxConcurrent", || {
            format!("{in_flight} are in flight with {}", action.name)
        });
        let highest = self.highest.insert(action.policy().to_owned(), action.spec.sequence).unwrap_or(0);
        self.require(action.spec.sequence > highest, now, "one sequence", || {
            format!("{} comes after number {highest}", action.name)
        });
        self.check_breach(now, action, prometheus);
    }

    /// A write to the cluster took effect: a pod was evicted, or a workload changed.
    pub(crate) fn changed(
        &mut self,
        now: Timestamp,
        request: &Request,
        action: &ActionObject,
        uid: &Uid,
        api: &ApiServer,
        prometheus: &Prometheus,
    ) {
        match action.spec.action {
            Action::DeletePod(_) => self.tally.evictions += 1,
            Action::RolloutRestart(_) => self.tally.restarts += 1,
            Action::Scale(_) => self.tally.scalings += 1,
        }
        let name = &action.name;
        self.require(uid == action.touches(), now, "HP-14", || {
            format!("{name} is meant for {} and changes {uid}", action.touches())
        });
        let by_this = self.effects.entry(name.clone()).or_default();
        by_this.push(uid.clone());
        let count = by_this.len();
        self.require(count == 1, now, "HP-14", || format!("{name} has had effect {count} times"));
        let unhealthy = &action.spec.target.uid;
        self.require(prometheus.seen_bad.contains(unhealthy), now, "the innocent", || {
            format!("{uid} is changed for {unhealthy}, which was never breached")
        });
        let state = api.actions.get(name).map(|action| action.state());
        let begun = !matches!(state, None | Some(State::Pending));
        self.require(begun, now, "Running before the effect", || format!("{name} is {state:?} as {uid} is changed"));
        let gives_back = matches!(state, Some(State::Finished(outcome)) if outcome.without_effect());
        self.require(!gives_back, now, "HP-7", || format!("{name} is {state:?} and changes {uid}"));
        self.check_still_breached(now, request.decided, action, prometheus);
        self.check_floor(now, action, uid, api);
        let suspended = self.suspended.get(action.policy()).is_some_and(|since| *since < request.decided);
        self.require(!suspended, now, "HP-3", || format!("{name} changes {uid} while the policy is suspended"));
    }

    /// How old news may be that is acted on: two intervals, and the time an answer takes.
    fn freshness_bound(action: &ActionObject) -> SignedDuration {
        times(action.spec.policy.rule.interval, 2) + SignedDuration::from_secs(12)
    }
}
