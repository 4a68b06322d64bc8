//! The queries of one policy: the condition, its evidence, its history, and the freshness of
//! its samples. This stage needs no client of the cluster.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

use futures::FutureExt;
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use prunella_core::decide::Question;
use prunella_core::observation::{
    Answer, Freshness, History, Labels, Observation, Operands, Series, Unknown, UnknownReason,
};
use prunella_core::target::Uid;
use prunella_signals::query::OPERAND;
use prunella_signals::{Prometheus, Query};
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::debug;

use super::schedule::{self, EvaluationSlot};
use super::shared_answer::SharedAnswer;
use super::{Observer, SourceAccess};
use crate::report::metrics::ResultLabels;

/// The message when reading an answer panicked.
const NOT_READ: &str = "the answer could not be read: this is a bug, please report it with the log lines above";
/// The longest time that all requests of one evaluation may take.
const LONGEST: Duration = Duration::from_secs(10);
/// How many requests of one evaluation are in flight at once.
const REQUESTS_AT_ONCE: usize = 8;

/// Over how long samples are counted: twice the longest lookback.
const COUNTED_OVER: Duration = Duration::from_mins(10);

/// The newest request of all policies with the same query.
pub(super) type NewestAnswer = SharedAnswer<(SourceIdentity, Arc<str>)>;

/// Distinguishes a source from the one that replaces it after a change.
#[derive(Debug)]
pub(super) struct SourceIdentity(Weak<Prometheus>);

impl PartialEq for SourceIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

/// The queries of one policy.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The name of the source.
    pub(crate) source: String,
    /// What the source allowed when the queries were compiled.
    pub(crate) access: Option<Arc<SourceAccess>>,
    /// The condition.
    pub(crate) query: Query,
    /// The time between two evaluations.
    pub(crate) interval: SignedDuration,
    /// When in the interval the policy is evaluated.
    pub(crate) slot: Arc<EvaluationSlot>,
}

impl Subscription {
    /// Asks which targets are breached. With `due`, an answer that another policy with the
    /// same query has asked for since then is used.
    pub(crate) async fn breach(&self, due: Option<Timestamp>, observer: &Observer) -> Observation {
        let started = Instant::now();
        // The instant before asking. The server evaluates later, so nothing counts for longer
        // than it was true.
        let now = observer.authority.now();
        let (at, breach) = match self.client(observer) {
            Ok(source) => {
                let (query, deadline) = (self.query.shared_text(), self.deadline());
                if self.slot.is_shared() {
                    let question = (SourceIdentity(Arc::downgrade(&source)), Arc::clone(&query));
                    let ask = || ask_for_all(source, query, deadline);
                    self.slot.newest.ask(question, due.unwrap_or(now), now, ask).await
                } else {
                    (now, ask_for_all(source, query, deadline).await)
                }
            }
            Err(message) => (now, Answer::unknown(UnknownReason::SourceNotReady, message)),
        };
        count(&breach, (at == now).then_some(started), observer);
        let breach = if self.query.counts_infinity() { breach } else { finite(breach) };
        Observation { at, breach, evidence: None, history: None, freshness: BTreeMap::new(), operands: None }
    }

    /// Answers the questions of the judgement, all of them at once, and adds the answers to
    /// `observation`. What is not answered by `until` stays unknown.
    pub(crate) async fn answer(
        &self,
        questions: Vec<Question>,
        observation: &mut Observation,
        until: Instant,
        observer: &Observer,
    ) {
        let requests = Requests { permits: Semaphore::new(REQUESTS_AT_ONCE), until };
        let at = observation.at;
        let answers = questions.into_iter().map(|question| self.reply(question, at, &requests, observer));
        for reply in join_all(answers).await {
            match reply {
                Reply::Evidence(answer) => observation.evidence = Some(answer),
                Reply::Operands(operands) => observation.operands = Some(operands),
                Reply::History(history) => observation.history = Some(history),
                Reply::Freshness(target, freshness) => drop(observation.freshness.insert(target, freshness)),
            }
        }
    }

    async fn reply(&self, question: Question, at: Timestamp, requests: &Requests, observer: &Observer) -> Reply {
        match question {
            Question::Evidence => {
                let evidence = self.ask(self.query.evidence(), requests, observer).await;
                // What is no breach because it is infinite is no health either.
                Reply::Evidence(if self.query.counts_infinity() { evidence } else { finite(evidence) })
            }
            Question::Operands => Reply::Operands(self.operands(requests, observer).await),
            Question::History { since } => Reply::History(self.history(since, at, requests, observer).await),
            Question::Freshness { target, pins } => {
                Reply::Freshness(target.uid, self.freshness(&pins, requests, observer).await)
            }
        }
    }

    /// Asks which targets were breached during a time without evaluations.
    async fn history(&self, since: Timestamp, until: Timestamp, requests: &Requests, observer: &Observer) -> History {
        let Some((_permit, deadline)) = requests.start().await else { return History::Unknown(out_of_time()) };
        match self.client(observer) {
            Ok(source) => {
                let step = Duration::try_from(self.interval).unwrap_or(LONGEST);
                source.history(self.query.text(), since, until, step, deadline).await
            }
            Err(message) => History::Unknown(Unknown { reason: UnknownReason::SourceNotReady, message }),
        }
    }

    /// Asks whether each metric that a breach needs has series.
    async fn operands(&self, requests: &Requests, observer: &Observer) -> Operands {
        let Some(query) = self.query.missing_operands() else { return Operands::AllReported };
        let Answer::Answered(series) = self.ask(&query, requests, observer).await else { return Operands::Unknown };
        let number = |series: &Series| series.labels.get(OPERAND)?.parse::<usize>().ok();
        let missing = series.iter().filter_map(number).min();
        let operands = self.query.operands();
        missing
            .and_then(|number| operands.get(number))
            .map_or(Operands::AllReported, |one| Operands::Missing(one.name()))
    }

    /// Asks whether each selector that decides about the breach has a sample now.
    async fn freshness(&self, pins: &Labels, requests: &Requests, observer: &Observer) -> Freshness {
        let pins: Vec<_> = pins.iter().map(|(label, value)| (label.as_str(), value.as_str())).collect();
        let leaves = self.query.leaves();
        let queries: Vec<String> = leaves.iter().map(|leaf| leaf.instant_query(&pins)).collect();
        let answers = join_all(queries.iter().map(|query| self.ask(query, requests, observer))).await;
        // One leaf without a sample is enough, whatever the others say.
        let mut freshness = Freshness::Fresh;
        for (leaf, answer) in leaves.iter().zip(answers) {
            match answer {
                Answer::Answered(series) if series.is_empty() => return Freshness::Stale(leaf.complaint()),
                Answer::Answered(_) => {}
                Answer::Unknown(_) => freshness = Freshness::Unknown,
            }
        }
        freshness
    }

    /// Asks how old the samples are, if that is due, and moves the evaluation to a time of the
    /// interval at which they are newer.
    pub(crate) async fn learn_ages(&self, observer: &Observer) {
        let interval = Duration::try_from(self.interval).unwrap_or(LONGEST);
        let Some(query) = self.query.ages(interval, schedule::PARTS) else { return };
        let Ok(source) = self.client(observer) else { return };
        let at = observer.authority.now();
        // A short deadline, so that the next evaluation is not late.
        let deadline = (interval / 4).min(LONGEST);
        let Answer::Answered(ages) = source.instant(&query, deadline).await else { return };
        if self.slot.learn(at, &ages, Instant::now()) {
            debug!(query = self.query.text(), phase = %self.slot.phase(), "evaluating when samples are new");
        }
        if !self.slot.is_spacing_due(Instant::now()) {
            return;
        }
        let Some(query) = self.query.samples_in(COUNTED_OVER) else { return };
        if let Answer::Answered(samples) = source.instant(&query, deadline).await {
            self.slot.learn_spacing(COUNTED_OVER, &samples);
        }
    }

    /// A warning if the samples are further apart than the lookback: then the series come and go, and
    /// a breach is seen only part of the time.
    pub(crate) fn too_sparse(&self, observer: &Observer) -> Option<String> {
        let spacing = self.slot.spacing()?;
        let lookback = self.client(observer).ok()?.lookback();
        (spacing > lookback).then(|| {
            let seconds = |time: Duration| (time.as_secs_f64() * 2.0).round() / 2.0;
            format!(
                "samples are {} s apart, lookback is {} s: set scrapeInterval on the source",
                seconds(spacing).round(),
                seconds(lookback)
            )
        })
    }

    /// The client of the source, or why there is none.
    fn client(&self, observer: &Observer) -> Result<Arc<Prometheus>, String> {
        observer.sources.get(&self.source, self.access.as_deref())
    }

    async fn ask(&self, query: &str, requests: &Requests, observer: &Observer) -> Answer {
        let Some((_permit, deadline)) = requests.start().await else { return Answer::Unknown(out_of_time()) };
        let started = Instant::now();
        let answer = match self.client(observer) {
            Ok(source) => source.instant(query, deadline).await,
            Err(message) => Answer::unknown(UnknownReason::SourceNotReady, message),
        };
        count(&answer, Some(started), observer);
        answer
    }

    /// How long all requests of one evaluation may take together: at most the interval, because
    /// then the next evaluation is due.
    pub(crate) fn deadline(&self) -> Duration {
        Duration::try_from(self.interval).unwrap_or(LONGEST).min(LONGEST)
    }
}

/// An answer to a question of the judgement.
enum Reply {
    Evidence(Answer),
    Operands(Operands),
    History(History),
    Freshness(Uid, Freshness),
}

/// The requests of one evaluation: few at the same time, and one deadline for all of them.
struct Requests {
    permits: Semaphore,
    until: Instant,
}

impl Requests {
    /// Waits until one more request may be sent. Returns how long it may take, and the permit,
    /// which is to be kept until the answer. `None`: the time of the evaluation is over.
    async fn start(&self) -> Option<(SemaphorePermit<'_>, Duration)> {
        let permit = tokio::time::timeout_at(self.until, self.permits.acquire()).await.ok()?.ok()?;
        let left = self.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some((permit, left))
    }
}

fn out_of_time() -> Unknown {
    let message = "the requests of one evaluation took longer than the interval, or than 10s";
    Unknown { reason: UnknownReason::Timeout, message: message.to_owned() }
}

/// Asks for all policies with the same query.
async fn ask_for_all(source: Arc<Prometheus>, query: Arc<str>, deadline: Duration) -> Answer {
    let answer = AssertUnwindSafe(source.instant(&query, deadline)).catch_unwind().await;
    // Other policies share this answer: a panic must not end their evaluation.
    answer.unwrap_or_else(|_| Answer::unknown(UnknownReason::Malformed, NOT_READ))
}

/// The answer without infinite values: a division by zero is no breach.
fn finite(answer: Answer) -> Answer {
    match answer {
        Answer::Answered(mut series) => {
            series.retain(|one| !one.value.is_infinite());
            Answer::Answered(series)
        }
        unknown @ Answer::Unknown(_) => unknown,
    }
}

/// Counts an answer, and how long the source took if it was asked for this policy.
fn count(answer: &Answer, asked: Option<Instant>, observer: &Observer) {
    if let Some(asked) = asked {
        observer.metrics.evaluation_seconds.observe(asked.elapsed().as_secs_f64());
    }
    observer.metrics.evaluations.get_or_create_owned(&ResultLabels { result: answer.as_str() }).inc();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_requests_of_an_evaluation_share_one_deadline_and_few_are_in_flight_at_once() {
        let soon = Duration::from_millis(50);
        let requests = Requests { permits: Semaphore::new(2), until: Instant::now() + soon };
        let (one, two) = (requests.start().await.unwrap(), requests.start().await.unwrap());
        assert!(one.1 <= soon && two.1 <= soon, "no request may last longer than the evaluation");
        assert!(requests.start().await.is_none(), "the third waits until the evaluation is over");
        drop((one, two));
        assert!(requests.start().await.is_none(), "nothing is sent after the end");
    }
}
