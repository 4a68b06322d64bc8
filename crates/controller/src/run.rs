//! Wires the parts together and runs them until told to stop.
//!
//! A standby keeps a copy of the world and serves its health; everything else begins
//! with the lead. So the actions on record are listed, consistently, after the lead was
//! won and before the first decision. The end is the same for every reason: the
//! reconcilers finish what they are at, and only then is the lead given back.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{Stream, StreamExt, TryStreamExt};
use jiff::SignedDuration;
use kube::api::ObjectMeta;
use kube::client::ClientBuilder;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action as Requeue, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::Writer;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config};
use prunella_api::{ClusterPrometheusSource, HealingAction, HealingPolicy};
use prunella_cluster::cache::{UNKNOWN_KIND, is_unknown_kind, watch_config};
use prunella_cluster::targets::Targets;
use prunella_core::policy::{PolicyKey, SubjectCap};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use crate::announce::Announcer;
use crate::args::{LeadershipOptions, RunOptions};
use crate::board::Board;
use crate::clock::{Clock, Observing};
use crate::context::{Context, Wakers};
use crate::judge::{Claims, Desk, Places};
use crate::leadership::{Campaign, Leadership, Timing, identity};
use crate::ledger::Book;
use crate::metrics::Metrics;
use crate::pass::fenced;
use crate::sources::Sources;
use crate::{admin, executor, judge, sources};

/// How long the reconcilers may take to finish, once told to: well within the half
/// minute that Kubernetes gives a pod.
const FINISH: Duration = Duration::from_secs(20);

/// How many policies are judged at once where one action is carried out.
const LOOKS_FOR_AN_ACTION: u16 = 4;

/// Where kubectl keeps a second copy of what was applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The status of what is not served.
const NOT_FOUND: u16 = 404;
/// The window over which the actions on one subject are counted.
const SUBJECT_CAP_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Runs the controller until SIGTERM or Ctrl-C, or until it has lost the lead.
pub(crate) async fn run(options: RunOptions) -> Result<()> {
    let LeadershipOptions { leader_elect, lease_duration, renew_deadline, retry_period, pod_name } = options.leadership;
    let timing = Timing::new(lease_duration, renew_deadline, retry_period)?;
    let stop = stop_signal()?;
    let config = Config::infer().await.context("cannot find a cluster: set KUBECONFIG, or run in a pod")?;
    info!(version = env!("CARGO_PKG_VERSION"), api_server = %config.cluster_url, "starting");
    let clock = Clock::new();
    let reads = client(config.clone(), &clock).context("cannot make a client for reads")?;
    // A write whose answer was lost must not be sent again by the client: nobody
    // knows what became of the first.
    let mut never_twice = config;
    never_twice.default_retry = false;
    let writes = client(never_twice, &clock).context("cannot make a client for writes")?;

    let metrics = Arc::new(Metrics::new());
    let (judge_waker, judge_woken) = mpsc::unbounded_channel();
    let (executor_waker, executor_woken) = mpsc::unbounded_channel();
    let context = Arc::new(Context {
        namespace: options.namespace.clone(),
        clock,
        leadership: Arc::new(if leader_elect { Leadership::contested() } else { Leadership::granted() }),
        announcer: Announcer::new(writes.clone(), Arc::clone(&metrics)),
        reads,
        writes,
        subject_cap: SubjectCap { count: options.subject_cap, window: SUBJECT_CAP_WINDOW },
        own_pod: pod_name.clone(),
        world: Targets::new(),
        book: Arc::new(Book::new()),
        sources: Arc::new(Sources::new()),
        board: Board::default(),
        desk: Desk::default(),
        joint: Arc::default(),
        places: Places::default(),
        patience: executor::Patience::default(),
        claims: Claims::default(),
        wakers: Wakers { judge: judge_waker, executor: executor_waker },
        metrics,
    });

    let targets = tokio::spawn({
        let context = Arc::clone(&context);
        async move { Box::pin(context.world.follow(context.reads.clone())).await }
    });
    let admin = tokio::spawn(admin::serve(options.admin_listen, Arc::clone(&context)));
    let (resign, resigned) = watch::channel(false);
    let campaign = if leader_elect {
        Some(tokio::spawn(Campaign::new(&context, identity(&pod_name), timing).run(resigned)))
    } else {
        warn!("leader election is off: nothing keeps a second replica from acting at the same time");
        context.metrics.leader.set(1);
        None
    };
    let work = work(Arc::clone(&context), judge_woken, executor_woken, options.concurrency, stop.subscribe());
    let mut work = tokio::spawn(work);

    let mut worked = None;
    let reason = tokio::select! {
        () = stopped(stop.subscribe()) => Ok(()),
        () = context.leadership.until_over() => Ok(()),
        // It ends early only when it could not begin.
        served = admin => served.context("the admin server panicked").flatten(),
        ended = &mut work => {
            worked = Some(ended);
            Ok(())
        }
    };
    stop.send_replace(true);
    let worked = match worked {
        Some(ended) => ended,
        // The lead is not given back then: what did not finish may still write.
        None => tokio::time::timeout(FINISH, work).await.context("what was under way did not finish in time")?,
    };
    worked.context("the reconcilers panicked")?;
    resign.send_replace(true);
    if let Some(campaign) = campaign {
        campaign.await.context("the campaign panicked")??;
    }
    targets.abort();
    reason?;
    info!("stopped");
    Ok(())
}

/// A client whose answers set the clock.
fn client(config: Config, clock: &Clock) -> kube::Result<Client> {
    Ok(ClientBuilder::try_from(config)?.with_layer(&Observing(clock.clone())).build())
}

/// Waits until the sources' kind can be listed and each of them has a client.
async fn mark_listed_sources(context: &Context) {
    let api: Api<DeserializeGuard<ClusterPrometheusSource>> = Api::all(context.reads.clone());
    loop {
        match prunella_cluster::within(
            prunella_cluster::REQUEST_DEADLINE,
            api.list_metadata(&kube::api::ListParams::default()),
        )
        .await
        {
            Ok(listed) => {
                if listed.items.is_empty() {
                    warn!("{NO_SOURCE}");
                }
                let known = |name: &str| context.sources.knows(name);
                if listed.items.iter().all(|one| one.metadata.name.as_deref().is_none_or(known)) {
                    context.sources.complete();
                    return;
                }
            }
            // Whoever watches them says so, and how it is mended.
            Err(prunella_cluster::ClusterError::Kube(kube::Error::Api(status))) if status.code == NOT_FOUND => {}
            Err(error) => warn!(%error, "cannot list the sources, trying again"),
        }
        tokio::time::sleep(LIST_AGAIN).await;
    }
}

/// What a newcomer meets who has not read to the end.
const NO_SOURCE: &str = "there is no ClusterPrometheusSource, so nothing can be asked: write the URL of your \
                         Prometheus into examples/source.yaml and apply it";

/// How soon a first list that failed is tried again.
const LIST_AGAIN: Duration = Duration::from_secs(1);

/// Waits for the lead and runs the reconcilers: the sources' at once, judge and executor
/// when the world was listed once.
async fn work(
    context: Arc<Context>,
    judge_woken: mpsc::UnboundedReceiver<ObjectRef<HealingPolicy>>,
    executor_woken: mpsc::UnboundedReceiver<ObjectRef<HealingAction>>,
    concurrency: u16,
    stop: watch::Receiver<bool>,
) {
    tokio::select! {
        () = context.leadership.until_leading() => {}
        () = stopped(stop.clone()) => return,
    }
    let config = controller::Config::default().concurrency(concurrency);
    // A look mostly waits for its answer, and those that wait together are asked together.
    let looks = controller::Config::default().concurrency(concurrency.saturating_mul(LOOKS_FOR_AN_ACTION));
    let sources = watched(Api::<sources::GuardedSource>::all(context.reads.clone()))
        .with_config(config.clone())
        .graceful_shutdown_on(stopped(stop.clone()))
        .run(
            |object, context| fenced("source", Arc::clone(&context.metrics), sources::reconcile(object, context)),
            |_, never, _| match *never {},
            Arc::clone(&context),
        );
    let sources = drain("source", sources, Arc::clone(&context), |context, _, name| {
        context.sources.forget(&name);
    });

    let heal = async {
        tokio::select! {
            () = async {
                context.world.until_complete().await;
                context.book.until_complete().await;
                context.sources.until_complete().await;
            } => {}
            () = stopped(stop.clone()) => return,
        }
        info!("the world is listed, judging begins");
        let judge = watched(Api::<judge::GuardedPolicy>::all(context.reads.clone()))
            .with_config(looks)
            .reconcile_on(woken(judge_woken))
            .graceful_shutdown_on(stopped(stop.clone()))
            .run(
                |object, context| fenced("policy", Arc::clone(&context.metrics), judge::reconcile(object, context)),
                |_, never, _| match *never {},
                Arc::clone(&context),
            );
        let judge = drain("policy", judge, Arc::clone(&context), |context, namespace, name| {
            context.forget_policy(&PolicyKey { namespace, name });
        });
        let executor = watched(Api::<executor::GuardedAction>::all(context.reads.clone()))
            .with_config(config)
            .reconcile_on(woken(executor_woken))
            .graceful_shutdown_on(stopped(stop.clone()))
            .run(
                |object, context| fenced("action", Arc::clone(&context.metrics), executor::reconcile(object, context)),
                |_, never, _| match *never {},
                Arc::clone(&context),
            );
        let executor = drain("action", executor, Arc::clone(&context), |_, _, _| {});
        tokio::join!(judge, executor);
    };
    let follow = async {
        let wake = context.wakers.judge.clone();
        tokio::join!(context.book.follow(context.reads.clone(), wake), mark_listed_sources(&context));
    };
    tokio::select! {
        // The copy of the actions is kept up to date for as long as there is a use for it.
        () = follow => {}
        ((), ()) = async { tokio::join!(sources, heal) } => {}
    }
}

/// A controller over all objects of a kind, kept without what nobody here reads: of a
/// policy that was written by kubectl that is two thirds.
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
                // The receiver is gone only while shutting down.
                let _ = listed.send(());
            }
        },
    );
    // What a new list shows is in the store when the list is whole, and not when it is
    // shown: who was looked for in vain before is looked for again.
    Controller::for_stream(objects.applied_objects(), reader).reconcile_all_on(received(lists))
}

/// What comes through a channel.
fn received<T: Send + 'static>(receiver: mpsc::UnboundedReceiver<T>) -> impl Stream<Item = T> + Send + 'static {
    futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|one| (one, receiver)) })
}

/// Who has set which field, and what was applied last: other people's bookkeeping.
fn slim(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

/// Refers to the guarded twin of what was woken.
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

/// Polls a controller to its end. Its errors are told, never dropped.
async fn drain<K, E>(
    name: &'static str,
    results: impl Stream<Item = Result<(ObjectRef<K>, Requeue), controller::Error<E, watcher::Error>>>,
    context: Arc<Context>,
    gone: impl Fn(&Context, String, String),
) where
    K: kube::Resource<DynamicType = ()> + Debug,
    E: std::error::Error + 'static,
{
    futures::pin_mut!(results);
    while let Some(result) = results.next().await {
        match result {
            Ok(_) => {}
            Err(controller::Error::ObjectNotFound(object)) => {
                // Deleted while its turn was queued.
                debug!(controller = name, %object, "gone");
                gone(&context, object.namespace.unwrap_or_default(), object.name);
            }
            Err(controller::Error::QueueError(error)) if is_unknown_kind(&error) => {
                context.metrics.failed(name);
                warn!(controller = name, "{UNKNOWN_KIND}");
            }
            Err(error) => {
                context.metrics.failed(name);
                warn!(controller = name, %error, "going on");
            }
        }
    }
}

/// Becomes true on SIGTERM or Ctrl-C.
fn stop_signal() -> Result<watch::Sender<bool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = watch::Sender::new(false);
    let sender = stop.clone();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("told to stop, finishing what is under way");
        sender.send_replace(true);
    });
    Ok(stop)
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the end as well.
    let _ = stop.wait_for(|stop| *stop).await;
}
