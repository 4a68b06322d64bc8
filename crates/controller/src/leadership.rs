//! Leadership: of all replicas one acts, the holder of a Lease.
//!
//! # Contract
//! - As client-go does it: nobody's wall clock matters. A Lease that has not changed for
//!   the whole of its duration *as observed here, by the own monotonic clock*, is free.
//!   The holder stops acting when it could not renew for the renew deadline, counted from
//!   before the renewal was sent, and that is before anybody else can begin.
//! - Every write of the Lease is a compare-and-set. One whose answer was lost is read
//!   back, never taken for done or for not done.
//! - Whoever loses the lead stops at once and exits: a new process starts with a clean
//!   view of the world, and there is no second way of beginning that nobody tries out.
//! - On shutdown the lead is held until the work is done, and given back then.
//!
//! This keeps replicas out of each other's way. It is not what makes an action happen
//! once: a process that is paused between asking [`Leadership::may_act`] and its write
//! is not stopped by any Lease. The writes themselves are safe: see the executor.
//!
//! A paused virtual machine, whose monotonic clock stands still, is such a process too.

mod campaign;
mod election;
mod lease;
mod timing;

use std::time::Instant;

use tokio::sync::watch;

pub(crate) use campaign::{Campaign, identity};
pub(crate) use timing::Timing;

/// Whether this process leads. Anybody may ask, at any instant.
#[derive(Debug)]
pub(crate) struct Leadership {
    standing: watch::Sender<Standing>,
}

/// Where this process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Leader election is off: it acts as if it were alone.
    Unelected,
    /// Another one leads, or nobody yet.
    Standby,
    /// It leads, and acts until then.
    Leading { until: Instant },
    /// It has led, and never will again.
    Over,
}

impl Leadership {
    /// One that must be won.
    pub(crate) fn contested() -> Self {
        Self { standing: watch::Sender::new(Standing::Standby) }
    }

    /// One that is taken for granted: no other replica is running, says the operator.
    pub(crate) fn granted() -> Self {
        Self { standing: watch::Sender::new(Standing::Unelected) }
    }

    /// Whether this process may act right now.
    ///
    /// # Errors
    /// Why not, as a clause for a log line.
    pub(crate) fn may_act(&self) -> Result<(), &'static str> {
        match *self.standing.borrow() {
            Standing::Unelected => Ok(()),
            Standing::Leading { until } if Instant::now() < until => Ok(()),
            Standing::Leading { .. } => Err("the lead was not renewed in time"),
            Standing::Standby => Err("another replica leads"),
            Standing::Over => Err("the lead is lost or given back"),
        }
    }

    /// Whether it has not led yet.
    pub(crate) fn is_standby(&self) -> bool {
        *self.standing.borrow() == Standing::Standby
    }

    /// Waits until this process leads.
    pub(crate) async fn until_leading(&self) {
        let leading = |standing: &Standing| matches!(standing, Standing::Unelected | Standing::Leading { .. });
        // The sender lives as long as `self`: the wait cannot fail.
        let _ = self.standing.subscribe().wait_for(leading).await;
    }

    /// Waits until the lead is lost or given back.
    pub(crate) async fn until_over(&self) {
        let _ = self.standing.subscribe().wait_for(|standing| *standing == Standing::Over).await;
    }

    fn stand(&self, standing: Standing) {
        self.standing.send_replace(standing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_a_leader_with_time_left_may_act() {
        let leadership = Leadership::contested();
        assert!(leadership.may_act().is_err());
        assert!(leadership.is_standby());
        leadership.stand(Standing::Leading { until: Instant::now() + Duration::from_mins(1) });
        assert_eq!(leadership.may_act(), Ok(()));
        assert!(!leadership.is_standby());
        leadership.stand(Standing::Leading { until: Instant::now() });
        assert!(leadership.may_act().is_err());
        leadership.stand(Standing::Over);
        assert!(leadership.may_act().is_err());
        assert!(!leadership.is_standby());
    }

    #[test]
    fn without_an_election_everybody_may_act() {
        assert_eq!(Leadership::granted().may_act(), Ok(()));
    }
}
