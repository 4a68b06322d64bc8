//! What both reconcilers share.

use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use kube::runtime::reflector::ObjectRef;
use prunella_api::{HealingAction, HealingPolicy, TargetKind};
use prunella_cluster::targets::Targets;
use prunella_core::decide::Decision;
use prunella_core::ledger::{Ledger, State};
use prunella_core::policy::{PolicyKey, SubjectCap};
use prunella_core::target::{NotHealable, Target};
use tokio::sync::mpsc;

use crate::announce::Announcer;
use crate::board::Board;
use crate::clock::Clock;
use crate::executor::Patience;
use crate::judge::{Claims, Compiled, Desk, Joint, Places};
use crate::leadership::Leadership;
use crate::ledger::Book;
use crate::metrics::Metrics;
use crate::sources::Sources;

/// What both reconcilers share.
pub(crate) struct Context {
    /// The controller's own namespace.
    pub(crate) namespace: String,
    /// The API server's time.
    pub(crate) clock: Clock,
    /// Whether this replica is the one that acts.
    pub(crate) leadership: Arc<Leadership>,
    /// For reads: retries what may be asked again.
    pub(crate) reads: Client,
    /// For writes: never retries by itself, for nobody knows what became of the first.
    pub(crate) writes: Client,
    /// How many actions one subject may bear, whatever policies begin them.
    pub(crate) subject_cap: SubjectCap,
    /// The name of the pod that this process runs in, if in one.
    pub(crate) own_pod: String,
    /// The selectable world.
    pub(crate) world: Targets,
    /// The actions on record.
    pub(crate) book: Arc<Book>,
    /// The Prometheus servers.
    pub(crate) sources: Arc<Sources>,
    /// What the judge hands to the executor.
    pub(crate) board: Board,
    /// What the judge remembers from look to look.
    pub(crate) desk: Desk,
    /// The questions that are asked together.
    pub(crate) joint: Arc<Joint>,
    /// Where in their intervals conditions are looked at.
    pub(crate) places: Places,
    /// Who is being reserved right now.
    pub(crate) claims: Claims,
    /// Which refused effects wait before they are tried again.
    pub(crate) patience: Patience,
    /// How the two reconcilers wake each other.
    pub(crate) wakers: Wakers,
    /// Events.
    pub(crate) announcer: Announcer,
    /// Metrics.
    pub(crate) metrics: Arc<Metrics>,
}

/// How the two reconcilers wake each other.
pub(crate) struct Wakers {
    /// Wakes the judge for a policy.
    pub(crate) judge: mpsc::UnboundedSender<ObjectRef<HealingPolicy>>,
    /// Wakes the executor for an action.
    pub(crate) executor: mpsc::UnboundedSender<ObjectRef<HealingAction>>,
}

impl Context {
    /// Wakes the executor for every action that the decision has news about.
    pub(crate) fn executor_wake(&self, policy: &PolicyKey, ledger: &Ledger, decision: &Decision) {
        for record in ledger.of(policy).filter(|record| record.in_flight()) {
            let verdict = decision.verdicts.iter().any(|verdict| verdict.action == record.name);
            if verdict || record.state == State::Pending {
                // The receiver is gone only while shutting down.
                let _ = self.wakers.executor.send(ObjectRef::new(&record.name).within(&policy.namespace));
            }
        }
    }

    /// Wakes the judge for a policy.
    pub(crate) fn judge_wake(&self, policy: &PolicyKey) {
        // The receiver is gone only while shutting down.
        let _ = self.wakers.judge.send(ObjectRef::new(&policy.name).within(&policy.namespace));
    }

    /// The objects that a policy selects, each with what forbids to heal it.
    pub(crate) fn targets(&self, compiled: &Compiled) -> Vec<Target> {
        let namespace = &compiled.policy.key.namespace;
        let now = self.now();
        let mut targets = match compiled.kind {
            TargetKind::Pod => self.world.pods(namespace, &compiled.selector, compiled.system_critical, now),
            kind => self.world.workloads(namespace, kind.as_str(), &compiled.selector, compiled.system_critical, now),
        };
        if *namespace == self.namespace {
            let own = self.world.pod(namespace, &self.own_pod, None, now).map(|own| own.subject.uid);
            for target in targets.iter_mut().filter(|target| Some(&target.subject.uid) == own.as_ref()) {
                target.not_healable.get_or_insert(NotHealable::OwnPod);
            }
        }
        targets
    }

    /// Whether somebody holds healing back in a namespace, or everywhere.
    pub(crate) fn is_held(&self, namespace: &str) -> bool {
        self.hold(namespace).is_some()
    }

    /// Which namespace holds healing back there, and why.
    pub(crate) fn hold(&self, namespace: &str) -> Option<(String, String)> {
        let mut places = [namespace, &self.namespace].into_iter();
        places.find_map(|place| Some((place.to_owned(), self.world.hold(place)?)))
    }

    /// Forgets a policy that is gone.
    pub(crate) fn forget_policy(&self, policy: &PolicyKey) {
        self.desk.forget(policy);
        self.board.forget(policy);
        self.metrics.forget(policy);
    }

    /// The present, by the API server's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether this process may change anything right now, else why not. Asked before
    /// every reservation and every effect, not once a pass: it may end at any instant.
    ///
    /// # Errors
    /// Why not, as a clause for a log line.
    pub(crate) fn may_act(&self) -> Result<(), &'static str> {
        self.leadership.may_act()?;
        if self.clock.is_anchored() { Ok(()) } else { Err("the API server has not told its time for a minute") }
    }
}
