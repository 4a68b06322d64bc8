//! Policies that ask the same at the same place of the same interval ask once, whatever
//! tenant they are of: each takes an answer that was asked for since its own look was due.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use jiff::{SignedDuration, Timestamp};
use prunella_core::observation::Answer;

/// How old an answer may be for somebody whose look is late.
const OLD: SignedDuration = SignedDuration::from_secs(1);

/// The newest question `Q` of those that ask the same. It is kept until the next one.
pub(super) struct Together<Q> {
    newest: Mutex<Option<Asked<Q>>>,
}

struct Asked<Q> {
    question: Q,
    at: Timestamp,
    answer: Shared<BoxFuture<'static, Answer>>,
}

impl<Q: PartialEq> Asked<Q> {
    /// Whether it is for somebody who asks `question` now, and should have since `due`.
    fn is_for(&self, question: &Q, due: Timestamp, now: Timestamp) -> bool {
        let age = now.duration_since(self.at);
        // Asked for in the future: the clock was set back.
        let is_young = !age.is_negative() && age <= OLD;
        // That somebody else got no answer must not blind everybody.
        let is_good = self.answer.peek().is_none_or(|answer| matches!(answer, Answer::Answered(_)));
        self.question == *question && self.at >= due && is_young && is_good
    }
}

impl<Q: PartialEq> Together<Q> {
    /// An answer to `question` that somebody has asked for since `due`, or is asking for, else
    /// that of `ask`, with the instant before it was asked for. It is kept for who comes later.
    pub(super) async fn ask<F>(
        &self,
        question: Q,
        due: Timestamp,
        now: Timestamp,
        ask: impl FnOnce() -> F,
    ) -> (Timestamp, Answer)
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let (at, answer) = {
            // Nothing can be half done under the lock.
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(asked) = newest.as_ref().filter(|asked| asked.is_for(&question, due, now)) {
                (asked.at, asked.answer.clone())
            } else {
                let answer = ask().boxed().shared();
                *newest = Some(Asked { question, at: now, answer: answer.clone() });
                (now, answer)
            }
        };
        (at, answer.await)
    }
}

impl<Q> Default for Together<Q> {
    fn default() -> Self {
        Self { newest: Mutex::default() }
    }
}

impl<Q> fmt::Debug for Together<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Together").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prunella_core::observation::{Series, UnknownReason};
    use tokio::sync::oneshot;

    fn milli(at: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_millis(at)
    }

    fn answer(value: f64) -> Answer {
        Answer::Answered(vec![Series { labels: [].into(), value }])
    }

    #[tokio::test]
    async fn an_answer_is_for_all_whose_look_was_due_when_it_was_asked_for() {
        let together: Together<&str> = Together::default();
        let ask = |due, now, value| together.ask("up", milli(due), milli(now), move || async move { answer(value) });
        assert_eq!(ask(5000, 5010, 1.0).await, (milli(5010), answer(1.0)));
        assert_eq!(ask(5000, 5700, 2.0).await, (milli(5010), answer(1.0)), "its look was due, and is late");
        assert_eq!(ask(5010, 5011, 3.0).await, (milli(5010), answer(1.0)));
        assert_eq!(ask(5011, 5011, 4.0).await, (milli(5011), answer(4.0)), "it wants what is so after that answer");
        assert_eq!(ask(5000, 6012, 5.0).await, (milli(6012), answer(5.0)), "an answer is of no use so much later");
        assert_eq!(ask(2000, 2000, 6.0).await, (milli(2000), answer(6.0)), "the clock was set back");
    }

    #[tokio::test]
    async fn only_an_answer_to_the_same_question_is_shared() {
        let together: Together<&str> = Together::default();
        let ask = |question, value| together.ask(question, milli(5), milli(5), move || async move { answer(value) });
        assert_eq!(ask("up", 1.0).await.1, answer(1.0));
        assert_eq!(ask("down", 2.0).await.1, answer(2.0));
        assert_eq!(ask("up", 3.0).await.1, answer(3.0));
    }

    #[tokio::test]
    async fn that_one_got_no_answer_keeps_nobody_else_from_asking() {
        let together: Together<&str> = Together::default();
        let none = || Answer::unknown(UnknownReason::Unreachable, "connection reset");
        assert_eq!(together.ask("up", milli(5), milli(5), || async move { none() }).await.1, none());
        assert_eq!(together.ask("up", milli(5), milli(6), || async { answer(1.0) }).await.1, answer(1.0));
    }

    #[tokio::test]
    async fn what_is_being_asked_is_asked_once_and_who_asked_first_may_go() {
        let together: Together<&str> = Together::default();
        let (tell, told) = oneshot::channel();
        let mut first = Box::pin(together.ask("up", milli(5), milli(5), || async { told.await.unwrap() }));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(together.ask("up", milli(4), milli(6), || async { answer(0.0) }));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        tell.send(answer(7.0)).unwrap();
        assert_eq!(second.await, (milli(5), answer(7.0)));
    }
}
