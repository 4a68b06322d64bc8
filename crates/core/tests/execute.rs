//! How an action is done: the transition table, and what a crash at any point
//! leaves for the next pass to find.

mod support;

use prunella_core::execute::{
    Effect, Facts, LiveSubject, LiveTarget, OutcomeReason, PolicyStanding, Step, Transition, World,
};
use prunella_core::ledger::{Outcome, State};
use prunella_core::next_step;
use prunella_core::policy::{Action, Disruption, Mode};
use prunella_core::target::NotHealable;
use support::{second, seconds};

fn facts(state: State) -> Facts {
    Facts {
        state,
        mode: Mode::Enforce,
        action: Action::DeletePod { disruption: Disruption::Evict, grace: None },
        start_by: second(20),
        began: (state != State::Pending).then(|| second(0)),
        blocked_by_budget: false,
        settle_by: Some(second(330)),
        verify_by: (state == State::Verifying).then(|| second(120)),
        verify_within: seconds(120),
    }
}

/// Everything as it should be before the effect.
fn world() -> World {
    World {
        policy: PolicyStanding::Enforces,
        target: LiveTarget::Present,
        subject: LiveSubject::Restored,
        earlier_overlaps: false,
        firing: true,
        verdict: None,
    }
}

#[track_caller]
fn check(state: State, world: World, now: i64, expected: &Step) {
    assert_eq!(next_step(&facts(state), world, second(now)), *expected);
}

fn ends(outcome: Outcome, reason: OutcomeReason) -> Step {
    Step::Record(Transition::Finish { outcome, reason })
}

fn waits(step: &Step) -> bool {
    matches!(step, Step::Wait(time) if time.is_positive())
}

#[test]
fn an_action_begins_on_record_before_its_first_effect() {
    check(State::Pending, world(), 10, &Step::Record(Transition::Begin));
    check(State::Running, world(), 10, &Step::Do(Effect::EvictPod { grace: None }));
}

#[test]
fn nothing_begins_unless_the_target_is_firing_right_now() {
    let cooled = World { firing: false, ..world() };
    assert!(waits(&next_step(&facts(State::Pending), cooled, second(10))));
    check(State::Pending, cooled, 21, &ends(Outcome::Expired, OutcomeReason::StartByPassed));
}

#[test]
fn before_it_began_every_doubt_ends_it() {
    for (doubt, outcome, reason) in [
        (World { policy: PolicyStanding::Gone, ..world() }, Outcome::Cancelled, OutcomeReason::PolicyGone),
        (World { policy: PolicyStanding::DryRun, ..world() }, Outcome::Cancelled, OutcomeReason::ModeChanged),
        (World { policy: PolicyStanding::Suspended, ..world() }, Outcome::Cancelled, OutcomeReason::Suspended),
        (World { target: LiveTarget::Gone, ..world() }, Outcome::Superseded, OutcomeReason::TargetGone),
        (World { target: LiveTarget::Terminating, ..world() }, Outcome::Superseded, OutcomeReason::TargetGone),
        (World { target: LiveTarget::NotSelected, ..world() }, Outcome::Cancelled, OutcomeReason::NotSelected),
        (World { target: LiveTarget::OptedOut, ..world() }, Outcome::Cancelled, OutcomeReason::OptedOut),
        (
            World { target: LiveTarget::NotHealable(NotHealable::Completed), ..world() },
            Outcome::Cancelled,
            OutcomeReason::NotHealable,
        ),
        (World { earlier_overlaps: true, ..world() }, Outcome::Cancelled, OutcomeReason::TargetBusy),
        (
            World { verdict: Some((Outcome::Cancelled, OutcomeReason::Recovered)), ..world() },
            Outcome::Cancelled,
            OutcomeReason::Recovered,
        ),
    ] {
        let step = next_step(&facts(State::Pending), doubt, second(10));
        assert_eq!(step, ends(outcome, reason), "{doubt:?}");
        assert!(outcome.without_effect(), "its budget is given back");
    }
}

#[test]
fn what_held_before_the_first_try_holds_before_each() {
    // A disruption budget may let an eviction through minutes later.
    for doubt in [
        World { firing: false, ..world() },
        World { target: LiveTarget::OptedOut, ..world() },
        World { target: LiveTarget::NotHealable(NotHealable::NodeNotReady), ..world() },
        World { policy: PolicyStanding::Suspended, ..world() },
    ] {
        assert!(waits(&next_step(&facts(State::Running), doubt, second(10))), "{doubt:?}");
        check(State::Running, doubt, 600, &ends(Outcome::Failed, OutcomeReason::NotExecuted));
    }
}

#[test]
fn a_lost_answer_is_read_from_the_world() {
    // Killed after the write took effect: the next pass finds the pod going or gone.
    for target in [LiveTarget::Terminating, LiveTarget::Gone] {
        let step = next_step(&facts(State::Running), World { target, ..world() }, second(10));
        assert_eq!(step, Step::Record(Transition::Executed { settle_by: second(10 + 330) }), "{target:?}");
    }
}

#[test]
fn once_begun_nothing_gives_the_budget_back_but_a_budget_that_refused() {
    // A write that was sent may still arrive.
    for doubt in [
        World { policy: PolicyStanding::Gone, ..world() },
        World { policy: PolicyStanding::DryRun, ..world() },
        World { target: LiveTarget::NotSelected, ..world() },
        World { target: LiveTarget::NotHealable(NotHealable::Completed), ..world() },
    ] {
        let step = next_step(&facts(State::Running), doubt, second(10));
        assert!(
            matches!(step, Step::Record(Transition::Finish { outcome, .. }) if !outcome.without_effect()),
            "{doubt:?}: {step:?}"
        );
    }
    check(State::Running, world(), 600, &ends(Outcome::Failed, OutcomeReason::NotExecuted));
    let refused = Facts { blocked_by_budget: true, ..facts(State::Running) };
    assert_eq!(next_step(&refused, world(), second(599)), Step::Do(Effect::EvictPod { grace: None }));
    assert_eq!(
        next_step(&refused, world(), second(600)),
        ends(Outcome::Expired, OutcomeReason::BlockedByDisruptionBudget)
    );
}

#[test]
fn it_is_settled_when_the_old_is_gone_and_the_workload_whole() {
    let going = World { target: LiveTarget::Terminating, ..world() };
    assert!(waits(&next_step(&facts(State::Settling), going, second(10))));
    let short = World { target: LiveTarget::Gone, subject: LiveSubject::NotRestored, ..world() };
    assert!(waits(&next_step(&facts(State::Settling), short, second(10))));
    let whole = World { target: LiveTarget::Gone, ..world() };
    check(State::Settling, whole, 10, &Step::Record(Transition::Settled { verify_by: second(130) }));
    check(State::Settling, short, 330, &ends(Outcome::Failed, OutcomeReason::NotSettled));
    let scaled_down = World { subject: LiveSubject::Gone, ..whole };
    check(State::Settling, scaled_down, 10, &ends(Outcome::Inconclusive, OutcomeReason::TargetGone));
}

#[test]
fn the_verdict_is_the_judges() {
    let gone = World { target: LiveTarget::Gone, firing: false, ..world() };
    assert!(
        waits(&next_step(&facts(State::Verifying), gone, second(300))),
        "past verifyBy the judge speaks, not the clock"
    );
    for (outcome, reason) in [
        (Outcome::Succeeded, OutcomeReason::Cleared),
        (Outcome::Failed, OutcomeReason::StillBreached),
        (Outcome::Inconclusive, OutcomeReason::NoData),
    ] {
        check(State::Verifying, World { verdict: Some((outcome, reason)), ..gone }, 100, &ends(outcome, reason));
    }
    let judged_before = World { verdict: Some((Outcome::Cancelled, OutcomeReason::Recovered)), ..gone };
    assert!(waits(&next_step(&facts(State::Verifying), judged_before, second(100))), "too late to call it off");
}

#[test]
fn a_judge_that_never_speaks_does_not_hold_an_action_for_ever() {
    let gone = World { target: LiveTarget::Gone, ..world() };
    check(State::Verifying, gone, 120 + 20 * 60, &ends(Outcome::Inconclusive, OutcomeReason::SourceUnknown));
    check(
        State::Verifying,
        World { policy: PolicyStanding::Gone, ..gone },
        100,
        &ends(Outcome::Inconclusive, OutcomeReason::PolicyGone),
    );
}

#[test]
fn a_dry_run_ends_without_a_look_at_the_world() {
    let dry = Facts { mode: Mode::DryRun, ..facts(State::Pending) };
    assert_eq!(next_step(&dry, world(), second(10)), ends(Outcome::DryRun, OutcomeReason::RecordedOnly));
}

#[test]
fn what_is_over_stays_over() {
    for outcome in Outcome::ALL {
        assert!(waits(&next_step(&facts(State::Finished(outcome)), world(), second(10))), "{outcome:?}");
    }
}
