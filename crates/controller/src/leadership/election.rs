//! One candidate of an election: a pure state machine. Its inputs are the Lease as it was read, and
//! the results of its own writes. Its output is the next step. Instants are durations on this
//! process's monotonic clock. It uses no other clock.
//!
//! # Why two replicas never act at the same time
//! A holder may act for the renew deadline, counted from *before* it sent its last claim that took
//! effect. Another candidate claims a Lease only if it has itself seen it unchanged for the lease
//! duration, and only if the Lease is still unchanged when the claim takes effect. It first saw the
//! holder's claim after the holder sent it. So it starts to act at least a lease duration after
//! that, when the holder has stopped.
//!
//! An absent Lease may be claimed at once, because otherwise no replica could ever start. But a
//! candidate that saw it held before it was deleted waits as if it still existed.
//!
//! A candidate that held the Lease in an earlier term, and has stopped, need not wait for itself: it
//! may replace a Lease that still holds one of its own claims. Everybody else sees that as a change,
//! and waits from then on.
//!
//! If the answer to a claim is lost, the claim counts when a read finds its mark in the Lease, and
//! from when that claim was sent. It is not enough that the Lease names this process as its holder:
//! somebody may have edited the Lease since an earlier claim.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::timing::Timing;

/// The most claims without an answer that are remembered. A forgotten claim does not count as a
/// renewal, which only costs time.
pub(super) const UNANSWERED_AT_MOST: usize = 16;

/// The part of a Lease that an election reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeaseRecord {
    /// The holder. Empty: there is none.
    pub(super) holder: String,
    /// How long other candidates must wait after a change.
    pub(super) duration: Duration,
    /// Changes with every write by anybody.
    pub(super) version: String,
    /// Changes with every claim: the time in the claim. It may come from any clock, as long as no two
    /// claims of one process have the same time.
    pub(super) mark: Option<Timestamp>,
}

/// The next step of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ElectionStep {
    /// Read the Lease.
    Read,
    /// Write this process into the Lease, if it still has this version. `None`: create the Lease.
    Claim(Option<String>),
    /// Do nothing before this instant.
    Wait(Duration),
    /// Stop: the leadership is lost.
    Stop(LossReason),
}

/// Why the leadership was lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LossReason {
    #[error("the Lease could not be renewed for {0:?}")]
    NotRenewed(Duration),
    #[error("{0:?} has taken the Lease")]
    Taken(String),
}

/// One candidate.
#[derive(Debug, Clone)]
pub(super) struct Election {
    me: String,
    timing: Timing,
    seen: LeaseSeen,
    /// When the last claim that is known to be in effect was sent.
    renewed: Option<Duration>,
    /// When the newest claim was sent.
    sent: Option<Duration>,
    /// The claims without an answer that may have taken effect since the Lease was last read, and when
    /// each was sent.
    unanswered: VecDeque<(Timestamp, Duration)>,
    /// The marks of this process's claims in earlier terms, which are over.
    earlier: Vec<Timestamp>,
    /// When the next step is due.
    due: Duration,
    /// Whether the next step is a read.
    must_read: bool,
    loss: Option<LossReason>,
}

/// What was last seen of the Lease.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum LeaseSeen {
    #[default]
    Nothing,
    /// It does not exist, but candidates must wait for `respected` as if it did.
    Absent {
        since: Duration,
        respected: Duration,
    },
    Present {
        record: LeaseRecord,
        since: Duration,
    },
}

impl Election {
    /// A candidate. Its name must be unique. `earlier`: the marks of the claims that this process
    /// made in earlier terms. It must have stopped to act on all of them. `seen`: what it has seen of
    /// the Lease in them. A Lease that another candidate held is respected, also if it is gone now.
    pub(super) fn new(me: String, timing: Timing, earlier: Vec<Timestamp>, seen: LeaseSeen) -> Self {
        Self {
            me,
            timing,
            seen,
            renewed: None,
            sent: None,
            unanswered: VecDeque::new(),
            earlier,
            due: Duration::ZERO,
            must_read: true,
            loss: None,
        }
    }

    /// What was seen of the Lease, for the next term of this process.
    pub(super) fn seen(&self) -> LeaseSeen {
        self.seen.clone()
    }

    /// Until when this candidate leads, as far as it knows.
    pub(super) fn leads_until(&self) -> Option<Duration> {
        if self.loss.is_some() {
            return None;
        }
        self.renewed.map(|renewed| renewed.saturating_add(self.timing.renew()))
    }

    /// The holder of the Lease, as last seen. Empty: there is none.
    pub(super) fn holder(&self) -> &str {
        match &self.seen {
            LeaseSeen::Present { record, .. } => &record.holder,
            LeaseSeen::Nothing | LeaseSeen::Absent { .. } => "",
        }
    }

    /// The step to do now. After [`ElectionStep::Read`] and [`ElectionStep::Claim`], the caller must report
    /// the result before it calls this again.
    pub(super) fn step(&mut self, now: Duration) -> ElectionStep {
        if let Some(end) = self.leads_until()
            && now >= end
        {
            self.loss = Some(LossReason::NotRenewed(self.timing.renew()));
        }
        if let Some(loss) = &self.loss {
            return ElectionStep::Stop(loss.clone());
        }
        if now < self.due {
            return ElectionStep::Wait(self.leads_until().map_or(self.due, |end| end.min(self.due)));
        }
        if self.must_read || !self.may_claim(now) {
            return ElectionStep::Read;
        }
        self.sent = Some(now);
        ElectionStep::Claim(match &self.seen {
            LeaseSeen::Present { record, .. } => Some(record.version.clone()),
            LeaseSeen::Nothing | LeaseSeen::Absent { .. } => None,
        })
    }

    /// A read returned the Lease.
    pub(super) fn found(&mut self, record: LeaseRecord, now: Duration) {
        let changed = !matches!(&self.seen, LeaseSeen::Present { record: seen, .. } if seen.version == record.version);
        let mine = record.holder == self.me;
        if changed {
            // Every claim so far was for an earlier version of the Lease: it has taken effect by now,
            // or it never will.
            let sent = self.unanswered.drain(..).find(|(mark, _)| Some(*mark) == record.mark).map(|(_, sent)| sent);
            if mine {
                self.renewed = self.renewed.max(sent);
            }
            if self.renewed.is_some() && !mine {
                self.loss = Some(LossReason::Taken(record.holder.clone()));
            }
            self.seen = LeaseSeen::Present { record, since: now };
        }
        self.after_read(now);
    }

    /// A read showed that there is no Lease.
    pub(super) fn absent(&mut self, now: Duration) {
        if !matches!(self.seen, LeaseSeen::Absent { .. }) {
            let respected = match &self.seen {
                LeaseSeen::Present { record, .. } if !record.holder.is_empty() => record.duration,
                _ => Duration::ZERO,
            };
            self.seen = LeaseSeen::Absent { since: now, respected };
        }
        self.after_read(now);
    }

    /// A read failed.
    pub(super) fn read_failed(&mut self, now: Duration) {
        let pause = if self.renewed.is_some() { self.timing.again() } else { self.timing.retry() };
        self.due = now.saturating_add(pause);
        self.must_read = true;
    }

    /// A claim took effect: this is the Lease now.
    pub(super) fn claimed(&mut self, record: LeaseRecord, now: Duration) {
        let sent = self.sent.unwrap_or(now);
        self.renewed = Some(sent);
        self.unanswered.clear();
        self.seen = LeaseSeen::Present { record, since: now };
        self.due = sent.saturating_add(self.timing.retry());
        self.must_read = false;
    }

    /// A claim was refused and certainly had no effect.
    pub(super) fn refused(&mut self, now: Duration) {
        // A leader must know the reason at once. A candidate was only slower than another one.
        let pause = if self.renewed.is_some() { Duration::ZERO } else { self.timing.retry() };
        self.due = now.saturating_add(pause);
        self.must_read = true;
    }

    /// The claim with this mark got no answer, so it may have taken effect.
    pub(super) fn unanswered(&mut self, mark: Timestamp, now: Duration) {
        if self.unanswered.len() == UNANSWERED_AT_MOST {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back((mark, self.sent.unwrap_or(now)));
        self.due = now;
        self.must_read = true;
    }

    fn after_read(&mut self, now: Duration) {
        // A leader reads only after a claim that failed, so it claims again.
        self.must_read = !self.may_claim(now);
        self.due = if self.must_read {
            let next = now.saturating_add(self.timing.retry());
            self.free_at().map_or(next, |free| free.min(next))
        } else {
            // Soon, but with a pause, so that repeated refusals do not flood the API server.
            self.sent.map_or(now, |sent| sent.saturating_add(self.timing.again()).max(now))
        };
    }

    /// Whether the Lease may be claimed.
    fn may_claim(&self, now: Duration) -> bool {
        self.renewed.is_some() || self.free_at().is_some_and(|free| now >= free)
    }

    /// When the Lease becomes free if it does not change any more.
    fn free_at(&self) -> Option<Duration> {
        match &self.seen {
            LeaseSeen::Nothing => None,
            LeaseSeen::Absent { since, respected } => Some(since.saturating_add(*respected)),
            LeaseSeen::Present { record, since } if record.holder.is_empty() || self.is_from_earlier(record) => {
                Some(*since)
            }
            LeaseSeen::Present { record, since } => Some(since.saturating_add(record.duration)),
        }
    }

    /// Whether the Lease holds a claim of this process from an earlier term. The name alone is not
    /// enough: somebody may have written it there while another replica leads.
    fn is_from_earlier(&self, record: &LeaseRecord) -> bool {
        record.holder == self.me && record.mark.is_some_and(|mark| self.earlier.contains(&mark))
    }
}

#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;
