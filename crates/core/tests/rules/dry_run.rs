//! Dry runs spend a budget of their own: they show what the policy would do, and no more.

use crate::support::*;
use prunella_core::decide::{BreachPhase, Timer};
use prunella_core::ledger::{Outcome, State};
use prunella_core::observation::{History, SeriesHistory};
use prunella_core::policy::PolicyMode;
use prunella_core::refusal::Reason;

/// Records the reservations of a dry run, which ends at once.
fn record_dry_run(world: &mut World, decision: &prunella_core::Decision, at: i64) {
    world.reserve(&decision.reservations, second(at));
    for record in world.ledger.records.iter_mut().filter(|record| record.in_flight()) {
        record.state = State::Finished(Outcome::DryRun);
        record.finished = Some(second(at));
    }
}

/// A hundred targets, each breached for two of four seconds, for an hour. Returns when dry runs
/// were recorded, and for which target.
fn flapping(cooldown: i64, max_actions: u32, window: i64) -> Vec<(i64, String)> {
    let names: Vec<String> = (0..100).map(|number| format!("p{number:02}")).collect();
    let mut world = World::new(names.iter().map(|name| pod(name, -600)).collect());
    for (number, target) in world.targets.iter_mut().enumerate() {
        target.subject.uid = format!("web-{number}").into();
    }
    world.policy.mode = PolicyMode::DryRun;
    world.policy.interval = seconds(1);
    world.policy.breach_for = seconds(0);
    world.policy.clear_for = seconds(1);
    world.policy.limits.cooldown = seconds(cooldown);
    world.policy.limits.max_actions = max_actions;
    world.policy.limits.window = seconds(window);
    let (all, none) = (breached(&names.iter().map(String::as_str).collect::<Vec<_>>()), breached(&[]));
    let mut recorded = Vec::new();
    for now in 0..3600 {
        let decision = world.evaluate(now, if now % 4 < 2 { &all } else { &none });
        recorded.extend(decision.reservations.iter().map(|one| (now, one.target.name.clone())));
        record_dry_run(&mut world, &decision, now);
        assert!(recorded.len() <= 100, "{} records in {now} s", recorded.len());
    }
    recorded
}

#[test]
fn a_flapping_dry_run_is_bounded() {
    // The defaults of `limits`.
    assert_eq!(flapping(300, 3, 3600).len(), 3);
    // `maxActions` in each window, however short.
    let recorded = flapping(0, 5, 600);
    assert_eq!(recorded.len(), 30, "five in each of six windows");
    for (now, _) in &recorded {
        let in_window = recorded.iter().filter(|(at, _)| at <= now && now - at < 600).count();
        assert!(in_window <= 5, "{in_window} in the window that ends at {now}");
    }
}

#[test]
fn a_dry_run_keeps_its_cooldown_and_the_cap_of_its_subject() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    world.policy.mode = PolicyMode::DryRun;
    world.policy.breach_for = seconds(0);
    world.policy.limits.subject_cap.count = 1;
    let first = world.evaluate(0, &breached(&["a"]));
    assert_eq!(reserved(&first), ["a"]);
    record_dry_run(&mut world, &first, 0);
    world.evaluate_from_to(10, 40, &breached(&[]));
    let again = world.evaluate(50, &breached(&["a", "b"]));
    assert_eq!(refused(&again), [("a", "Cooldown"), ("b", "SubjectCap")].into(), "a new episode of a");
    world.policy.limits.subject_cap.count = 5;
    world.evaluate_from_to(60, 100, &breached(&[]));
    assert_eq!(reserved(&world.evaluate(300, &breached(&["a"]))), ["a"], "the cooldown is over");
}

/// A switch to `Enforce` starts with the whole budget, and no other policy waits.
#[test]
fn dry_runs_take_no_budget_from_actions() {
    for (own, state) in [
        (true, State::Finished(Outcome::DryRun)),
        (true, State::Pending),
        (false, State::Finished(Outcome::DryRun)),
        (false, State::Pending),
    ] {
        let mut world = World::new(vec![pod("a", -600)]);
        world.policy.limits.max_actions = 1;
        world.policy.limits.subject_cap.count = 1;
        for sequence in 1..=20 {
            let mut dry = record("r", sequence, &world.targets[0], 25, state);
            dry.mode = PolicyMode::DryRun;
            dry.policy.name = if own { dry.policy.name } else { "another".into() };
            world.ledger.records.push(dry);
        }
        assert_eq!(reserved(&world.evaluate_from_to(0, 30, &breached(&["a"]))), ["a"], "{own} {state:?}");
    }
}

#[test]
fn a_dry_run_does_not_count_the_dry_runs_of_another_policy() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.mode = PolicyMode::DryRun;
    world.policy.limits.subject_cap.count = 1;
    let mut other = record("r", 1, &world.targets[0], 25, State::Finished(Outcome::DryRun));
    other.mode = PolicyMode::DryRun;
    other.policy.name = "another".into();
    world.ledger.records.push(other);
    assert_eq!(reserved(&world.evaluate_from_to(0, 30, &breached(&["a"]))), ["a"]);
}

/// The next process restores the episode from the status. If the history has a gap, its timer
/// starts later than the record says.
#[test]
fn a_dry_run_records_an_episode_once_over_restarts_with_a_gap_in_the_history() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.mode = PolicyMode::DryRun;
    world.policy.limits.cooldown = seconds(0);
    let first = world.evaluate_from_to(0, 30, &breached(&["a"]));
    record_dry_run(&mut world, &first, 30);
    let told = world.evaluate(40, &breached(&["a"]));
    assert_eq!(refused(&told), [("a", "AlreadyRecorded")].into());
    assert!(told.transitions.is_empty(), "the record is no news");
    let uid = world.targets[0].object.uid.clone();
    for restart in [100, 200, 300] {
        world.memory = prunella_core::decide::Memory::default();
        world.memory.timers.insert(uid.clone(), Timer::restored(BreachPhase::Firing, second(0), 7.0));
        world.memory.held_back.entry(uid.clone()).or_default().insert(Reason::AlreadyRecorded);
        let at = vec![second(restart - 5), second(restart)];
        world.history = History::Answered(vec![SeriesHistory { labels: series("a", 1.0).labels, at }]);
        let decision = world.evaluate_from_to(restart, restart + 60, &breached(&["a"]));
        assert_eq!(refused(&decision), [("a", "AlreadyRecorded")].into(), "after the restart at {restart}");
    }
    world.evaluate_from_to(370, 400, &breached(&[]));
    assert_eq!(reserved(&world.evaluate_from_to(410, 440, &breached(&["a"]))), ["a"], "the next episode");
}
