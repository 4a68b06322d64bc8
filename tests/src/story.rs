//! Every version of the policies and actions of a test's namespace, from a watch. Polling would
//! miss short states.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Resource, ResourceExt as _};
use prunella_api::{HealingAction, HealingPolicy};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use crate::policy::state;
use crate::room::Room;

/// All versions since it was created.
#[derive(Debug)]
pub struct Story {
    policies: Versions<HealingPolicy>,
    actions: Versions<HealingAction>,
}

#[derive(Debug)]
struct Versions<K> {
    seen: Arc<Mutex<Vec<K>>>,
    watching: JoinHandle<()>,
}

impl<K> Versions<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    fn watch(room: &Room<'_>) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        let stream = watcher(room.api::<K>(), watcher::Config::default()).default_backoff().applied_objects();
        let watching = tokio::spawn(stream.for_each(move |version| {
            // The watch itself continues after an error.
            notes.lock().unwrap_or_else(PoisonError::into_inner).extend(version);
            std::future::ready(())
        }));
        Self { seen, watching }
    }
}

impl<K: Clone> Versions<K> {
    fn so_far(&self) -> Vec<K> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<K> Drop for Versions<K> {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Story {
    /// Starts with the present objects.
    #[must_use]
    pub fn of(room: &Room<'_>) -> Self {
        Self { policies: Versions::watch(room), actions: Versions::watch(room) }
    }

    /// The states of one action, in order.
    #[must_use]
    pub fn action_states(&self, action: &str) -> Vec<String> {
        changes(self.actions.so_far().iter().filter(|version| version.name_any() == action).map(state))
    }

    /// The largest number of a policy's actions that were in flight at the same time.
    #[must_use]
    pub fn most_at_once(&self, policy: &str) -> usize {
        let mut in_flight = BTreeMap::new();
        let versions = self.actions.so_far();
        let counts = versions.iter().filter(|version| version.spec.policy.name == policy).map(|version| {
            let over = version.status.as_ref().is_some_and(|status| status.outcome.is_some());
            in_flight.insert(version.name_any(), !over);
            in_flight.values().filter(|in_flight| **in_flight).count()
        });
        counts.max().unwrap_or_default()
    }

    /// A property of a policy over time, without repetitions.
    #[must_use]
    pub fn policy(&self, policy: &str, property: impl Fn(&HealingPolicy) -> String) -> Vec<String> {
        changes(self.policies.so_far().iter().filter(|version| version.name_any() == policy).map(property))
    }
}

fn changes(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut words: Vec<_> = words.collect();
    words.dedup();
    words
}
