//! One term: everything that this process knows and does from standing for election until it has
//! lost or released the leadership. Nothing that was learned in one term is used in the next.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;
use kube::Api;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use prunella_api::{ClusterPrometheusSource, HealingAction, HealingPolicy};
use prunella_cluster::targets::Targets;
use prunella_core::policy::SubjectCap;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::controllers::{run_actions, run_policies, run_sources};
use super::{Controller, stopped};
use crate::act::{Actor, RetryDelays};
use crate::admin::Health;
use crate::authority::Authority;
use crate::clients::Clients;
use crate::cluster_view::ClusterView;
use crate::handover::Handover;
use crate::judge::{Claims, Judge, PolicyMemories};
use crate::leadership::{Candidate, Leadership, LossReason};
use crate::observe::{ConnectSource, EvaluationSlots, Observer, Sources};
use crate::records::ActionRecords;
use crate::report::Reporter;
use crate::report::events::EventWriter;
use crate::report::metrics::Metrics;
use crate::wakers::{ActionWaker, PolicyWaker};

/// How long the reconcilers may take to finish after the stop signal: well within the 30 seconds
/// that Kubernetes gives a pod.
const FINISH: Duration = Duration::from_secs(20);
/// The status of a kind that the API server does not serve.
const NOT_FOUND: u16 = 404;
/// The window over which the actions on one subject are counted.
const SUBJECT_CAP_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// The parts of one term.
pub(super) struct Parts {
    pub(super) authority: Arc<Authority>,
    pub(super) clients: Clients,
    pub(super) metrics: Arc<Metrics>,
    pub(super) connect_source: ConnectSource,
    view: Arc<ClusterView>,
    records: Arc<ActionRecords>,
    pub(super) sources: Arc<Sources>,
    pub(super) judge: Arc<Judge>,
    pub(super) actor: Arc<Actor>,
    wake_policy: PolicyWaker,
}

/// What the reconcilers are woken by.
struct Woken {
    policies: mpsc::UnboundedReceiver<ObjectRef<HealingPolicy>>,
    actions: mpsc::UnboundedReceiver<ObjectRef<HealingAction>>,
}

impl Parts {
    fn new(process: &Controller) -> (Self, Woken) {
        let Controller { settings, clients, clock, metrics, connect_source, .. } = process;
        let elected = settings.election.is_some();
        let authority = Arc::new(Authority {
            namespace: settings.namespace.clone(),
            own_pod: settings.pod_name.clone(),
            clock: clock.clone(),
            leadership: Arc::new(if elected { Leadership::contested() } else { Leadership::granted() }),
        });
        let reporter = Arc::new(Reporter {
            authority: Arc::clone(&authority),
            writes: clients.writes.clone(),
            events: EventWriter::new(clients.writes.clone(), Arc::clone(metrics)),
            metrics: Arc::clone(metrics),
        });
        let view = Arc::new(ClusterView::new(Targets::new(), Arc::clone(&authority), clients.watches.clone()));
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
                metrics: Arc::clone(metrics),
            },
            reporter: Arc::clone(&reporter),
            handover: Arc::clone(&handover),
            wake_action: ActionWaker(actions),
            memories: PolicyMemories::default(),
            claims: Claims::default(),
            subject_cap: SubjectCap { count: settings.subject_cap, window: SUBJECT_CAP_WINDOW },
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
        let (clients, metrics) = (clients.clone(), Arc::clone(metrics));
        let connect_source = Arc::clone(connect_source);
        let parts =
            Self { authority, clients, metrics, connect_source, view, records, sources, judge, actor, wake_policy };
        (parts, Woken { policies: woken_policies, actions: woken_actions })
    }
}

/// Runs one term. Returns why the leadership was lost, or `None` after the process was stopped.
///
/// # Errors
/// When passes are still running [`FINISH`] after the end: they may still write, so the process
/// must exit. Also when a part has failed that must not fail.
pub(super) async fn run(
    process: &Controller,
    candidate: Option<&mut Candidate>,
    stop: &watch::Receiver<bool>,
) -> Result<Option<LossReason>> {
    // Watches of an earlier term have ended.
    process.clients.watches.clear();
    let (parts, woken) = Parts::new(process);
    let parts = Arc::new(parts);
    process.admin.show(Health {
        authority: Arc::clone(&parts.authority),
        view: Arc::clone(&parts.view),
        records: Arc::clone(&parts.records),
        sources: Arc::clone(&parts.sources),
    });
    let targets = AbortOnDropHandle::new(tokio::spawn({
        let (view, reads) = (Arc::clone(&parts.view), parts.clients.reads.clone());
        async move { Box::pin(view.follow(reads)).await }
    }));
    let (resign, resigned) = watch::channel(false);
    let stood = async {
        let Some(candidate) = candidate else { return Ok(None) };
        Ok(candidate.stand(Arc::clone(&parts.authority.leadership), resigned).await.err())
    };
    let worked = async {
        work_until_stopped(process, &parts, woken, stop).await?;
        resign.send_replace(true);
        anyhow::Ok(())
    };
    // An error drops the candidate, without a release of the Lease.
    let ended = tokio::try_join!(stood, worked);
    drop(targets);
    process.admin.clear();
    process.metrics.forget_all();
    Ok(ended?.0)
}

/// Works until the process is stopped or the leadership is over, and until all passes have finished.
async fn work_until_stopped(
    process: &Controller,
    parts: &Arc<Parts>,
    woken: Woken,
    stop_process: &watch::Receiver<bool>,
) -> Result<()> {
    let stop = watch::Sender::new(false);
    let work = work(Arc::clone(parts), woken, process.settings.concurrency, stop.subscribe());
    let mut work = AbortOnDropHandle::new(tokio::spawn(work));
    let early = tokio::select! {
        () = stopped(stop_process.clone()) => None,
        () = parts.authority.leadership.until_over() => None,
        ended = &mut work => Some(ended),
    };
    stop.send_replace(true);
    let is_early = early.is_some();
    let ended = match early {
        Some(ended) => ended,
        None => tokio::time::timeout(FINISH, work).await.context("running passes did not finish in time")?,
    };
    ended.context("the reconcilers panicked")?;
    ensure!(!is_early || *stop_process.borrow(), "the reconcilers have ended by themselves");
    Ok(())
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
    let sources = run_sources(&parts, stop.clone());
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
            parts.records.follow(parts.clients.watching_as("records"), &parts.wake_policy),
            mark_listed_sources(&parts)
        );
    };
    tokio::select! {
        // The copy of the actions is kept up to date as long as it is used.
        () = follow => {}
        ((), ()) = async { tokio::join!(sources, heal) } => {}
    }
}
