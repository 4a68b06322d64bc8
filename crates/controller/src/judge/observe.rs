//! Stage 2: the source is asked. Its answer is a value; that there is none is a
//! value as well. Needs no client of the cluster.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::FutureExt;
use jiff::Timestamp;
use prunella_core::decide::Question;
use prunella_core::observation::{Answer, Freshness, History, Labels, Observation, Unknown, UnknownReason};
use prunella_signals::Prometheus;
use tracing::debug;

use super::joint::{Company, Joint};
use super::together::Together;
use super::{Compiled, places};
use crate::context::Context;
use crate::metrics::ResultLabels;

/// What is said of an answer at which the program failed.
const NOT_READ: &str = "the answer could not be read: this is a bug, please report it with the lines above in the log";
/// The longest time one query may take.
const LONGEST: Duration = Duration::from_secs(10);

/// The newest question of those that ask the same: the query, and which source was asked it
/// in which manner.
pub(super) type Newest = Together<(Source, Arc<str>, Manner)>;

/// A source, to be told from its successor after a change.
#[derive(Debug)]
pub(super) struct Source(Weak<Prometheus>);

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

/// Whether other conditions may be asked in the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Jointly,
    Alone,
}

/// Asks for whom the condition is breached, now or, on behalf of this one as well, since `due`.
pub(super) async fn breach(
    compiled: &Compiled,
    due: Option<Timestamp>,
    manner: Manner,
    context: &Context,
) -> Observation {
    let begun = Instant::now();
    // The instant before asking. The server evaluates later, so nothing is taken for longer
    // than it was.
    let now = context.now();
    let (at, breach) = match context.sources.get(&compiled.source) {
        Ok(source) => {
            let (query, deadline) = (compiled.query.shared_text(), deadline(compiled));
            let place = &compiled.place;
            let jointly = manner == Manner::Jointly && compiled.query.may_join();
            let others = jointly.then(|| (Arc::clone(&context.joint), Arc::clone(&place.company)));
            if place.is_shared() {
                let question = (Source(Arc::downgrade(&source)), Arc::clone(&query), manner);
                let ask = || ask_for_all(source, query, deadline, others);
                place.newest.ask(question, due.unwrap_or(now), now, ask).await
            } else {
                (now, ask_for_all(source, query, deadline, others).await)
            }
        }
        Err(message) => (now, Answer::unknown(UnknownReason::SourceNotReady, message)),
    };
    count(&breach, (at == now).then_some(begun), context);
    Observation { at, breach, evidence: None, history: None, freshness: BTreeMap::new() }
}

/// Asks on behalf of all that ask the same.
async fn ask_for_all(
    source: Arc<Prometheus>,
    query: Arc<str>,
    deadline: Duration,
    others: Option<(Arc<Joint>, Arc<Company>)>,
) -> Answer {
    let asked = async {
        match &others {
            Some((joint, company)) => joint.ask(&source, &query, deadline, company).await,
            None => source.instant(&query, deadline).await,
        }
    };
    let answer = AssertUnwindSafe(asked).catch_unwind().await;
    // A panic is nobody else's: whoever joined must not fall with it.
    answer.unwrap_or_else(|_| Answer::unknown(UnknownReason::Malformed, NOT_READ))
}

/// Answers one question of the judgement.
pub(super) async fn answer(compiled: &Compiled, question: Question, observation: &mut Observation, context: &Context) {
    match question {
        Question::Evidence => observation.evidence = Some(ask(compiled, compiled.query.evidence(), context).await),
        Question::History { since } => {
            observation.history = Some(history(compiled, since, observation.at, context).await);
        }
        Question::Freshness { target, pins } => {
            let fresh = freshness(compiled, &pins, context).await;
            observation.freshness.insert(target.uid, fresh);
        }
    }
}

/// Asks who was breached when, while nobody looked.
async fn history(compiled: &Compiled, since: Timestamp, until: Timestamp, context: &Context) -> History {
    match context.sources.get(&compiled.source) {
        Ok(source) => {
            let step = Duration::try_from(compiled.policy.interval).unwrap_or(LONGEST);
            source.history(compiled.query.text(), since, until, step, deadline(compiled)).await
        }
        Err(message) => History::Unknown(Unknown { reason: UnknownReason::SourceNotReady, message }),
    }
}

/// Asks each selector that the breach needs whether it has a sample right now.
async fn freshness(compiled: &Compiled, pins: &Labels, context: &Context) -> Freshness {
    let pins: Vec<_> = pins.iter().map(|(label, value)| (label.as_str(), value.as_str())).collect();
    for leaf in compiled.query.leaves() {
        match ask(compiled, &leaf.instant_query(&pins), context).await {
            Answer::Answered(series) if series.is_empty() => return Freshness::Stale,
            Answer::Answered(_) => {}
            Answer::Unknown(_) => return Freshness::Unknown,
        }
    }
    Freshness::Fresh
}

/// Asks how old the samples are at this place of the interval, and goes where they are
/// younger.
pub(super) async fn ages(compiled: &Compiled, context: &Context) {
    let interval = Duration::try_from(compiled.policy.interval).unwrap_or(LONGEST);
    let Some(query) = compiled.query.ages(interval, places::PARTS) else { return };
    let Ok(source) = context.sources.get(&compiled.source) else { return };
    // Not so long that the next look would be late.
    let at = context.now();
    let Answer::Answered(ages) = source.instant(&query, (interval / 4).min(LONGEST)).await else { return };
    if compiled.place.learn(at, &ages, Instant::now()) {
        debug!(policy = %compiled.policy.key, phase = %compiled.place.phase(), "looks where samples are new");
    }
}

async fn ask(compiled: &Compiled, query: &str, context: &Context) -> Answer {
    let begun = Instant::now();
    let answer = match context.sources.get(&compiled.source) {
        Ok(source) => source.instant(query, deadline(compiled)).await,
        Err(message) => Answer::unknown(UnknownReason::SourceNotReady, message),
    };
    count(&answer, Some(begun), context);
    answer
}

/// Counts a look, and how long the source took if it was asked for this one.
fn count(answer: &Answer, asked: Option<Instant>, context: &Context) {
    if let Some(asked) = asked {
        context.metrics.evaluation_seconds.observe(asked.elapsed().as_secs_f64());
    }
    context.metrics.evaluations.get_or_create_owned(&ResultLabels { result: answer.as_str() }).inc();
}

/// A query must not outlast the interval: the next one would be due.
fn deadline(compiled: &Compiled) -> Duration {
    Duration::try_from(compiled.policy.interval).unwrap_or(LONGEST).min(LONGEST)
}
