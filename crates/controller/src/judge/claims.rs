//! Who is being reserved right now: a target and its subject are one policy's at a time.
//!
//! Between a decision and the answer to its POST the record is not yet in the book, and two
//! policies could both see a target free. Every limit that policies share is counted by
//! target or subject, and those of one policy it keeps itself, for it is never judged twice
//! at once. So policies with nothing in common need not wait for each other: when everything
//! falls sick at once, a dozen requests one after another are a second.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prunella_core::decide::Reservation;
use prunella_core::target::Uid;
use tokio::sync::Notify;

/// The uids that are taken.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    taken: Mutex<HashSet<Uid>>,
    freed: Notify,
}

/// Uids that nobody else has until it is dropped.
#[derive(Debug)]
pub(super) struct Claimed<'a> {
    claims: &'a Claims,
    uids: HashSet<Uid>,
}

impl Claims {
    /// Waits until nobody else has any target or subject of `wanted`, and takes them all.
    pub(super) async fn take(&self, wanted: &[Reservation]) -> Claimed<'_> {
        let uids: HashSet<Uid> = wanted.iter().flat_map(uids).cloned().collect();
        loop {
            // Made before looking: what is freed in between wakes it all the same.
            let freed = self.freed.notified();
            {
                let mut taken = self.taken();
                if taken.is_disjoint(&uids) {
                    taken.extend(uids.iter().cloned());
                    return Claimed { claims: self, uids };
                }
            }
            freed.await;
        }
    }

    // Nothing can be half done under the lock.
    fn taken(&self) -> MutexGuard<'_, HashSet<Uid>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claimed<'_> {
    /// Whether the reservation needs nothing else.
    pub(super) fn covers(&self, reservation: &Reservation) -> bool {
        uids(reservation).all(|uid| self.uids.contains(uid))
    }
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        let mut taken = self.claims.taken();
        taken.retain(|uid| !self.uids.contains(uid));
        drop(taken);
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
    use prunella_core::action::Action;
    use prunella_core::observation::Labels;
    use prunella_core::target::Object;

    use super::*;

    fn reservation(target: &str, subject: &str) -> Reservation {
        let object = |uid: &str| Object { kind: "Pod".to_owned(), name: uid.to_owned(), uid: uid.into() };
        Reservation {
            target: object(target),
            subject: object(subject),
            rung: 1,
            attempt: 1,
            action: Action::RolloutRestart,
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
    async fn who_has_a_target_or_its_subject_in_common_waits_and_nobody_else_does() {
        let claims = Claims::default();
        let first = claims.take(&[reservation("web-1", "web")]).await;
        let other = claims.take(&[reservation("db-1", "db")]).now_or_never();
        assert!(other.is_some(), "they have nothing in common");
        for same in [reservation("web-2", "web"), reservation("web", "web"), reservation("web-1", "other")] {
            assert!(claims.take(&[same]).now_or_never().is_none());
        }
        let both = [reservation("cache-1", "cache"), reservation("web-2", "web")];
        let mut both = pin!(claims.take(&both));
        assert!(both.as_mut().now_or_never().is_none());
        // Whoever waits has nothing yet.
        assert!(claims.take(&[reservation("cache-1", "cache")]).now_or_never().is_some());
        drop(first);
        let both = both.now_or_never().unwrap();
        assert!(both.covers(&reservation("cache-1", "web")));
        assert!(!both.covers(&reservation("web-1", "web")));
    }
}
