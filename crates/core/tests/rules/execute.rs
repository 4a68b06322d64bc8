//! How an action is done: the transition table, and what a crash at any point
//! leaves for the next pass to find.

use crate::support::{pod, record, second, seconds};
use prunella_core::action::{Action, Disruption};
use prunella_core::execute::{
    Effect, Facts, LiveField, LiveSubject, LiveTarget, OutcomeReason, PolicyStanding, Step, Transition, World,
    retry_after,
};
use prunella_core::ledger::{Outcome, Overlap, Record, State};
use prunella_core::next_step;
use prunella_core::observation::UnknownReason;
use prunella_core::policy::Mode;
use prunella_core::refusal::Reason;
use prunella_core::target::{NotHealable, Object};

fn facts(state: State) -> Facts {
    Facts {
        uid: "uid-action".into(),
        state,
        mode: Mode::Enforce,
        action: Action::DeletePod { disruption: Disruption::Evict, grace: None },
        start_by: second(20),
        began: (state != State::Pending).then(|| second(0)),
        blocked_by_budget: false,
        forbidden: false,
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
        field: LiveField::None,
        progress_deadline: None,
        overlap: Overlap::None,
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
    check(State::Pending, world(), 20, &Step::Record(Transition::Begin));
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
        (World { overlap: Overlap::Ahead, ..world() }, Outcome::Cancelled, OutcomeReason::TargetBusy),
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
        World { overlap: Overlap::Beside, ..world() },
        World { target: LiveTarget::OptedOut, ..world() },
        World { target: LiveTarget::NotHealable(NotHealable::NodeNotReady), ..world() },
        World { policy: PolicyStanding::Suspended, ..world() },
    ] {
        assert!(waits(&next_step(&facts(State::Running), doubt, second(10))), "{doubt:?}");
        check(State::Running, doubt, 600, &ends(Outcome::Failed, OutcomeReason::NotExecuted));
    }
}

/// One of two leaders with an action of its own on the same target, and how far it is.
struct Leader {
    record: Record,
    is_created: bool,
    seen: Option<Overlap>,
    has_acted: bool,
}

impl Leader {
    fn new(name: &str, created: i64) -> Self {
        let record = record(name, 1, &pod("a", -600), created, State::Pending);
        Self { record, is_created: false, seen: None, has_acted: false }
    }

    /// The next request of this one, and what it does with the answer to the one before.
    fn goes_on(&mut self, other: &Self, now: i64) {
        if !self.is_created {
            self.is_created = true;
            return;
        }
        let Some(overlap) = self.seen.take() else {
            self.seen = Some(self.record.overlap(other.is_created.then_some(&other.record)));
            return;
        };
        let restart = Facts { action: Action::RolloutRestart, ..facts(self.record.state) };
        let field = LiveField::Restarted { by_this: self.has_acted };
        match next_step(&restart, World { overlap, field, ..world() }, second(now)) {
            Step::Record(transition) => self.record.state = transition.to(),
            Step::Do(_) => self.has_acted = true,
            Step::Wait(_) => {}
        }
    }
}

#[test]
fn of_two_leaders_that_reserve_at_once_one_acts_however_their_requests_mingle() {
    const REQUESTS: u32 = 6;
    for order in 0_u32..1 << (2 * REQUESTS) {
        if order.count_ones() != REQUESTS {
            continue;
        }
        // In the same second, as far as the API tells; or by servers whose clocks differ.
        for created in [[0, 0], [0, 1], [1, 0]] {
            let [mut one, mut other] = [Leader::new("one-1", created[0]), Leader::new("two-1", created[1])];
            for turn in 0..2 * REQUESTS {
                if order >> turn & 1 == 0 { one.goes_on(&other, 10) } else { other.goes_on(&one, 10) }
            }
            let both_acted = one.has_acted && other.has_acted;
            assert!(!both_acted, "{order:012b} {created:?}");
            for _ in 0..2 * REQUESTS {
                one.goes_on(&other, 20);
                other.goes_on(&one, 20);
            }
            assert!(one.has_acted != other.has_acted, "{order:012b} {created:?}");
        }
    }
}

#[test]
fn an_action_beside_another_is_not_ended_while_its_write_may_be_on_its_way() {
    // Of two leaders each drives every action, and one may have seen what the other has not.
    let ahead = World { overlap: Overlap::Ahead, ..world() };
    assert!(waits(&next_step(&facts(State::Running), ahead, second(19))));
    check(State::Running, ahead, 20, &ends(Outcome::Inconclusive, OutcomeReason::TargetBusy));
    assert!(!Outcome::Inconclusive.without_effect(), "a write that was sent may still arrive");
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
fn what_is_forbidden_is_over_at_once_unless_it_has_come_about() {
    let forbidden = Facts { forbidden: true, ..facts(State::Running) };
    assert_eq!(next_step(&forbidden, world(), second(1)), ends(Outcome::Failed, OutcomeReason::Forbidden));
    // It would be tried again for ever, were its budget given back.
    assert!(!Outcome::Failed.without_effect());
    let gone = World { target: LiveTarget::Gone, ..world() };
    assert!(matches!(next_step(&forbidden, gone, second(1)), Step::Record(Transition::Executed { .. })));
}

#[test]
fn it_is_settled_when_the_old_is_gone_and_the_workload_whole() {
    let going = World { target: LiveTarget::Terminating, ..world() };
    assert!(waits(&next_step(&facts(State::Settling), going, second(10))));
    // Shown by a stale read: nothing was taken back, a pod that is told to go goes.
    assert!(waits(&next_step(&facts(State::Settling), world(), second(10))));
    let short = World { target: LiveTarget::Gone, subject: LiveSubject::NotRestored, ..world() };
    assert!(waits(&next_step(&facts(State::Settling), short, second(10))));
    let whole = World { target: LiveTarget::Gone, ..world() };
    check(State::Settling, whole, 10, &Step::Record(Transition::Settled { verify_by: second(130) }));
    check(State::Settling, short, 330, &ends(Outcome::Failed, OutcomeReason::NotSettled));
    let scaled_down = World { subject: LiveSubject::Gone, ..whole };
    check(State::Settling, scaled_down, 10, &ends(Outcome::Inconclusive, OutcomeReason::TargetGone));
}

#[test]
fn what_was_refused_is_tried_again_after_five_seconds() {
    for effect in [Effect::EvictPod { grace: None }, Effect::DeletePod { grace: None }] {
        assert_eq!(retry_after(&effect), seconds(5));
    }
}

const UNKNOWN: [UnknownReason; 9] = [
    UnknownReason::Unreachable,
    UnknownReason::Timeout,
    UnknownReason::Unauthorized,
    UnknownReason::BadQuery,
    UnknownReason::TooLarge,
    UnknownReason::WrongType,
    UnknownReason::PartialAnswer,
    UnknownReason::Malformed,
    UnknownReason::SourceNotReady,
];

#[test]
fn the_words_of_the_vocabulary_differ() {
    let differ = |words: &[&str]| {
        let all: std::collections::BTreeSet<_> = words.iter().collect();
        assert!(all.len() == words.len() && !words.contains(&""), "{words:?}");
    };
    differ(&[State::Pending, State::Running, State::Settling, State::Verifying].map(State::as_str));
    differ(&UNKNOWN.map(UnknownReason::as_str));
    differ(&Outcome::ALL.map(Outcome::as_str));
    differ(&OutcomeReason::ALL.map(OutcomeReason::as_str));
    differ(&Reason::ALL.map(Reason::as_str));
    differ(&NotHealable::ALL.map(NotHealable::as_str));
    assert_eq!(State::Finished(Outcome::Failed).as_str(), "Failed");
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

// Actions on a whole workload

fn restart(state: State) -> Facts {
    Facts { action: Action::RolloutRestart, ..facts(state) }
}

fn scale(state: State) -> Facts {
    Facts { action: Action::Scale { from: 3, to: 4, autoscaler: None }, ..facts(state) }
}

fn raise(state: State) -> Facts {
    let autoscaler = Object { kind: "HorizontalPodAutoscaler".into(), name: "web".into(), uid: "uid-hpa".into() };
    Facts { action: Action::Scale { from: 3, to: 4, autoscaler: Some(autoscaler) }, ..facts(state) }
}

/// Before the restart, with another mark or none, and with this action's.
const UNMARKED: LiveField = LiveField::Restarted { by_this: false };
const MARKED: LiveField = LiveField::Restarted { by_this: true };

fn with(field: LiveField) -> World {
    World { field, ..world() }
}

#[test]
fn a_workload_is_changed_by_one_write_that_says_from_what_to_what() {
    let autoscaler = Object { kind: "HorizontalPodAutoscaler".into(), name: "web".into(), uid: "uid-hpa".into() };
    for (facts, field, effect) in [
        (restart as fn(State) -> Facts, UNMARKED, Effect::Restart { mark: "uid-action".into() }),
        (scale, LiveField::Count(3), Effect::Scale { from: 3, to: 4 }),
        (raise, LiveField::Count(3), Effect::RaiseMinimum { autoscaler, from: 3, to: 4 }),
    ] {
        assert_eq!(next_step(&facts(State::Pending), with(field), second(10)), Step::Record(Transition::Begin));
        assert_eq!(next_step(&facts(State::Running), with(field), second(10)), Step::Do(effect));
    }
}

#[test]
fn a_change_whose_answer_was_lost_is_read_from_the_world_whatever_else_is_true_by_then() {
    for (facts, field) in [(restart(State::Running), MARKED), (scale(State::Running), LiveField::Count(4))] {
        for doubt in [
            world(),
            World { firing: false, ..world() },
            World { policy: PolicyStanding::Gone, ..world() },
            World { policy: PolicyStanding::Suspended, ..world() },
            World { target: LiveTarget::Gone, ..world() },
            World { target: LiveTarget::OptedOut, ..world() },
            World { target: LiveTarget::NotHealable(NotHealable::PodsNotSelected), ..world() },
            World { subject: LiveSubject::NotRestored, ..world() },
        ] {
            let step = next_step(&facts, World { field, ..doubt }, second(10));
            assert_eq!(step, Step::Record(Transition::Executed { settle_by: second(610) }), "{doubt:?}");
        }
    }
}

#[test]
fn what_somebody_else_wrote_is_never_overwritten() {
    for facts in [scale as fn(State) -> Facts, raise] {
        // The number is nobody's word any more, or a third one.
        for field in [LiveField::Count(2), LiveField::Count(5), LiveField::Count(0), LiveField::Disowned] {
            for (state, outcome) in [
                (State::Pending, Outcome::Superseded),
                (State::Running, Outcome::Inconclusive),
                (State::Settling, Outcome::Inconclusive),
            ] {
                let step = next_step(&facts(state), with(field), second(10));
                assert_eq!(step, ends(outcome, OutcomeReason::ChangedByOthers), "{state:?} {field:?}");
            }
        }
        // Somebody else has done it before it was begun.
        let step = next_step(&facts(State::Pending), with(LiveField::Count(4)), second(10));
        assert_eq!(step, ends(Outcome::Superseded, OutcomeReason::ChangedByOthers));
    }
    // What was written was taken back.
    for (facts, field) in [(restart(State::Settling), UNMARKED), (scale(State::Settling), LiveField::Count(3))] {
        let step = next_step(&facts, with(field), second(10));
        assert_eq!(step, ends(Outcome::Inconclusive, OutcomeReason::ChangedByOthers));
    }
}

#[test]
fn a_workload_that_is_gone_is_not_waited_for() {
    for facts in [restart as fn(State) -> Facts, scale, raise] {
        for (state, outcome) in [
            (State::Pending, Outcome::Superseded),
            (State::Running, Outcome::Inconclusive),
            (State::Settling, Outcome::Inconclusive),
            (State::Verifying, Outcome::Inconclusive),
        ] {
            let gone = World { subject: LiveSubject::Gone, ..with(LiveField::None) };
            assert_eq!(
                next_step(&facts(state), gone, second(10)),
                ends(outcome, OutcomeReason::TargetGone),
                "{state:?}"
            );
        }
    }
}

#[test]
fn a_sick_pod_that_is_gone_before_the_change_leaves_no_reason_for_it() {
    for (facts, field) in [(restart as fn(State) -> Facts, UNMARKED), (scale, LiveField::Count(3))] {
        for target in [LiveTarget::Gone, LiveTarget::Terminating] {
            let gone = World { target, ..with(field) };
            let step = next_step(&facts(State::Pending), gone, second(10));
            assert_eq!(step, ends(Outcome::Superseded, OutcomeReason::TargetGone));
            let step = next_step(&facts(State::Running), gone, second(10));
            assert_eq!(step, ends(Outcome::Inconclusive, OutcomeReason::TargetGone));
        }
    }
}

#[test]
fn what_holds_before_each_try_of_a_removal_holds_before_each_of_a_change() {
    for (facts, field) in [(restart as fn(State) -> Facts, UNMARKED), (scale, LiveField::Count(3))] {
        for doubt in [
            World { firing: false, ..with(field) },
            World { target: LiveTarget::OptedOut, ..with(field) },
            World { policy: PolicyStanding::Suspended, ..with(field) },
        ] {
            assert!(waits(&next_step(&facts(State::Running), doubt, second(10))), "{doubt:?}");
            let late = next_step(&facts(State::Running), doubt, second(600));
            assert_eq!(late, ends(Outcome::Failed, OutcomeReason::NotExecuted), "{doubt:?}");
        }
        let strangers = World { target: LiveTarget::NotHealable(NotHealable::PodsNotSelected), ..with(field) };
        let step = next_step(&facts(State::Pending), strangers, second(10));
        assert_eq!(step, ends(Outcome::Cancelled, OutcomeReason::NotHealable));
    }
}

#[test]
fn a_change_is_settled_when_the_workload_is_as_it_was_asked_for_with_the_old_pods_or_without() {
    for (facts, field) in [(restart(State::Settling), MARKED), (scale(State::Settling), LiveField::Count(4))] {
        for target in [LiveTarget::Present, LiveTarget::Terminating, LiveTarget::Gone] {
            let whole = World { target, ..with(field) };
            let settled = Step::Record(Transition::Settled { verify_by: second(130) });
            assert_eq!(next_step(&facts, whole, second(10)), settled);
            let short = World { subject: LiveSubject::NotRestored, ..whole };
            assert!(waits(&next_step(&facts, short, second(329))));
            assert_eq!(next_step(&facts, short, second(330)), ends(Outcome::Failed, OutcomeReason::NotSettled));
        }
    }
}

#[test]
fn a_workload_gets_ten_minutes_to_settle_or_what_its_own_controller_grants() {
    for (deadline, settle_by) in [(None, 610), (Some(60), 610), (Some(3600), 3610), (Some(i64::MAX), i64::MAX)] {
        let world = World { progress_deadline: deadline.map(seconds), ..with(MARKED) };
        let Step::Record(Transition::Executed { settle_by: until }) =
            next_step(&restart(State::Running), world, second(10))
        else {
            panic!("not executed");
        };
        let expected = if settle_by == i64::MAX { jiff::Timestamp::MAX } else { second(settle_by) };
        assert_eq!(until, expected, "{deadline:?}");
    }
}
