//! The ladder and its end, hold and opt-out, freshness, restarts of the process.

use crate::support::*;
use prunella_core::Decision;
use prunella_core::decide::{BreachPhase, Change, Question, Timer};
use prunella_core::execute::OutcomeReason;
use prunella_core::ledger::{Outcome, State};
use prunella_core::observation::{Answer, History, SeriesHistory, Unknown, UnknownReason};
use prunella_core::policy::PolicyMode;
use prunella_core::target::{OptOut, ReplacementName, Target};

/// The decision for the only unhealthy target: `step/attempt` or the refusal.
fn place(decision: &Decision) -> String {
    match decision.reservations.first() {
        Some(reservation) => format!("{}/{}", reservation.step, reservation.attempt),
        None => refused(decision).values().next().copied().unwrap_or("healthy").to_owned(),
    }
}

/// One step for each number of attempts. Without cooldown and with a wide window, so that
/// only the ladder decides.
fn world(steps: &[u32], target: Target) -> World {
    let mut world = World::new(vec![target]);
    world.policy.steps = steps.iter().map(|attempts| step(*attempts)).collect();
    world.policy.limits.cooldown = seconds(0);
    world.policy.limits.max_actions = 100;
    world
}

/// Adds a past action on an earlier pod, created and finished at these seconds.
fn past(world: &mut World, step: u32, created: i64, finished: i64, outcome: Outcome, reason: OutcomeReason) {
    let sequence = world.ledger.next_sequence(&key());
    let mut past = record("past", sequence, &pod("old", created - 60), created, State::Finished(outcome));
    past.step = step;
    past.reason = Some(reason);
    past.unhealthy_since = second(created - 30);
    past.finished = Some(second(finished));
    world.ledger.records.push(past);
}

#[test]
fn a_replacement_that_is_soon_unhealthy_again_climbs_to_the_end_and_no_further() {
    let mut world = world(&[2, 1], pod("a", 0));
    let mut seen = Vec::new();
    for round in 0..4 {
        let start = round * 200;
        world.targets = vec![pod(&format!("a{round}"), start)];
        let decision = world.evaluate_from_to(start + 10, start + 40, &breached(&[&format!("a{round}")]));
        seen.push(place(&decision));
        world.reserve(&decision.reservations, second(start + 40));
        for record in world.ledger.records.iter_mut().filter(|record| record.in_flight()) {
            record.state = State::Finished(Outcome::Failed);
            record.finished = Some(second(start + 100));
        }
    }
    assert_eq!(seen, ["1/1", "1/2", "2/1", "Exhausted"]);
}

#[test]
fn exhaustion_is_reported_once_and_counted() {
    let mut world = world(&[1], pod("a", 0));
    past(&mut world, 1, -10, 0, Outcome::Failed, OutcomeReason::StillBreached);
    world.evaluate_from_to(10, 30, &breached(&["a"]));
    let first = world.evaluate(40, &breached(&["a"]));
    assert_eq!(first.counts.exhausted, 1);
    let changes: Vec<Change> = first.transitions.iter().map(|one| one.change).collect();
    assert_eq!(changes, [Change::StartedFiring, Change::Exhausted]);
    let again = world.evaluate(50, &breached(&["a"]));
    assert_eq!((again.counts.exhausted, again.transitions.len()), (1, 0));
}

#[test]
fn two_old_pods_with_two_leaks_are_two_first_attempts() {
    let mut world = world(&[1], pod("b", -9000));
    past(&mut world, 1, -100, -50, Outcome::Succeeded, OutcomeReason::Cleared);
    assert_eq!(place(&world.evaluate_from_to(0, 30, &breached(&["b"]))), "1/1");
}

#[test]
fn a_slow_leak_that_is_fixed_every_six_hours_never_climbs() {
    // The action created it six hours ago, and it is unhealthy only now.
    let mut world = world(&[1], pod("a", -21_600));
    past(&mut world, 1, -21_600, -21_550, Outcome::Succeeded, OutcomeReason::Cleared);
    assert_eq!(place(&world.evaluate_from_to(0, 30, &breached(&["a"]))), "1/1");
}

#[test]
fn a_stable_name_keeps_its_history_until_it_was_clear_for_ladder_reset() {
    let stable = |created| Target { replacement_name: ReplacementName::Same, ..pod("old", created) };
    for (finished, expected) in [(-3700, "1/1"), (-3500, "Exhausted")] {
        let mut world = world(&[1], stable(finished - 5));
        past(&mut world, 1, finished - 100, finished, Outcome::Succeeded, OutcomeReason::Cleared);
        assert_eq!(place(&world.evaluate_from_to(0, 30, &breached(&["old"]))), expected, "ended at {finished}");
    }
}

#[test]
fn attempts_before_a_long_clear_time_no_longer_count() {
    let mut world = world(&[2, 1], pod("a", 0));
    past(&mut world, 1, -20_000, -19_900, Outcome::Failed, OutcomeReason::StillBreached);
    past(&mut world, 1, -100, -50, Outcome::Failed, OutcomeReason::StillBreached);
    assert_eq!(place(&world.evaluate_from_to(10, 40, &breached(&["a"]))), "1/2");
}

#[test]
fn only_an_action_that_could_be_judged_is_an_attempt() {
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
        assert_eq!(place(&world.evaluate_from_to(10, 40, &breached(&["a"]))), expected, "{outcome:?} {reason:?}");
    }
}

#[test]
fn a_changed_policy_starts_at_the_first_step_but_keeps_cooldown_and_window() {
    let mut world = world(&[1], pod("a", 0));
    past(&mut world, 1, -10, 0, Outcome::Failed, OutcomeReason::StillBreached);
    world.policy.digest = "another digest".into();
    assert_eq!(place(&world.evaluate_from_to(10, 40, &breached(&["a"]))), "1/1");
    world.policy.limits.cooldown = seconds(300);
    assert_eq!(place(&world.evaluate(50, &breached(&["a"]))), "Cooldown");
    world.policy.limits.cooldown = seconds(0);
    world.policy.limits.max_actions = 1;
    assert_eq!(place(&world.evaluate(60, &breached(&["a"]))), "MaxActions");
}

// Suspended, hold, opt-out

#[test]
fn a_suspended_or_held_policy_is_evaluated_but_starts_no_action() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.suspended = true;
    assert_eq!(place(&world.evaluate_from_to(0, 60, &breached(&["a"]))), "Suspended");
    world.policy.suspended = false;
    world.held = true;
    assert_eq!(place(&world.evaluate(70, &breached(&["a"]))), "Held");
    world.held = false;
    assert_eq!(place(&world.evaluate(80, &breached(&["a"]))), "1/1", "the breach time counted meanwhile");
}

#[test]
fn a_target_is_opted_out_until_the_given_time() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.targets[0].opted_out = Some(OptOut { until: Some(second(50)) });
    let decision = world.evaluate_from_to(0, 40, &breached(&["a"]));
    assert_eq!(place(&decision), "OptedOut");
    assert_eq!(decision.refusals[0].refusal.until, Some(second(50)));
    assert_eq!(place(&world.evaluate(50, &breached(&["a"]))), "1/1");
    world.targets[0].opted_out = Some(OptOut { until: None });
    assert_eq!(place(&world.evaluate(60, &breached(&["a"]))), "OptedOut");
}

// Freshness

#[test]
fn a_dead_exporter_behind_a_rate_is_not_acted_on() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    world.stale.insert("a".into());
    let decision = world.evaluate_from_to(0, 30, &breached(&["a", "b"]));
    assert_eq!((reserved(&decision), refused(&decision)), (vec!["b"], [("a", "Stale")].into()));
}

#[test]
fn freshness_is_not_queried_while_another_guardrail_refuses() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    world.evaluate_from_to(0, 20, &breached(&["a", "b"]));
    let now = second(30);
    let questions = world.decide(now, &observation(now, &breached(&["a", "b"]))).questions;
    assert!(questions.iter().all(|one| matches!(one, Question::Freshness { .. })), "{questions:?}");
    world.policy.suspended = true;
    assert_eq!(world.decide(now, &observation(now, &breached(&["a", "b"]))).questions, []);
}

// Restarts of the process

/// The state after a restart: an earlier process recorded `a` as pending since second 0.
fn restarted(history: History) -> World {
    let mut world = World::new(vec![pod("a", -600)]);
    let uid = world.targets[0].object.uid.clone();
    world.memory.timers.insert(uid, Timer::restored(BreachPhase::Pending, second(0), 5.0));
    world.history = history;
    world
}

fn was_breached(at: &[i64]) -> History {
    let at = at.iter().copied().map(second).collect();
    History::Answered(vec![SeriesHistory { labels: series("a", 1.0).labels, at }])
}

#[test]
fn a_restart_before_the_end_of_for_loses_no_time_that_the_history_proves() {
    let mut world = restarted(was_breached(&[0, 10, 20, 25]));
    assert_eq!(place(&world.evaluate(25, &breached(&["a"]))), "NotYetFor");
    assert_eq!(place(&world.evaluate(30, &breached(&["a"]))), "1/1");
}

#[test]
fn an_outage_during_a_restart_is_not_breach_time() {
    for history in [
        was_breached(&[0, 10]),
        was_breached(&[]),
        History::Unknown(Unknown { reason: UnknownReason::Timeout, message: String::new() }),
    ] {
        let mut world = restarted(history);
        let now = second(600);
        assert_eq!(place(&world.evaluate_at(now, &breached(&["a"]))), "NotYetFor");
        assert_eq!(place(&world.evaluate(620, &breached(&["a"]))), "NotYetFor");
        assert_eq!(place(&world.evaluate(630, &breached(&["a"]))), "1/1");
    }
}

#[test]
fn a_gap_in_the_history_starts_the_timer_after_it() {
    let mut world = restarted(was_breached(&[0, 10, 580, 590, 600]));
    assert_eq!(place(&world.evaluate(600, &breached(&["a"]))), "NotYetFor");
    assert_eq!(place(&world.evaluate(610, &breached(&["a"]))), "1/1", "breached since second 580");
}

/// A source returns the newest sample for the lookback, so 45 of 50 silent seconds look like
/// breach time.
#[test]
fn an_outage_slightly_longer_than_the_lookback_is_also_a_gap() {
    let mut world = restarted(was_breached(&[0, 10, 20, 30, 40, 60]));
    assert_eq!(place(&world.evaluate(60, &breached(&["a"]))), "NotYetFor");
    assert_eq!(place(&world.evaluate(80, &breached(&["a"]))), "NotYetFor");
    assert_eq!(place(&world.evaluate(90, &breached(&["a"]))), "1/1", "breached since second 60");
}

#[test]
fn a_restored_episode_of_a_healthy_target_is_dropped() {
    let mut world = restarted(was_breached(&[]));
    assert_eq!(place(&world.evaluate(25, &Answer::Answered(vec![]))), "healthy");
    assert_eq!(world.policy.mode, PolicyMode::Enforce);
}
