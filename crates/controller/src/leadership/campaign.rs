//! Runs the leader election: sends one request at a time, each with a deadline, and publishes the
//! state of this process after each. A process stands again after it has lost the leadership. Each
//! time is a term of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::PostParams;
use prometheus_client::metrics::gauge::Gauge;
use prunella_cluster::{ClusterError, within};
use prunella_core::time::after;
use tokio::sync::watch;
use tracing::{info, warn};

use super::election::{Election, ElectionStep, LeaseSeen, LossReason, UNANSWERED_AT_MOST};
use super::timing::Timing;
use super::{Leadership, LeadershipState, lease};
use crate::clock::Clock;

/// The name of the Lease.
const NAME: &str = "prunella";

/// This process in the election, over all its terms.
pub(crate) struct Candidate {
    clock: Clock,
    /// 1 while this process leads.
    leads: Gauge,
    /// Uses the client that never retries. After a retry, a conflict could be with its own first try.
    api: Api<Lease>,
    me: String,
    timing: Timing,
    started: Instant,
    /// The times in the newest claims: as many as may still be in the Lease, or take effect late.
    marks: VecDeque<Timestamp>,
    /// What was seen of the Lease in earlier terms.
    seen: LeaseSeen,
    /// The leader that was logged last.
    logged: Option<String>,
}

/// One term: from the first read of the Lease until the leadership is lost or released.
struct Term<'a> {
    candidate: &'a mut Candidate,
    leadership: Arc<Leadership>,
    election: Election,
    /// The Lease as last seen: the next claim replaces it.
    last: Option<Lease>,
}

/// The result of a request.
enum LeaseResponse {
    /// The Lease, as it was read or written.
    Lease(Box<Lease>),
    /// There is no Lease.
    Absent,
    /// The API server refused the request, with this message. It had no effect.
    Refused(String),
    /// It is not known whether the request had an effect.
    Unclear(ClusterError),
}

/// An identity that no other process has, not even an earlier one in the same pod. `nonce` is a
/// random number.
pub(crate) fn identity(pod: &str, nonce: u64) -> String {
    format!("{pod}_{nonce:016x}")
}

impl Candidate {
    /// A candidate with the identity `me`, for the Lease that `api` reaches through a client
    /// that never retries.
    pub(crate) fn new(clock: Clock, api: Api<Lease>, leads: Gauge, me: String, timing: Timing) -> Self {
        let started = Instant::now();
        Self { clock, leads, api, me, timing, started, marks: VecDeque::new(), seen: LeaseSeen::Nothing, logged: None }
    }

    /// Takes part in the election. After winning it, renews the Lease until `resign` becomes true, and
    /// then releases the Lease. The state is published in `leadership`, which serves for one term.
    /// This process must have stopped to act on its earlier terms.
    ///
    /// # Errors
    /// When the leadership is lost. This process may not act any more from before that on.
    pub(crate) async fn stand(
        &mut self,
        leadership: Arc<Leadership>,
        resign: watch::Receiver<bool>,
    ) -> Result<(), LossReason> {
        info!(identity = self.me, namespace = self.api.namespace(), "taking part in the leader election");
        let election =
            Election::new(self.me.clone(), self.timing, self.marks.iter().copied().collect(), self.seen.clone());
        Term { candidate: self, leadership, election, last: None }.run(resign).await
    }

    /// The time for the next claim. It distinguishes the claims, so it is never the same twice.
    fn next_mark(&mut self) -> Timestamp {
        let newest = self.marks.back().copied().unwrap_or(Timestamp::MIN);
        let mark = lease::micros(self.clock.now()).max(after(newest, SignedDuration::from_micros(1)));
        // The newest claim that is in effect, and those without an answer.
        if self.marks.len() > UNANSWERED_AT_MOST {
            self.marks.pop_front();
        }
        self.marks.push_back(mark);
        mark
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Term<'_> {
    async fn run(mut self, mut resign: watch::Receiver<bool>) -> Result<(), LossReason> {
        loop {
            match self.election.step(self.candidate.elapsed()) {
                ElectionStep::Wait(until) => {
                    let wake = tokio::time::sleep_until(self.candidate.started + until);
                    tokio::select! {
                        () = wake => {}
                        // An error means that the sender is gone, which is the end too.
                        _ = resign.wait_for(|resign| *resign) => break,
                    }
                }
                ElectionStep::Read => self.read().await,
                ElectionStep::Claim(base) => self.claim(base.is_some()).await,
                ElectionStep::Stop(loss) => {
                    self.candidate.seen = self.election.seen();
                    return Err(loss);
                }
            }
            self.publish();
        }
        self.release().await;
        Ok(())
    }

    async fn read(&mut self) {
        let response = self.send(self.candidate.api.get(NAME)).await;
        let now = self.candidate.elapsed();
        match response {
            LeaseResponse::Lease(found) => {
                self.election.found(lease::record(&found, self.candidate.timing.lease()), now);
                self.last = Some(*found);
            }
            LeaseResponse::Absent => {
                self.election.absent(now);
                self.last = None;
            }
            LeaseResponse::Refused(error) => {
                warn!(error, "the API server refused the read of the Lease");
                self.election.read_failed(now);
            }
            LeaseResponse::Unclear(error) => {
                warn!(%error, "cannot read the Lease");
                self.election.read_failed(now);
            }
        }
    }

    async fn claim(&mut self, replaces: bool) {
        let mark = self.candidate.next_mark();
        let before = self.last.as_ref().filter(|_| replaces);
        let claim = lease::claimed(before, NAME, &self.candidate.me, self.candidate.timing.lease(), mark);
        let parameters = PostParams::default();
        let response = if replaces {
            self.send(self.candidate.api.replace(NAME, &parameters, &claim)).await
        } else {
            self.send(self.candidate.api.create(&parameters, &claim)).await
        };
        let now = self.candidate.elapsed();
        match response {
            LeaseResponse::Lease(held) => {
                self.election.claimed(lease::record(&held, self.candidate.timing.lease()), now);
                self.last = Some(*held);
            }
            LeaseResponse::Absent => {
                if replaces {
                    warn!("the Lease was deleted");
                } else {
                    let namespace = self.candidate.api.namespace();
                    warn!(namespace, "the namespace does not exist: create it, or set --namespace to another one");
                }
                self.election.refused(now);
            }
            LeaseResponse::Refused(error) => {
                info!(error, "the API server refused the write of the Lease, reading it again");
                self.election.refused(now);
            }
            LeaseResponse::Unclear(error) => {
                warn!(%error, "the result of the write of the Lease is unknown, reading it again");
                self.election.unanswered(mark, now);
            }
        }
    }

    /// Releases the Lease if this process holds it, so that the next leader need not wait.
    async fn release(&mut self) {
        self.publish_end();
        if self.election.leads_until().is_none() {
            return;
        }
        // Twice, because a renewal without an answer may have changed the Lease.
        for _ in 0..2 {
            let Some(held) = &self.last else { return };
            let released = lease::released(held, self.candidate.clock.now());
            match self.send(self.candidate.api.replace(NAME, &PostParams::default(), &released)).await {
                LeaseResponse::Lease(_) => {
                    info!("released the Lease");
                    return;
                }
                LeaseResponse::Refused(error) => warn!(error, "cannot release the Lease"),
                LeaseResponse::Unclear(error) => warn!(%error, "it is unknown whether the Lease is released"),
                LeaseResponse::Absent => return,
            }
            self.read().await;
            if self.election.holder() != self.candidate.me {
                return;
            }
        }
    }

    async fn send(&self, request: impl Future<Output = kube::Result<Lease>>) -> LeaseResponse {
        match within(self.deadline(), request).await {
            Ok(lease) => LeaseResponse::Lease(lease.into()),
            Err(ClusterError::Kube(kube::Error::Api(status))) if status.is_not_found() => LeaseResponse::Absent,
            // With 4xx the request certainly had no effect. With 5xx it may have had one.
            Err(ClusterError::Kube(kube::Error::Api(status))) if (400..500).contains(&status.code) => {
                LeaseResponse::Refused(status.message)
            }
            Err(error) => LeaseResponse::Unclear(error),
        }
    }

    /// How long a request may take: at most until the leadership ends.
    fn deadline(&self) -> Duration {
        let left = self.election.leads_until().map(|end| end.saturating_sub(self.candidate.elapsed()));
        left.map_or(self.candidate.timing.request(), |left| left.min(self.candidate.timing.request()))
    }

    /// Publishes that this process may not act any more.
    fn publish_end(&self) {
        self.leadership.set(LeadershipState::Over);
        self.candidate.leads.set(0);
    }

    /// Publishes whether this process leads, and logs when the leader changes.
    fn publish(&mut self) {
        let leads = self.election.leads_until();
        if let Some(until) = leads {
            self.leadership.set(LeadershipState::Leading { until: self.candidate.started + until });
            self.candidate.leads.set(1);
        }
        let leader = if leads.is_some() { &self.candidate.me } else { self.election.holder() };
        if self.candidate.logged.as_deref() == Some(leader) {
            return;
        }
        if leads.is_some() {
            info!(identity = leader, "leading");
        } else if !leader.is_empty() {
            info!(leader, "another replica leads");
        }
        self.candidate.logged = Some(leader.to_owned());
    }
}

impl Drop for Term<'_> {
    /// Also after a panic: without an election this process does not lead.
    fn drop(&mut self) {
        self.publish_end();
    }
}
