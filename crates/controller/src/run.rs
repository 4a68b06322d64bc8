//! Connects the parts and runs them until the process is stopped.
//!
//! A standby keeps a copy of the cluster's objects and serves its health. Everything else starts
//! when this process leads. So the recorded actions are listed consistently, after the election
//! and before the first decision. Shutdown is the same for every reason: the reconcilers finish
//! their passes, and only then is the Lease released.

mod controllers;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::SignedDuration;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Config};
use prunella_api::{ClusterPrometheusSource, HealingAction, HealingPolicy};
use prunella_cluster::targets::Targets;
use prunella_core::policy::SubjectCap;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::act::{Actor, RetryDelays};
use crate::admin;
use crate::args::{LeadershipOptions, RunOptions};
use crate::authority::Authority;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::cluster_view::ClusterView;
use crate::handover::Handover;
use crate::judge::{Claims, Judge, PolicyMemories};
use crate::leadership::{Campaign, Leadership, LeadershipLost, Timing, identity};
use crate::observe::{EvaluationSlots, Observer, Sources};
use crate::records::ActionRecords;
use crate::report::Reporter;
use crate::report::events::EventWriter;
use crate::report::metrics::Metrics;
use crate::wakers::{ActionWaker, PolicyWaker};
use controllers::{run_actions, run_policies, run_sources};

/// How long the reconcilers may take to finish after the stop signal: well within the 30 seconds
/// that Kubernetes gives a pod.
const FINISH: Duration = Duration::from_secs(20);

/// The status of a kind that the API server does not serve.
const NOT_FOUND: u16 = 404;
/// The window over which the actions on one subject are counted.
const SUBJECT_CAP_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// The parts of one process.
struct Parts {
    authority: Arc<Authority>,
    clients: Clients,
    metrics: Arc<Metrics>,
    view: Arc<ClusterView>,
    records: Arc<ActionRecords>,
    sources: Arc<Sources>,
    judge: Arc<Judge>,
    actor: Arc<Actor>,
    wake_policy: PolicyWaker,
}

/// What the reconcilers are woken by.
struct Woken {
    policies: mpsc::UnboundedReceiver<ObjectRef<HealingPolicy>>,
    actions: mpsc::UnboundedReceiver<ObjectRef<HealingAction>>,
}

impl Parts {
    fn new(options: &RunOptions, config: Config) -> Result<(Self, Woken)> {
        let clock = Clock::new();
        let clients = Clients::new(config, &clock)?;
        let elected = options.leadership.leader_elect;
        let authority = Arc::new(Authority {
            namespace: options.namespace.clone(),
            own_pod: options.leadership.pod_name.clone(),
            clock,
            leadership: Arc::new(if elected { Leadership::contested() } else { Leadership::granted() }),
        });
        let metrics = Arc::new(Metrics::new());
        let reporter = Arc::new(Reporter {
            authority: Arc::clone(&authority),
            writes: clients.writes.clone(),
            events: EventWriter::new(clients.writes.clone(), Arc::clone(&metrics)),
            metrics: Arc::clone(&metrics),
        });
        let view = Arc::new(ClusterView::new(Targets::new(), Arc::clone(&authority)));
        let records = Arc::new(ActionRecords::new());
        let sources = Arc::new(Sources::new());
        let handover = Arc::new(Handover::default());
        let (policies, woken_policies) = mpsc::unbounded_channel();
        let (actions, woken_actions) = mpsc::unbounded_channel();
        let wake_policy = PolicyWaker(policies);
        let judge = Arc::new(Judge {
            authority: Arc::clone(&authority),
            clients: clients.clone(),
            view: Arc::clone(&view),
            records: Arc::clone(&records),
            observer: Observer {
                authority: Arc::clone(&authority),
                sources: Arc::clone(&sources),
                slots: EvaluationSlots::default(),
                metrics: Arc::clone(&metrics),
            },
            reporter: Arc::clone(&reporter),
            handover: Arc::clone(&handover),
            wake_action: ActionWaker(actions),
            memories: PolicyMemories::default(),
            claims: Claims::default(),
            subject_cap: SubjectCap { count: options.subject_cap, window: SUBJECT_CAP_WINDOW },
        });
        let actor = Arc::new(Actor {
            authority: Arc::clone(&authority),
            clients: clients.clone(),
            view: Arc::clone(&view),
            records: Arc::clone(&records),
            handover,
            reporter,
            wake_policy: wake_policy.clone(),
            retry_delays: RetryDelays::default(),
        });
        let parts = Self { authority, clients, metrics, view, records, sources, judge, actor, wake_policy };
        Ok((parts, Woken { policies: woken_policies, actions: woken_actions }))
    }
}

/// Runs the controller until SIGTERM or Ctrl-C, or until it has lost the leadership.
pub(crate) async fn run(options: RunOptions) -> Result<()> {
    let LeadershipOptions { lease_duration, renew_deadline, retry_period, .. } = options.leadership;
    let timing = Timing::new(lease_duration, renew_deadline, retry_period)?;
    let stop = stop_signal()?;
    let config = Config::infer().await.context("cannot find a cluster: set KUBECONFIG, or run in a pod")?;
    info!(version = env!("CARGO_PKG_VERSION"), api_server = %config.cluster_url, "starting");
    let (parts, woken) = Parts::new(&options, config)?;
    let parts = Arc::new(parts);

    let targets = tokio::spawn({
        let (view, reads) = (Arc::clone(&parts.view), parts.clients.reads.clone());
        async move { Box::pin(view.follow(reads)).await }
    });
    let admin = tokio::spawn(admin::serve(options.admin_listen, health(&parts)));
    let (resign, resigned) = watch::channel(false);
    let campaign = campaign(&options.leadership, &parts, timing, resigned);
    let mut work = tokio::spawn(work(Arc::clone(&parts), woken, options.concurrency, stop.subscribe()));

    let mut worked = None;
    let reason = tokio::select! {
        () = stopped(stop.subscribe()) => Ok(()),
        () = parts.authority.leadership.until_over() => Ok(()),
        // It ends early only if it could not start.
        served = admin => served.context("the admin server panicked").flatten(),
        ended = &mut work => {
            worked = Some(ended);
            Ok(())
        }
    };
    stop.send_replace(true);
    let worked = match worked {
        Some(ended) => ended,
        // On a timeout the Lease is not released: passes that did not finish may still write.
        None => tokio::time::timeout(FINISH, work).await.context("running passes did not finish in time")?,
    };
    worked.context("the reconcilers panicked")?;
    resign.send_replace(true);
    if let Some(campaign) = campaign {
        campaign.await.context("the leader election panicked")??;
    }
    targets.abort();
    reason?;
    info!("stopped");
    Ok(())
}

/// Takes part in the leader election, unless that is switched off.
fn campaign(
    options: &LeadershipOptions,
    parts: &Parts,
    timing: Timing,
    resigned: watch::Receiver<bool>,
) -> Option<JoinHandle<Result<(), LeadershipLost>>> {
    if !options.leader_elect {
        warn!("leader election is off: nothing prevents a second replica from acting at the same time");
        parts.metrics.leader.set(1);
        return None;
    }
    let authority = &parts.authority;
    let campaign = Campaign::new(
        Arc::clone(&authority.leadership),
        authority.clock.clone(),
        Api::namespaced(parts.clients.writes.clone(), &authority.namespace),
        parts.metrics.leader.clone(),
        identity(&options.pod_name),
        timing,
    );
    Some(tokio::spawn(campaign.run(resigned)))
}

fn health(parts: &Parts) -> admin::Health {
    admin::Health {
        authority: Arc::clone(&parts.authority),
        metrics: Arc::clone(&parts.metrics),
        view: Arc::clone(&parts.view),
        records: Arc::clone(&parts.records),
        sources: Arc::clone(&parts.sources),
    }
}

/// Waits until the kind of the sources can be listed and each of them has a client.
async fn mark_listed_sources(parts: &Parts) {
    let api: Api<DeserializeGuard<ClusterPrometheusSource>> = Api::all(parts.clients.reads.clone());
    let params = kube::api::ListParams::default();
    loop {
        match prunella_cluster::within(prunella_cluster::REQUEST_DEADLINE, api.list_metadata(&params)).await {
            Ok(listed) => {
                if listed.items.is_empty() {
                    warn!("{NO_SOURCE}");
                }
                let known = |name: &str| parts.sources.knows(name);
                if listed.items.iter().all(|one| one.metadata.name.as_deref().is_none_or(known)) {
                    parts.sources.complete();
                    return;
                }
            }
            // The watch reports that, with the fix.
            Err(prunella_cluster::ClusterError::Kube(kube::Error::Api(status))) if status.code == NOT_FOUND => {}
            Err(error) => warn!(%error, "cannot list the sources, trying again"),
        }
        tokio::time::sleep(LIST_AGAIN).await;
    }
}

/// For users who have not created a source yet.
const NO_SOURCE: &str = "there is no ClusterPrometheusSource, so no policy can be evaluated: write the URL of your \
                         Prometheus into examples/source.yaml and apply it";

/// When a first list that failed is tried again.
const LIST_AGAIN: Duration = Duration::from_secs(1);

/// Waits until this process leads, and runs the reconcilers: sources at once, policies and actions
/// when all objects were listed once.
async fn work(parts: Arc<Parts>, woken: Woken, concurrency: u16, stop: watch::Receiver<bool>) {
    tokio::select! {
        () = parts.authority.leadership.until_leading() => {}
        () = stopped(stop.clone()) => return,
    }
    let sources = run_sources(&parts, concurrency, stop.clone());
    let heal = async {
        tokio::select! {
            () = async {
                parts.view.until_complete().await;
                parts.records.until_complete().await;
                parts.sources.until_complete().await;
            } => {}
            () = stopped(stop.clone()) => return,
        }
        info!("all objects are listed, evaluation starts");
        tokio::join!(
            run_policies(&parts, woken.policies, concurrency, stop.clone()),
            run_actions(&parts, woken.actions, concurrency, stop.clone())
        );
    };
    let follow = async {
        tokio::join!(
            parts.records.follow(parts.clients.reads.clone(), &parts.wake_policy),
            mark_listed_sources(&parts)
        );
    };
    tokio::select! {
        // The copy of the actions is kept up to date as long as it is used.
        () = follow => {}
        ((), ()) = async { tokio::join!(sources, heal) } => {}
    }
}

/// A value that becomes true on SIGTERM or Ctrl-C.
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
        info!("stopping: running passes finish first");
        sender.send_replace(true);
    });
    Ok(stop)
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the end too.
    let _ = stop.wait_for(|stop| *stop).await;
}
