//! The objects that policies select, from the caches, and the namespaces that hold healing back.

use std::sync::Arc;
use tokio::time::Instant;

use jiff::Timestamp;
use kube::core::Selector;
use prunella_api::TargetKind;
use prunella_cluster::targets::{Replaced, Targets};
use prunella_core::target::{NotHealable, Object, Target, TargetWorkload, Uid};

use crate::authority::Authority;
use crate::compiled::CompiledPolicy;
use crate::watch_log::WatchLog;

/// The objects that policies select, and the namespaces that hold healing back.
pub(crate) struct ClusterView {
    targets: Targets,
    authority: Arc<Authority>,
    watches: WatchLog,
}

/// What holds all healing in a namespace back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The annotation on a namespace.
    Annotation {
        /// The namespace with the annotation.
        namespace: String,
        /// The value of the annotation.
        why: String,
    },
    /// The watch of a resource has had no answer for [`SILENT_AFTER`](crate::watch_log::SILENT_AFTER),
    /// so its objects may have changed unseen.
    SilentWatch {
        /// For example `pods`.
        resource: String,
    },
}

impl ClusterView {
    pub(crate) fn new(targets: Targets, authority: Arc<Authority>, watches: WatchLog) -> Self {
        Self { targets, authority, watches }
    }

    /// Keeps the caches up to date for as long as it is polled.
    pub(crate) async fn follow(&self, client: kube::Client) {
        Box::pin(self.targets.follow(client)).await;
    }

    /// Whether everything was listed once.
    pub(crate) fn is_complete(&self) -> bool {
        self.targets.is_complete()
    }

    /// Waits until everything was listed once.
    pub(crate) async fn until_complete(&self) {
        self.targets.until_complete().await;
    }

    /// The objects that a policy selects, each with what forbids healing it.
    pub(crate) fn targets(&self, compiled: &CompiledPolicy) -> Vec<Target> {
        let namespace = &compiled.policy.key.namespace;
        let now = self.authority.now();
        let (selector, system_critical) = (&compiled.selector, compiled.system_critical);
        let mut targets = match compiled.kind {
            TargetKind::Pod => self.targets.pods(namespace, selector, system_critical, now),
            kind => self.targets.workloads(namespace, kind.as_str(), selector, system_critical, now),
        };
        if *namespace == self.authority.namespace {
            let own_pod = self.targets.pod(namespace, &self.authority.own_pod, None, now);
            let own = own_pod.map(|own| own.subject.uid);
            for target in targets.iter_mut().filter(|target| Some(&target.subject.uid) == own.as_ref()) {
                target.not_healable.get_or_insert(NotHealable::OwnPod);
            }
        }
        targets
    }

    /// One target by uid, as the caches have it.
    pub(crate) fn target(&self, namespace: &str, target: &Object, chosen_by: Option<&Selector>) -> Option<Target> {
        let now = self.authority.now();
        let known = match (target.kind.as_str(), chosen_by) {
            ("Pod", _) => self.targets.pod(namespace, &target.name, chosen_by, now),
            (kind, Some(selector)) => {
                let all = self.targets.workloads(namespace, kind, selector, true, now);
                all.into_iter().find(|one| one.object.name == target.name)
            }
            (_, None) => None,
        };
        known.filter(|known| known.object.uid == target.uid)
    }

    /// What a workload has in place of a pod that was removed from it.
    pub(crate) fn replaced(&self, namespace: &str, subject: &Uid, target: &Uid, removed: Timestamp) -> Replaced {
        self.targets.replaced(namespace, subject, target, removed)
    }

    /// A pod of the workload that was created at `since` or later and is not Ready, and the cause.
    pub(crate) fn unready_since(&self, namespace: &str, subject: &Uid, since: Timestamp) -> Option<(Object, String)> {
        self.targets.unready_since(namespace, subject, since)
    }

    /// The facts about a workload. `None`: it is not known, or Prunella cannot change its kind.
    pub(crate) fn workload(&self, namespace: &str, workload: &Object) -> Option<TargetWorkload> {
        self.targets.workload(namespace, workload, self.authority.now())
    }

    /// Whether healing is held back in a namespace, or everywhere.
    pub(crate) fn is_held(&self, namespace: &str) -> bool {
        self.hold(namespace).is_some()
    }

    /// What holds healing back in a namespace.
    pub(crate) fn hold(&self, namespace: &str) -> Option<Hold> {
        let mut namespaces = [namespace, &self.authority.namespace].into_iter();
        let annotation = namespaces.find_map(|holding| {
            let why = self.targets.hold(holding)?;
            Some(Hold::Annotation { namespace: holding.to_owned(), why })
        });
        let silent = || self.watches.silent(Instant::now()).map(|resource| Hold::SilentWatch { resource });
        annotation.or_else(silent)
    }
}
