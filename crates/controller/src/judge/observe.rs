//! Stage 2: the source is asked. Its answer is a value; that there is none is a
//! value as well. Needs no client of the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use prunella_core::decide::Question;
use prunella_core::observation::{Answer, Freshness, History, Labels, Observation, Unknown, UnknownReason};
use prunella_signals::Prometheus;

use super::Compiled;
use super::together::Together;
use crate::context::Context;
use crate::metrics::ResultLabels;

/// The longest time one query may take.
const LONGEST: Duration = Duration::from_secs(10);

/// A condition as it is asked: which source, what, and within what time.
type Condition = (String, String, Duration);
/// The conditions that are being asked.
pub(crate) type Conditions = Together<Condition, (Timestamp, Answer)>;

/// Asks for whom the condition is breached.
pub(super) async fn breach(compiled: &Compiled, context: &Context) -> Observation {
    let begun = Instant::now();
    let query = compiled.query.text();
    let deadline = deadline(compiled);
    let asked = context.conditions.ask((compiled.source.clone(), query.to_owned(), deadline), || {
        let (clock, query) = (context.clock.clone(), query.to_owned());
        let source = context.sources.get(&compiled.source);
        async move {
            // The instant before asking: the server evaluates later, so nothing is taken
            // for longer than it was.
            let at = clock.now();
            (at, put(source, &query, deadline).await)
        }
    });
    let (at, breach) = asked.await;
    count(&breach, begun, context);
    Observation { at, breach, evidence: None, history: None, freshness: BTreeMap::new() }
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

async fn ask(compiled: &Compiled, query: &str, context: &Context) -> Answer {
    let begun = Instant::now();
    let answer = put(context.sources.get(&compiled.source), query, deadline(compiled)).await;
    count(&answer, begun, context);
    answer
}

/// Puts a query to a source, if there is one.
async fn put(source: Result<Arc<Prometheus>, String>, query: &str, deadline: Duration) -> Answer {
    match source {
        Ok(source) => source.instant(query, deadline).await,
        Err(message) => Answer::unknown(UnknownReason::SourceNotReady, message),
    }
}

fn count(answer: &Answer, begun: Instant, context: &Context) {
    context.metrics.evaluation_seconds.observe(begun.elapsed().as_secs_f64());
    context.metrics.evaluations.get_or_create_owned(&ResultLabels { result: answer.as_str() }).inc();
}

/// A query must not outlast the interval: the next one would be due.
fn deadline(compiled: &Compiled) -> Duration {
    Duration::try_from(compiled.policy.interval).unwrap_or(LONGEST).min(LONGEST)
}
