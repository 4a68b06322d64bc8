//! Stage 2: the source is asked. Its answer is a value; that there is none is a
//! value as well. Needs no client of the cluster.

use std::time::{Duration, Instant};

use prunella_core::observation::{Answer, Observation, UnknownReason};

use super::Compiled;
use crate::context::Context;
use crate::metrics::ResultLabels;

/// The longest time one query may take.
const LONGEST: Duration = Duration::from_secs(10);

/// Asks for whom the condition is breached.
pub(super) async fn breach(compiled: &Compiled, context: &Context) -> Observation {
    // The instant before asking: the server evaluates later, so nothing is taken
    // for longer than it was.
    let at = context.now();
    let breach = ask(compiled, compiled.query.text(), context).await;
    Observation { at, breach, evidence: None }
}

/// Asks for whom there is data at all.
pub(super) async fn evidence(compiled: &Compiled, observation: Observation, context: &Context) -> Observation {
    let evidence = ask(compiled, compiled.query.evidence(), context).await;
    Observation { evidence: Some(evidence), ..observation }
}

async fn ask(compiled: &Compiled, query: &str, context: &Context) -> Answer {
    let begun = Instant::now();
    let answer = match context.sources.get(&compiled.source) {
        Ok(source) => source.instant(query, deadline(compiled)).await,
        Err(message) => Answer::unknown(UnknownReason::SourceNotReady, message),
    };
    context.metrics.evaluation_seconds.observe(begun.elapsed().as_secs_f64());
    let result = match &answer {
        Answer::Answered(_) => "Answered",
        Answer::Unknown(unknown) => unknown.reason.as_str(),
    };
    context.metrics.evaluations.get_or_create_owned(&ResultLabels { result }).inc();
    answer
}

/// A query must not outlast the interval: the next one would be due.
fn deadline(compiled: &Compiled) -> Duration {
    Duration::try_from(compiled.policy.interval).unwrap_or(LONGEST).min(LONGEST)
}
