//! What a process has seen of the world: copies that lag, each kind on its own.

use std::collections::BTreeMap;
use std::rc::Rc;

use prunella_core::ledger::Ledger;
use prunella_core::target::Target;

use super::Task;
use crate::api_server::{ApiServer, Change, Kind};
use crate::objects::{ActionObject, Pod, PolicyObject, Workload, siblings};

/// The copies, and how far each kind's watch has come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caches {
    pub(super) workloads: Vec<Rc<Workload>>,
    pods: BTreeMap<String, Rc<Pod>>,
    pub(super) policies: BTreeMap<String, Rc<PolicyObject>>,
    actions: BTreeMap<String, Rc<ActionObject>>,
    /// The records of all actions, made anew when one of them changes.
    ledger: Rc<Ledger>,
    seen: BTreeMap<Kind, usize>,
}

impl Caches {
    /// The world as a consistent list shows it.
    pub(crate) fn list(api: &ApiServer) -> Self {
        Self {
            workloads: api.workloads.clone(),
            pods: api.pods.clone(),
            policies: api.policies.clone(),
            actions: api.actions.clone(),
            ledger: Rc::new(ledger(&api.actions)),
            seen: Kind::ALL.into_iter().map(|kind| (kind, api.journal.len())).collect(),
        }
    }

    pub(super) fn actions(&self) -> &BTreeMap<String, Rc<ActionObject>> {
        &self.actions
    }

    /// Takes an own write down at once, before the watch shows it.
    pub(super) fn note(&mut self, action: &Rc<ActionObject>) {
        self.actions.insert(action.name.clone(), Rc::clone(action));
        self.ledger = Rc::new(ledger(&self.actions));
    }

    /// Takes over the changes of one kind; returns what they wake.
    pub(super) fn follow(&mut self, kind: Kind, upto: usize, journal: &[Change]) -> Vec<Task> {
        let from = self.seen.get(&kind).copied().unwrap_or(0);
        if upto <= from {
            return Vec::new();
        }
        self.seen.insert(kind, upto);
        let mut woken = Vec::new();
        for change in journal[from..upto].iter().filter(|change| change.kind() == kind) {
            match change {
                Change::Workload(at, workload) => self.workloads[*at] = Rc::clone(workload),
                Change::Pod(name, Some(pod)) => drop(self.pods.insert(name.clone(), Rc::clone(pod))),
                Change::Pod(name, None) => drop(self.pods.remove(name)),
                Change::Policy(name, policy) => {
                    self.policies.insert(name.clone(), Rc::clone(policy));
                    woken.push(Task::Judge(name.clone()));
                }
                Change::Action(name, action) => {
                    let judge = |action: &ActionObject| Task::Judge(action.policy().to_owned());
                    match action {
                        Some(action) => {
                            woken.push(judge(action));
                            self.actions.insert(name.clone(), Rc::clone(action));
                        }
                        None => woken.extend(self.actions.remove(name).as_deref().map(judge)),
                    }
                    woken.push(Task::Execute(name.clone()));
                }
            }
        }
        if kind == Kind::Actions {
            self.ledger = Rc::new(ledger(&self.actions));
        }
        woken
    }

    /// The targets of a policy that are not on their way out.
    pub(super) fn targets(&self, policy: &PolicyObject) -> Vec<Target> {
        self.pods
            .values()
            .filter(|pod| policy.selects.contains(&pod.workload) && !pod.terminating)
            .map(|pod| pod.target(&self.workloads[pod.workload], Some(siblings(self.pods.values(), pod.workload))))
            .collect()
    }

    /// The records of all policies.
    pub(super) fn ledger(&self) -> Rc<Ledger> {
        Rc::clone(&self.ledger)
    }
}

fn ledger(actions: &BTreeMap<String, Rc<ActionObject>>) -> Ledger {
    Ledger { records: actions.values().map(|action| action.record()).collect() }
}
