//! The policy reconciler: compile → observe → decide → reserve → record.
//!
//! It never touches a workload. What it wants done it creates as a
//! `HealingAction`; what it sees of running actions it hands over as verdicts.
//!
//! Nearly all passes find nobody sick and write nothing. A pass is moved about as a whole
//! before it runs, so what it seldom does, like writing, is boxed: else each look would
//! take room for all of it.

mod claims;
mod collect;
mod compile;
mod joint;
mod observe;
mod pace;
mod places;
mod record;
mod reserve;
mod restore;
mod scene;
mod tell;
mod together;
mod words;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action as Requeue;
use prunella_api::HealingPolicy;
use prunella_core::decide::{Decision, Inputs, Memory, Phase};
use prunella_core::ledger::Ledger;
use prunella_core::observation::{Answer, Observation};
use prunella_core::policy::{PolicyKey, SubjectCap};
use prunella_core::{decide, time};
use tracing::{debug, error, warn};

use crate::board::Posting;
use crate::context::Context;
use crate::sources::Sources;
pub(crate) use claims::Claims;
pub(crate) use collect::COUNTED_AT_MOST;
use compile::CompileError;
pub(crate) use compile::Compiled;
pub(crate) use joint::Joint;
use observe::Manner;
use pace::Pace;
pub(crate) use places::Places;
use record::{Quiet, Urgency};
use scene::Scene;

/// How often a decision may ask on: evidence, then history, then freshness. What is
/// open after that stays refused until the next look.
const ROUNDS: usize = 3;

/// A policy as the watch hands it over: one that does not parse stops nobody else.
pub(crate) type GuardedPolicy = DeserializeGuard<HealingPolicy>;

/// How soon a pass comes after one that was a hair too early.
const NOT_AT_ONCE: Duration = Duration::from_millis(5);
/// How soon a pass that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// How soon a policy that cannot work is looked at again, should nobody touch it.
const STALLED_AGAIN: Duration = Duration::from_mins(10);

/// What the judge remembers of its policies from look to look.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    standings: Mutex<HashMap<PolicyKey, Arc<Slot>>>,
}

/// Where a policy's standing lies between its passes; one object is never reconciled twice
/// at once. Empty while a pass has it, and after one that panicked.
type Slot = Mutex<Option<Box<Standing>>>;

/// What is remembered of one policy.
#[derive(Debug, Default)]
struct Standing {
    /// The uid of the policy, and the digest of its condition, target and steps: with
    /// another one nothing remembered is of use.
    identity: (String, String),
    /// The generation of the spec that was looked at last: with another one the source
    /// is asked at once, however long the old interval was.
    generation: Option<i64>,
    /// The policy as it was compiled last: parsing costs more than all the rest of a look
    /// but the question itself, and a policy changes seldom.
    compiled: Option<Kept>,
    memory: Memory,
    observation: Option<Observation>,
    /// When the source is to be asked again.
    due: Option<Timestamp>,
    /// The status as last written, so that a quiet policy makes no write even while
    /// the watch lags behind. Boxed: it seldom does.
    written: Option<Box<prunella_api::HealingPolicyStatus>>,
    /// What the status says, should that be next to nothing. Of the object as it was compiled
    /// last.
    quiet: Option<Quiet>,
    /// How many writes of the status are due to this policy; `None` before the first.
    pace: Option<Pace>,
    /// How long a status that is not written yet has to wait.
    unwritten: Option<Duration>,
}

/// A compiled policy, and all of what it was made from that can change.
#[derive(Debug)]
struct Kept {
    resource_version: Option<String>,
    lookback: Option<SignedDuration>,
    compiled: Arc<Compiled>,
}

impl Standing {
    /// The policy as judged: compiled anew when it, or its source, is another one.
    fn compile(
        &mut self,
        policy: &HealingPolicy,
        sources: &Sources,
        places: &Places,
        subject_cap: SubjectCap,
    ) -> Result<Arc<Compiled>, CompileError> {
        let source = policy.spec.condition.promql.as_ref().map(|promql| promql.source.name.as_str());
        let lookback = source.and_then(|source| sources.lookback(source));
        let resource_version = &policy.metadata.resource_version;
        let same = |kept: &&Kept| {
            resource_version.is_some() && kept.resource_version == *resource_version && kept.lookback == lookback
        };
        if let Some(kept) = self.compiled.as_ref().filter(same) {
            return Ok(Arc::clone(&kept.compiled));
        }
        // Kept until then: with the last who asks a question its place would be forgotten.
        let _earlier = self.compiled.take();
        self.quiet = None;
        let compiled = Arc::new(compile::compile(policy, sources, places, subject_cap)?);
        let resource_version = resource_version.clone();
        self.compiled = Some(Kept { resource_version, lookback, compiled: Arc::clone(&compiled) });
        Ok(compiled)
    }
}

impl Desk {
    fn slot(&self, key: &PolicyKey) -> Arc<Slot> {
        let mut standings = self.standings();
        match standings.get(key) {
            Some(slot) => Arc::clone(slot),
            None => Arc::clone(standings.entry(key.clone()).or_default()),
        }
    }

    /// Forgets a policy that is gone.
    pub(crate) fn forget(&self, key: &PolicyKey) {
        self.standings().remove(key);
    }

    fn standings(&self) -> MutexGuard<'_, HashMap<PolicyKey, Arc<Slot>>> {
        lock(&self.standings)
    }
}

// Nothing can be half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One pass over one policy.
pub(crate) async fn reconcile(policy: Arc<GuardedPolicy>, context: Arc<Context>) -> Result<Requeue, Infallible> {
    let policy = match &policy.0 {
        Ok(policy) => policy,
        Err(invalid) => {
            let name = invalid.metadata.name.as_deref().unwrap_or_default();
            let namespace = invalid.metadata.namespace.as_deref().unwrap_or_default();
            error!(namespace, policy = name, error = %invalid.error, "a HealingPolicy does not parse, leaving it alone");
            context.metrics.failed("policy");
            context.metrics.forget(&PolicyKey { namespace: namespace.to_owned(), name: name.to_owned() });
            return Ok(Requeue::requeue(STALLED_AGAIN));
        }
    };
    let key = PolicyKey { namespace: policy.namespace().unwrap_or_default(), name: policy.name_any() };
    if policy.metadata.deletion_timestamp.is_some() {
        // Its end, should somebody hold it up, is told to nobody.
        context.forget_policy(&key);
        return Ok(Requeue::await_change());
    }
    let slot = context.desk.slot(&key);
    let mut standing = lock(&slot).take().unwrap_or_default();
    let next = judge(policy, &key, &mut standing, &context).await;
    *lock(&slot) = Some(standing);
    Ok(next.unwrap_or_else(|error| {
        context.metrics.failed("policy");
        warn!(policy = %key, %error, "cannot write what was decided, trying again");
        Requeue::requeue(TRY_AGAIN)
    }))
}

/// Why a pass could not be finished.
#[derive(Debug, thiserror::Error)]
enum JudgeError {
    #[error("cannot reserve an action: {0}")]
    Reserve(#[source] prunella_cluster::ClusterError),
    #[error("cannot write the status: {0}")]
    Record(#[source] prunella_cluster::ClusterError),
}

async fn judge(
    policy: &HealingPolicy,
    key: &PolicyKey,
    standing: &mut Standing,
    context: &Context,
) -> Result<Requeue, JudgeError> {
    let compiled = match standing.compile(policy, &context.sources, &context.places, context.subject_cap) {
        Ok(compiled) => compiled,
        Err(error) => {
            context.board.forget(key);
            context.metrics.forget(key);
            Box::pin(record::stalled(policy, standing, &error, context)).await.map_err(JudgeError::Record)?;
            return Ok(Requeue::requeue(STALLED_AGAIN));
        }
    };
    let uid = policy.metadata.uid.as_deref().unwrap_or_default();
    if standing.identity.0 != uid || standing.identity.1 != compiled.hash {
        let identity = (uid.to_owned(), compiled.hash.clone());
        // Another object of the same name has a status of its own.
        let written = standing.written.take().filter(|_| standing.identity.0 == identity.0);
        let memory =
            if standing.identity.0.is_empty() { restore::memory(policy, &identity.1) } else { Memory::default() };
        let compiled = standing.compiled.take();
        *standing = Standing { identity, compiled, memory, written, pace: standing.pace, ..Standing::default() };
    }
    if standing.generation != policy.metadata.generation {
        standing.generation = policy.metadata.generation;
        standing.due = None;
    }
    let now = context.now();
    let asked_now = standing.observation.is_none() || standing.due.is_none_or(|due| now >= due);
    let observation = match standing.observation.take() {
        Some(observation) if !asked_now => observation,
        _ => {
            // What is decided about the sick rests on answers of their own.
            let manner = if is_quiet(&standing.memory) { Manner::Jointly } else { Manner::Alone };
            observe::breach(&compiled, standing.due, manner, context).await
        }
    };
    let is_of_now = asked_now && observation.at >= now;
    let (observation, decision) = decide_fully(&compiled, standing, observation, is_of_now, context).await;

    tell::transitions(policy, &compiled, &decision, context);
    let decision = if decision.reservations.is_empty() {
        decision
    } else if let Err(why) = context.may_act() {
        debug!(policy = %key, why, "nothing is reserved");
        Decision { reservations: Vec::new(), ..decision }
    } else {
        // What is known stays known even when nothing can be reserved: running actions
        // wait for their verdicts, and what was told is not told again.
        context.board.post(key, posting(&compiled, policy, &observation, &decision));
        standing.memory = decision.memory.clone();
        let ledger = context.book.ledger(&key.namespace);
        let scene = scene(policy, &compiled, &observation, &decision, &ledger, context);
        // That a target fires is told while it is reserved, not before: it is a request's time
        // less in which it stays sick. Should that be all that is ever known of it, nothing is
        // lost: nothing is begun that this process does not see firing.
        let told = record::record(&scene, Urgency::Now, standing, context);
        let reserved = reserve::reserve(policy, &compiled, &decision, &observation, context);
        let (told, reserved) = Box::pin(join(told, reserved)).await;
        // That it cannot be shown must not keep the sick from being healed.
        if let Err(error) = told {
            warn!(policy = %key, %error, "cannot write the status beside a reservation");
        }
        match reserved {
            Ok(decision) => decision,
            Err(error) => {
                standing.observation = Some(observation);
                standing.due = Some(time::after(decision.at, decision.next_check));
                return Err(JudgeError::Reserve(error));
            }
        }
    };
    context.board.post(key, posting(&compiled, policy, &observation, &decision));
    let ledger = context.book.ledger(&key.namespace);
    context.executor_wake(key, &ledger, &decision);

    standing.memory = decision.memory.clone();
    let due = next_due(asked_now, standing.due, time::after(decision.at, decision.next_check));
    standing.due = Some(due);
    let scene = scene(policy, &compiled, &observation, &decision, &ledger, context);
    record::record(&scene, Urgency::InItsTurn, standing, context).await.map_err(JudgeError::Record)?;
    collect::collect(policy, &compiled, &standing.memory, &ledger, context).await;
    drop(ledger);
    let answered = matches!(observation.breach, Answer::Answered(_));
    standing.observation = Some(remembered(observation, &standing.memory));
    if asked_now && answered && decision.reservations.is_empty() && compiled.place.is_due(Instant::now()) {
        Box::pin(observe::ages(&compiled, context)).await;
    }
    let next = unsigned(time::elapsed(context.now(), due)).max(NOT_AT_ONCE);
    Ok(Requeue::requeue(standing.unwritten.map_or(next, |unwritten| next.min(unwritten))))
}

/// What of an observation is of use until the next look. Where nobody is sick that is not the
/// proof that there is data, which is all labels of as many series as there are pods.
fn remembered(mut observation: Observation, memory: &Memory) -> Observation {
    if is_quiet(memory) {
        observation = Observation { evidence: None, history: None, freshness: BTreeMap::new(), ..observation };
    }
    observation
}

/// Whether nobody is sick and nothing is being verified.
fn is_quiet(memory: &Memory) -> bool {
    memory.timers.is_empty() && memory.verifications.is_empty()
}

/// When the source is to be asked next. A pass that did not ask may bring that forward
/// only: one that comes a hair too early, as the server's clock lags behind the timer
/// that woke it, would else put it off by a whole interval.
fn next_due(asked: bool, due: Option<Timestamp>, next: Timestamp) -> Timestamp {
    match due {
        Some(due) if !asked => due.min(next),
        _ => next,
    }
}

/// Decides, asking what the decision needs.
async fn decide_fully(
    compiled: &Compiled,
    standing: &Standing,
    observation: Observation,
    is_of_now: bool,
    context: &Context,
) -> (Observation, Decision) {
    let first = decide_once(compiled, &standing.memory, &observation, context);
    if first.questions.is_empty() {
        return (observation, first);
    }
    Box::pin(ask_on(compiled, &standing.memory, is_of_now.then_some((observation, first)), context)).await
}

/// Asks what a decision needs, which goes on from `known` if that is of now. What is asked
/// later is asked together with the condition anew, so that all answers tell of the same
/// instant.
async fn ask_on(
    compiled: &Compiled,
    memory: &Memory,
    known: Option<(Observation, Decision)>,
    context: &Context,
) -> (Observation, Decision) {
    let (mut observation, mut decision) = if let Some(known) = known {
        known
    } else {
        let observation = observe::breach(compiled, None, Manner::Alone, context).await;
        let decision = decide_once(compiled, memory, &observation, context);
        (observation, decision)
    };
    for _ in 0..ROUNDS {
        if decision.questions.is_empty() {
            break;
        }
        for question in std::mem::take(&mut decision.questions) {
            observe::answer(compiled, question, &mut observation, context).await;
        }
        decision = decide_once(compiled, memory, &observation, context);
    }
    (observation, decision)
}

/// One decision from what is known at this instant.
fn decide_once(compiled: &Compiled, memory: &Memory, observation: &Observation, context: &Context) -> Decision {
    decide(Inputs {
        policy: &compiled.policy,
        observation,
        targets: &context.targets(compiled),
        ledger: &context.book.ledger(&compiled.policy.key.namespace),
        memory,
        held: context.is_held(&compiled.policy.key.namespace),
        phase: compiled.place.phase(),
        now: context.now(),
    })
}

/// What is told of a decision, and from what.
fn scene<'a>(
    policy: &'a HealingPolicy,
    compiled: &'a Compiled,
    observation: &'a Observation,
    decision: &'a Decision,
    ledger: &'a Ledger,
    context: &Context,
) -> Scene<'a> {
    Scene { policy, compiled, observation, decision, ledger, hold: context.hold(&compiled.policy.key.namespace) }
}

fn posting(compiled: &Compiled, policy: &HealingPolicy, observation: &Observation, decision: &Decision) -> Posting {
    let firing = decision.memory.timers.iter().filter(|(uid, timer)| {
        timer.phase == Phase::Firing
            && timer.breach.is_some_and(|breach| breach.last == observation.at)
            && !decision.waiting.contains(*uid)
    });
    Posting {
        policy_uid: policy.uid().unwrap_or_default(),
        observed_at: observation.at,
        interval: compiled.policy.interval,
        firing: firing.map(|(uid, _)| uid.clone()).collect(),
        verdicts: decision.verdicts.clone(),
    }
}

fn unsigned(duration: SignedDuration) -> Duration {
    duration.try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_that_was_learned_outlives_a_write_of_the_status() {
        let policy = |version: &str| {
            serde_json::from_value::<HealingPolicy>(serde_json::json!({
                "apiVersion": "prunella.dev/v1alpha1", "kind": "HealingPolicy",
                "metadata": {"name": "web", "namespace": "shop", "resourceVersion": version},
                "spec": {
                    "condition": {"promql": {"query": "up{namespace=\"shop\"} > 5"}},
                    "target": {"kind": "Pod", "selector": {"matchLabels": {"app": "web"}}},
                    "steps": [{"action": {"deletePod": {}}}],
                },
            }))
            .unwrap()
        };
        let (sources, places) = (Sources::new(), Places::default());
        let cap = SubjectCap { count: 5, window: SignedDuration::from_hours(1) };
        let mut standing = Standing::default();
        let before = Arc::downgrade(&standing.compile(&policy("1"), &sources, &places, cap).unwrap().place);
        let after = standing.compile(&policy("2"), &sources, &places, cap).unwrap();
        assert!(before.upgrade().is_some_and(|before| Arc::ptr_eq(&before, &after.place)));
    }

    #[test]
    fn the_proof_that_there_is_data_is_kept_while_somebody_is_sick_and_no_longer() {
        let observation = || Observation {
            at: Timestamp::UNIX_EPOCH,
            breach: Answer::Answered(Vec::new()),
            evidence: Some(Answer::Answered(Vec::new())),
            history: None,
            freshness: BTreeMap::new(),
        };
        assert!(remembered(observation(), &Memory::default()).evidence.is_none());
        let verification = decide::Verification { clear: None, frozen: false };
        let verifying = Memory { verifications: [("web-1".to_owned(), verification)].into(), ..Memory::default() };
        assert_eq!(remembered(observation(), &verifying), observation());
    }

    #[test]
    fn a_pass_that_did_not_ask_never_puts_the_next_look_off() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        for (asked, due, next, expected) in [
            (true, Some(10), 20, 20),
            (false, Some(10), 20, 10),
            (false, Some(20), 10, 10),
            (true, None, 20, 20),
            (false, None, 20, 20),
        ] {
            assert_eq!(next_due(asked, due.map(at), at(next)), at(expected), "{asked} {due:?} {next}");
        }
    }
}
