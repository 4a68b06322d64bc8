//! How long an action waits until the workload has its Ready pods again.

use crate::execute::{MARKED, check, ends, facts, restart, scale, waits, with, world};
use crate::support::{World, breached, pod, record, refused, reserved, second, seconds};
use prunella_core::execute::{
    ActionWorld, Facts, Instruction, LiveField, LiveSubject, LiveTarget, OutcomeReason, Transition, ends_slowly,
};
use prunella_core::ledger::{Outcome, State};
use prunella_core::next_instruction;
use prunella_core::readiness::ReadyTimes;
use prunella_core::target::Target;

#[test]
fn a_removal_is_settled_when_the_old_pod_is_gone_and_the_workload_is_restored() {
    let going = ActionWorld { target: LiveTarget::Terminating, subject: LiveSubject::NotRestored, ..world() };
    assert!(waits(&next_instruction(&facts(State::Settling), going, second(10))));
    // A stale read. A deletion cannot be reverted, so the action waits.
    assert!(waits(&next_instruction(&facts(State::Settling), world(), second(10))));
    let short = ActionWorld { target: LiveTarget::Gone, subject: LiveSubject::NotRestored, ..world() };
    assert!(waits(&next_instruction(&facts(State::Settling), short, second(10))));
    let whole = ActionWorld { target: LiveTarget::Gone, ..world() };
    check(State::Settling, whole, 10, &Instruction::Record(Transition::Settled { verify_by: second(130) }));
    check(State::Settling, short, 330, &ends(Outcome::Failed, OutcomeReason::NotSettled));
    let scaled_down = ActionWorld { subject: LiveSubject::Gone, ..whole };
    check(State::Settling, scaled_down, 10, &ends(Outcome::Inconclusive, OutcomeReason::TargetGone));
}

#[test]
fn a_pod_that_hangs_while_it_ends_does_not_hold_the_action_up() {
    // A finalizer holds it, but the workload has its Ready pods without it.
    let hangs = ActionWorld { target: LiveTarget::Terminating, terminating_until: Some(second(30)), ..world() };
    check(State::Settling, hangs, 45, &Instruction::Record(Transition::Settled { verify_by: second(165) }));
    // Without them it waits, and takes no slot of its policy after a while.
    let short = ActionWorld { subject: LiveSubject::NotRestored, ..hangs };
    assert!(waits(&next_instruction(&facts(State::Settling), short, second(45))));
    check(State::Settling, short, 330, &ends(Outcome::Failed, OutcomeReason::NotSettled));
    for (until, now, expected) in
        [(30, 0, false), (30, 45, false), (30, 91, true), (3600, 0, true), (3600, 3590, false)]
    {
        assert_eq!(ends_slowly(second(until), second(now)), expected, "until {until} at {now}");
    }
}

#[test]
fn a_slow_starter_is_not_killed() {
    // A model server: its startup probes allow 20 minutes, and it takes 8.
    let slow = seconds(1200);
    let ready_times = ReadyTimes { startup: Some(slow), progress_deadline: Some(seconds(600)) };
    let loading = ActionWorld { target: LiveTarget::Gone, subject: LiveSubject::NotRestored, ready_times, ..world() };
    let executed = next_instruction(&facts(State::Running), loading, second(0));
    let Instruction::Record(Transition::Executed { settle_by }) = executed else { panic!("{executed:?}") };
    let settling = Facts { settle_by: Some(settle_by), ..facts(State::Settling) };
    for now in 0..480 {
        assert!(waits(&next_instruction(&settling, loading, second(now))), "it waits at second {now}");
    }
    let ready = ActionWorld { subject: LiveSubject::Restored, ..loading };
    assert!(matches!(next_instruction(&settling, ready, second(480)), Instruction::Record(Transition::Settled { .. })));

    // Somebody else made the pod. It is not Ready, and the policy wants to heal pods that are not
    // Ready. But its startup probes still allow it to start.
    for (ready, startup, asked, expected) in [
        (false, Some(slow), None, Some("NotHealable")),
        (false, None, Some(slow), Some("NotHealable")),
        (false, None, None, None),
        (true, Some(slow), None, None),
    ] {
        let mut world = World::new(vec![Target { ready, startup, ..pod("a", 0) }]);
        world.policy.steps[0].ready_within = asked;
        let decision = world.evaluate_from_to(600, 700, &breached(&["a"]));
        assert_eq!(refused(&decision).get("a").copied(), expected, "{ready} {startup:?} {asked:?}");
        let until = decision.refusals.first().and_then(|refused| refused.refusal.until);
        assert_eq!(until, expected.map(|_| second(1200)));
        // After its time it is healed like any other.
        let decision = world.evaluate_from_to(1150, 1210, &breached(&["a"]));
        assert_eq!(reserved(&decision), ["a"], "{ready} {startup:?} {asked:?}");
    }
}

#[test]
fn a_pod_in_a_crash_loop_is_not_starting() {
    let of = |crash_looping| Target { ready: false, startup: Some(seconds(1200)), crash_looping, ..pod("a", 0) };
    let mut world = World::new(vec![of(true)]);
    assert_eq!(reserved(&world.evaluate_from_to(10, 40, &breached(&["a"]))), ["a"]);
    let mut world = World::new(vec![of(false)]);
    assert_eq!(reserved(&world.evaluate_from_to(10, 40, &breached(&["a"]))), [""; 0]);
    // The next evaluation sees that it ends again and again.
    world.targets = vec![of(true)];
    assert_eq!(reserved(&world.evaluate(50, &breached(&["a"]))), ["a"]);
}

/// The database is down, and the pod ends after five seconds. While its action waits for a hold to end,
/// the database is repaired: the pod loads now, and is still breached.
#[test]
fn an_action_that_has_begun_leaves_a_pod_that_has_started_to_load() {
    let of = |crash_looping| Target { ready: false, startup: Some(seconds(1200)), crash_looping, ..pod("a", 0) };
    for state in [State::Pending, State::Running] {
        let mut world = World::new(vec![of(true)]);
        world.ledger.records = vec![record("r", 1, &of(true), 40, state)];
        let waits = |world: &mut World, at| !world.evaluate(at, &breached(&["a"])).waiting.is_empty();
        world.evaluate_from_to(10, 40, &breached(&["a"]));
        assert!(!waits(&mut world, 50), "{state:?}: nothing is in the way of the action");
        world.targets = vec![of(false)];
        let decision = world.evaluate(60, &breached(&["a"]));
        assert_eq!(decision.waiting, ["uid-a".into()].into(), "{state:?}");
        assert_eq!(refused(&decision), [("a", "NotHealable")].into(), "the status says what it waits for");
        // The time that its startup probes allow is over.
        assert!(waits(&mut world, 1199) && !waits(&mut world, 1200), "{state:?}");
    }
}

#[test]
fn a_pod_that_has_just_started_is_breached_from_then_on_and_not_before() {
    // Its metric still shows the time before it became Ready.
    let started =
        |ready_since| Target { startup: Some(seconds(1200)), ready_since: Some(second(ready_since)), ..pod("a", 0) };
    let mut world = World::new(vec![started(680)]);
    let breach_for = world.policy.breach_for;
    let decision = world.evaluate_from_to(600, 700, &breached(&["a"]));
    assert_eq!(refused(&decision).get("a").copied(), Some("NotHealable"));
    let until = decision.refusals.first().and_then(|refused| refused.refusal.until);
    assert_eq!(until, second(680).checked_add(breach_for).ok());
    // A pod that was Ready later than its start allows has lost its readiness and found it again.
    let mut world = World::new(vec![started(1201)]);
    assert_eq!(reserved(&world.evaluate_from_to(1100, 1210, &breached(&["a"]))), ["a"]);
}

#[test]
fn a_change_is_settled_when_the_workload_is_restored_with_or_without_the_old_pods() {
    for (facts, field) in [(restart(State::Settling), MARKED), (scale(State::Settling), LiveField::Count(4))] {
        for target in [LiveTarget::Present, LiveTarget::Terminating, LiveTarget::Gone] {
            let whole = ActionWorld { target, ..with(field) };
            let settled = Instruction::Record(Transition::Settled { verify_by: second(130) });
            assert_eq!(next_instruction(&facts, whole, second(10)), settled);
            let short = ActionWorld { subject: LiveSubject::NotRestored, ..whole };
            assert!(waits(&next_instruction(&facts, short, second(329))));
            assert_eq!(next_instruction(&facts, short, second(330)), ends(Outcome::Failed, OutcomeReason::NotSettled));
        }
    }
}

#[test]
fn a_workload_has_ten_minutes_to_settle_or_its_own_progress_deadline() {
    // 2147483647 means none, and an action must not last for 68 years.
    for (deadline, settle_by) in [(None, 610), (Some(60), 610), (Some(3600), 3610), (Some(2_147_483_647), 3610)] {
        let ready_times = ReadyTimes { progress_deadline: deadline.map(seconds), startup: None };
        assert_eq!(settle_by_of(&restart(State::Running), ActionWorld { ready_times, ..with(MARKED) }), settle_by);
    }
}

/// The second until which the workload must have its Ready pods, if the effect is seen at second 10. -1:
/// it is not seen.
#[track_caller]
fn settle_by_of(facts: &Facts, world: ActionWorld) -> i64 {
    let next = next_instruction(facts, world, second(10));
    let Instruction::Record(Transition::Executed { settle_by }) = next else { return -1 };
    settle_by.duration_since(second(0)).as_secs()
}

#[test]
fn a_replacement_may_take_as_long_as_its_owner_or_the_policy_allows() {
    // (startup probes, progress deadline, readyWithin, settled by), 30 s for the old pod to end
    for (startup, deadline, asked, expected) in [
        (None, None, None, 10 + 30 + 300),
        (Some(60), None, None, 10 + 30 + 60 + 300),
        (Some(1200), None, None, 10 + 30 + 1200 + 300),
        (None, Some(600), None, 10 + 30 + 600),
        (None, None, Some(900), 10 + 30 + 900),
        // It only adds time.
        (Some(1200), Some(3600), Some(60), 10 + 30 + 3600),
        (Some(i64::MAX), None, None, i64::MAX),
    ] {
        let ready_times = ReadyTimes { startup: startup.map(seconds), progress_deadline: deadline.map(seconds) };
        let facts = Facts { ready_within: asked.map(seconds), ..facts(State::Running) };
        let gone = ActionWorld { target: LiveTarget::Gone, ready_times, ..world() };
        if expected == i64::MAX {
            assert!(settle_by_of(&facts, gone) > 1_000_000_000, "it saturates");
        } else {
            assert_eq!(settle_by_of(&facts, gone), expected, "{startup:?} {deadline:?} {asked:?}");
        }
    }
}

#[test]
fn a_pod_with_a_long_grace_period_costs_its_replacement_no_time() {
    let terminating =
        |until: i64| ActionWorld { target: LiveTarget::Terminating, terminating_until: Some(second(until)), ..world() };
    assert_eq!(settle_by_of(&facts(State::Running), terminating(7200)), 7200 + 300);
    assert_eq!(settle_by_of(&facts(State::Running), terminating(12)), 10 + 30 + 300);
}

#[test]
fn a_rollout_that_makes_progress_is_not_late() {
    // 20 replicas with minReadySeconds 60: each minute another pod is available.
    let short = |progress: Option<i64>| ActionWorld {
        subject: LiveSubject::NotRestored,
        rollout_progress: progress.map(second),
        replicas: 20,
        ..with(MARKED)
    };
    let failed = ends(Outcome::Failed, OutcomeReason::NotSettled);
    for now in (330..1800).step_by(60) {
        assert!(waits(&next_instruction(&restart(State::Settling), short(Some(now - 60)), second(now))), "{now}");
    }
    // The last progress was at second 1800. The rollout is stuck ten minutes later.
    assert!(waits(&next_instruction(&restart(State::Settling), short(Some(1800)), second(2399))));
    assert_eq!(next_instruction(&restart(State::Settling), short(Some(1800)), second(2400)), failed);
    assert_eq!(next_instruction(&restart(State::Settling), short(None), second(330)), failed);
}

/// Somebody edits the workload every ten seconds. Each time a new rollout begins.
#[test]
fn a_rollout_that_begins_again_and_again_is_late_in_the_end() {
    let failed = ends(Outcome::Failed, OutcomeReason::NotSettled);
    let facts = restart(State::Settling);
    // settleBy, and ten minutes for each of its pods, at most a day.
    for (replicas, late) in [(1, 330 + 600), (3, 330 + 1800), (1000, 330 + 86_400), (0, 330)] {
        let edited = |now: i64| ActionWorld {
            subject: LiveSubject::NotRestored,
            rollout_progress: Some(second(now - 10)),
            replicas,
            ..with(MARKED)
        };
        assert!(waits(&next_instruction(&facts, edited(late - 1), second(late - 1))), "{replicas}");
        assert_eq!(next_instruction(&facts, edited(late), second(late)), failed, "{replicas}");
    }
}
