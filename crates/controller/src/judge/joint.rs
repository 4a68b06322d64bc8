//! Conditions of a source that are looked at at the same instant are asked in one request:
//! an HTTP exchange costs both sides more than the condition does.
//!
//! All that is taken from a joint answer is that nobody is breached. Where somebody is, that
//! condition is asked once more, alone: so what is decided about the sick rests on answers of
//! their own.
//!
//! Nobody depends on the others. Where the joint request has no whole answer within twice
//! [`SLOW`] each asks alone, with all of its own deadline; a [`Company`] remembers who
//! had better go on alone, so that a condition that fails, or takes long, spoils a look of
//! the others now and then and no more.

use std::mem;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::join_all;
use prunella_core::observation::{Answer, UnknownReason};
use prunella_signals::Prometheus;
use prunella_signals::query::ASKED;
use tokio::sync::oneshot;
use tracing::debug;

/// How long a question waits for others to be asked with it. Those that are due at the same
/// instant come within it even on a busy machine, and nobody notices so little.
const WAIT: Duration = Duration::from_millis(2);
/// What takes longer than this is better asked alone. Twice that is all that a joint request
/// may take, and what one can cost the others.
const SLOW: Duration = Duration::from_millis(125);
/// The most questions in one request, and the most bytes of them, so that no source refuses
/// it for its length: some take 16 KiB.
const QUESTIONS: usize = 64;
const BYTES: usize = 12 << 10;
/// The bytes around each.
const AROUND: usize = 64;
/// The most looks for which a condition goes on alone, as a power of two.
const LONGEST_ALONE: u8 = 6;

/// The questions that wait to be asked.
#[derive(Debug)]
pub(crate) struct Joint {
    waiting: Mutex<Vec<Waiting>>,
    slow: Duration,
}

#[derive(Debug)]
struct Waiting {
    source: Arc<Prometheus>,
    query: Arc<str>,
    tell: oneshot::Sender<Told>,
}

/// What came of a question in company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// A whole answer: nobody is breached.
    Nobody,
    /// The same, but it took long.
    NobodyLate,
    /// A whole answer: somebody is.
    Somebody,
    /// Nobody else has asked anything.
    Alone,
    /// There is no whole answer for all.
    Spoilt,
}

impl Default for Joint {
    fn default() -> Self {
        Self { waiting: Mutex::default(), slow: SLOW }
    }
}

impl Joint {
    /// Asks `query` together with whatever else is asked of `source` now, or alone within
    /// `deadline`. `company` is that of the condition.
    pub(super) async fn ask(
        self: &Arc<Self>,
        source: &Arc<Prometheus>,
        query: &Arc<str>,
        deadline: Duration,
        company: &Company,
    ) -> Answer {
        let told = if company.is_wanted() { Some(self.in_company(source, query).await) } else { None };
        match told {
            Some(Told::Nobody) => {
                company.was_well();
                return Answer::Answered(Vec::new());
            }
            // Whose fault it is will show when each asks alone the next time.
            Some(Told::NobodyLate) => {
                company.stays_away(Fault::Unknown);
                return Answer::Answered(Vec::new());
            }
            Some(Told::Somebody | Told::Alone | Told::Spoilt) | None => {}
        }
        let begun = Instant::now();
        let answer = source.instant(query, deadline).await;
        let fault = fault(&answer, begun.elapsed(), self.slow);
        match (told, fault) {
            (Some(Told::Spoilt | Told::Somebody) | None, Some(fault)) => company.stays_away(fault),
            // Whoever is asked twice had better be asked alone: there are queries of which
            // others' pods are always in the answer.
            (Some(Told::Spoilt | Told::Somebody), None) => company.stays_away(Fault::Unknown),
            _ => {}
        }
        answer
    }

    async fn in_company(self: &Arc<Self>, source: &Arc<Prometheus>, query: &Arc<str>) -> Told {
        let (tell, told) = oneshot::channel();
        let waiting = Waiting { source: Arc::clone(source), query: Arc::clone(query), tell };
        let is_first = {
            // Nothing can be half done under the lock.
            let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(waiting);
            all.len() == 1
        };
        if is_first {
            // A task of its own: whoever came first may be given up before the others are.
            let joint = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(WAIT).await;
                let all = mem::take(&mut *joint.waiting.lock().unwrap_or_else(PoisonError::into_inner));
                join_all(requests(all).into_iter().map(|request| send(request, joint.slow))).await;
            });
        }
        // Nobody tells when the task has panicked.
        told.await.unwrap_or(Told::Spoilt)
    }
}

/// Why a condition is better asked alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It spoils every answer that it is part of.
    Its,
    /// It may be this one's, another's, or the source's.
    Unknown,
}

/// What a condition that was answered so, alone, after `took`, does to the answer of others.
fn fault(answer: &Answer, took: Duration, slow: Duration) -> Option<Fault> {
    match answer {
        // The labels of two of its series may differ in nothing else.
        Answer::Answered(series) if series.iter().any(|one| one.labels.contains_key(ASKED)) => Some(Fault::Its),
        Answer::Answered(_) => (took > slow).then_some(Fault::Unknown),
        Answer::Unknown(unknown) => match unknown.reason {
            UnknownReason::BadQuery
            | UnknownReason::WrongType
            | UnknownReason::PartialAnswer
            | UnknownReason::TooLarge => Some(Fault::Its),
            _ => Some(Fault::Unknown),
        },
    }
}

/// Who is asked what in which request.
fn requests(all: Vec<Waiting>) -> Vec<Vec<Waiting>> {
    let mut requests: Vec<Vec<Waiting>> = Vec::new();
    for one in all {
        let has_room = |request: &&mut Vec<Waiting>| {
            let bytes: usize = request.iter().map(|other| other.query.len() + AROUND).sum();
            request.first().is_some_and(|other| Arc::ptr_eq(&other.source, &one.source))
                && request.len() < QUESTIONS
                && bytes + one.query.len() + AROUND <= BYTES
        };
        match requests.iter_mut().rev().find(has_room) {
            Some(request) => request.push(one),
            None => requests.push(vec![one]),
        }
    }
    requests
}

async fn send(request: Vec<Waiting>, slow: Duration) {
    let Some(source) = request.first().map(|one| Arc::clone(&one.source)) else { return };
    if request.len() == 1 {
        return tell(request, |_| Told::Alone);
    }
    let begun = Instant::now();
    let queries: Vec<&str> = request.iter().map(|one| &*one.query).collect();
    let asked = AssertUnwindSafe(source.instant_joint(&queries, slow * 2)).catch_unwind().await;
    let is_late = begun.elapsed() > slow;
    match asked {
        Ok(Ok(answers)) => tell(request, |place| match answers.get(place).map(Vec::is_empty) {
            Some(true) if is_late => Told::NobodyLate,
            Some(true) => Told::Nobody,
            Some(false) | None => Told::Somebody,
        }),
        Ok(Err(unknown)) => {
            debug!(questions = request.len(), reason = %unknown.reason, unknown.message, "asking each alone");
            tell(request, |_| Told::Spoilt);
        }
        // Whoever waits is told by that nobody is left to tell.
        Err(_) => {}
    }
}

/// Tells each what came of it, by its place in the request.
fn tell(request: Vec<Waiting>, told: impl Fn(usize) -> Told) {
    for (place, one) in request.into_iter().enumerate() {
        // Whoever has given up wants no answer.
        let _ = one.tell.send(told(place));
    }
}

/// Whether a condition is asked together with others.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// For how many more looks it is asked alone.
    alone: AtomicU8,
    /// How often in a row it had better.
    spoilt: AtomicU8,
}

impl Company {
    /// Whether the next look is to be in company. Asked once a look.
    fn is_wanted(&self) -> bool {
        let less = |alone: u8| alone.checked_sub(1);
        self.alone.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err()
    }

    fn was_well(&self) {
        self.spoilt.store(0, Ordering::Relaxed);
    }

    /// Goes on alone: one who spoils every answer for long, and else for longer each time, for
    /// if it is nobody's fault but one's, the others are soon back without that one.
    fn stays_away(&self, why: Fault) {
        let row = match why {
            Fault::Its => LONGEST_ALONE,
            Fault::Unknown => self.spoilt.load(Ordering::Relaxed).saturating_add(1).min(LONGEST_ALONE),
        };
        self.spoilt.store(row, Ordering::Relaxed);
        self.alone.store((1 << row) - 1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
