//! The queries of one policy: the condition, its evidence, its history, and the freshness of
//! its samples. This stage needs no client of the cluster.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use prunella_core::decide::Question;
use prunella_core::observation::{Answer, Freshness, History, Labels, Observation, Unknown, UnknownReason};
use prunella_signals::{Prometheus, Query};
use tracing::debug;

use super::Observer;
use super::schedule::{self, EvaluationSlot};
use super::shared_answer::SharedAnswer;
use crate::report::metrics::ResultLabels;

/// The message when reading an answer panicked.
const NOT_READ: &str = "the answer could not be read: this is a bug, please report it with the log lines above";
/// The longest time that one query may take.
const LONGEST: Duration = Duration::from_secs(10);

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
        let (at, breach) = match observer.sources.get(&self.source) {
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
        Observation { at, breach, evidence: None, history: None, freshness: BTreeMap::new() }
    }

    /// Answers one question of the judgement.
    pub(crate) async fn answer(&self, question: Question, observation: &mut Observation, observer: &Observer) {
        match question {
            Question::Evidence => observation.evidence = Some(self.ask(self.query.evidence(), observer).await),
            Question::History { since } => {
                observation.history = Some(self.history(since, observation.at, observer).await);
            }
            Question::Freshness { target, pins } => {
                let fresh = self.freshness(&pins, observer).await;
                observation.freshness.insert(target.uid, fresh);
            }
        }
    }

    /// Asks which targets were breached during a time without evaluations.
    async fn history(&self, since: Timestamp, until: Timestamp, observer: &Observer) -> History {
        match observer.sources.get(&self.source) {
            Ok(source) => {
                let step = Duration::try_from(self.interval).unwrap_or(LONGEST);
                source.history(self.query.text(), since, until, step, self.deadline()).await
            }
            Err(message) => History::Unknown(Unknown { reason: UnknownReason::SourceNotReady, message }),
        }
    }

    /// Asks whether each selector that the breach needs has a sample now.
    async fn freshness(&self, pins: &Labels, observer: &Observer) -> Freshness {
        let pins: Vec<_> = pins.iter().map(|(label, value)| (label.as_str(), value.as_str())).collect();
        for leaf in self.query.leaves() {
            match self.ask(&leaf.instant_query(&pins), observer).await {
                Answer::Answered(series) if series.is_empty() => return Freshness::Stale,
                Answer::Answered(_) => {}
                Answer::Unknown(_) => return Freshness::Unknown,
            }
        }
        Freshness::Fresh
    }

    /// Asks how old the samples are, if that is due, and moves the evaluation to a time of the
    /// interval at which they are newer.
    pub(crate) async fn learn_ages(&self, observer: &Observer) {
        let interval = Duration::try_from(self.interval).unwrap_or(LONGEST);
        let Some(query) = self.query.ages(interval, schedule::PARTS) else { return };
        let Ok(source) = observer.sources.get(&self.source) else { return };
        let at = observer.authority.now();
        // A short deadline, so that the next evaluation is not late.
        let Answer::Answered(ages) = source.instant(&query, (interval / 4).min(LONGEST)).await else { return };
        if self.slot.learn(at, &ages, Instant::now()) {
            debug!(query = self.query.text(), phase = %self.slot.phase(), "evaluating when samples are new");
        }
    }

    async fn ask(&self, query: &str, observer: &Observer) -> Answer {
        let started = Instant::now();
        let answer = match observer.sources.get(&self.source) {
            Ok(source) => source.instant(query, self.deadline()).await,
            Err(message) => Answer::unknown(UnknownReason::SourceNotReady, message),
        };
        count(&answer, Some(started), observer);
        answer
    }

    /// A query must end within the interval: then the next one is due.
    fn deadline(&self) -> Duration {
        Duration::try_from(self.interval).unwrap_or(LONGEST).min(LONGEST)
    }
}

/// Asks for all policies with the same query.
async fn ask_for_all(source: Arc<Prometheus>, query: Arc<str>, deadline: Duration) -> Answer {
    let answer = AssertUnwindSafe(source.instant(&query, deadline)).catch_unwind().await;
    // Other policies share this answer: a panic must not end their evaluation.
    answer.unwrap_or_else(|_| Answer::unknown(UnknownReason::Malformed, NOT_READ))
}

/// Counts an answer, and how long the source took if it was asked for this policy.
fn count(answer: &Answer, asked: Option<Instant>, observer: &Observer) {
    if let Some(asked) = asked {
        observer.metrics.evaluation_seconds.observe(asked.elapsed().as_secs_f64());
    }
    observer.metrics.evaluations.get_or_create_owned(&ResultLabels { result: answer.as_str() }).inc();
}
