//! The three controllers: sources, policies and actions.

use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt};
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action as Requeue, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::{Store, Writer};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use prunella_api::{HealingAction, HealingPolicy};
use prunella_cluster::cache::{UNKNOWN_KIND, is_unknown_kind, watch_config};
use prunella_core::policy::PolicyKey;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::stopped;
use super::term::Parts;
use crate::act::{self, Actor};
use crate::isolation::isolated;
use crate::judge::{self, EvaluationTurns, Judge};
use crate::observe::sources::{self, ChangedSource, SourceContext};
use crate::report::metrics::Metrics;

/// How many policies are evaluated at once for each action that runs at once. An evaluation
/// mostly waits for its answer.
const EVALUATIONS_PER_ACTION: u16 = 4;

/// Where kubectl keeps a second copy of what was applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

pub(super) async fn run_sources(parts: &Parts, stop: watch::Receiver<bool>) {
    let context = Arc::new(SourceContext {
        connect: Arc::clone(&parts.connect_source),
        authority: Arc::clone(&parts.authority),
        clients: parts.clients.clone(),
        sources: Arc::clone(&parts.sources),
        metrics: Arc::clone(&parts.metrics),
    });
    let results = watched(Api::<sources::GuardedSource>::all(parts.clients.reads.clone()))
        // No limit: there are few, and one that does not answer must not delay the others.
        .with_config(controller::Config::default().concurrency(0))
        .graceful_shutdown_on(stopped(stop))
        .run(
            |object, context: Arc<SourceContext>| {
                isolated("source", Arc::clone(&context.metrics), sources::reconcile(object, context))
            },
            |_, never, _| match *never {},
            context,
        );
    drain("source", results, &parts.metrics, |_, name| parts.sources.forget(&name)).await;
}

pub(super) async fn run_policies(
    parts: &Parts,
    woken: mpsc::UnboundedReceiver<ObjectRef<HealingPolicy>>,
    concurrency: u16,
    stop: watch::Receiver<bool>,
) {
    let turns = Arc::new(EvaluationTurns::new(concurrency.saturating_mul(EVALUATIONS_PER_ACTION).into()));
    let ends = stop.clone();
    let policies = watched(Api::<judge::GuardedPolicy>::all(parts.clients.reads.clone()));
    let with_changed_source = of_changed_sources(parts.sources.follow_changes(), policies.store());
    let newest = policies.store();
    let results = policies
        // Zero: no limit. The turns are the limit.
        .with_config(controller::Config::default().concurrency(0))
        .reconcile_on(self::woken(woken))
        .reconcile_on(with_changed_source)
        .graceful_shutdown_on(stopped(stop))
        .run(
            move |object, judge: Arc<Judge>| {
                let metrics = Arc::clone(&judge.reporter.metrics);
                isolated("policy", metrics, in_turn(object, newest.clone(), judge, Arc::clone(&turns), ends.clone()))
            },
            |_, never, _| match *never {},
            Arc::clone(&parts.judge),
        );
    let forget = |namespace, name| parts.judge.forget(&PolicyKey { namespace, name });
    drain("policy", results, &parts.metrics, forget).await;
}

/// Evaluates a policy when it is its turn, as it is then: a step that a user has removed meanwhile
/// must not start. Passes that wait are not part of a shutdown.
async fn in_turn(
    queued: Arc<judge::GuardedPolicy>,
    newest: Store<judge::GuardedPolicy>,
    judge: Arc<Judge>,
    turns: Arc<EvaluationTurns>,
    stop: watch::Receiver<bool>,
) -> Result<Requeue, Infallible> {
    let namespace = queued.namespace().unwrap_or_default();
    let turn = tokio::select! {
        turn = turns.take(&namespace) => turn,
        () = stopped(stop) => None,
    };
    let Some(_turn) = turn else { return Ok(Requeue::await_change()) };
    // The deletion of a policy starts a pass of its own.
    let Some(policy) = newest.get(&ObjectRef::from_obj(queued.as_ref())) else { return Ok(Requeue::await_change()) };
    // Boxed, so that thousands of waiting passes stay small.
    Box::pin(judge::reconcile(policy, judge)).await
}

pub(super) async fn run_actions(
    parts: &Parts,
    woken: mpsc::UnboundedReceiver<ObjectRef<HealingAction>>,
    concurrency: u16,
    stop: watch::Receiver<bool>,
) {
    let results = watched(Api::<act::GuardedAction>::all(parts.clients.reads.clone()))
        .with_config(controller::Config::default().concurrency(concurrency))
        .reconcile_on(self::woken(woken))
        .graceful_shutdown_on(stopped(stop))
        .run(
            |object, actor: Arc<Actor>| {
                isolated("action", Arc::clone(&actor.reporter.metrics), act::reconcile(object, actor))
            },
            |_, never, _| match *never {},
            Arc::clone(&parts.actor),
        );
    drain("action", results, &parts.metrics, |_, _| {}).await;
}

/// A controller over all objects of a kind. It keeps them without the metadata that nothing
/// here reads: for a policy that kubectl wrote, that is two thirds.
fn watched<K>(api: Api<K>) -> Controller<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let writer = Writer::<K>::default();
    let reader = writer.as_reader();
    let (listed, lists) = mpsc::unbounded_channel();
    let objects = watcher(api, watch_config()).modify(|object| slim(object.meta_mut())).reflect(writer).inspect_ok(
        move |event| {
            if matches!(event, watcher::Event::InitDone) {
                // The receiver is gone only during shutdown.
                let _ = listed.send(());
            }
        },
    );
    // A new list is in the store only when it is complete, not when its objects are shown:
    // objects that were not found before are then reconciled again.
    Controller::for_stream(objects.applied_objects(), reader).reconcile_all_on(received(lists))
}

/// A channel as a stream.
fn received<T: Send + 'static>(receiver: mpsc::UnboundedReceiver<T>) -> impl Stream<Item = T> + Send + 'static {
    futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|one| (one, receiver)) })
}

/// Removes which manager set which field, and what was applied last.
fn slim(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

/// The policies of each source that changes.
fn of_changed_sources(
    changed: impl Stream<Item = ChangedSource> + Send + 'static,
    policies: Store<judge::GuardedPolicy>,
) -> impl Stream<Item = ObjectRef<judge::GuardedPolicy>> + Send + 'static {
    changed.flat_map(move |source| {
        let uses_it = |policy: &HealingPolicy| {
            policy.spec.condition.promql.as_ref().is_some_and(|promql| source.may_be(&promql.source.name))
        };
        let all = policies.state().into_iter();
        let those = all.filter(|policy| policy.0.as_ref().is_ok_and(uses_it));
        futures::stream::iter(those.map(|policy| ObjectRef::from_obj(&*policy)).collect::<Vec<_>>())
    })
}

/// Refers to the guarded form of the objects to wake.
fn woken<K>(
    receiver: mpsc::UnboundedReceiver<ObjectRef<K>>,
) -> impl Stream<Item = ObjectRef<DeserializeGuard<K>>> + Send + 'static
where
    K: kube::Resource<DynamicType = ()> + Send + 'static,
    DeserializeGuard<K>: kube::Resource<DynamicType = ()>,
{
    received(receiver).map(|one| {
        let guarded = ObjectRef::new(&one.name);
        match one.namespace {
            Some(namespace) => guarded.within(&namespace),
            None => guarded,
        }
    })
}

/// Runs a controller to its end. Logs its errors.
async fn drain<K, E>(
    name: &'static str,
    results: impl Stream<Item = Result<(ObjectRef<K>, Requeue), controller::Error<E, watcher::Error>>>,
    metrics: &Metrics,
    gone: impl Fn(String, String),
) where
    K: kube::Resource<DynamicType = ()> + Debug,
    E: std::error::Error + 'static,
{
    futures::pin_mut!(results);
    while let Some(result) = results.next().await {
        match result {
            Ok(_) => {}
            Err(controller::Error::ObjectNotFound(object)) => {
                // Deleted while it was queued.
                debug!(controller = name, %object, "gone");
                gone(object.namespace.unwrap_or_default(), object.name);
            }
            Err(controller::Error::QueueError(error)) if is_unknown_kind(&error) => {
                metrics.failed(name);
                warn!(controller = name, "{UNKNOWN_KIND}");
            }
            Err(error) => {
                metrics.failed(name);
                warn!(controller = name, %error, "continuing");
            }
        }
    }
}
