//! Locks targets and subjects while policies reserve actions on them: only one policy at a time
//! reserves an action on a target or its subject.
//!
//! Between a decision and the answer to its POST, the records do not have the new action, and two
//! policies could both see a target without an action. Every limit that policies share is counted
//! by target or by subject. The limits of one policy need no lock, because a policy is never
//! evaluated twice at once. One lock for all policies would be simpler, but then a dozen requests
//! would run one after another when many targets fail at once, and that takes about a second.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prunella_core::decide::Reservation;
use prunella_core::target::Uid;
use tokio::sync::Notify;

/// The uids that are claimed.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    claimed: Mutex<HashSet<Uid>>,
    freed: Notify,
}

/// Uids that no other policy can claim until this is dropped.
#[derive(Debug)]
pub(super) struct Claimed<'a> {
    claims: &'a Claims,
    uids: HashSet<Uid>,
}

impl Claims {
    /// Waits until no other policy claims any target or subject of `wanted`, and claims them all.
    pub(super) async fn take(&self, wanted: &[Reservation]) -> Claimed<'_> {
        let uids: HashSet<Uid> = wanted.iter().flat_map(uids).cloned().collect();
        loop {
            // Created before the check, so that a release in between is not missed.
            let freed = self.freed.notified();
            {
                let mut claimed = self.claimed();
                if claimed.is_disjoint(&uids) {
                    claimed.extend(uids.iter().cloned());
                    return Claimed { claims: self, uids };
                }
            }
            freed.await;
        }
    }

    // No operation under the lock can stop halfway.
    fn claimed(&self) -> MutexGuard<'_, HashSet<Uid>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claimed<'_> {
    /// Whether the claim includes the target and the subject of the reservation.
    pub(super) fn covers(&self, reservation: &Reservation) -> bool {
        uids(reservation).all(|uid| self.uids.contains(uid))
    }
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        let mut claimed = self.claims.claimed();
        claimed.retain(|uid| !self.uids.contains(uid));
        drop(claimed);
        self.claims.freed.notify_waiters();
    }
}

fn uids(reservation: &Reservation) -> impl Iterator<Item = &Uid> {
    [&reservation.target.uid, &reservation.subject.uid].into_iter()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt;
    use jiff::Timestamp;
    use prunella_core::action::{Action, Restart};
    use prunella_core::observation::Labels;
    use prunella_core::target::Object;

    use super::*;

    fn reservation(target: &str, subject: &str) -> Reservation {
        let object = |uid: &str| Object::known("Pod", uid, uid);
        Reservation {
            target: object(target),
            subject: object(subject),
            step_name: "restart".into(),
            step: 1,
            attempt: 1,
            action: Action::RolloutRestart(Restart),
            skipped: Vec::new(),
            sequence: 1,
            since: Timestamp::UNIX_EPOCH,
            value: 1.0,
            labels: Labels::new(),
            observed_at: Timestamp::UNIX_EPOCH,
            start_by: Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn only_policies_with_a_common_target_or_subject_wait_for_each_other() {
        let claims = Claims::default();
        let first = claims.take(&[reservation("web-1", "web")]).await;
        let other = claims.take(&[reservation("db-1", "db")]).now_or_never();
        assert!(other.is_some(), "no target or subject in common");
        for same in [reservation("web-2", "web"), reservation("web", "web"), reservation("web-1", "other")] {
            assert!(claims.take(&[same]).now_or_never().is_none());
        }
        let both = [reservation("cache-1", "cache"), reservation("web-2", "web")];
        let mut both = pin!(claims.take(&both));
        assert!(both.as_mut().now_or_never().is_none());
        // A claim that waits holds none of its uids.
        assert!(claims.take(&[reservation("cache-1", "cache")]).now_or_never().is_some());
        drop(first);
        let both = both.now_or_never().unwrap();
        assert!(both.covers(&reservation("cache-1", "web")));
        assert!(!both.covers(&reservation("web-1", "web")));
    }
}
