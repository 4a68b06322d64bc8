//! Everything failing at once: one probe, the next only after it has helped.

use crate::support::*;
use prunella_core::decide::{Memory, Storm, StormChange};
use prunella_core::execute::OutcomeReason;
use prunella_core::ledger::{Outcome, State};
use prunella_core::policy::{Mode, OnStorm, Unhealthy};

/// Four old pods, of which two may be sick; as many actions as one likes.
fn world() -> World {
    let mut world = World::new(vec![pod("a", -9000), pod("b", -9000), pod("c", -9000), pod("d", -9000)]);
    world.policy.limits.max_unhealthy = Unhealthy::Percent(50);
    world.policy.limits.max_concurrent = 10;
    world.policy.limits.max_actions = 100;
    world.policy.limits.subject_cap.count = 100;
    world.policy.limits.cooldown = seconds(0);
    world.policy.steps = vec![step(2), step(1)];
    world
}

const ALL: [&str; 4] = ["a", "b", "c", "d"];

#[test]
fn how_many_may_be_sick_is_rounded_down_and_never_none() {
    for (share, of, allowed) in [
        (Unhealthy::Percent(50), 4, 2),
        (Unhealthy::Percent(50), 3, 1),
        (Unhealthy::Percent(50), 1, 1),
        (Unhealthy::Percent(50), 0, 1),
        (Unhealthy::Percent(100), 7, 7),
        (Unhealthy::Percent(1), 99, 1),
        (Unhealthy::Count(3), 100, 3),
        (Unhealthy::Count(0), 100, 1),
        (Unhealthy::Percent(u32::MAX), usize::MAX, usize::MAX / 100),
    ] {
        assert_eq!(share.of(of), allowed, "{share:?} of {of}");
    }
}

#[test]
fn as_many_as_may_be_sick_are_no_storm() {
    let mut world = world();
    let decision = world.look_from_to(0, 30, &breached(&["a", "b"]));
    assert_eq!((reserved(&decision), decision.memory.storm), (vec!["a", "b"], None));
}

#[test]
fn a_dry_run_of_a_storm_shows_the_probe_alone() {
    let mut world = world();
    world.policy.mode = Mode::DryRun;
    world.look(0, &breached(&ALL));
    let probe = world.look_from_to(10, 30, &breached(&ALL));
    assert_eq!(reserved(&probe), ["a"]);
    world.reserve(&probe.reservations, second(30));
    world.finish(Outcome::DryRun);
    let after = world.look(40, &breached(&ALL));
    assert_eq!(reserved(&after), [""; 0]);
    assert_eq!(refused(&after), [("a", "AlreadyRecorded"), ("b", "Storm"), ("c", "Storm"), ("d", "Storm")].into());
}

#[test]
fn a_dry_run_records_no_more_at_once_than_would_be_done_at_once() {
    let mut world = world();
    world.policy.mode = Mode::DryRun;
    world.policy.limits.max_concurrent = 1;
    let first = world.look_from_to(0, 30, &breached(&["a", "b"]));
    assert_eq!((reserved(&first), refused(&first)), (vec!["a"], [("b", "MaxConcurrent")].into()));
    world.reserve(&first.reservations, second(30));
    world.finish(Outcome::DryRun);
    assert_eq!(reserved(&world.look(40, &breached(&["a", "b"]))), ["b"]);
}

#[test]
fn a_pod_on_its_way_out_counts_on_neither_side() {
    let mut world = world();
    world.targets[2].terminating = true;
    world.targets[3].terminating = true;
    let decision = world.look(0, &breached(&["a", "b"]));
    assert!(decision.memory.storm.is_some(), "two of two");
}

#[test]
fn a_storm_lets_one_probe_through_and_the_next_only_after_it_has_succeeded() {
    let mut world = world();
    let begun = world.look(0, &breached(&ALL));
    assert_eq!(begun.storm, Some(StormChange::Began { breached: 4, allowed: 2 }));
    let probe = world.look_from_to(10, 30, &breached(&ALL));
    assert_eq!((reserved(&probe), probe.storm), (vec!["a"], None));
    for other in ["b", "c", "d"] {
        assert_eq!(refused(&probe)[other], "Storm");
    }
    world.reserve(&probe.reservations, second(30));
    for state in [State::Pending, State::Running, State::Settling, State::Verifying] {
        world.advance_actions(state, Some(200));
        assert_eq!(reserved(&world.look(40, &breached(&ALL))), [""; 0], "while the probe is {state:?}");
    }
    world.ledger.records[0].finished = Some(second(45));
    world.finish(Outcome::Succeeded);
    let next = world.look(50, &breached(&["b", "c", "d"]));
    assert_eq!(reserved(&next), ["b"], "one again");
}

#[test]
fn a_probe_that_failed_lets_only_its_own_subject_climb_and_never_repeats_itself() {
    let mut world = world();
    let probe = world.look_from_to(0, 30, &breached(&ALL));
    world.reserve(&probe.reservations, second(30));
    world.finish(Outcome::Failed);
    // The replacement of the probe's pod is sick as well.
    world.targets[0] = pod("a2", 31);
    let all = breached(&["a2", "b", "c", "d"]);
    let climbs = world.look_from_to(40, 70, &all);
    assert_eq!(reserved(&climbs), ["a2"]);
    let reservation = &climbs.reservations[0];
    assert_eq!((reservation.rung, reservation.attempt), (2, 1), "although the first rung has another attempt");
    world.reserve(&climbs.reservations, second(70));
    world.finish(Outcome::Failed);
    world.targets[0] = pod("a3", 71);
    let top = world.look_from_to(80, 300, &breached(&["a3", "b", "c", "d"]));
    assert_eq!(reserved(&top), [""; 0], "there is no rung above: nothing more is tried on anybody");
    assert_eq!(refused(&top)["b"], "Storm");
}

#[test]
fn two_replicas_with_a_bad_configuration_climb_and_nobody_else_moves() {
    let mut world = world();
    world.targets.truncate(2);
    world.policy.steps = vec![step(1), step(1)];
    let probe = world.look_from_to(0, 30, &breached(&["a", "b"]));
    assert_eq!(reserved(&probe), ["a"], "two of two are a storm, one may be sick");
    world.reserve(&probe.reservations, second(30));
    world.finish(Outcome::Failed);
    world.targets[0] = pod("a2", 31);
    let climbs = world.look_from_to(40, 70, &breached(&["a2", "b"]));
    assert_eq!((reserved(&climbs), climbs.reservations[0].rung), (vec!["a2"], 2));
    assert_eq!(refused(&climbs), [("b", "Storm")].into());
}

#[test]
fn a_probe_that_nobody_could_judge_is_none() {
    let mut world = world();
    let probe = world.look_from_to(0, 30, &breached(&ALL));
    world.reserve(&probe.reservations, second(30));
    world.ledger.records[0].reason = Some(OutcomeReason::SourceUnknown);
    world.finish(Outcome::Inconclusive);
    assert_eq!(world.look(40, &breached(&ALL)).reservations.len(), 1);
}

#[test]
fn hold_does_nothing_at_all() {
    let mut world = world();
    world.policy.limits.on_storm = OnStorm::Hold;
    let decision = world.look_from_to(0, 300, &breached(&ALL));
    assert_eq!(reserved(&decision), [""; 0]);
    assert_eq!(refused(&decision).values().collect::<Vec<_>>(), [&"Storm"; 4]);
}

#[test]
fn a_replacement_that_is_breached_counts_although_it_is_too_young_to_be_sick() {
    let mut world = world();
    world.policy.min_age = seconds(300);
    let probe = world.look_from_to(0, 30, &breached(&["a", "b", "c"]));
    world.reserve(&probe.reservations, second(30));
    world.advance_actions(State::Verifying, Some(500));
    world.targets[0] = pod("a2", 31);
    world.policy.limits.max_unhealthy = Unhealthy::Percent(50);
    let decision = world.look_from_to(40, 200, &breached(&["a2", "b", "c"]));
    assert!(decision.memory.storm.is_some_and(|storm| storm.calm.is_none()), "three of four are breached");
}

#[test]
fn a_storm_is_over_when_it_has_been_calm_for_long_enough_and_an_outage_is_not_calm() {
    let mut world = world();
    world.look_from_to(0, 20, &breached(&ALL));
    // Those that were only pending are well at once.
    assert_eq!(world.look_from_to(30, 50, &breached(&["a"])).storm, None);
    assert!(world.look_from_to(60, 80, &silent()).memory.storm.is_some());
    // 20 s before the outage, 30 s after it.
    let still = world.look_from_to(90, 120, &breached(&["a"]));
    assert!(still.memory.storm.is_some(), "{:?}", still.memory.storm);
    let over = world.look(130, &breached(&["a"]));
    assert_eq!((over.storm, over.memory.storm), (Some(StormChange::Ended), None));
}

#[test]
fn a_storm_that_comes_back_before_it_is_over_goes_on() {
    let mut world = world();
    let begun = world.look(0, &breached(&ALL)).memory.storm.unwrap().since;
    world.look_from_to(10, 50, &breached(&["a"]));
    world.look_from_to(60, 60, &breached(&ALL));
    let storm = world.look_from_to(70, 110, &breached(&["a"])).memory.storm.unwrap();
    assert_eq!(storm.since, begun);
}

#[test]
fn a_storm_survives_a_restart_with_its_probe() {
    let mut world = world();
    let probe = world.look_from_to(0, 30, &breached(&ALL));
    world.reserve(&probe.reservations, second(30));
    world.finish(Outcome::Failed);
    // The successor knows of the storm from the status alone.
    world.memory = Memory { storm: Some(Storm::restored(second(0))), ..Memory::default() };
    let decision = world.look_from_to(40, 70, &breached(&ALL));
    assert_eq!(reserved(&decision), ["a"], "the old pod climbs");
    assert_eq!((decision.reservations[0].rung, decision.storm), (2, None));
}

#[test]
fn what_was_reserved_before_the_storm_is_taken_back_but_for_the_first() {
    let mut world = world();
    let before = world.look_from_to(0, 30, &breached(&["a", "b"]));
    assert_eq!(reserved(&before), ["a", "b"]);
    world.reserve(&before.reservations, second(30));
    let storm = world.look(40, &breached(&ALL));
    let taken_back: Vec<_> = storm.verdicts.iter().map(|one| (one.action.as_str(), one.outcome, one.reason)).collect();
    assert_eq!(taken_back, [("web-2", Outcome::Cancelled, OutcomeReason::Storm)]);
    world.policy.limits.on_storm = OnStorm::Hold;
    assert_eq!(world.look(41, &breached(&ALL)).verdicts.len(), 2, "no probe is wanted");
}

#[test]
fn what_waits_for_a_disruption_budget_waits_for_the_storm_as_well() {
    let mut world = world();
    for (sequence, name) in [(1, "a"), (2, "b")] {
        let mut waiting = record(name, sequence, &pod(name, -9000), i64::try_from(sequence).unwrap(), State::Running);
        waiting.waiting = true;
        world.ledger.records.push(waiting);
    }
    world.look_from_to(10, 30, &breached(&["a", "b"]));
    assert!(world.look(40, &breached(&["a", "b"])).waiting.is_empty(), "both may be tried");
    let storm = world.look(50, &breached(&ALL));
    assert_eq!(storm.waiting, ["uid-b".into()].into(), "the first is the probe");
}

#[test]
fn a_storm_has_a_probe_of_its_own_whatever_was_tried_before_it() {
    // (created, finished, who may be acted on): of what was under way when the storm
    // began, the outcome tells; of what was over by then, nothing does.
    for (created, finished, may) in [(-900, -800, vec!["a"]), (-900, -1, vec!["a"]), (-900, 0, vec![]), (0, 10, vec![])]
    {
        let mut world = world();
        let mut earlier = record("r", 1, &pod("gone", -9000), created, State::Finished(Outcome::Failed));
        earlier.finished = Some(second(finished));
        world.ledger.records.push(earlier);
        assert_eq!(reserved(&world.look_from_to(0, 30, &breached(&ALL))), may, "from {created} to {finished}");
    }
}

#[test]
fn a_storm_calms_while_as_many_as_may_be_are_sick() {
    let mut world = world();
    world.look_from_to(0, 20, &breached(&ALL));
    let calming = world.look(30, &breached(&["a", "b"])).memory.storm.unwrap();
    assert!(calming.calm.is_some(), "two of four may be");
}

#[test]
fn an_outage_in_a_storm_is_over_when_the_source_speaks_again() {
    let mut world = world();
    world.look_from_to(0, 20, &breached(&ALL));
    assert!(world.look(30, &silent()).memory.storm.unwrap().frozen);
    assert!(!world.look(40, &breached(&ALL)).memory.storm.unwrap().frozen);
}

#[test]
fn a_replacement_that_is_well_does_not_count_among_the_sick() {
    let mut world = world();
    let first = world.look_from_to(0, 30, &breached(&["a"]));
    world.reserve(&first.reservations, second(30));
    world.advance_actions(State::Verifying, Some(500));
    world.targets[0] = pod("a2", 31);
    let decision = world.look_from_to(40, 50, &breached(&["b", "c"]));
    assert_eq!(decision.memory.storm, None, "two of four may be sick");
}
