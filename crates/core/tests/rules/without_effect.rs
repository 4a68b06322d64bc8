//! Actions that finish without effect. They spend no budget and start no cooldown, but they
//! must not be repeated without end.

use crate::support::*;
use prunella_core::action::{ActionSpec, Inapplicable, Restart};
use prunella_core::ledger::{Outcome, RECORDS_AT_LEAST, State};
use prunella_core::policy::PolicyMode;
use prunella_core::target::Target;

/// A pod of a workload with this number of replicas.
fn restarted(replicas: i32) -> Target {
    let workload = steady_workload(Some(replicas));
    Target { workload: Some(workload), ..pod("a", -600) }
}

#[test]
fn a_restart_of_a_workload_without_pods_is_skipped() {
    let restart = ActionSpec::RolloutRestart(Restart);
    assert_eq!(restart.resolve(&restarted(0)), Err(Inapplicable::ScaledToZero));
    assert!(restart.resolve(&restarted(1)).is_ok());
}

/// Evaluates once per second for `seconds`. Each reserved action finishes at once with
/// `outcome`. Returns the seconds at which actions were reserved.
fn reservations(world: &mut World, seconds: i64, outcome: Outcome) -> Vec<i64> {
    let mut at = Vec::new();
    for now in 1..=seconds {
        let decision = world.evaluate(now, &breached(&["a"]));
        if !decision.reservations.is_empty() {
            at.push(now);
            world.reserve(&decision.reservations, second(now));
            for record in world.ledger.records.iter_mut().filter(|record| record.in_flight()) {
                record.state = State::Finished(outcome);
                record.finished = Some(second(now));
            }
        }
    }
    at
}

#[test]
fn what_ended_without_effect_is_not_repeated_at_once_whatever_the_reason() {
    for outcome in [Outcome::Superseded, Outcome::Cancelled, Outcome::Expired] {
        let mut world = World::new(vec![pod("a", -600)]);
        world.policy.interval = seconds(1);
        world.policy.limits.cooldown = seconds(0);
        let at = reservations(&mut world, 3600, outcome);
        let gaps: Vec<i64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(gaps[..7], [10, 20, 40, 80, 160, 320, 600], "{outcome:?}");
        assert!(gaps[7..].iter().all(|gap| *gap == 600), "{outcome:?} {gaps:?}");
    }
}

#[test]
fn an_action_with_an_effect_ends_the_wait() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.interval = seconds(1);
    world.policy.limits.cooldown = seconds(0);
    assert_eq!(reservations(&mut world, 65, Outcome::Superseded).len(), 3);
    assert!(world.ledger.back_off_until(&key(), &world.targets[0], second(66)).is_some());
    let last = world.ledger.records.last_mut().unwrap();
    last.state = State::Finished(Outcome::Failed);
    assert!(world.ledger.back_off_until(&key(), &world.targets[0], second(66)).is_none());
}

/// Fifty targets at once. Each action finishes as soon as it is reserved.
#[test]
fn records_are_bounded_whatever_their_outcome() {
    for (mode, outcome) in [
        (PolicyMode::Enforce, Outcome::Superseded),
        (PolicyMode::Enforce, Outcome::Cancelled),
        (PolicyMode::Enforce, Outcome::Succeeded),
        (PolicyMode::DryRun, Outcome::DryRun),
    ] {
        let names: Vec<String> = (0..50).map(|number| format!("p{number:02}")).collect();
        let mut world = World::new(names.iter().map(|name| pod(name, -600)).collect());
        world.policy.mode = mode;
        world.policy.interval = seconds(1);
        world.policy.limits.cooldown = seconds(0);
        world.policy.limits.max_concurrent = 100;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for now in 1..=300 {
            // Half of them flap.
            let count = if now % 4 < 2 { 25 } else { 50 };
            let decision = world.evaluate(now, &breached(&names[..count]));
            world.reserve(&decision.reservations, second(now));
            for record in world.ledger.records.iter_mut().filter(|record| record.in_flight()) {
                record.state = State::Finished(outcome);
                record.finished = Some(second(now));
            }
            let recent = world.ledger.records.iter().filter(|record| record.created > second(now - 60)).count();
            let most = world.policy.limits.max_actions.max(RECORDS_AT_LEAST);
            assert!(recent <= usize::try_from(most).unwrap(), "{mode:?} {outcome:?}: {recent} records at {now}");
        }
        assert!(!world.ledger.records.is_empty(), "{mode:?}");
    }
}

#[test]
fn actions_of_another_day_do_not_lengthen_the_wait() {
    let mut world = World::new(vec![pod("a", -600)]);
    for (sequence, day) in (1_u64..).zip(0..7_i64) {
        let mut old = record("web", sequence, &world.targets[0], day * 86_400, State::Finished(Outcome::Cancelled));
        old.finished = Some(second(day * 86_400 + 10));
        world.ledger.records.push(old);
    }
    let last = 6 * 86_400 + 10;
    assert_eq!(world.ledger.back_off_until(&key(), &world.targets[0], second(last + 1)), Some(second(last + 10)));
}
