//! One candidate of an election: a pure state machine. It is told what was seen of the
//! Lease and what became of its own writes, and says what to do next. Instants are
//! durations on this process's monotonic clock; no other clock is ever looked at.
//!
//! # Why there is never a second one acting
//! A holder acts for the renew deadline from the instant *before* it sent the claim that
//! was last found to be in effect. Another candidate claims only a record that it has
//! itself seen, unchanged, for the lease duration, and only if it is still unchanged
//! when the claim takes effect. It first saw it after the claim was sent, so it begins
//! at least a lease duration after that: later than the holder has stopped.
//!
//! An absent Lease may be claimed at once, or nobody could ever begin; but one who has
//! seen it held before it was deleted waits as if it were still there.
//!
//! A claim whose answer was lost counts when a look finds its own mark in the Lease,
//! and from when that very claim was sent. That the Lease names this process is not
//! enough: somebody else may have edited it since an earlier claim.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::timing::Timing;

/// So many claims without an answer are remembered. One that is forgotten counts as
/// somebody else's, which costs time and nothing else.
const UNANSWERED_AT_MOST: usize = 16;

/// What an election needs to know of a Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Who holds it; empty: nobody.
    pub(super) holder: String,
    /// For how long after a change it is to be respected.
    pub(super) duration: Duration,
    /// Changes with every write, whoever makes it.
    pub(super) version: String,
    /// Changes with every claim: the time that the claim says it was made. What clock
    /// it comes from does not matter, as long as no two claims of one process agree.
    pub(super) mark: Option<Timestamp>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Read the Lease.
    Look,
    /// Write oneself into it, if it still is of the version; `None`: create it.
    Claim(Option<String>),
    /// Nothing before that instant.
    Wait(Duration),
    /// Stop: the lead is lost.
    Stop(Loss),
}

/// How the lead was lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Loss {
    #[error("it could not be renewed for {0:?}")]
    NotRenewed(Duration),
    #[error("the Lease was taken by {0:?}")]
    Taken(String),
}

/// One candidate.
#[derive(Debug, Clone)]
pub(super) struct Election {
    me: String,
    timing: Timing,
    seen: Seen,
    /// When the claim was sent that was last found to be in effect.
    renewed: Option<Duration>,
    /// When the newest claim was sent.
    sent: Option<Duration>,
    /// The claims without an answer that may have taken effect since the record last
    /// seen, and when each was sent.
    unanswered: VecDeque<(Timestamp, Duration)>,
    /// When the next step is due, and whether it is a look.
    due: Duration,
    look: bool,
    loss: Option<Loss>,
}

/// What was last seen of the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// It does not exist, and is to be respected for so long all the same.
    Absent {
        since: Duration,
        respected: Duration,
    },
    Present {
        record: Record,
        since: Duration,
    },
}

impl Election {
    /// A candidate whose name is its own alone.
    pub(super) fn new(me: String, timing: Timing) -> Self {
        Self {
            me,
            timing,
            seen: Seen::Nothing,
            renewed: None,
            sent: None,
            unanswered: VecDeque::new(),
            due: Duration::ZERO,
            look: true,
            loss: None,
        }
    }

    /// Until when it leads, by what is known so far.
    pub(super) fn leads_until(&self) -> Option<Duration> {
        if self.loss.is_some() {
            return None;
        }
        self.renewed.map(|renewed| renewed.saturating_add(self.timing.renew()))
    }

    /// Who holds the Lease, as last seen; empty: nobody.
    pub(super) fn holder(&self) -> &str {
        match &self.seen {
            Seen::Present { record, .. } => &record.holder,
            Seen::Nothing | Seen::Absent { .. } => "",
        }
    }

    /// What to do now. After [`Step::Look`] and [`Step::Claim`] it is told what came of
    /// it before it is asked again.
    pub(super) fn step(&mut self, now: Duration) -> Step {
        if let Some(end) = self.leads_until()
            && now >= end
        {
            self.loss = Some(Loss::NotRenewed(self.timing.renew()));
        }
        if let Some(loss) = &self.loss {
            return Step::Stop(loss.clone());
        }
        if now < self.due {
            return Step::Wait(self.leads_until().map_or(self.due, |end| end.min(self.due)));
        }
        if self.look || !self.may_claim(now) {
            return Step::Look;
        }
        self.sent = Some(now);
        Step::Claim(match &self.seen {
            Seen::Present { record, .. } => Some(record.version.clone()),
            Seen::Nothing | Seen::Absent { .. } => None,
        })
    }

    /// A look showed the Lease.
    pub(super) fn found(&mut self, record: Record, now: Duration) {
        let changed = !matches!(&self.seen, Seen::Present { record: seen, .. } if seen.version == record.version);
        let mine = record.holder == self.me;
        if changed {
            // Every claim so far was against what was seen before: it is in effect by now
            // or never will be.
            let sent = self.unanswered.drain(..).find(|(mark, _)| Some(*mark) == record.mark).map(|(_, sent)| sent);
            if mine {
                self.renewed = self.renewed.max(sent);
            }
            if self.renewed.is_some() && !mine {
                self.loss = Some(Loss::Taken(record.holder.clone()));
            }
            self.seen = Seen::Present { record, since: now };
        }
        self.looked(now);
    }

    /// A look showed that there is no Lease.
    pub(super) fn absent(&mut self, now: Duration) {
        if !matches!(self.seen, Seen::Absent { .. }) {
            let respected = match &self.seen {
                Seen::Present { record, .. } if !record.holder.is_empty() => record.duration,
                _ => Duration::ZERO,
            };
            self.seen = Seen::Absent { since: now, respected };
        }
        self.looked(now);
    }

    /// A look came to nothing.
    pub(super) fn blind(&mut self, now: Duration) {
        let pause = if self.renewed.is_some() { self.timing.again() } else { self.timing.retry() };
        self.due = now.saturating_add(pause);
        self.look = true;
    }

    /// A claim is in effect: this is the Lease now.
    pub(super) fn claimed(&mut self, record: Record, now: Duration) {
        let sent = self.sent.unwrap_or(now);
        self.renewed = Some(sent);
        self.unanswered.clear();
        self.seen = Seen::Present { record, since: now };
        self.due = sent.saturating_add(self.timing.retry());
        self.look = false;
    }

    /// A claim was refused, and provably had no effect.
    pub(super) fn refused(&mut self, now: Duration) {
        // The leader has to know at once why; a candidate has lost a race.
        let pause = if self.renewed.is_some() { Duration::ZERO } else { self.timing.retry() };
        self.due = now.saturating_add(pause);
        self.look = true;
    }

    /// Nobody knows what became of the claim with this mark.
    pub(super) fn unanswered(&mut self, mark: Timestamp, now: Duration) {
        if self.unanswered.len() == UNANSWERED_AT_MOST {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back((mark, self.sent.unwrap_or(now)));
        self.due = now;
        self.look = true;
    }

    fn looked(&mut self, now: Duration) {
        // One that leads looks only after a claim that came to nothing.
        self.look = !self.may_claim(now);
        self.due = if self.look {
            let next = now.saturating_add(self.timing.retry());
            self.free_at().map_or(next, |free| free.min(next))
        } else {
            // Soon, but not so soon that refusals make a storm of claims.
            self.sent.map_or(now, |sent| sent.saturating_add(self.timing.again()).max(now))
        };
    }

    /// Whether the Lease may be claimed.
    fn may_claim(&self, now: Duration) -> bool {
        self.renewed.is_some() || self.free_at().is_some_and(|free| now >= free)
    }

    /// From when on the Lease is free, should it stay as it was last seen.
    fn free_at(&self) -> Option<Duration> {
        match &self.seen {
            Seen::Nothing => None,
            Seen::Absent { since, respected } => Some(since.saturating_add(*respected)),
            Seen::Present { record, since } if record.holder.is_empty() => Some(*since),
            Seen::Present { record, since } => Some(since.saturating_add(record.duration)),
        }
    }
}

#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;
