//! Reads and writes the Lease object for an election.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt;
use kube::api::ObjectMeta;

use super::election::LeaseRecord;

/// The duration of a released Lease, in seconds: the API accepts no less. No replica waits for it,
/// because a Lease without a holder is free.
const RELEASED_DURATION: i32 = 1;

/// The part of a Lease that an election reads. `otherwise` replaces an invalid duration.
pub(super) fn record(lease: &Lease, otherwise: Duration) -> LeaseRecord {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
    LeaseRecord {
        holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
        duration: seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|seconds| *seconds > 0)
            .map_or(otherwise, Duration::from_secs),
        version: lease.resource_version().unwrap_or_default(),
        mark: spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| micros(time.0)),
    }
}

/// The instant as a Lease stores it: in microseconds.
pub(super) fn micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

/// The Lease as held by `holder`, and renewed `now`. It replaces the Lease `before`, and keeps what
/// others have written into it. The times are for people only.
pub(super) fn claimed(before: Option<&Lease>, name: &str, holder: &str, duration: Duration, now: Timestamp) -> Lease {
    let spec = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
    let renewed = spec.holder_identity.as_deref() == Some(holder);
    let handed_over = before.is_some() && !renewed;
    Lease {
        metadata: before.map_or_else(
            || ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            |lease| lease.metadata.clone(),
        ),
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: i32::try_from(duration.as_secs()).ok(),
            acquire_time: if renewed { spec.acquire_time } else { Some(MicroTime(now)) },
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(spec.lease_transitions.unwrap_or(0).saturating_add(i32::from(handed_over))),
            ..spec
        }),
    }
}

/// The Lease without a holder.
pub(super) fn released(before: &Lease, now: Timestamp) -> Lease {
    let spec = before.spec.clone().unwrap_or_default();
    Lease {
        metadata: before.metadata.clone(),
        spec: Some(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(RELEASED_DURATION),
            renew_time: Some(MicroTime(now)),
            ..spec
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_claim_keeps_what_others_wrote_and_counts_the_handover() {
        let mut lease = claimed(None, "prunella", "a", TEN, at(1));
        assert_eq!(lease.spec.as_ref().unwrap().lease_transitions, Some(0));
        lease.metadata.resource_version = Some("7".into());
        lease.metadata.labels = Some([("team".to_owned(), "b".to_owned())].into());

        let renewed = claimed(Some(&lease), "prunella", "a", TEN, at(2));
        assert_eq!(renewed.metadata, lease.metadata);
        let spec = renewed.spec.clone().unwrap();
        assert_eq!(spec.lease_transitions, Some(0));
        assert_eq!((spec.acquire_time, spec.renew_time), (Some(MicroTime(at(1))), Some(MicroTime(at(2)))));

        let taken = claimed(Some(&renewed), "prunella", "b", TEN, at(3)).spec.unwrap();
        assert_eq!(taken.lease_transitions, Some(1));
        assert_eq!(taken.acquire_time, Some(MicroTime(at(3))));
    }

    #[test]
    fn a_released_lease_has_no_holder() {
        let lease = released(&claimed(None, "prunella", "a", TEN, at(1)), at(2));
        let record = record(&lease, TEN);
        assert_eq!((record.holder.as_str(), record.duration), ("", Duration::from_secs(1)));
    }

    #[test]
    fn an_invalid_duration_is_replaced() {
        for seconds in [None, Some(0), Some(-5)] {
            let mut lease = claimed(None, "prunella", "a", TEN, at(1));
            lease.spec.as_mut().unwrap().lease_duration_seconds = seconds;
            assert_eq!(record(&lease, TEN).duration, TEN);
        }
    }
}
