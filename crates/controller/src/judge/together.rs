//! Policies that ask the same at the same place of the same interval ask once, whatever
//! tenant they are of: each takes an answer that was asked for at its own look or after.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use jiff::{SignedDuration, Timestamp};

/// How old an answer may be for somebody whose look is late.
const OLD: SignedDuration = SignedDuration::from_secs(1);

/// The newest question of those that ask the same.
pub(super) struct Together<W, A> {
    newest: Mutex<Option<Asked<W, A>>>,
}

struct Asked<W, A> {
    /// Who is asked: a changed source answers nobody's question to its predecessor.
    whom: W,
    at: Timestamp,
    answer: Shared<BoxFuture<'static, A>>,
}

impl<W: PartialEq, A: Clone + Send + Sync + 'static> Together<W, A> {
    /// The answer of `whom`, with the instant before it was asked for: one that somebody has
    /// asked for since `due`, or is asking for, else that of `ask`. It is kept for who comes
    /// later if `is_shared`.
    pub(super) async fn ask<F>(
        &self,
        whom: W,
        due: Timestamp,
        now: Timestamp,
        is_shared: bool,
        ask: impl FnOnce() -> F,
    ) -> (Timestamp, A)
    where
        F: Future<Output = A> + Send + 'static,
    {
        let (at, answer) = {
            // Nothing can be half done under the lock.
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            let of_now = |asked: &&Asked<W, A>| {
                let is_young = now.duration_since(asked.at) <= OLD;
                asked.whom == whom && ((asked.at >= due && is_young) || asked.answer.peek().is_none())
            };
            if let Some(asked) = newest.as_ref().filter(of_now) {
                (asked.at, asked.answer.clone())
            } else {
                let answer = ask().boxed().shared();
                *newest = is_shared.then(|| Asked { whom, at: now, answer: answer.clone() });
                (now, answer)
            }
        };
        (at, answer.await)
    }
}

impl<W, A> Default for Together<W, A> {
    fn default() -> Self {
        Self { newest: Mutex::default() }
    }
}

impl<W, A> fmt::Debug for Together<W, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Together").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn second(at: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(at)
    }

    fn milli(at: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_millis(at)
    }

    #[tokio::test]
    async fn an_answer_is_for_all_whose_look_was_due_when_it_was_asked_for() {
        let together: Together<&str, usize> = Together::default();
        let ask = |due, now, answer| together.ask("main", due, now, true, move || async move { answer });
        assert_eq!(ask(milli(5000), milli(5010), 1).await, (milli(5010), 1));
        assert_eq!(ask(milli(5000), milli(5700), 2).await, (milli(5010), 1), "its look was due, and is late");
        assert_eq!(ask(milli(5010), milli(5011), 3).await, (milli(5010), 1));
        assert_eq!(ask(milli(5011), milli(5011), 4).await, (milli(5011), 4), "it wants what is so after the answer");
        assert_eq!(ask(milli(5000), milli(6012), 5).await, (milli(6012), 5), "so late is an old answer no answer");
    }

    #[tokio::test]
    async fn another_source_is_asked_anew_and_what_nobody_shares_is_not_kept() {
        let together: Together<&str, usize> = Together::default();
        let ask = |whom, is_shared, answer| {
            together.ask(whom, second(5), second(5), is_shared, move || async move { answer })
        };
        assert_eq!(ask("main", true, 1).await.1, 1);
        assert_eq!(ask("other", true, 2).await.1, 2);
        assert_eq!(ask("main", false, 3).await.1, 3);
        assert_eq!(ask("main", true, 4).await.1, 4);
    }

    #[tokio::test]
    async fn what_is_being_asked_is_asked_once_and_who_asked_first_may_go() {
        let together: Together<&str, usize> = Together::default();
        let (answer, answered) = oneshot::channel::<usize>();
        let mut first =
            Box::pin(together.ask("main", second(5), second(5), true, || async { answered.await.unwrap() }));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second_one = Box::pin(together.ask("main", second(6), second(6), true, || async { 0 }));
        assert!(second_one.as_mut().now_or_never().is_none());
        drop(first);
        answer.send(7).unwrap();
        assert_eq!(second_one.await, (second(5), 7));
        assert_eq!(together.ask("main", second(6), second(6), true, || async { 8 }).await, (second(6), 8));
    }
}
