//! What one candidate does, step by step.

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

fn held_by(holder: &str, version: &str) -> Record {
    Record { holder: holder.to_owned(), duration: secs(15), version: version.to_owned(), mark: Some(mark(0)) }
}

fn marked(record: Record, number: i64) -> Record {
    Record { mark: Some(mark(number)), ..record }
}

fn candidate() -> Election {
    Election::new("me".to_owned(), timing())
}

fn claim(base: &str) -> Step {
    Step::Claim(Some(base.to_owned()))
}

/// One that was elected at second 0, with version 1.
fn leader() -> Election {
    let mut election = candidate();
    assert_eq!(election.step(secs(0)), Step::Look);
    election.absent(secs(0));
    assert_eq!(election.step(secs(0)), Step::Claim(None));
    election.claimed(held_by("me", "1"), ms(10));
    assert_eq!(election.leads_until(), Some(secs(10)));
    election
}

#[test]
fn the_leader_renews_every_retry_period_on_the_version_it_knows() {
    let mut election = leader();
    assert_eq!(election.step(ms(10)), Step::Wait(secs(2)));
    assert_eq!(election.step(secs(2)), claim("1"));
    election.claimed(held_by("me", "2"), ms(2500));
    // Counted from before it was sent.
    assert_eq!(election.leads_until(), Some(secs(12)));
    assert_eq!(election.step(ms(2500)), Step::Wait(secs(4)));
    assert_eq!(election.step(secs(4)), claim("2"));
}

#[test]
fn a_lease_is_taken_when_it_did_not_change_for_its_duration_as_seen_here() {
    let mut election = candidate();
    assert_eq!(election.step(secs(100)), Step::Look);
    election.found(held_by("other", "1"), secs(100));
    for second in (102..115).step_by(2) {
        assert_eq!(election.step(secs(second)), Step::Look);
        election.found(held_by("other", "1"), secs(second));
    }
    assert_eq!(election.step(ms(114_999)), Step::Wait(secs(115)));
    // Looked at once more, for it may have been renewed just now.
    assert_eq!(election.step(secs(115)), Step::Look);
    election.found(held_by("other", "1"), secs(115));
    assert_eq!(election.step(secs(115)), claim("1"));
}

#[test]
fn a_lease_that_changes_is_never_taken() {
    let mut election = candidate();
    for look in 0..100 {
        let now = secs(look * 2);
        assert_eq!(election.step(now), Step::Look);
        election.found(held_by("other", &(look / 5).to_string()), now);
    }
}

#[test]
fn the_duration_of_a_lease_is_its_holders() {
    let mut election = candidate();
    election.found(Record { duration: secs(60), ..held_by("other", "1") }, secs(0));
    assert_eq!(election.step(secs(59)), Step::Look);
    election.found(Record { duration: secs(60), ..held_by("other", "1") }, secs(59));
    assert_eq!(election.step(secs(59)), Step::Wait(secs(60)));
}

#[test]
fn a_lease_given_back_is_taken_at_once() {
    let mut election = candidate();
    election.found(held_by("other", "1"), secs(0));
    election.found(held_by("", "2"), secs(2));
    assert_eq!(election.step(secs(2)), claim("2"));
}

#[test]
fn a_leader_that_cannot_renew_stops_at_the_deadline() {
    let mut election = leader();
    let mut now = secs(2);
    while let Step::Look | Step::Claim(_) = election.step(now) {
        election.unanswered(mark(1), now);
        election.blind(now);
        now += ms(500);
    }
    assert_eq!(now, secs(10));
    assert_eq!(election.step(now), Step::Stop(Loss::NotRenewed(secs(10))));
    assert_eq!(election.leads_until(), None);
    // For good: also if it could read its name in the Lease afterwards.
    election.found(marked(held_by("me", "2"), 1), now);
    assert_eq!(election.leads_until(), None);
}

#[test]
fn a_leader_that_sees_another_one_stops_at_once() {
    let mut election = leader();
    assert_eq!(election.step(secs(2)), claim("1"));
    election.refused(ms(2010));
    assert_eq!(election.step(ms(2010)), Step::Look);
    election.found(held_by("other", "2"), ms(2020));
    assert_eq!(election.leads_until(), None);
    assert_eq!(election.step(ms(2020)), Step::Stop(Loss::Taken("other".to_owned())));
}

#[test]
fn a_renewal_without_an_answer_counts_from_when_it_was_sent_once_it_is_seen() {
    let mut election = leader();
    assert_eq!(election.step(secs(2)), claim("1"));
    election.unanswered(mark(1), secs(5));
    assert_eq!(election.leads_until(), Some(secs(10)), "nothing is known yet");
    assert_eq!(election.step(secs(5)), Step::Look);
    election.found(marked(held_by("me", "2"), 1), ms(5010));
    assert_eq!(election.leads_until(), Some(secs(12)));
    assert_eq!(election.step(ms(5010)), claim("2"));
}

#[test]
fn a_renewal_without_an_answer_that_is_not_seen_is_repeated() {
    let mut election = leader();
    assert_eq!(election.step(secs(2)), claim("1"));
    election.unanswered(mark(1), secs(5));
    assert_eq!(election.step(secs(5)), Step::Look);
    election.found(held_by("me", "1"), ms(5010));
    assert_eq!(election.leads_until(), Some(secs(10)));
    assert_eq!(election.step(ms(5010)), claim("1"));
    // It was on its way for long, and wins over its own repetition.
    election.refused(ms(5020));
    assert_eq!(election.step(ms(5020)), Step::Look);
    election.found(marked(held_by("me", "2"), 1), ms(5030));
    assert_eq!(election.leads_until(), Some(secs(12)));
}

#[test]
fn an_edit_by_somebody_else_does_not_pass_for_a_renewal() {
    let mut election = leader();
    assert_eq!(election.step(secs(2)), claim("1"));
    election.unanswered(mark(1), secs(5));
    election.found(marked(held_by("me", "2"), 0), ms(5010));
    assert_eq!(election.leads_until(), Some(secs(10)));
    assert_eq!(election.step(ms(5010)), claim("2"));
}

#[test]
fn a_candidate_whose_claim_went_unanswered_leads_when_it_sees_it() {
    let mut election = candidate();
    election.absent(secs(0));
    assert_eq!(election.step(secs(0)), Step::Claim(None));
    election.unanswered(mark(1), secs(3));
    assert_eq!(election.leads_until(), None);
    assert_eq!(election.step(secs(3)), Step::Look);
    election.found(marked(held_by("me", "1"), 1), ms(3010));
    assert_eq!(election.leads_until(), Some(secs(10)));
}

#[test]
fn whoever_saw_the_lease_held_respects_it_when_it_is_deleted() {
    let mut election = candidate();
    election.found(held_by("other", "1"), secs(0));
    assert_eq!(election.step(secs(2)), Step::Look);
    election.absent(secs(2));
    assert_eq!(election.step(secs(16)), Step::Look);
    election.absent(secs(16));
    assert_eq!(election.step(ms(16_999)), Step::Wait(secs(17)));
    assert_eq!(election.step(secs(17)), Step::Look);
    election.absent(secs(17));
    assert_eq!(election.step(secs(17)), Step::Claim(None));
}

#[test]
fn a_leader_whose_lease_was_deleted_makes_it_anew() {
    let mut election = leader();
    assert_eq!(election.step(secs(2)), claim("1"));
    election.refused(ms(2010));
    assert_eq!(election.step(ms(2010)), Step::Look);
    election.absent(ms(2020));
    assert_eq!(election.step(ms(2500)), Step::Claim(None));
    election.claimed(held_by("me", "7"), ms(2510));
    assert_eq!(election.leads_until(), Some(ms(12_500)));
}

#[test]
fn refusals_without_end_make_no_storm() {
    for mut election in [leader(), candidate()] {
        election.found(held_by(if election.renewed.is_some() { "me" } else { "" }, "1"), secs(2));
        let mut requests = 0;
        for millisecond in 2000..9000 {
            let now = ms(millisecond);
            match election.step(now) {
                Step::Look => election.found(held_by(election.holder().to_owned().as_str(), "1"), now),
                Step::Claim(_) => election.refused(now),
                Step::Wait(_) | Step::Stop(_) => continue,
            }
            requests += 1;
        }
        assert!(requests <= 2 * 7 * 2 + 2, "{requests} requests in 7 s");
    }
}
