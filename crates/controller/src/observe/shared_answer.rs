//! Policies with the same query, source and interval share one request, also across namespaces. A
//! policy uses the answer to a request that was sent since its own evaluation was due.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use jiff::{SignedDuration, Timestamp};
use prunella_core::observation::Answer;

/// The highest age of an answer that a late evaluation may still use.
const MAX_AGE: SignedDuration = SignedDuration::from_secs(1);

/// The newest request for the answer to a question `Q`. It is kept until the next one.
pub(super) struct SharedAnswer<Q> {
    newest: Mutex<Option<SharedRequest<Q>>>,
}

struct SharedRequest<Q> {
    question: Q,
    /// The instant before it was sent.
    at: Timestamp,
    answer: Shared<BoxFuture<'static, Answer>>,
}

impl<Q: PartialEq> SharedRequest<Q> {
    /// Whether an evaluation that asks `question` now, and was due at `due`, can use the answer.
    fn serves(&self, question: &Q, due: Timestamp, now: Timestamp) -> bool {
        let age = now.duration_since(self.at);
        // A negative age means that the clock was set back.
        let is_young = !age.is_negative() && age <= MAX_AGE;
        // A request that failed must not leave the other policies without an answer.
        let is_good = self.answer.peek().is_none_or(|answer| matches!(answer, Answer::Answered(_)));
        self.question == *question && self.at >= due && is_young && is_good
    }
}

impl<Q: PartialEq> SharedAnswer<Q> {
    /// Returns the answer to `question`, and the instant before it was asked for. If there is a request
    /// that was sent since `due`, its answer is used, also if it has not arrived yet. Otherwise `ask`
    /// sends a request, which is kept for other policies.
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
            // No operation under the lock can stop halfway.
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(asked) = newest.as_ref().filter(|asked| asked.serves(&question, due, now)) {
                (asked.at, asked.answer.clone())
            } else {
                let answer = ask().boxed().shared();
                *newest = Some(SharedRequest { question, at: now, answer: answer.clone() });
                (now, answer)
            }
        };
        (at, answer.await)
    }
}

impl<Q> Default for SharedAnswer<Q> {
    fn default() -> Self {
        Self { newest: Mutex::default() }
    }
}

impl<Q> fmt::Debug for SharedAnswer<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedAnswer").finish_non_exhaustive()
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
    async fn an_answer_is_shared_by_all_evaluations_that_were_due_when_it_was_asked_for() {
        let shared: SharedAnswer<&str> = SharedAnswer::default();
        let ask = |due, now, value| shared.ask("up", milli(due), milli(now), move || async move { answer(value) });
        assert_eq!(ask(5000, 5010, 1.0).await, (milli(5010), answer(1.0)));
        assert_eq!(ask(5000, 5700, 2.0).await, (milli(5010), answer(1.0)), "an evaluation that was due and is late");
        assert_eq!(ask(5010, 5011, 3.0).await, (milli(5010), answer(1.0)));
        assert_eq!(
            ask(5011, 5011, 4.0).await,
            (milli(5011), answer(4.0)),
            "an evaluation that is due after that request"
        );
        assert_eq!(ask(5000, 6012, 5.0).await, (milli(6012), answer(5.0)), "the answer is too old");
        assert_eq!(ask(2000, 2000, 6.0).await, (milli(2000), answer(6.0)), "the clock was set back");
    }

    #[tokio::test]
    async fn only_an_answer_to_the_same_question_is_shared() {
        let shared: SharedAnswer<&str> = SharedAnswer::default();
        let ask = |question, value| shared.ask(question, milli(5), milli(5), move || async move { answer(value) });
        assert_eq!(ask("up", 1.0).await.1, answer(1.0));
        assert_eq!(ask("down", 2.0).await.1, answer(2.0));
        assert_eq!(ask("up", 3.0).await.1, answer(3.0));
    }

    #[tokio::test]
    async fn a_failed_request_is_not_shared() {
        let shared: SharedAnswer<&str> = SharedAnswer::default();
        let none = || Answer::unknown(UnknownReason::Unreachable, "connection reset");
        assert_eq!(shared.ask("up", milli(5), milli(5), || async move { none() }).await.1, none());
        assert_eq!(shared.ask("up", milli(5), milli(6), || async { answer(1.0) }).await.1, answer(1.0));
    }

    #[tokio::test]
    async fn a_request_in_flight_is_shared_and_survives_the_evaluation_that_sent_it() {
        let shared: SharedAnswer<&str> = SharedAnswer::default();
        let (send, received) = oneshot::channel();
        let mut first = Box::pin(shared.ask("up", milli(5), milli(5), || async { received.await.unwrap() }));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(shared.ask("up", milli(4), milli(6), || async { answer(0.0) }));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        send.send(answer(7.0)).unwrap();
        assert_eq!(second.await, (milli(5), answer(7.0)));
    }
}
