//! The three times of an election, and the rules between them.

use std::time::Duration;

/// The three times of an election. The rules between them were checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    lease: Duration,
    renew: Duration,
    retry: Duration,
}

/// Why an election is not possible with the three times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// The lease duration, which a Lease stores in seconds.
    #[error("--lease-duration {0:?} must be whole seconds from 1s to 1h: a Lease stores seconds")]
    LeaseNotSeconds(Duration),
    /// The lease duration, beside the two other times.
    #[error(
        "--lease-duration {lease:?} must be at least --renew-deadline {renew:?} plus --retry-period {retry:?}: \
         the leader must stop before another replica starts"
    )]
    LeaseTooShort {
        /// The lease duration.
        lease: Duration,
        /// The renew deadline.
        renew: Duration,
        /// The retry period.
        retry: Duration,
    },
    /// The renew deadline, beside the retry period.
    #[error(
        "--renew-deadline {renew:?} must be at least twice --retry-period {retry:?}: one lost renewal must not end the leadership"
    )]
    RenewTooShort {
        /// The renew deadline.
        renew: Duration,
        /// The retry period.
        retry: Duration,
    },
    /// The retry period.
    #[error("--retry-period {0:?} must be at least 100ms: each replica sends a request that often")]
    RetryTooShort(Duration),
}

impl Default for Timing {
    /// As client-go's.
    fn default() -> Self {
        Self { lease: Duration::from_secs(15), renew: Duration::from_secs(10), retry: Duration::from_secs(2) }
    }
}

impl Timing {
    /// Checks the rules between the three times.
    ///
    /// # Errors
    /// When a rule is violated.
    pub fn new(lease: Duration, renew: Duration, retry: Duration) -> Result<Self, TimingError> {
        if lease.subsec_nanos() != 0 || lease.is_zero() || lease > Duration::from_hours(1) {
            Err(TimingError::LeaseNotSeconds(lease))
        } else if retry < Duration::from_millis(100) {
            Err(TimingError::RetryTooShort(retry))
        } else if renew < retry.saturating_mul(2) {
            Err(TimingError::RenewTooShort { renew, retry })
        } else if lease < renew.saturating_add(retry) {
            Err(TimingError::LeaseTooShort { lease, renew, retry })
        } else {
            Ok(Self { lease, renew, retry })
        }
    }

    /// How long the other replicas wait after they have last seen the Lease change.
    pub(super) fn lease(self) -> Duration {
        self.lease
    }

    /// How long the leader may act after it sent a renewal.
    pub(super) fn renew(self) -> Duration {
        self.renew
    }

    /// How often the leader renews the Lease, and the others read it.
    pub(super) fn retry(self) -> Duration {
        self.retry
    }

    /// When a failed attempt is tried again.
    pub(super) fn again(self) -> Duration {
        self.retry / 4
    }

    /// How long one request for the Lease may take. Short enough that after a lost renewal, the Lease can
    /// be read and renewed again before the renew deadline.
    pub(super) fn request(self) -> Duration {
        self.renew / 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lease: &str, renew: &str, retry: &str, says: Option<&str>) {
        let parse = |text: &str| crate::args::duration(text).unwrap();
        let answer = Timing::new(parse(lease), parse(renew), parse(retry));
        match (answer, says) {
            (Ok(_), None) => {}
            (Err(error), Some(says)) => assert!(error.to_string().contains(says), "{error}"),
            (answer, _) => panic!("{lease} {renew} {retry}: {answer:?}"),
        }
    }

    #[test]
    fn invalid_times_are_refused_with_the_flag_to_change() {
        check("15s", "10s", "2s", None);
        check("3s", "2s", "500ms", None);
        check("12s", "10s", "2s", None);
        check("11s", "10s", "2s", Some("--lease-duration 11s must be at least --renew-deadline 10s plus"));
        check("1500ms", "1s", "200ms", Some("whole seconds"));
        check("0s", "10s", "2s", Some("from 1s to 1h"));
        check("2h", "10s", "2s", Some("from 1s to 1h"));
        check("15s", "3s", "2s", Some("--renew-deadline 3s must be at least twice"));
        check("15s", "10s", "0s", Some("--retry-period 0ns must be at least 100ms"));
    }
}
