//! Storms: one probe, and the next action only after a probe has succeeded.

use crate::support::*;
use prunella_core::decide::{Memory, Storm, StormChange};
use prunella_core::execute::OutcomeReason;
use prunella_core::ledger::{Outcome, State};
use prunella_core::policy::{MaxUnhealthy, PolicyMode, StormRule};
use prunella_core::target::{NotHealable, Target};

/// Four old pods, of which two may be breached, and no other limit.
fn world() -> World {
    let mut world = World::new(vec![pod("a", -9000), pod("b", -9000), pod("c", -9000), pod("d", -9000)]);
    world.policy.limits.max_unhealthy = MaxUnhealthy::Percent(50);
    world.policy.limits.max_concurrent = 10;
    world.policy.limits.max_actions = 100;
    world.policy.limits.subject_cap.count = 100;
    world.policy.limits.cooldown = seconds(0);
    world.policy.steps = vec![step(2), step(1)];
    world
}

const ALL: [&str; 4] = ["a", "b", "c", "d"];

#[test]
fn max_unhealthy_is_rounded_down_and_at_least_one() {
    for (share, of, allowed) in [
        (MaxUnhealthy::Percent(50), 4, 2),
        (MaxUnhealthy::Percent(50), 3, 1),
        (MaxUnhealthy::Percent(50), 1, 1),
        (MaxUnhealthy::Percent(50), 0, 1),
        (MaxUnhealthy::Percent(100), 7, 7),
        (MaxUnhealthy::Percent(1), 99, 1),
        (MaxUnhealthy::Count(3), 100, 3),
        (MaxUnhealthy::Count(0), 100, 1),
        (MaxUnhealthy::Percent(u32::MAX), usize::MAX, usize::MAX / 100),
    ] {
        assert_eq!(share.of(of), allowed, "{share:?} of {of}");
    }
}

#[test]
fn as_many_unhealthy_targets_as_allowed_are_not_a_storm() {
    let mut world = world();
    let decision = world.evaluate_from_to(0, 30, &breached(&["a", "b"]));
    assert_eq!((reserved(&decision), decision.memory.storm), (vec!["a", "b"], None));
}

#[test]
fn a_dry_run_in_a_storm_records_only_the_probe() {
    let mut world = world();
    world.policy.mode = PolicyMode::DryRun;
    world.evaluate(0, &breached(&ALL));
    let probe = world.evaluate_from_to(10, 30, &breached(&ALL));
    assert_eq!(reserved(&probe), ["a"]);
    world.reserve(&probe.reservations, second(30));
    world.finish(Outcome::DryRun);
    let after = world.evaluate(40, &breached(&ALL));
    assert_eq!(reserved(&after), [""; 0]);
    assert_eq!(refused(&after), [("a", "AlreadyRecorded"), ("b", "Storm"), ("c", "Storm"), ("d", "Storm")].into());
}

#[test]
fn a_dry_run_records_no_more_at_once_than_max_concurrent() {
    let mut world = world();
    world.policy.mode = PolicyMode::DryRun;
    world.policy.limits.max_concurrent = 1;
    let first = world.evaluate_from_to(0, 30, &breached(&["a", "b"]));
    assert_eq!((reserved(&first), refused(&first)), (vec!["a"], [("b", "MaxConcurrent")].into()));
    world.reserve(&first.reservations, second(30));
    world.finish(Outcome::DryRun);
    assert_eq!(reserved(&world.evaluate(40, &breached(&["a", "b"]))), ["b"]);
}

#[test]
fn a_terminating_pod_counts_neither_as_breached_nor_as_selected() {
    let mut world = world();
    world.targets[2].terminating = true;
    world.targets[3].terminating = true;
    let decision = world.evaluate(0, &breached(&["a", "b"]));
    assert!(decision.memory.storm.is_some(), "two of two");
}

/// Six failed pods of a Job share the selector with six web pods, two of which are unhealthy.
#[test]
fn pods_that_cannot_be_healed_do_not_count_in_a_storm() {
    let jobs: Vec<String> = (0..6).map(|number| format!("job-{number}")).collect();
    let webs: Vec<String> = (0..6).map(|number| format!("web-{number}")).collect();
    let unhealthy: Vec<&str> = jobs.iter().chain(&webs[..2]).map(String::as_str).collect();
    for (why, storm) in [
        (NotHealable::Completed, false),
        (NotHealable::OwnedByJob, false),
        (NotHealable::NodeNotReady, true),
        (NotHealable::OwnerUnknown, true),
    ] {
        let mut world = world();
        let job = |name: &String| Target { not_healable: Some(why), ..pod(name, -9000) };
        world.targets = jobs.iter().map(job).chain(webs.iter().map(|name| pod(name, -9000))).collect();
        let decision = world.evaluate_from_to(0, 30, &breached(&unhealthy));
        assert_eq!(decision.memory.storm.is_some(), storm, "{why:?}");
        let expected = if storm { vec!["web-0"] } else { vec!["web-0", "web-1"] };
        assert_eq!(reserved(&decision), expected, "{why:?}");
    }
}

#[test]
fn a_pod_that_has_finished_is_not_unhealthy() {
    let mut world = world();
    world.evaluate_from_to(0, 30, &breached(&["a"]));
    world.targets[0].not_healable = Some(NotHealable::Completed);
    let decision = world.evaluate(40, &breached(&["a"]));
    assert!(decision.memory.timers.is_empty() && decision.refusals.is_empty() && decision.transitions.is_empty());
    assert_eq!((decision.matching.matched, decision.matching.finished), (1, 1));
}

#[test]
fn a_storm_lets_one_probe_through_and_the_next_only_after_it_has_succeeded() {
    let mut world = world();
    let started = world.evaluate(0, &breached(&ALL));
    assert_eq!(started.storm, Some(StormChange::Began { breached: 4, allowed: 2 }));
    let probe = world.evaluate_from_to(10, 30, &breached(&ALL));
    assert_eq!((reserved(&probe), probe.storm), (vec!["a"], None));
    for other in ["b", "c", "d"] {
        assert_eq!(refused(&probe)[other], "Storm");
    }
    world.reserve(&probe.reservations, second(30));
    for state in [State::Pending, State::Running, State::Settling, State::Verifying] {
        world.advance_actions(state, Some(200));
        assert_eq!(reserved(&world.evaluate(40, &breached(&ALL))), [""; 0], "while the probe is {state:?}");
    }
    world.ledger.records[0].finished = Some(second(45));
    world.finish(Outcome::Succeeded);
    let next = world.evaluate(50, &breached(&["b", "c", "d"]));
    assert_eq!(reserved(&next), ["b"], "again one");
}

#[test]
fn after_a_failed_probe_only_its_own_target_climbs_and_the_probe_is_not_repeated() {
    let mut world = world();
    let probe = world.evaluate_from_to(0, 30, &breached(&ALL));
    world.reserve(&probe.reservations, second(30));
    world.finish(Outcome::Failed);
    // The replacement of the probe's pod is unhealthy, too.
    world.targets[0] = pod("a2", 31);
    let all = breached(&["a2", "b", "c", "d"]);
    let climbs = world.evaluate_from_to(40, 70, &all);
    assert_eq!(reserved(&climbs), ["a2"]);
    let reservation = &climbs.reservations[0];
    assert_eq!((reservation.step, reservation.attempt), (2, 1), "although the first step has another attempt left");
    world.reserve(&climbs.reservations, second(70));
    world.finish(Outcome::Failed);
    world.targets[0] = pod("a3", 71);
    let top = world.evaluate_from_to(80, 300, &breached(&["a3", "b", "c", "d"]));
    assert_eq!(reserved(&top), [""; 0], "there is no step above, so no action starts on any target");
    assert_eq!(refused(&top)["b"], "Storm");
}

#[test]
fn of_two_replicas_with_a_bad_configuration_only_the_probed_one_climbs() {
    let mut world = world();
    world.targets.truncate(2);
    world.policy.steps = vec![step(1), step(1)];
    let probe = world.evaluate_from_to(0, 30, &breached(&["a", "b"]));
    assert_eq!(reserved(&probe), ["a"], "two of two are a storm, because one is allowed");
    world.reserve(&probe.reservations, second(30));
    world.finish(Outcome::Failed);
    world.targets[0] = pod("a2", 31);
    let climbs = world.evaluate_from_to(40, 70, &breached(&["a2", "b"]));
    assert_eq!((reserved(&climbs), climbs.reservations[0].step), (vec!["a2"], 2));
    assert_eq!(refused(&climbs), [("b", "Storm")].into());
}

#[test]
fn while_the_probe_runs_the_others_wait_for_the_storm() {
    let mut world = world();
    world.policy.limits.max_concurrent = 1;
    let probe = world.evaluate_from_to(0, 30, &breached(&ALL));
    world.reserve(&probe.reservations, second(30));
    world.advance_actions(State::Running, None);
    let waits = refused(&world.evaluate(40, &breached(&ALL))).get("b").copied();
    assert_eq!(waits, Some("Storm"), "and not for maxConcurrent");
}

#[test]
fn an_action_that_could_not_be_judged_is_not_a_probe() {
    let mut world = world();
    let probe = world.evaluate_from_to(0, 30, &breached(&ALL));
    world.reserve(&probe.reservations, second(30));
    world.ledger.records[0].reason = Some(OutcomeReason::SourceUnknown);
    world.finish(Outcome::Inconclusive);
    assert_eq!(world.evaluate(40, &breached(&ALL)).reservations.len(), 1);
}

#[test]
fn on_storm_hold_starts_no_action() {
    let mut world = world();
    world.policy.limits.on_storm = StormRule::Hold;
    let decision = world.evaluate_from_to(0, 300, &breached(&ALL));
    assert_eq!(reserved(&decision), [""; 0]);
    assert_eq!(refused(&decision).values().collect::<Vec<_>>(), [&"Storm"; 4]);
}

#[test]
fn a_breached_replacement_counts_in_a_storm_although_it_is_too_young() {
    let mut world = world();
    world.policy.min_age = seconds(300);
    let probe = world.evaluate_from_to(0, 30, &breached(&["a", "b", "c"]));
    world.reserve(&probe.reservations, second(30));
    world.advance_actions(State::Verifying, Some(500));
    world.targets[0] = pod("a2", 31);
    world.policy.limits.max_unhealthy = MaxUnhealthy::Percent(50);
    let decision = world.evaluate_from_to(40, 200, &breached(&["a2", "b", "c"]));
    assert!(decision.memory.storm.is_some_and(|storm| storm.calm.is_none()), "three of four are breached");
}

#[test]
fn a_storm_ends_after_storm_cooldown_and_an_outage_does_not_count_as_calm() {
    let mut world = world();
    world.evaluate_from_to(0, 20, &breached(&ALL));
    // A pending target recovers at once.
    assert_eq!(world.evaluate_from_to(30, 50, &breached(&["a"])).storm, None);
    assert!(world.evaluate_from_to(60, 80, &silent()).memory.storm.is_some());
    // Calm: 20 s before the outage, 30 s after it.
    let still = world.evaluate_from_to(90, 120, &breached(&["a"]));
    assert!(still.memory.storm.is_some(), "{:?}", still.memory.storm);
    let over = world.evaluate(130, &breached(&["a"]));
    assert_eq!((over.storm, over.memory.storm), (Some(StormChange::Ended), None));
}

#[test]
fn a_storm_that_returns_before_its_end_continues() {
    let mut world = world();
    let started = world.evaluate(0, &breached(&ALL)).memory.storm.unwrap().since;
    world.evaluate_from_to(10, 50, &breached(&["a"]));
    world.evaluate_from_to(60, 60, &breached(&ALL));
    let storm = world.evaluate_from_to(70, 110, &breached(&["a"])).memory.storm.unwrap();
    assert_eq!(storm.since, started);
}

#[test]
fn a_storm_survives_a_restart_with_its_probe() {
    let mut world = world();
    let probe = world.evaluate_from_to(0, 30, &breached(&ALL));
    world.reserve(&probe.reservations, second(30));
    world.finish(Outcome::Failed);
    // The next process knows of the storm only from the status.
    world.memory = Memory { storm: Some(Storm::restored(second(0))), ..Memory::default() };
    let decision = world.evaluate_from_to(40, 70, &breached(&ALL));
    assert_eq!(reserved(&decision), ["a"], "the old pod climbs");
    assert_eq!((decision.reservations[0].step, decision.storm), (2, None));
}

#[test]
fn a_storm_cancels_pending_actions_except_the_first() {
    let mut world = world();
    let before = world.evaluate_from_to(0, 30, &breached(&["a", "b"]));
    assert_eq!(reserved(&before), ["a", "b"]);
    world.reserve(&before.reservations, second(30));
    let storm = world.evaluate(40, &breached(&ALL));
    let cancelled: Vec<_> = storm.verdicts.iter().map(|one| (one.action.as_str(), one.outcome, one.reason)).collect();
    assert_eq!(cancelled, [("web-2", Outcome::Cancelled, OutcomeReason::Storm)]);
    world.policy.limits.on_storm = StormRule::Hold;
    assert_eq!(world.evaluate(41, &breached(&ALL)).verdicts.len(), 2, "Hold allows no probe");
}

#[test]
fn an_action_that_waits_for_a_disruption_budget_also_waits_for_the_storm() {
    let mut world = world();
    for (sequence, name) in [(1, "a"), (2, "b")] {
        let mut waiting = record(name, sequence, &pod(name, -9000), i64::try_from(sequence).unwrap(), State::Running);
        waiting.waiting = true;
        world.ledger.records.push(waiting);
    }
    world.evaluate_from_to(10, 30, &breached(&["a", "b"]));
    assert!(world.evaluate(40, &breached(&["a", "b"])).waiting.is_empty(), "both may continue");
    let storm = world.evaluate(50, &breached(&ALL));
    assert_eq!(storm.waiting, ["uid-b".into()].into(), "the first is the probe");
}

#[test]
fn actions_that_ended_before_a_storm_are_not_its_probe() {
    // (created, finished, targets that may be acted on). The storm starts at second 0. An
    // action that was in flight then is its probe. An action that had finished is not.
    for (created, finished, may) in [(-900, -800, vec!["a"]), (-900, -1, vec!["a"]), (-900, 0, vec![]), (0, 10, vec![])]
    {
        let mut world = world();
        let mut earlier = record("r", 1, &pod("gone", -9000), created, State::Finished(Outcome::Failed));
        earlier.finished = Some(second(finished));
        world.ledger.records.push(earlier);
        assert_eq!(reserved(&world.evaluate_from_to(0, 30, &breached(&ALL))), may, "from {created} to {finished}");
    }
}

#[test]
fn a_storm_is_calm_while_no_more_than_allowed_are_unhealthy() {
    let mut world = world();
    world.evaluate_from_to(0, 20, &breached(&ALL));
    let calming = world.evaluate(30, &breached(&["a", "b"])).memory.storm.unwrap();
    assert!(calming.calm.is_some(), "two of four are allowed");
}

#[test]
fn an_outage_during_a_storm_ends_with_the_next_answer() {
    let mut world = world();
    world.evaluate_from_to(0, 20, &breached(&ALL));
    assert!(world.evaluate(30, &silent()).memory.storm.unwrap().frozen);
    assert!(!world.evaluate(40, &breached(&ALL)).memory.storm.unwrap().frozen);
}

#[test]
fn a_healthy_replacement_does_not_count_as_unhealthy() {
    let mut world = world();
    let first = world.evaluate_from_to(0, 30, &breached(&["a"]));
    world.reserve(&first.reservations, second(30));
    world.advance_actions(State::Verifying, Some(500));
    world.targets[0] = pod("a2", 31);
    let decision = world.evaluate_from_to(40, 50, &breached(&["b", "c"]));
    assert_eq!(decision.memory.storm, None, "two of four are allowed");
}
