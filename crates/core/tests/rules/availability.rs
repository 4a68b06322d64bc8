//! The availability floor: over all policies, enough pods of a workload stay Ready.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::support::*;
use prunella_core::availability::{MinAvailable, Shortage, Siblings, shortage, siblings};
use prunella_core::decide::Change;
use prunella_core::execute::{OutcomeReason, next_instruction};
use prunella_core::ledger::{Outcome, Overlap, Record, State};
use prunella_core::policy::PolicyKey;
use prunella_core::refusal::Reason;
use prunella_core::target::{Target, Uid};

/// Pods of one workload; those in `ready` are Ready.
fn pods(names: &[&str], ready: &[&str]) -> Vec<Target> {
    let uid = |name: &&str| Uid::from(format!("uid-{name}"));
    let siblings =
        Arc::new(Siblings { ready: ready.iter().map(uid).collect(), unfinished: names.iter().map(uid).collect() });
    let workload = steady_workload(i32::try_from(names.len()).ok());
    let target = |name: &&str| Target {
        ready: ready.contains(name),
        workload: Some(workload.clone()),
        siblings: Some(Arc::clone(&siblings)),
        ..pod(name, -600)
    };
    names.iter().map(target).collect()
}

fn world(names: &[&str], ready: &[&str]) -> World {
    let mut world = World::new(pods(names, ready));
    world.policy.limits.max_concurrent = 10;
    world.policy.limits.max_actions = 10;
    world.policy.limits.max_unhealthy = prunella_core::policy::MaxUnhealthy::Percent(100);
    world
}

#[test]
fn the_floor_is_rounded_down_and_at_least_one() {
    for (minimum, wanted, expected) in [
        (MinAvailable::Percent(75), 2, 1),
        (MinAvailable::Percent(75), 3, 2),
        (MinAvailable::Percent(75), 4, 3),
        (MinAvailable::Percent(75), 10, 7),
        (MinAvailable::Percent(0), 10, 1),
        (MinAvailable::Percent(100), 3, 3),
        (MinAvailable::Count(0), 10, 0),
        (MinAvailable::Count(5), 10, 5),
    ] {
        assert_eq!(minimum.of(wanted), expected, "{minimum:?} of {wanted}");
    }
}

#[test]
fn the_last_ready_pod_stays() {
    let mut world = world(&["a", "b", "c"], &["a"]);
    let decision = world.evaluate_from_to(0, 60, &breached(&["a"]));
    assert_eq!(refused(&decision), [("a", "TooFewAvailable")].into());
    let shortage = Shortage { required: 2, wanted: 3 };
    assert_eq!(decision.refusals[0].refusal.reason, Reason::TooFewAvailable(shortage));
}

#[test]
fn a_pod_that_is_not_ready_costs_nothing() {
    let mut world = world(&["a", "b", "c"], &["b"]);
    let decision = world.evaluate_from_to(0, 60, &breached(&["a"]));
    assert_eq!(reserved(&decision), ["a"]);
}

#[test]
fn one_replica_is_exempt_and_zero_switches_the_floor_off() {
    let mut one = world(&["a"], &["a"]);
    assert_eq!(reserved(&one.evaluate_from_to(0, 60, &breached(&["a"]))), ["a"]);
    let mut off = world(&["a", "b", "c"], &["a"]);
    off.policy.limits.min_available = MinAvailable::Count(0);
    assert_eq!(reserved(&off.evaluate_from_to(0, 60, &breached(&["a"]))), ["a"]);
}

#[test]
fn one_decision_removes_no_more_ready_pods_than_the_floor_allows() {
    let mut world = world(&["a", "b", "c", "d", "e", "f", "g", "h"], &["a", "b", "c", "d", "e", "f", "g", "h"]);
    let decision = world.evaluate_from_to(0, 60, &breached(&["a", "b", "c", "d", "e"]));
    assert_eq!(reserved(&decision), ["a", "b"], "six of eight must stay");
}

#[test]
fn three_policies_evict_one_sibling_at_a_time() {
    let mut world = world(&["a", "b", "c"], &["a", "b", "c"]);
    let other = PolicyKey { namespace: "shop".into(), name: "other".into() };
    let mut in_flight = record("other-1", 1, &world.targets[1], 0, State::Running);
    in_flight.policy = other;
    world.ledger.records.push(in_flight);
    let decision = world.evaluate_from_to(10, 60, &breached(&["a"]));
    assert_eq!(refused(&decision), [("a", "TooFewAvailable")].into());
    // Its replacement is Ready: now one may go.
    world.ledger.records[0].state = State::Finished(Outcome::Succeeded);
    assert_eq!(reserved(&world.evaluate(70, &breached(&["a"]))), ["a"]);
}

#[test]
fn a_started_action_that_waits_for_ready_pods_is_known() {
    let mut world = world(&["a", "b", "c"], &["a", "b", "c"]);
    let mut other = record("other-1", 1, &world.targets[1], 0, State::Running);
    other.policy.name = "other".into();
    world.ledger.records = vec![other, record("web-1", 1, &world.targets[0], 1, State::Running)];
    let below = |world: &World| world.decide(second(10), &observation(second(10), &breached(&["a"]))).below_floor;
    let shortage = Shortage { required: 2, wanted: 3 };
    assert_eq!(below(&world), [(world.targets[0].object.uid.clone(), shortage)].into());
    world.ledger.records[0].state = State::Finished(Outcome::Succeeded);
    assert!(below(&world).is_empty(), "it goes on");
}

#[test]
fn of_two_leaders_the_later_one_sees_the_others_eviction() {
    let targets = pods(&["a", "b", "c"], &["a", "b", "c"]);
    let earlier = record("web-1", 1, &targets[0], 0, State::Running);
    let later = record("web-2", 2, &targets[1], 1, State::Running);
    let all = [earlier.clone(), later.clone()];
    assert_eq!(siblings(&later, &all).1, Overlap::Ahead);
    assert_eq!(siblings(&earlier, &all).1, Overlap::Beside);
    let pending = record("web-3", 3, &targets[2], 2, State::Pending);
    assert!(siblings(&earlier, &[pending]).0.is_empty(), "it will see this one");
}

#[test]
fn an_action_that_would_take_the_last_pods_does_not_start() {
    use crate::execute::{facts, world};
    use prunella_core::execute::{ActionWorld, Instruction, Transition};
    let too_few = |overlap| ActionWorld { too_few_available: Some(overlap), ..world() };
    let ended = |outcome| {
        let reason = OutcomeReason::TooFewAvailable;
        Instruction::Record(Transition::Finish { outcome, reason })
    };
    let pending = next_instruction(&facts(State::Pending), too_few(Overlap::Beside), second(10));
    assert_eq!(pending, ended(Outcome::Cancelled));
    let running = |overlap, at| next_instruction(&facts(State::Running), too_few(overlap), second(at));
    assert!(matches!(running(Overlap::Beside, 300), Instruction::Wait(_)), "the other one gives up");
    assert!(matches!(running(Overlap::Ahead, 5), Instruction::Wait(_)), "a write may still arrive");
    assert_eq!(running(Overlap::Ahead, 60), ended(Outcome::Inconclusive));
}

/// An eviction of `pod` that a disruption budget refused for ten minutes.
fn blocked_eviction(pod: &Target) -> Record {
    let blocked = record("web-1", 1, pod, 0, State::Finished(Outcome::Expired));
    Record { reason: Some(OutcomeReason::BlockedByDisruptionBudget), finished: Some(second(600)), ..blocked }
}

#[test]
fn a_blocked_budget_climbs_the_ladder() {
    let mut world = world(&["a", "b"], &["a", "b"]);
    world.policy.steps = vec![step(1), step(1)];
    world.policy.steps[1].name = "second".into();
    world.policy.limits.cooldown = seconds(60);
    let blocked = blocked_eviction(&world.targets[0]);
    assert!(!blocked.spends(), "it had no effect");
    world.ledger.records.push(blocked);
    let decision = world.evaluate_from_to(600, 640, &breached(&["a"]));
    assert_eq!(refused(&decision), [("a", "Cooldown")].into(), "the cooldown starts when it ends");
    let decision = world.evaluate_from_to(650, 660, &breached(&["a"]));
    assert_eq!(decision.reservations[0].step_name, "second");
}

#[test]
fn a_blocked_eviction_counts_against_its_own_target_only() {
    let mut world = world(&["a", "b"], &["a", "b"]);
    // A new pod of the same workload, unhealthy soon after its creation.
    world.targets[1].created = second(610);
    world.policy.steps = vec![step(1), step(1)];
    world.ledger.records.push(blocked_eviction(&world.targets[0]));
    let decision = world.evaluate_from_to(650, 700, &breached(&["b"]));
    assert_eq!((reserved(&decision), decision.reservations[0].step), (vec!["b"], 1));
}

#[test]
fn a_blocked_eviction_is_not_a_probe_of_a_storm() {
    let mut world = world(&["a", "b", "c", "d"], &["a", "b", "c", "d"]);
    world.policy.limits.max_unhealthy = prunella_core::policy::MaxUnhealthy::Percent(25);
    world.policy.limits.cooldown = seconds(0);
    world.policy.steps = vec![step(1)];
    world.evaluate_from_to(0, 590, &breached(&["a", "b", "c"]));
    world.ledger.records = vec![blocked_eviction(&world.targets[0])];
    let decision = world.evaluate_from_to(600, 640, &breached(&["a", "b", "c"]));
    assert_eq!(reserved(&decision), ["b"], "another target is the probe");
}

#[test]
fn recovery_after_a_blocked_eviction_is_recovery_without_an_action() {
    let mut world = world(&["a", "b"], &["a", "b"]);
    world.evaluate_from_to(0, 590, &breached(&["a"]));
    world.ledger.records = vec![blocked_eviction(&world.targets[0])];
    let mut changes = Vec::new();
    for at in (600..=700).step_by(10) {
        changes.extend(world.evaluate(at, &breached(&[])).transitions.into_iter().map(|one| one.change));
    }
    assert!(changes.contains(&Change::Recovered { was_firing: true, by_itself: true }), "{changes:?}");
}

#[test]
fn the_floor_waits_while_nobody_else_removes_a_pod() {
    use crate::execute::{facts, world};
    use prunella_core::execute::{ActionWorld, EffectRefusal, Facts, Instruction, Transition};
    let too_few = ActionWorld { too_few_available: Some(Overlap::None), ..world() };
    let running = |is_blocked: bool, at| {
        let refused = is_blocked.then_some(EffectRefusal::DisruptionBudget);
        let facts = Facts { refused, ..facts(State::Running) };
        next_instruction(&facts, too_few, second(at))
    };
    assert!(matches!(running(false, 300), Instruction::Wait(_)), "a pod may become Ready again");
    let ended = |outcome, reason| Instruction::Record(Transition::Finish { outcome, reason });
    assert_eq!(running(false, 700), ended(Outcome::Inconclusive, OutcomeReason::TooFewAvailable));
    // Every try was refused, so its budget is given back. But it is no attempt.
    assert_eq!(running(true, 700), ended(Outcome::Expired, OutcomeReason::TooFewAvailable));
    // Of two that wait for a disruption budget, the later one gives up, or both wait in vain.
    let later = ActionWorld { too_few_available: Some(Overlap::Ahead), ..world() };
    let blocked = Facts { refused: Some(EffectRefusal::DisruptionBudget), ..facts(State::Running) };
    assert_eq!(next_instruction(&blocked, later, second(30)), ended(Outcome::Expired, OutcomeReason::TooFewAvailable));
}

#[test]
fn an_owner_of_an_unknown_kind_keeps_a_share_of_its_pods() {
    let mut world = world(&["a", "b", "c"], &["a"]);
    for target in &mut world.targets {
        target.workload = None;
    }
    let decision = world.evaluate_from_to(0, 60, &breached(&["a"]));
    assert_eq!(refused(&decision), [("a", "TooFewAvailable")].into());
}

#[test]
fn the_floor_of_an_unknown_owner_does_not_sink_when_its_pods_were_not_replaced() {
    // Three pods, and their operator is down. The removal of the first one has failed.
    let mut world = world(&["b", "c"], &["b", "c"]);
    for target in &mut world.targets {
        target.workload = None;
    }
    let lost = pods(&["a"], &[]).swap_remove(0);
    let mut failed = record("r", 1, &lost, -900, State::Finished(Outcome::Failed));
    failed.reason = Some(OutcomeReason::NotSettled);
    failed.finished = Some(second(-300));
    world.ledger.records.push(failed);
    assert_eq!(refused(&world.evaluate_from_to(0, 60, &breached(&["b"]))), [("b", "TooFewAvailable")].into());
    // A removal that has succeeded was replaced.
    world.ledger.records[0].state = State::Finished(Outcome::Succeeded);
    world.ledger.records[0].reason = Some(OutcomeReason::Cleared);
    assert_eq!(reserved(&world.evaluate_from_to(60, 120, &breached(&["b"]))), ["b"]);
}

#[test]
fn a_pod_that_ends_slowly_takes_no_slot_but_its_siblings_wait() {
    let mut world = world(&["a", "b", "c"], &["c"]);
    let mut ending = record("r", 1, &pods(&["a"], &[]).swap_remove(0), -60, State::Settling);
    ending.waiting = true;
    world.ledger.records.push(ending);
    assert_eq!(refused(&world.evaluate_from_to(0, 60, &breached(&["b"]))), [("b", "MaxConcurrent")].into());
}

#[test]
fn the_floor_of_an_unknown_owner_does_not_sink_while_its_pods_are_removed() {
    // Its operator creates a replacement only when the old pod is gone: two pods are left of
    // three, and one of them is being deleted.
    let mut targets = pods(&["b", "c"], &["b", "c"]);
    let uid = |name: &str| Uid::from(format!("uid-{name}"));
    for target in &mut targets {
        target.workload = None;
        let siblings =
            Siblings { ready: [uid("b"), uid("c")].into(), unfinished: [uid("a"), uid("b"), uid("c")].into() };
        target.siblings = Some(Arc::new(siblings));
    }
    let expected = Some(Shortage { required: 2, wanted: 3 });
    assert_eq!(shortage(MinAvailable::Percent(75), &targets[0], &BTreeSet::new()), expected);
    // Its removal is known from an action only, because the pod is already gone.
    for target in &mut targets {
        target.siblings = Some(Arc::new(Siblings { ready: [uid("c")].into(), unfinished: [uid("c")].into() }));
    }
    let (a, b) = (uid("a"), uid("b"));
    assert_eq!(shortage(MinAvailable::Percent(75), &targets[1], &[&a, &b].into()), expected);
}

#[test]
fn a_floor_that_can_never_be_met_is_told_from_one_that_passes() {
    let refusal = |minimum| {
        let mut world = world(&["a", "b", "c"], &["a", "b"]);
        world.policy.limits.min_available = minimum;
        world.evaluate_from_to(0, 60, &breached(&["a"])).refusals[0].refusal.reason
    };
    let shortage = |minimum| match refusal(minimum) {
        Reason::TooFewAvailable(shortage) => shortage,
        other => panic!("{other:?}"),
    };
    assert!(shortage(MinAvailable::Percent(100)).is_permanent());
    assert!(!shortage(MinAvailable::Percent(75)).is_permanent());
}
