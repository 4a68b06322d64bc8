//! The steps of one candidate.

use super::*;

fn timing() -> Timing {
    Timing::new(secs(15), secs(10), secs(2)).unwrap()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn mark(number: i64) -> Timestamp {
    Timestamp::from_second(number).unwrap()
}

fn held_by(holder: &str, version: &str) -> LeaseRecord {
    LeaseRecord { holder: holder.to_owned(), duration: secs(15), version: version.to_owned(), mark: Some(mark(0)) }
}

fn marked(record: LeaseRecord, number: i64) -> LeaseRecord {
    LeaseRecord { mark: Some(mark(number)), ..record }
}

fn candidate() -> Election {
    Election::new("me".to_owned(), timing(), Vec::new(), LeaseSeen::Nothing)
}

fn claim(base: &str) -> ElectionStep {
    ElectionStep::Claim(Some(base.to_owned()))
}

/// A candidate that was elected at second 0, with version 1 of the Lease.
fn leader() -> Election {
    let mut election = candidate();
    assert_eq!(election.step(secs(0)), ElectionStep::Read);
    election.absent(secs(0));
    assert_eq!(election.step(secs(0)), ElectionStep::Claim(None));
    election.claimed(held_by("me", "1"), ms(10));
    assert_eq!(election.leads_until(), Some(secs(10)));
    election
}

#[test]
fn the_leader_renews_the_version_it_knows_every_retry_period() {
    let mut election = leader();
    assert_eq!(election.step(ms(10)), ElectionStep::Wait(secs(2)));
    assert_eq!(election.step(secs(2)), claim("1"));
    election.claimed(held_by("me", "2"), ms(2500));
    // Counted from before the renewal was sent.
    assert_eq!(election.leads_until(), Some(secs(12)));
    assert_eq!(election.step(ms(2500)), ElectionStep::Wait(secs(4)));
    assert_eq!(election.step(secs(4)), claim("2"));
}

#[test]
fn a_lease_is_taken_after_the_candidate_saw_no_change_for_its_duration() {
    let mut election = candidate();
    assert_eq!(election.step(secs(100)), ElectionStep::Read);
    election.found(held_by("other", "1"), secs(100));
    for second in (102..115).step_by(2) {
        assert_eq!(election.step(secs(second)), ElectionStep::Read);
        election.found(held_by("other", "1"), secs(second));
    }
    assert_eq!(election.step(ms(114_999)), ElectionStep::Wait(secs(115)));
    // Read once more, because it may have just been renewed.
    assert_eq!(election.step(secs(115)), ElectionStep::Read);
    election.found(held_by("other", "1"), secs(115));
    assert_eq!(election.step(secs(115)), claim("1"));
}

#[test]
fn a_lease_that_changes_is_never_taken() {
    let mut election = candidate();
    for read in 0..100 {
        let now = secs(read * 2);
        assert_eq!(election.step(now), ElectionStep::Read);
        election.found(held_by("other", &(read / 5).to_string()), now);
    }
}

#[test]
fn the_duration_in_the_lease_counts() {
    let mut election = candidate();
    election.found(LeaseRecord { duration: secs(60), ..held_by("other", "1") }, secs(0));
    assert_eq!(election.step(secs(59)), ElectionStep::Read);
    election.found(LeaseRecord { duration: secs(60), ..held_by("other", "1") }, secs(59));
    assert_eq!(election.step(secs(59)), ElectionStep::Wait(secs(60)));
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let mut election = candidate();
    election.found(held_by("other", "1"), secs(0));
    election.found(held_by("", "2"), secs(2));
    assert_eq!(election.step(secs(2)), claim("2"));
}

#[test]
fn a_process_that_stands_again_does_not_wait_for_its_own_earlier_claim() {
    let again = || Election::new("me".to_owned(), timing(), vec![mark(1), mark(2)], LeaseSeen::Nothing);
    let mut election = again();
    assert_eq!(election.step(secs(100)), ElectionStep::Read);
    election.found(marked(held_by("me", "7"), 2), secs(100));
    assert_eq!(election.leads_until(), None, "an earlier claim is no leadership");
    assert_eq!(election.step(secs(100)), claim("7"));
    // Its name with another mark was written by somebody else, and another replica may lead.
    for strange in [marked(held_by("me", "8"), 3), marked(held_by("other", "8"), 2)] {
        let mut election = again();
        election.found(strange, secs(100));
        assert_eq!(election.step(secs(102)), ElectionStep::Read);
    }
}

#[test]
fn a_process_that_stands_again_remembers_who_held_the_lease() {
    let mut first = leader();
    assert_eq!(first.step(secs(2)), claim("1"));
    first.refused(ms(2010));
    first.found(held_by("other", "2"), ms(2020));
    let mut election = Election::new("me".to_owned(), timing(), vec![mark(1)], first.seen());
    assert_eq!(election.step(secs(3)), ElectionStep::Read);
    // Somebody deleted it, while the other replica may still act.
    election.absent(secs(3));
    assert_eq!(election.step(secs(5)), ElectionStep::Read);
    assert_eq!(election.leads_until(), None);
}

#[test]
fn a_leader_that_cannot_renew_stops_at_the_deadline() {
    let mut election = leader();
    let mut now = secs(2);
    while let ElectionStep::Read | ElectionStep::Claim(_) = election.step(now) {
        election.unanswered(mark(1), now);
        election.read_failed(now);
        now += ms(500);
    }
    assert_eq!(now, secs(10));
    assert_eq!(election.step(now), ElectionStep::Stop(LossReason::NotRenewed(secs(10))));
    assert_eq!(election.leads_until(), None);
    // For ever, also if it finds its name in the Lease afterwards.
    election.found(marked(held_by("me", "2"), 1), now);
    assert_eq!(election.leads_until(), None);
}

#[test]
fn a_leader_that_sees_another_holder_stops_at_once() {
    let mut election = leader();
    assert_eq!(election.step(secs(2)), claim("1"));
    election.refused(ms(2010));
    assert_eq!(election.step(ms(2010)), ElectionStep::Read);
    election.found(held_by("other", "2"), ms(2020));
    assert_eq!(election.leads_until(), None);
    assert_eq!(election.step(ms(2020)), ElectionStep::Stop(LossReason::Taken("other".to_owned())));
}

#[test]
fn a_renewal_without_an_answer_counts_after_a_read_and_from_when_it_was_sent() {
    let mut election = leader();
    assert_eq!(election.step(secs(2)), claim("1"));
    election.unanswered(mark(1), secs(5));
    assert_eq!(election.leads_until(), Some(secs(10)), "the result is not known yet");
    assert_eq!(election.step(secs(5)), ElectionStep::Read);
    election.found(marked(held_by("me", "2"), 1), ms(5010));
    assert_eq!(election.leads_until(), Some(secs(12)));
    assert_eq!(election.step(ms(5010)), claim("2"));
}

#[test]
fn a_renewal_without_an_answer_or_effect_is_repeated() {
    let mut election = leader();
    assert_eq!(election.step(secs(2)), claim("1"));
    election.unanswered(mark(1), secs(5));
    assert_eq!(election.step(secs(5)), ElectionStep::Read);
    election.found(held_by("me", "1"), ms(5010));
    assert_eq!(election.leads_until(), Some(secs(10)));
    assert_eq!(election.step(ms(5010)), claim("1"));
    // The first renewal arrives late, and before its own repetition.
    election.refused(ms(5020));
    assert_eq!(election.step(ms(5020)), ElectionStep::Read);
    election.found(marked(held_by("me", "2"), 1), ms(5030));
    assert_eq!(election.leads_until(), Some(secs(12)));
}

#[test]
fn an_edit_by_somebody_else_is_not_a_renewal() {
    let mut election = leader();
    assert_eq!(election.step(secs(2)), claim("1"));
    election.unanswered(mark(1), secs(5));
    election.found(marked(held_by("me", "2"), 0), ms(5010));
    assert_eq!(election.leads_until(), Some(secs(10)));
    assert_eq!(election.step(ms(5010)), claim("2"));
}

#[test]
fn a_candidate_whose_claim_got_no_answer_leads_after_a_read_shows_it() {
    let mut election = candidate();
    election.absent(secs(0));
    assert_eq!(election.step(secs(0)), ElectionStep::Claim(None));
    election.unanswered(mark(1), secs(3));
    assert_eq!(election.leads_until(), None);
    assert_eq!(election.step(secs(3)), ElectionStep::Read);
    election.found(marked(held_by("me", "1"), 1), ms(3010));
    assert_eq!(election.leads_until(), Some(secs(10)));
}

#[test]
fn a_deleted_lease_is_respected_by_a_candidate_that_saw_it_held() {
    let mut election = candidate();
    election.found(held_by("other", "1"), secs(0));
    assert_eq!(election.step(secs(2)), ElectionStep::Read);
    election.absent(secs(2));
    assert_eq!(election.step(secs(16)), ElectionStep::Read);
    election.absent(secs(16));
    assert_eq!(election.step(ms(16_999)), ElectionStep::Wait(secs(17)));
    assert_eq!(election.step(secs(17)), ElectionStep::Read);
    election.absent(secs(17));
    assert_eq!(election.step(secs(17)), ElectionStep::Claim(None));
}

#[test]
fn a_leader_whose_lease_was_deleted_creates_it_again() {
    let mut election = leader();
    assert_eq!(election.step(secs(2)), claim("1"));
    election.refused(ms(2010));
    assert_eq!(election.step(ms(2010)), ElectionStep::Read);
    election.absent(ms(2020));
    assert_eq!(election.step(ms(2500)), ElectionStep::Claim(None));
    election.claimed(held_by("me", "7"), ms(2510));
    assert_eq!(election.leads_until(), Some(ms(12_500)));
}

#[test]
fn repeated_refusals_do_not_flood_the_api_server() {
    for mut election in [leader(), candidate()] {
        election.found(held_by(if election.renewed.is_some() { "me" } else { "" }, "1"), secs(2));
        let mut requests = 0;
        for millisecond in 2000..9000 {
            let now = ms(millisecond);
            match election.step(now) {
                ElectionStep::Read => election.found(held_by(election.holder().to_owned().as_str(), "1"), now),
                ElectionStep::Claim(_) => election.refused(now),
                ElectionStep::Wait(_) | ElectionStep::Stop(_) => continue,
            }
            requests += 1;
        }
        assert!(requests <= 2 * 7 * 2 + 2, "{requests} requests in 7 s");
    }
}
