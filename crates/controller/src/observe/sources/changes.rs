//! Which sources have changed, so that their policies are evaluated again at once. A policy that
//! is applied before its source must not wait for a whole interval.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use futures::{Stream, stream};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// How many changes may wait to be read. A reader that is further behind takes all sources for
/// changed.
const KEPT: usize = 64;

/// The changes of all sources.
#[derive(Debug)]
pub(super) struct SourceChanges {
    /// The number of the newest change of each source. No number is used twice.
    newest: Mutex<HashMap<String, u64>>,
    changed: broadcast::Sender<String>,
}

/// A source that has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChangedSource {
    Named(String),
    /// Too many changes at once.
    Any,
}

impl ChangedSource {
    /// Whether the source with this name may have changed.
    pub(crate) fn may_be(&self, name: &str) -> bool {
        match self {
            Self::Named(changed) => changed == name,
            Self::Any => true,
        }
    }
}

impl SourceChanges {
    pub(super) fn new() -> Self {
        Self { newest: Mutex::default(), changed: broadcast::Sender::new(KEPT) }
    }

    /// Records that a source has changed.
    pub(super) fn note(&self, name: &str) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let next = newest.values().max().map_or(1, |highest| highest + 1);
        newest.insert(name.to_owned(), next);
        drop(newest);
        // Nobody reads while no policy is evaluated.
        let _ = self.changed.send(name.to_owned());
    }

    /// The number of the newest change. It differs after each change.
    pub(super) fn newest(&self, name: &str) -> Option<u64> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    /// The changes from now on.
    pub(super) fn follow(&self) -> impl Stream<Item = ChangedSource> + Send + use<> {
        stream::unfold(self.changed.subscribe(), |mut changes| async move {
            match changes.recv().await {
                Ok(name) => Some((ChangedSource::Named(name), changes)),
                Err(RecvError::Lagged(_)) => Some((ChangedSource::Any, changes)),
                Err(RecvError::Closed) => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn each_change_of_a_source_is_seen_and_has_a_number_of_its_own() {
        let changes = SourceChanges::new();
        let followed = changes.follow();
        assert_eq!(changes.newest("main"), None);
        changes.note("main");
        changes.note("other");
        let before = changes.newest("main");
        changes.note("main");
        assert_ne!(changes.newest("main"), before);
        let named: Vec<_> = followed.take(3).collect().await;
        assert!(named[0].may_be("main") && named[1].may_be("other") && !named[1].may_be("main"));
        let late = changes.follow();
        (0..=KEPT).for_each(|_| changes.note("main"));
        assert_eq!(late.take(1).collect::<Vec<_>>().await, [ChangedSource::Any], "too many at once");
    }
}
