//! The three times of an election, and how they must relate.

use std::time::Duration;

/// The three times of an election; their relation was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    lease: Duration,
    renew: Duration,
    retry: Duration,
}

/// Why the three times make no election.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TimingError {
    #[error("--lease-duration {0:?} must be whole seconds, at least 1s and at most 1h: a Lease tells it in seconds")]
    LeaseNotSeconds(Duration),
    #[error(
        "--lease-duration {lease:?} must be at least --renew-deadline {renew:?} plus --retry-period {retry:?}: \
         the leader has to be still before another may begin"
    )]
    LeaseTooShort { lease: Duration, renew: Duration, retry: Duration },
    #[error(
        "--renew-deadline {renew:?} must be at least twice --retry-period {retry:?}: one lost renewal must not cost the lead"
    )]
    RenewTooShort { renew: Duration, retry: Duration },
    #[error("--retry-period {0:?} must be at least 100ms: the API server is asked that often")]
    RetryTooShort(Duration),
}

impl Timing {
    /// # Errors
    /// When they do not relate as an election needs it.
    pub(crate) fn new(lease: Duration, renew: Duration, retry: Duration) -> Result<Self, TimingError> {
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

    /// How long a Lease is respected after it was last seen to change.
    pub(super) fn lease(self) -> Duration {
        self.lease
    }

    /// How long the leader acts on a renewal, from when it was sent.
    pub(super) fn renew(self) -> Duration {
        self.renew
    }

    /// How often the leader renews, and the others look.
    pub(super) fn retry(self) -> Duration {
        self.retry
    }

    /// How soon an attempt that came to nothing is followed by another.
    pub(super) fn again(self) -> Duration {
        self.retry / 4
    }

    /// How long one request for the Lease may take: short enough for a lost renewal to
    /// be read back and repeated before the lead is lost over it.
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
    fn times_that_make_no_election_are_refused_with_the_flag_to_mend() {
        check("15s", "10s", "2s", None);
        check("3s", "2s", "500ms", None);
        check("12s", "10s", "2s", None);
        check("11s", "10s", "2s", Some("--lease-duration 11s must be at least --renew-deadline 10s plus"));
        check("1500ms", "1s", "200ms", Some("whole seconds"));
        check("0s", "10s", "2s", Some("at least 1s"));
        check("2h", "10s", "2s", Some("at most 1h"));
        check("15s", "3s", "2s", Some("--renew-deadline 3s must be at least twice"));
        check("15s", "10s", "0s", Some("--retry-period 0ns must be at least 100ms"));
    }
}
