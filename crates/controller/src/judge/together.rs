//! Policies that ask the same at the same time ask once: their looks coincide (see
//! `phase` in `compile.rs`), and so do their questions, whatever tenant they are of.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};

/// The questions under way.
pub(crate) struct Together<K, A> {
    under_way: Mutex<HashMap<K, WeakShared<BoxFuture<'static, A>>>>,
}

impl<K: Eq + Hash + Clone, A: Clone + Send + Sync + 'static> Together<K, A> {
    /// The answer to `question`: of whoever asks it already, else of `ask`.
    pub(super) async fn ask<F>(&self, question: K, ask: impl FnOnce() -> F) -> A
    where
        F: Future<Output = A> + Send + 'static,
    {
        let answer = self.join(&question, ask).await;
        let mut under_way = self.under_way();
        if under_way.get(&question).is_some_and(|asked| still_open(asked).is_none()) {
            under_way.remove(&question);
        }
        answer
    }

    fn join<F>(&self, question: &K, ask: impl FnOnce() -> F) -> Shared<BoxFuture<'static, A>>
    where
        F: Future<Output = A> + Send + 'static,
    {
        let mut under_way = self.under_way();
        if let Some(earlier) = under_way.get(question).and_then(still_open) {
            return earlier;
        }
        let asked = ask().boxed().shared();
        if let Some(weak) = asked.downgrade() {
            under_way.insert(question.clone(), weak);
        }
        asked
    }

    // Nothing can be half done under the lock.
    fn under_way(&self) -> MutexGuard<'_, HashMap<K, WeakShared<BoxFuture<'static, A>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is not answered yet. To who asks only now an answer that is there
/// already would be old news.
fn still_open<A: Clone>(asked: &WeakShared<BoxFuture<'static, A>>) -> Option<Shared<BoxFuture<'static, A>>> {
    asked.upgrade().filter(|asked| asked.peek().is_none())
}

impl<K, A> Default for Together<K, A> {
    fn default() -> Self {
        Self { under_way: Mutex::default() }
    }
}

impl<K, A> fmt::Debug for Together<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Together").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn who_asks_what_is_being_asked_gets_that_answer_and_who_comes_later_a_new_one() {
        let together: Together<&str, usize> = Together::default();
        let asked = Arc::new(AtomicUsize::new(0));
        let (answer, answered) = oneshot::channel();
        let count = |until: Option<oneshot::Receiver<()>>| {
            let asked = Arc::clone(&asked);
            async move {
                if let Some(until) = until {
                    until.await.unwrap();
                }
                asked.fetch_add(1, Ordering::SeqCst) + 1
            }
        };
        let first = together.ask("a", || count(Some(answered)));
        let second = together.ask("a", || count(None));
        let other = together.ask("b", || count(None));
        let third = async {
            // Both others are at it by now: `join!` polls in order.
            answer.send(()).unwrap();
        };
        let (first, second, other, ()) = tokio::join!(first, second, other, third);
        assert_eq!((first, second, other), (2, 2, 1), "the other question was answered at once, and alone");
        assert_eq!(together.ask("a", || count(None)).await, 3, "an old answer is given to nobody");
        assert!(together.under_way().is_empty());
    }

    #[tokio::test]
    async fn an_answer_that_somebody_has_not_fetched_yet_is_given_to_nobody_new() {
        let together: Together<&str, usize> = Together::default();
        let slow = together.join(&"a", || async { 1 });
        let quick = together.join(&"a", || async { 2 });
        assert_eq!(quick.await, 1);
        let late = together.join(&"a", || async { 3 });
        assert_eq!((slow.await, late.await), (1, 3));
    }

    #[tokio::test]
    async fn who_asked_first_may_go_and_the_others_are_answered_all_the_same() {
        let together: Together<&str, usize> = Together::default();
        let (answer, answered) = oneshot::channel::<usize>();
        let mut first = Box::pin(together.ask("a", || async { answered.await.unwrap() }));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(together.ask("a", || async { 0 }));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        answer.send(7).unwrap();
        assert_eq!(second.await, 7);
        assert_eq!(together.ask("a", || async { 8 }).await, 8);
    }
}
