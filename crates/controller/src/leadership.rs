//! Leader election: only one of several replicas acts, the holder of a Lease.
//!
//! # Contract
//! - No wall clock matters, as in client-go. A Lease is free when this process has not seen it
//!   change for its whole duration, *by its own monotonic clock*. The holder stops acting when it
//!   could not renew for the renew deadline, counted from before it sent the renewal. That is
//!   before another replica can start to act.
//! - Every write of the Lease is a compare-and-set. If the answer is lost, the Lease is read again.
//!   The write never counts as done or as not done without that.
//! - A replica that loses the leadership stops at once. When all its passes have finished, its
//!   process builds all its parts anew and stands for election again: the same path as after a
//!   start, because a second one would be used so seldom that its bugs would not be found. It
//!   does not exit for that, because the kubelet restarts a container that often exits only after
//!   minutes, and nobody would heal meanwhile.
//! - On shutdown, the replica finishes its work first, and then releases the Lease.
//!
//! The election keeps replicas from doing the same work. It does not guarantee that an action runs
//! only once: no Lease stops a process that is paused between [`Leadership::may_act`] and its write.
//! The same is true for a paused virtual machine, whose monotonic clock stands still. The writes
//! themselves are safe: see the action reconciler.

mod campaign;
mod election;
mod lease;
mod timing;

use tokio::time::Instant;

use tokio::sync::watch;

pub(crate) use campaign::{Candidate, identity};
pub(crate) use election::LossReason;
pub use timing::{Timing, TimingError};

/// Whether this process leads in one term. Any task may check this at any time.
#[derive(Debug)]
pub(crate) struct Leadership {
    state: watch::Sender<LeadershipState>,
}

/// The state of this process in the election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeadershipState {
    /// Leader election is off: this process acts.
    Unelected,
    /// Another replica leads, or none does yet.
    Standby,
    /// This process leads, and may act until then.
    Leading { until: Instant },
    /// This process has lost or released the leadership. It never leads in this term again.
    Over,
}

impl Leadership {
    /// Leadership that must be won by election.
    pub(crate) fn contested() -> Self {
        Self { state: watch::Sender::new(LeadershipState::Standby) }
    }

    /// Leadership without election: the operator guarantees that there is no other replica.
    pub(crate) fn granted() -> Self {
        Self { state: watch::Sender::new(LeadershipState::Unelected) }
    }

    /// Whether this process may act right now.
    ///
    /// # Errors
    /// Why not, as a clause for a log line.
    pub(crate) fn may_act(&self) -> Result<(), &'static str> {
        match *self.state.borrow() {
            LeadershipState::Unelected => Ok(()),
            LeadershipState::Leading { until } if Instant::now() < until => Ok(()),
            LeadershipState::Leading { .. } => Err("the Lease was not renewed in time"),
            LeadershipState::Standby => Err("another replica leads"),
            LeadershipState::Over => Err("the leadership was lost or released"),
        }
    }

    /// Whether this process is a standby that has not led yet.
    pub(crate) fn is_standby(&self) -> bool {
        *self.state.borrow() == LeadershipState::Standby
    }

    /// Waits until this process leads.
    pub(crate) async fn until_leading(&self) {
        let leading =
            |state: &LeadershipState| matches!(state, LeadershipState::Unelected | LeadershipState::Leading { .. });
        // The sender lives as long as `self`: the wait cannot fail.
        let _ = self.state.subscribe().wait_for(leading).await;
    }

    /// Waits until the leadership is lost or released.
    pub(crate) async fn until_over(&self) {
        let _ = self.state.subscribe().wait_for(|state| *state == LeadershipState::Over).await;
    }

    fn set(&self, state: LeadershipState) {
        self.state.send_replace(state);
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
        leadership.set(LeadershipState::Leading { until: Instant::now() + Duration::from_mins(1) });
        assert_eq!(leadership.may_act(), Ok(()));
        assert!(!leadership.is_standby());
        leadership.set(LeadershipState::Leading { until: Instant::now() });
        assert!(leadership.may_act().is_err());
        leadership.set(LeadershipState::Over);
        assert!(leadership.may_act().is_err());
        assert!(!leadership.is_standby());
    }

    #[test]
    fn without_an_election_every_replica_may_act() {
        assert_eq!(Leadership::granted().may_act(), Ok(()));
    }
}
