//! Carries an election out: one request at a time, each under a deadline, and tells
//! where this process stands as soon as it is known.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::PostParams;
use prunella_cluster::{ClusterError, within};
use prunella_core::time::after;
use tokio::sync::watch;
use tracing::{info, warn};

use super::election::{Election, Loss, Step};
use super::timing::Timing;
use super::{Leadership, Standing, lease};
use crate::clock::Clock;
use crate::context::Context;
use crate::metrics::Metrics;

/// The name of the Lease.
const NAME: &str = "prunella";

/// A candidate.
pub(crate) struct Campaign {
    leadership: Arc<Leadership>,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// Through the client that never retries: a repeated claim would hide a lost one.
    api: Api<Lease>,
    me: String,
    timing: Timing,
    started: Instant,
    election: Election,
    /// The Lease as last seen: what the next claim replaces.
    last: Option<Lease>,
    /// The time that the newest claim said it was made.
    mark: Timestamp,
    /// Who was last told to lead.
    told: Option<String>,
}

/// The lead is lost: this process has to end.
#[derive(Debug, thiserror::Error)]
#[error("lost the lead")]
pub(crate) struct Lost(#[from] Loss);

/// What came of a request.
enum Came {
    /// It is in effect, or was read.
    Good(Box<Lease>),
    /// There is no Lease.
    Absent,
    /// Refused, with the API server's words: without any effect.
    Refused(String),
    /// Nobody knows.
    Unclear(ClusterError),
}

/// A name that no other process has, not even an earlier one in the same pod.
pub(crate) fn identity(pod: &str) -> String {
    format!("{pod}_{:016x}", RandomState::new().build_hasher().finish())
}

impl Campaign {
    /// A candidate called `me` for the Lease in the controller's namespace.
    pub(crate) fn new(context: &Context, me: String, timing: Timing) -> Self {
        Self {
            leadership: Arc::clone(&context.leadership),
            metrics: Arc::clone(&context.metrics),
            clock: context.clock.clone(),
            api: Api::namespaced(context.writes.clone(), &context.namespace),
            election: Election::new(me.clone(), timing),
            me,
            timing,
            started: Instant::now(),
            last: None,
            mark: Timestamp::MIN,
            told: None,
        }
    }

    /// Stands for election and, once elected, holds the lead until `resign` becomes
    /// true; then gives it back.
    ///
    /// # Errors
    /// When the lead is lost. From before that on, nobody may act any more.
    pub(crate) async fn run(mut self, mut resign: watch::Receiver<bool>) -> Result<(), Lost> {
        info!(identity = self.me, namespace = self.api.namespace(), "standing for election");
        loop {
            match self.election.step(self.started.elapsed()) {
                Step::Wait(until) => {
                    let wake = tokio::time::sleep_until((self.started + until).into());
                    tokio::select! {
                        () = wake => {}
                        // An error means that whoever could tell is gone: the end as well.
                        _ = resign.wait_for(|resign| *resign) => break,
                    }
                }
                Step::Look => self.look().await,
                Step::Claim(base) => self.claim(base.is_some()).await,
                Step::Stop(loss) => return Err(loss.into()),
            }
            self.tell();
        }
        self.give_back().await;
        Ok(())
    }

    async fn look(&mut self) {
        let came = self.came(self.api.get(NAME)).await;
        let now = self.started.elapsed();
        match came {
            Came::Good(found) => {
                self.election.found(lease::record(&found, self.timing.lease()), now);
                self.last = Some(*found);
            }
            Came::Absent => {
                self.election.absent(now);
                self.last = None;
            }
            Came::Refused(error) => {
                warn!(error, "may not read the Lease");
                self.election.blind(now);
            }
            Came::Unclear(error) => {
                warn!(%error, "cannot read the Lease");
                self.election.blind(now);
            }
        }
    }

    async fn claim(&mut self, replaces: bool) {
        // Never the same twice: it tells the claims apart.
        self.mark = lease::micros(self.clock.now()).max(after(self.mark, SignedDuration::from_micros(1)));
        let before = self.last.as_ref().filter(|_| replaces);
        let claim = lease::claimed(before, NAME, &self.me, self.timing.lease(), self.mark);
        let parameters = PostParams::default();
        let came = if replaces {
            self.came(self.api.replace(NAME, &parameters, &claim)).await
        } else {
            self.came(self.api.create(&parameters, &claim)).await
        };
        let now = self.started.elapsed();
        match came {
            Came::Good(held) => {
                self.election.claimed(lease::record(&held, self.timing.lease()), now);
                self.last = Some(*held);
            }
            Came::Absent => {
                if replaces {
                    warn!("the Lease was deleted");
                } else {
                    let namespace = self.api.namespace();
                    warn!(namespace, "no such namespace: create it, or choose another --namespace");
                }
                self.election.refused(now);
            }
            Came::Refused(error) => {
                info!(error, "the claim to the Lease was refused, looking why");
                self.election.refused(now);
            }
            Came::Unclear(error) => {
                warn!(%error, "nobody knows what became of the claim to the Lease, looking");
                self.election.unanswered(self.mark, now);
            }
        }
    }

    /// Gives the lead back, if it is held. The successor need not wait then.
    async fn give_back(&mut self) {
        self.over();
        if self.election.leads_until().is_none() {
            return;
        }
        // Twice, for a renewal without an answer may have changed the Lease.
        for _ in 0..2 {
            let Some(held) = &self.last else { return };
            let given_back = lease::given_back(held, self.clock.now());
            match self.came(self.api.replace(NAME, &PostParams::default(), &given_back)).await {
                Came::Good(_) => {
                    info!("gave the lead back");
                    return;
                }
                Came::Refused(error) => warn!(error, "cannot give the lead back"),
                Came::Unclear(error) => warn!(%error, "nobody knows whether the lead is given back"),
                Came::Absent => return,
            }
            self.look().await;
            if self.election.holder() != self.me {
                return;
            }
        }
    }

    async fn came(&self, request: impl Future<Output = kube::Result<Lease>>) -> Came {
        match within(self.deadline(), request).await {
            Ok(lease) => Came::Good(lease.into()),
            Err(ClusterError::Kube(kube::Error::Api(status))) if status.is_not_found() => Came::Absent,
            // Too many requests, or one that makes no sense to the server: not done. What
            // a server says of its own troubles (5xx) leaves that open.
            Err(ClusterError::Kube(kube::Error::Api(status))) if (400..500).contains(&status.code) => {
                Came::Refused(status.message)
            }
            Err(error) => Came::Unclear(error),
        }
    }

    /// How long a request may take: not longer than the lead.
    fn deadline(&self) -> Duration {
        let left = self.election.leads_until().map(|end| end.saturating_sub(self.started.elapsed()));
        left.map_or(self.timing.request(), |left| left.min(self.timing.request()))
    }

    /// From now on nobody may act.
    fn over(&self) {
        self.leadership.stand(Standing::Over);
        self.metrics.leader.set(0);
    }

    fn tell(&mut self) {
        let leads = self.election.leads_until();
        if let Some(until) = leads {
            self.leadership.stand(Standing::Leading { until: self.started + until });
            self.metrics.leader.set(1);
        }
        let leader = if leads.is_some() { &self.me } else { self.election.holder() };
        if self.told.as_deref() == Some(leader) {
            return;
        }
        if leads.is_some() {
            info!(identity = leader, "leading");
        } else if !leader.is_empty() {
            info!(leader, "standing by");
        }
        self.told = Some(leader.to_owned());
    }
}

impl Drop for Campaign {
    /// However it ends, also by a panic: without a campaign there is no lead.
    fn drop(&mut self) {
        self.over();
    }
}
