//! How the two reconcilers wake each other.

use kube::runtime::reflector::ObjectRef;
use prunella_api::{HealingAction, HealingPolicy};
use prunella_core::policy::PolicyKey;
use tokio::sync::mpsc::UnboundedSender;

/// Wakes the policy reconciler.
#[derive(Debug, Clone)]
pub(crate) struct PolicyWaker(pub(crate) UnboundedSender<ObjectRef<HealingPolicy>>);

/// Wakes the action reconciler.
#[derive(Debug, Clone)]
pub(crate) struct ActionWaker(pub(crate) UnboundedSender<ObjectRef<HealingAction>>);

impl PolicyWaker {
    pub(crate) fn wake(&self, policy: &PolicyKey) {
        // The receiver is gone only during shutdown.
        let _ = self.0.send(ObjectRef::new(&policy.name).within(&policy.namespace));
    }
}

impl ActionWaker {
    pub(crate) fn wake(&self, namespace: &str, action: &str) {
        // The receiver is gone only during shutdown.
        let _ = self.0.send(ObjectRef::new(action).within(namespace));
    }
}
