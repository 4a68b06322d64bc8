//! The ladder, its end, and what holds healing back as a whole.

use crate::support::*;
use prunella_core::Decision;
use prunella_core::decide::{Change, Phase, Question, Timer};
use prunella_core::execute::OutcomeReason;
use prunella_core::ledger::{Outcome, State};
use prunella_core::observation::{Answer, History, SeriesHistory, Unknown, UnknownReason};
use prunella_core::policy::Mode;
use prunella_core::target::{OptOut, Target};

/// What was decided for the only sick target: `rung/attempt`, or the refusal.
fn place(decision: &Decision) -> String {
    match decision.reservations.first() {
        Some(reservation) => format!("{}/{}", reservation.rung, reservation.attempt),
        None => refused(decision).values().next().copied().unwrap_or("healthy").to_owned(),
    }
}

/// `steps` by their attempts; no cooldown and a wide window, so that only the ladder decides.
fn world(steps: &[u32], target: Target) -> World {
    let mut world = World::new(vec![target]);
    world.policy.steps = steps.iter().map(|attempts| step(*attempts)).collect();
    world.policy.limits.cooldown = seconds(0);
    world.policy.limits.max_actions = 100;
    world
}

/// A past action on a predecessor, from the second it was reserved to the second it ended.
fn past(world: &mut World, rung: u32, created: i64, finished: i64, outcome: Outcome, reason: OutcomeReason) {
    let sequence = world.ledger.next_sequence(&key());
    let mut past = record("past", sequence, &pod("predecessor", created - 60), created, State::Finished(outcome));
    past.rung = rung;
    past.reason = Some(reason);
    past.sick_since = second(created - 30);
    past.finished = Some(second(finished));
    world.ledger.records.push(past);
}

#[test]
fn a_replacement_that_is_soon_sick_again_climbs_to_the_end_and_no_further() {
    let mut world = world(&[2, 1], pod("a", 0));
    let mut seen = Vec::new();
    for round in 0..4 {
        let start = round * 200;
        world.targets = vec![pod(&format!("a{round}"), start)];
        let decision = world.look_from_to(start + 10, start + 40, &breached(&[&format!("a{round}")]));
        seen.push(place(&decision));
        world.reserve(&decision.reservations, second(start + 40));
        for open in world.ledger.records.iter_mut().filter(|open| open.in_flight()) {
            open.state = State::Finished(Outcome::Failed);
            open.finished = Some(second(start + 100));
        }
    }
    assert_eq!(seen, ["1/1", "1/2", "2/1", "Exhausted"]);
}

#[test]
fn exhaustion_is_told_once_and_counted() {
    let mut world = world(&[1], pod("a", 0));
    past(&mut world, 1, -10, 0, Outcome::Failed, OutcomeReason::StillBreached);
    world.look_from_to(10, 30, &breached(&["a"]));
    let first = world.look(40, &breached(&["a"]));
    assert_eq!(first.counts.exhausted, 1);
    let changes: Vec<Change> = first.transitions.iter().map(|one| one.change).collect();
    assert_eq!(changes, [Change::StartedFiring, Change::Exhausted]);
    let again = world.look(50, &breached(&["a"]));
    assert_eq!((again.counts.exhausted, again.transitions.len()), (1, 0));
}

#[test]
fn two_old_pods_with_two_leaks_are_two_first_attempts() {
    let mut world = world(&[1], pod("b", -9000));
    past(&mut world, 1, -100, -50, Outcome::Succeeded, OutcomeReason::Cleared);
    assert_eq!(place(&world.look_from_to(0, 30, &breached(&["b"]))), "1/1");
}

#[test]
fn a_slow_leak_cured_every_six_hours_never_climbs() {
    // Born by the action six hours ago; sick only now, long after its birth.
    let mut world = world(&[1], pod("a", -21_600));
    past(&mut world, 1, -21_600, -21_550, Outcome::Succeeded, OutcomeReason::Cleared);
    assert_eq!(place(&world.look_from_to(0, 30, &breached(&["a"]))), "1/1");
}

#[test]
fn a_stable_name_is_its_own_history_until_it_was_clear_for_long_enough() {
    let stable = |created| Target { stable_name: true, ..pod("predecessor", created) };
    for (finished, expected) in [(-3700, "1/1"), (-3500, "Exhausted")] {
        let mut world = world(&[1], stable(finished - 5));
        past(&mut world, 1, finished - 100, finished, Outcome::Succeeded, OutcomeReason::Cleared);
        assert_eq!(place(&world.look_from_to(0, 30, &breached(&["predecessor"]))), expected, "ended at {finished}");
    }
}

#[test]
fn what_came_before_a_long_clear_stretch_is_forgotten_with_it() {
    let mut world = world(&[2, 1], pod("a", 0));
    past(&mut world, 1, -20_000, -19_900, Outcome::Failed, OutcomeReason::StillBreached);
    past(&mut world, 1, -100, -50, Outcome::Failed, OutcomeReason::StillBreached);
    assert_eq!(place(&world.look_from_to(10, 40, &breached(&["a"]))), "1/2");
}

#[test]
fn only_what_could_be_judged_was_an_attempt() {
    for (outcome, reason, expected) in [
        (Outcome::Succeeded, OutcomeReason::Cleared, "Exhausted"),
        (Outcome::Failed, OutcomeReason::NotReady, "Exhausted"),
        (Outcome::Inconclusive, OutcomeReason::NoData, "Exhausted"),
        (Outcome::Inconclusive, OutcomeReason::SourceUnknown, "1/1"),
        (Outcome::Inconclusive, OutcomeReason::TargetGone, "1/1"),
        (Outcome::Inconclusive, OutcomeReason::PolicyChanged, "1/1"),
        (Outcome::Cancelled, OutcomeReason::Recovered, "1/1"),
        (Outcome::Expired, OutcomeReason::BlockedByDisruptionBudget, "1/1"),
        (Outcome::Superseded, OutcomeReason::TargetGone, "1/1"),
    ] {
        let mut world = world(&[1], pod("a", 0));
        past(&mut world, 1, -10, 0, outcome, reason);
        assert_eq!(place(&world.look_from_to(10, 40, &breached(&["a"]))), expected, "{outcome:?} {reason:?}");
    }
}

#[test]
fn another_rule_begins_at_the_foot_of_the_ladder_but_keeps_cooldown_and_window() {
    let mut world = world(&[1], pod("a", 0));
    past(&mut world, 1, -10, 0, Outcome::Failed, OutcomeReason::StillBreached);
    world.policy.hash = "another rule".into();
    assert_eq!(place(&world.look_from_to(10, 40, &breached(&["a"]))), "1/1");
    world.policy.limits.cooldown = seconds(300);
    assert_eq!(place(&world.look(50, &breached(&["a"]))), "Cooldown");
    world.policy.limits.cooldown = seconds(0);
    world.policy.limits.max_actions = 1;
    assert_eq!(place(&world.look(60, &breached(&["a"]))), "MaxActions");
}

// What holds healing back as a whole

#[test]
fn suspended_or_held_it_judges_on_and_begins_nothing() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.suspended = true;
    assert_eq!(place(&world.look_from_to(0, 60, &breached(&["a"]))), "Suspended");
    world.policy.suspended = false;
    world.held = true;
    assert_eq!(place(&world.look(70, &breached(&["a"]))), "Held");
    world.held = false;
    assert_eq!(place(&world.look(80, &breached(&["a"]))), "1/1", "the breach was counted all the while");
}

#[test]
fn an_owner_who_opted_out_is_left_alone_until_the_time_given() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.targets[0].opted_out = Some(OptOut { until: Some(second(50)) });
    let decision = world.look_from_to(0, 40, &breached(&["a"]));
    assert_eq!(place(&decision), "OptedOut");
    assert_eq!(decision.refusals[0].refusal.until, Some(second(50)));
    assert_eq!(place(&world.look(50, &breached(&["a"]))), "1/1");
    world.targets[0].opted_out = Some(OptOut { until: None });
    assert_eq!(place(&world.look(60, &breached(&["a"]))), "OptedOut");
}

// Freshness

#[test]
fn a_dead_exporter_behind_a_rate_is_not_acted_on() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    world.stale.insert("a".into());
    let decision = world.look_from_to(0, 30, &breached(&["a", "b"]));
    assert_eq!((reserved(&decision), refused(&decision)), (vec!["b"], [("a", "Stale")].into()));
}

#[test]
fn freshness_is_asked_last_and_only_for_what_would_be_done() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    world.look_from_to(0, 20, &breached(&["a", "b"]));
    let now = second(30);
    let questions = world.decide(now, &observation(now, &breached(&["a", "b"]))).questions;
    assert!(questions.iter().all(|one| matches!(one, Question::Freshness { .. })), "{questions:?}");
    world.policy.suspended = true;
    assert_eq!(world.decide(now, &observation(now, &breached(&["a", "b"]))).questions, []);
}

// Timers that survive a restart

/// What another process wrote down: `a` pending since second 0, and now it is second 25.
fn restarted(history: History) -> World {
    let mut world = World::new(vec![pod("a", -600)]);
    let uid = world.targets[0].object.uid.clone();
    world.memory.timers.insert(uid, Timer::restored(Phase::Pending, second(0), 5.0));
    world.history = history;
    world
}

fn was_breached(at: &[i64]) -> History {
    let at = at.iter().copied().map(second).collect();
    History::Answered(vec![SeriesHistory { labels: series("a", 1.0).labels, at }])
}

#[test]
fn a_restart_at_eighty_percent_of_for_loses_nothing_that_the_history_proves() {
    let mut world = restarted(was_breached(&[0, 10, 20, 25]));
    assert_eq!(place(&world.look(25, &breached(&["a"]))), "NotYetFor");
    assert_eq!(place(&world.look(30, &breached(&["a"]))), "1/1");
}

#[test]
fn an_outage_within_the_restart_is_no_breach_time() {
    for history in [
        was_breached(&[0, 10]),
        was_breached(&[]),
        History::Unknown(Unknown { reason: UnknownReason::Timeout, message: String::new() }),
    ] {
        let mut world = restarted(history);
        let now = second(600);
        assert_eq!(place(&world.look_at(now, &breached(&["a"]))), "NotYetFor");
        assert_eq!(place(&world.look(620, &breached(&["a"]))), "NotYetFor");
        assert_eq!(place(&world.look(630, &breached(&["a"]))), "1/1");
    }
}

#[test]
fn a_gap_in_the_history_starts_the_timer_behind_it() {
    let mut world = restarted(was_breached(&[0, 10, 580, 590, 600]));
    assert_eq!(place(&world.look(600, &breached(&["a"]))), "NotYetFor");
    assert_eq!(place(&world.look(610, &breached(&["a"]))), "1/1", "breached since second 580");
}

/// A source shows the newest sample for as long as its lookback: 45 of 50 silent seconds
/// look like breach time.
#[test]
fn an_outage_little_longer_than_the_lookback_is_a_gap_as_well() {
    let mut world = restarted(was_breached(&[0, 10, 20, 30, 40, 60]));
    assert_eq!(place(&world.look(60, &breached(&["a"]))), "NotYetFor");
    assert_eq!(place(&world.look(80, &breached(&["a"]))), "NotYetFor");
    assert_eq!(place(&world.look(90, &breached(&["a"]))), "1/1", "breached since second 60");
}

#[test]
fn a_sickness_written_down_for_a_healthy_target_is_dropped() {
    let mut world = restarted(was_breached(&[]));
    assert_eq!(place(&world.look(25, &Answer::Answered(vec![]))), "healthy");
    assert_eq!(world.policy.mode, Mode::Enforce);
}
