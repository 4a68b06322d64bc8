//! How many policies are evaluated at once. No namespace has more than its share, so slow queries
//! of one tenant delay the policies of that tenant and not those of the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A namespace may have one in so many of all evaluations.
const SHARES: usize = 4;

/// The turns of all namespaces.
#[derive(Debug)]
pub(crate) struct EvaluationTurns {
    all: Arc<Semaphore>,
    share: usize,
    by_namespace: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// The right to evaluate one policy now.
#[derive(Debug)]
pub(crate) struct EvaluationTurn {
    // Fields are dropped in this order. The turn is free before the share is, so an evaluation that
    // gets the share finds a turn.
    _of_all: OwnedSemaphorePermit,
    _of_namespace: OwnedSemaphorePermit,
}

impl EvaluationTurns {
    /// At most `at_once` evaluations, and a quarter of them, but at least one, in each namespace.
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(at_once.max(1))),
            share: (at_once / SHARES).max(1),
            by_namespace: Mutex::default(),
        }
    }

    /// Waits for a turn. A namespace that has its share waits without a place in the line of all,
    /// so the line is short for everybody else.
    pub(crate) async fn take(&self, namespace: &str) -> Option<EvaluationTurn> {
        let of_namespace = self.of(namespace).acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(EvaluationTurn { _of_all: of_all, _of_namespace: of_namespace })
    }

    fn of(&self, namespace: &str) -> Arc<Semaphore> {
        // No operation under the lock can stop halfway.
        let mut by_namespace = self.by_namespace.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = by_namespace.get(namespace) {
            return Arc::clone(known);
        }
        if by_namespace.len() == by_namespace.capacity() {
            // Permits and waiting evaluations keep a reference.
            by_namespace.retain(|_, turns| Arc::strong_count(turns) > 1);
        }
        let turns = Arc::new(Semaphore::new(self.share));
        by_namespace.insert(namespace.to_owned(), Arc::clone(&turns));
        turns
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn now(turns: &EvaluationTurns, namespace: &str) -> Option<EvaluationTurn> {
        turns.take(namespace).now_or_never().flatten()
    }

    #[test]
    fn slow_queries_of_one_namespace_leave_turns_for_the_others() {
        let turns = EvaluationTurns::new(8);
        let slow: Vec<_> = (0..100).map_while(|_| now(&turns, "slow")).collect();
        assert_eq!(slow.len(), 2);
        let (other, third) = (now(&turns, "other"), now(&turns, "third"));
        assert!(other.is_some() && third.is_some());
        drop(slow);
        assert!(now(&turns, "slow").is_some(), "a turn that has ended is free again");
    }

    #[test]
    fn an_evaluation_that_waits_for_its_share_holds_up_nobody() {
        let turns = EvaluationTurns::new(4);
        let _slow = now(&turns, "slow").unwrap();
        let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(turns.take("slow"))).collect();
        assert!(waiting.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        assert!(now(&turns, "other").is_some());
    }

    #[test]
    fn one_evaluation_is_always_possible() {
        let turns = EvaluationTurns::new(1);
        assert!(now(&turns, "shop").is_some());
        assert!(now(&turns, "other").is_some());
    }

    #[test]
    fn namespaces_without_an_evaluation_are_forgotten() {
        let turns = EvaluationTurns::new(8);
        for number in 0..10_000 {
            drop(now(&turns, &format!("preview-{number}")));
        }
        assert!(turns.by_namespace.lock().unwrap().len() < 100);
    }
}
