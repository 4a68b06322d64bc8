//! The model API server: objects with versions, writes that are applied whole or not
//! at all, and a journal of changes that watches read with delay.
//!
//! What the protocol leans on is here, and nothing more: a name is taken once, a
//! status is replaced only over the version that was read, an eviction takes effect
//! only on the very pod that is meant and only when the disruption budget allows it, a
//! mark that is there already changes nothing, and a workload is changed only over the
//! version that was read.

use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use prunella_core::action::Action;
use prunella_core::execute::{LiveField, LiveSubject};
use prunella_core::target::Uid;
use prunella_core::time::whole_seconds;

use crate::objects::{ActionObject, ActionSpec, ActionStatus, Pod, PolicyObject, PolicyStatus, Workload};

/// A write, as it travels.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    /// A reservation.
    Create { name: String, spec: Box<ActionSpec> },
    /// A transition of a record, over the version that was read.
    Replace { name: String, revision: u64, status: ActionStatus },
    /// The eviction of a pod, by name and with its uid as precondition. The action is
    /// given as it was read, for what is to be noted when the eviction is refused.
    Evict { action: Rc<ActionObject>, pod: String, uid: Uid, grace: SignedDuration },
    /// The mark on a workload's pod template, by which all its pods are replaced, over the
    /// version that was read.
    Restart { action: Rc<ActionObject>, version: u64 },
    /// Another number of replicas, over the version that was read.
    Scale { action: Rc<ActionObject>, version: u64, from: i32, to: i32 },
    /// The whole status of a policy.
    Tell { policy: String, status: PolicyStatus },
    /// A record is history.
    Collect { name: String },
}

/// What the API server says to a write.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Done; the record as it is now.
    Written(Rc<ActionObject>),
    /// Done.
    Done,
    /// The name is taken.
    AlreadyExists,
    /// Another version, or another object of that name.
    Conflict,
    /// No such object.
    NotFound,
    /// A disruption budget allows no eviction.
    TooManyRequests,
    /// It was refused, and provably had no effect.
    Refused,
    /// Nobody knows.
    Lost,
}

/// The kinds that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Workloads,
    Pods,
    Policies,
    Actions,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Workloads, Self::Pods, Self::Policies, Self::Actions];
}

/// An object as it became; `None`: it is gone.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Workload(usize, Rc<Workload>),
    Pod(String, Option<Rc<Pod>>),
    Policy(String, Rc<PolicyObject>),
    Action(String, Option<Rc<ActionObject>>),
}

impl Change {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Workload(..) => Kind::Workloads,
            Self::Pod(..) => Kind::Pods,
            Self::Policy(..) => Kind::Policies,
            Self::Action(..) => Kind::Actions,
        }
    }
}

/// The objects by name, and how they came to be.
#[derive(Debug, Default)]
pub(crate) struct ApiServer {
    pub(crate) workloads: Vec<Rc<Workload>>,
    pub(crate) pods: BTreeMap<String, Rc<Pod>>,
    pub(crate) policies: BTreeMap<String, Rc<PolicyObject>>,
    pub(crate) actions: BTreeMap<String, Rc<ActionObject>>,
    pub(crate) journal: Vec<Change>,
    revision: u64,
}

impl ApiServer {
    /// Applies a write at `now`, whole or not at all.
    pub(crate) fn apply(&mut self, write: &Write, now: Timestamp) -> Answer {
        match write {
            Write::Create { name, spec } => self.create(name, spec, now),
            Write::Replace { name, revision, status } => self.replace(name, *revision, status),
            Write::Evict { pod, uid, .. } => self.evict(pod, uid),
            Write::Restart { action, version } => self.restart(action, *version),
            Write::Scale { action, version, from, to } => self.scale(&action.spec.subject.uid, *version, [*from, *to]),
            Write::Tell { policy, status } => match self.policies.get(policy).cloned() {
                Some(object) if object.status == *status => Answer::Done,
                Some(object) => {
                    self.put_policy(PolicyObject { status: status.clone(), ..(*object).clone() });
                    Answer::Done
                }
                None => Answer::NotFound,
            },
            Write::Collect { name } => match self.actions.remove(name) {
                Some(_) => {
                    self.journal.push(Change::Action(name.clone(), None));
                    Answer::Done
                }
                None => Answer::NotFound,
            },
        }
    }

    fn create(&mut self, name: &str, spec: &ActionSpec, now: Timestamp) -> Answer {
        if self.actions.contains_key(name) {
            return Answer::AlreadyExists;
        }
        Answer::Written(self.put_action(ActionObject {
            name: name.to_owned(),
            created: whole_seconds(now),
            revision: 0,
            spec: spec.clone(),
            status: ActionStatus::default(),
        }))
    }

    fn replace(&mut self, name: &str, revision: u64, status: &ActionStatus) -> Answer {
        match self.actions.get(name).cloned() {
            Some(action) if action.revision == revision => {
                Answer::Written(self.put_action(ActionObject { status: status.clone(), ..(*action).clone() }))
            }
            Some(_) => Answer::Conflict,
            None => Answer::NotFound,
        }
    }

    fn evict(&mut self, name: &str, uid: &Uid) -> Answer {
        match self.pods.get(name).cloned() {
            None => Answer::NotFound,
            Some(pod) if pod.object.uid != *uid => Answer::Conflict,
            Some(pod) if pod.terminating => Answer::Done,
            Some(pod) if !self.workloads[pod.workload].disruption_allowed => Answer::TooManyRequests,
            Some(pod) => {
                self.put_pod(Pod { terminating: true, ready: false, ..(*pod).clone() });
                Answer::Done
            }
        }
    }

    fn restart(&mut self, action: &ActionObject, version: u64) -> Answer {
        let Some((at, workload)) = self.workload(&action.spec.subject.uid) else { return Answer::NotFound };
        if workload.version != version {
            return Answer::Conflict;
        }
        let mark = Some(Uid::from(action.name.clone()));
        if workload.mark != mark {
            self.put_workload(at, Workload { mark, template: workload.template + 1, ..(*workload).clone() });
        }
        Answer::Done
    }

    fn scale(&mut self, workload: &Uid, version: u64, [from, to]: [i32; 2]) -> Answer {
        match self.workload(workload) {
            None => Answer::NotFound,
            Some((_, workload)) if (workload.replicas, workload.version) != (from, version) => Answer::Conflict,
            Some((at, workload)) => {
                self.put_workload(at, Workload { replicas: to, ..(*workload).clone() });
                Answer::Done
            }
        }
    }

    fn put_action(&mut self, action: ActionObject) -> Rc<ActionObject> {
        self.revision += 1;
        let action = Rc::new(ActionObject { revision: self.revision, ..action });
        self.actions.insert(action.name.clone(), Rc::clone(&action));
        self.journal.push(Change::Action(action.name.clone(), Some(Rc::clone(&action))));
        action
    }

    pub(crate) fn put_policy(&mut self, policy: PolicyObject) {
        let (name, policy) = (policy.rule.key.name.clone(), Rc::new(policy));
        self.policies.insert(name.clone(), Rc::clone(&policy));
        self.journal.push(Change::Policy(name, policy));
    }

    pub(crate) fn put_workload(&mut self, at: usize, workload: Workload) {
        let workload = Rc::new(Workload { version: workload.version + 1, ..workload });
        self.workloads[at] = Rc::clone(&workload);
        self.journal.push(Change::Workload(at, workload));
    }

    pub(crate) fn put_pod(&mut self, pod: Pod) {
        let (name, pod) = (pod.object.name.clone(), Rc::new(pod));
        self.pods.insert(name.clone(), Rc::clone(&pod));
        self.journal.push(Change::Pod(name, Some(pod)));
    }

    pub(crate) fn remove_pod(&mut self, name: &str) {
        self.pods.remove(name);
        self.journal.push(Change::Pod(name.to_owned(), None));
    }

    /// A pod by its uid.
    pub(crate) fn pod(&self, uid: &Uid) -> Option<&Rc<Pod>> {
        self.pods.values().find(|pod| pod.object.uid == *uid)
    }

    /// A workload by its uid, and its place.
    pub(crate) fn workload(&self, uid: &Uid) -> Option<(usize, Rc<Workload>)> {
        let at = self.workloads.iter().position(|workload| workload.object.uid == *uid)?;
        Some((at, Rc::clone(&self.workloads[at])))
    }

    /// The pods of a workload that are not on their way out.
    pub(crate) fn pods_of(&self, workload: usize) -> impl Iterator<Item = &Rc<Pod>> {
        self.pods.values().filter(move |pod| pod.workload == workload && !pod.terminating)
    }

    /// How a workload stands to an action on it or on one of its pods.
    pub(crate) fn stands(&self, action: &ActionObject) -> (LiveSubject, LiveField) {
        let Some((at, workload)) = self.workload(&action.spec.subject.uid).filter(|(_, one)| one.replicas > 0) else {
            return (LiveSubject::Gone, LiveField::None);
        };
        let wanted = usize::try_from(workload.replicas).unwrap_or(0);
        let ready = self.pods_of(at).filter(|pod| pod.ready).count();
        let (whole, field) = match action.spec.action {
            Action::DeletePod(_) => (ready >= wanted, LiveField::None),
            Action::RolloutRestart(_) => {
                let new = |pod: &Rc<Pod>| pod.template == workload.template;
                let by_this = workload.mark.as_ref().is_some_and(|mark| mark.as_str() == action.name);
                (ready == wanted && self.pods_of(at).all(new), LiveField::Restarted { by_this })
            }
            Action::Scale(_) => {
                (ready == wanted && self.pods_of(at).count() == wanted, LiveField::Count(workload.replicas))
            }
        };
        (if whole { LiveSubject::Restored } else { LiveSubject::NotRestored }, field)
    }
}
