//! The execution of an action: the transition table, and how the next pass continues after a
//! crash at any point.

use crate::support::{pod, record, second, seconds};
use prunella_core::action::{Action, PodRemoval, ProtectedPod, Removal, ReplicaChange, Restart};
use prunella_core::execute::{
    ActionWorld, Effect, EffectRefusal, Facts, Instruction, LiveField, LiveSubject, LiveTarget, OutcomeReason,
    PolicyStanding, Transition,
};
use prunella_core::ledger::{Outcome, Overlap, Record, State};
use prunella_core::next_instruction;
use prunella_core::observation::UnknownReason;
use prunella_core::policy::PolicyMode;
use prunella_core::readiness::ReadyTimes;
use prunella_core::refusal::Reason;
use prunella_core::target::{NotHealable, Object};

pub(crate) fn facts(state: State) -> Facts {
    Facts {
        uid: "uid-action".into(),
        state,
        mode: PolicyMode::Enforce,
        action: Action::DeletePod(PodRemoval { removal: Removal::Evict, grace: None, protected: ProtectedPod::Skip }),
        start_by: second(20),
        began: (state != State::Pending).then(|| second(0)),
        executed_after: None,
        refused: None,
        settle_by: Some(second(330)),
        verify_by: (state == State::Verifying).then(|| second(120)),
        verify_within: seconds(120),
        ready_within: None,
    }
}

/// The objects before the effect, with nothing against it.
pub(crate) fn world() -> ActionWorld {
    ActionWorld {
        policy: PolicyStanding::Enforces,
        target: LiveTarget::Present,
        subject: LiveSubject::Restored,
        field: LiveField::None,
        terminating_until: None,
        ready_times: ReadyTimes::default(),
        rollout_progress: None,
        replicas: 3,
        overlap: Overlap::None,
        too_few_available: None,
        firing: true,
        verdict: None,
    }
}

#[track_caller]
pub(crate) fn check(state: State, world: ActionWorld, now: i64, expected: &Instruction) {
    assert_eq!(next_instruction(&facts(state), world, second(now)), *expected);
}

pub(crate) fn ends(outcome: Outcome, reason: OutcomeReason) -> Instruction {
    Instruction::Record(Transition::Finish { outcome, reason })
}

pub(crate) fn waits(instruction: &Instruction) -> bool {
    matches!(instruction, Instruction::Wait(time) if time.is_positive())
}

#[test]
fn the_start_of_an_action_is_recorded_before_its_first_effect() {
    check(State::Pending, world(), 10, &Instruction::Record(Transition::Begin));
    check(State::Running, world(), 10, &Instruction::Do(Effect::EvictPod { grace: None }));
}

#[test]
fn no_action_starts_unless_the_target_is_firing_now() {
    let cooled = ActionWorld { firing: false, ..world() };
    assert!(waits(&next_instruction(&facts(State::Pending), cooled, second(10))));
    check(State::Pending, world(), 20, &Instruction::Record(Transition::Begin));
    check(State::Pending, cooled, 21, &ends(Outcome::Expired, OutcomeReason::StartByPassed));
}

#[test]
fn before_the_start_any_doubt_ends_an_action() {
    for (doubt, outcome, reason) in [
        (ActionWorld { policy: PolicyStanding::Gone, ..world() }, Outcome::Cancelled, OutcomeReason::PolicyGone),
        (ActionWorld { policy: PolicyStanding::DryRun, ..world() }, Outcome::Cancelled, OutcomeReason::ModeChanged),
        (ActionWorld { policy: PolicyStanding::Suspended, ..world() }, Outcome::Cancelled, OutcomeReason::Suspended),
        (ActionWorld { target: LiveTarget::Gone, ..world() }, Outcome::Superseded, OutcomeReason::TargetGone),
        (ActionWorld { target: LiveTarget::Terminating, ..world() }, Outcome::Superseded, OutcomeReason::TargetGone),
        (ActionWorld { target: LiveTarget::NotSelected, ..world() }, Outcome::Cancelled, OutcomeReason::NotSelected),
        (ActionWorld { target: LiveTarget::OptedOut, ..world() }, Outcome::Cancelled, OutcomeReason::OptedOut),
        (
            ActionWorld { target: LiveTarget::NotHealable(NotHealable::Completed), ..world() },
            Outcome::Cancelled,
            OutcomeReason::NotHealable,
        ),
        (ActionWorld { overlap: Overlap::Ahead, ..world() }, Outcome::Cancelled, OutcomeReason::TargetBusy),
        (
            ActionWorld { verdict: Some((Outcome::Cancelled, OutcomeReason::Recovered)), ..world() },
            Outcome::Cancelled,
            OutcomeReason::Recovered,
        ),
    ] {
        let next = next_instruction(&facts(State::Pending), doubt, second(10));
        assert_eq!(next, ends(outcome, reason), "{doubt:?}");
        assert!(outcome.without_effect(), "its budget is given back");
    }
}

#[test]
fn the_conditions_of_the_first_try_are_checked_before_each_try() {
    // A disruption budget may allow an eviction minutes later.
    for doubt in [
        ActionWorld { firing: false, ..world() },
        ActionWorld { overlap: Overlap::Beside, ..world() },
        ActionWorld { target: LiveTarget::OptedOut, ..world() },
        ActionWorld { target: LiveTarget::NotHealable(NotHealable::NodeNotReady), ..world() },
        ActionWorld { target: LiveTarget::NotHealable(NotHealable::Starting), ..world() },
        ActionWorld { policy: PolicyStanding::Suspended, ..world() },
    ] {
        assert!(waits(&next_instruction(&facts(State::Running), doubt, second(10))), "{doubt:?}");
        // It is no attempt: a hold must not make the ladder climb.
        check(State::Running, doubt, 600, &ends(Outcome::Inconclusive, OutcomeReason::NotExecuted));
        // A disruption budget refused it first. What stopped it afterwards is no attempt.
        let blocked = Facts { refused: Some(EffectRefusal::DisruptionBudget), ..facts(State::Running) };
        let ended = next_instruction(&blocked, doubt, second(600));
        assert_eq!(ended, ends(Outcome::Expired, OutcomeReason::NotExecuted), "{doubt:?}");
    }
}

/// One of two leaders, with its own action on the same target.
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

    /// Uses the answer to the previous request, and sends the next one.
    fn send_next(&mut self, other: &Self, now: i64) {
        if !self.is_created {
            self.is_created = true;
            return;
        }
        let Some(overlap) = self.seen.take() else {
            self.seen = Some(self.record.overlap(other.is_created.then_some(&other.record)));
            return;
        };
        let restart = Facts { action: Action::RolloutRestart(Restart), ..facts(self.record.state) };
        let field = LiveField::Restarted { by_this: self.has_acted };
        match next_instruction(&restart, ActionWorld { overlap, field, ..world() }, second(now)) {
            Instruction::Record(transition) => self.record.state = transition.to(),
            Instruction::Do(_) => self.has_acted = true,
            Instruction::Wait(_) => {}
        }
    }
}

#[test]
fn of_two_leaders_that_reserve_at_once_one_acts_in_any_order_of_their_requests() {
    const REQUESTS: u32 = 6;
    for order in 0_u32..1 << (2 * REQUESTS) {
        if order.count_ones() != REQUESTS {
            continue;
        }
        // Creation times in the same second, or by API servers whose clocks differ.
        for created in [[0, 0], [0, 1], [1, 0]] {
            let [mut one, mut other] = [Leader::new("one-1", created[0]), Leader::new("two-1", created[1])];
            for turn in 0..2 * REQUESTS {
                if order >> turn & 1 == 0 { one.send_next(&other, 10) } else { other.send_next(&one, 10) }
            }
            let both_acted = one.has_acted && other.has_acted;
            assert!(!both_acted, "{order:012b} {created:?}");
            for _ in 0..2 * REQUESTS {
                one.send_next(&other, 20);
                other.send_next(&one, 20);
            }
            assert!(one.has_acted != other.has_acted, "{order:012b} {created:?}");
        }
    }
}

#[test]
fn a_conflicting_action_does_not_end_while_its_write_may_still_arrive() {
    // Each of two leaders drives every action, and they may have seen different records.
    let ahead = ActionWorld { overlap: Overlap::Ahead, ..world() };
    assert!(waits(&next_instruction(&facts(State::Running), ahead, second(19))));
    check(State::Running, ahead, 20, &ends(Outcome::Inconclusive, OutcomeReason::TargetBusy));
    assert!(!Outcome::Inconclusive.without_effect(), "a write that was sent may still arrive");
}

#[test]
fn the_result_of_a_lost_answer_is_read_from_the_objects() {
    // A crash after the write: the next pass finds the pod terminating or gone.
    for target in [LiveTarget::Terminating, LiveTarget::Gone] {
        let next = next_instruction(&facts(State::Running), ActionWorld { target, ..world() }, second(10));
        assert_eq!(next, Instruction::Record(Transition::Executed { settle_by: second(10 + 330) }), "{target:?}");
    }
}

#[test]
fn after_the_start_only_a_refusing_disruption_budget_gives_the_budget_back() {
    // A write that was sent may still arrive.
    for doubt in [
        ActionWorld { policy: PolicyStanding::Gone, ..world() },
        ActionWorld { policy: PolicyStanding::DryRun, ..world() },
        ActionWorld { target: LiveTarget::NotSelected, ..world() },
        ActionWorld { target: LiveTarget::NotHealable(NotHealable::Completed), ..world() },
    ] {
        let next = next_instruction(&facts(State::Running), doubt, second(10));
        assert!(
            matches!(next, Instruction::Record(Transition::Finish { outcome, .. }) if !outcome.without_effect()),
            "{doubt:?}: {next:?}"
        );
    }
    check(State::Running, world(), 600, &ends(Outcome::Failed, OutcomeReason::NotExecuted));
    let refused = Facts { refused: Some(EffectRefusal::DisruptionBudget), ..facts(State::Running) };
    assert_eq!(next_instruction(&refused, world(), second(599)), Instruction::Do(Effect::EvictPod { grace: None }));
    assert_eq!(
        next_instruction(&refused, world(), second(600)),
        ends(Outcome::Expired, OutcomeReason::BlockedByDisruptionBudget)
    );
}

#[test]
fn a_forbidden_action_ends_at_once_unless_its_effect_is_in_place() {
    let forbidden = Facts { refused: Some(EffectRefusal::Forbidden), ..facts(State::Running) };
    assert_eq!(next_instruction(&forbidden, world(), second(1)), ends(Outcome::Failed, OutcomeReason::Forbidden));
    // With its budget given back, it would be repeated without end.
    assert!(!Outcome::Failed.without_effect());
    let gone = ActionWorld { target: LiveTarget::Gone, ..world() };
    assert!(matches!(next_instruction(&forbidden, gone, second(1)), Instruction::Record(Transition::Executed { .. })));
}

#[test]
fn each_refusal_of_the_api_server_ends_in_its_own_way() {
    use EffectRefusal::{Denied, DisruptionBudget, Forbidden, SeveralDisruptionBudgets, Throttled};
    let evict = Instruction::Do(Effect::EvictPod { grace: None });
    let refused = |refusal| Facts { refused: Some(refusal), ..facts(State::Running) };
    for (refusal, tries_again, outcome, reason) in [
        (DisruptionBudget, true, Outcome::Expired, OutcomeReason::BlockedByDisruptionBudget),
        (Throttled, true, Outcome::Expired, OutcomeReason::NotExecuted),
        // These end at once.
        (SeveralDisruptionBudgets, false, Outcome::Expired, OutcomeReason::SeveralDisruptionBudgets),
        (Forbidden, false, Outcome::Failed, OutcomeReason::Forbidden),
    ] {
        let next = next_instruction(&refused(refusal), world(), second(10));
        assert_eq!(next, if tries_again { evict.clone() } else { ends(outcome, reason) }, "{refusal:?}");
        assert_eq!(next_instruction(&refused(refusal), world(), second(600)), ends(outcome, reason), "{refusal:?}");
    }
    // A webhook may act later than it answers. The request is not repeated meanwhile, and the action
    // ends soon.
    assert!((0..180).all(|now| waits(&next_instruction(&refused(Denied), world(), second(now)))));
    let denied = OutcomeReason::Denied;
    assert_eq!(next_instruction(&refused(Denied), world(), second(180)), ends(Outcome::Failed, denied));
    // A hold had stopped it for nine minutes before it was sent.
    let late = Facts { executed_after: Some(second(540)), ..refused(Denied) };
    assert!((540..720).all(|now| waits(&next_instruction(&late, world(), second(now)))));
    assert_eq!(next_instruction(&late, world(), second(720)), ends(Outcome::Failed, denied));
    for target in [LiveTarget::Terminating, LiveTarget::Gone] {
        let next = next_instruction(&refused(Denied), ActionWorld { target, ..world() }, second(60));
        assert_eq!(next, ends(Outcome::Inconclusive, denied), "a denied eviction was not executed");
    }
    // It was denied, and that is why it ends. It waits for nothing else.
    for doubt in [
        ActionWorld { target: LiveTarget::NotHealable(NotHealable::NodeNotReady), ..world() },
        ActionWorld { target: LiveTarget::OptedOut, ..world() },
        ActionWorld { policy: PolicyStanding::Suspended, ..world() },
        ActionWorld { firing: false, ..world() },
    ] {
        assert!(waits(&next_instruction(&refused(Denied), doubt, second(179))), "{doubt:?}");
        assert_eq!(next_instruction(&refused(Denied), doubt, second(180)), ends(Outcome::Failed, denied), "{doubt:?}");
    }
    let restart = Facts { refused: Some(Denied), ..restart(State::Running) };
    assert_eq!(next_instruction(&restart, with(UNMARKED), second(1)), ends(Outcome::Failed, denied));
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
fn the_words_of_each_vocabulary_differ() {
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
fn only_the_judge_gives_verdicts() {
    let gone = ActionWorld { target: LiveTarget::Gone, firing: false, ..world() };
    assert!(
        waits(&next_instruction(&facts(State::Verifying), gone, second(300))),
        "after verifyBy it still waits for the verdict"
    );
    for (outcome, reason) in [
        (Outcome::Succeeded, OutcomeReason::Cleared),
        (Outcome::Failed, OutcomeReason::StillBreached),
        (Outcome::Inconclusive, OutcomeReason::NoData),
    ] {
        check(State::Verifying, ActionWorld { verdict: Some((outcome, reason)), ..gone }, 100, &ends(outcome, reason));
    }
    let judged_before = ActionWorld { verdict: Some((Outcome::Cancelled, OutcomeReason::Recovered)), ..gone };
    assert!(waits(&next_instruction(&facts(State::Verifying), judged_before, second(100))), "too late to cancel it");
}

#[test]
fn an_action_without_a_verdict_ends_after_a_deadline() {
    let gone = ActionWorld { target: LiveTarget::Gone, ..world() };
    check(State::Verifying, gone, 120 + 20 * 60, &ends(Outcome::Inconclusive, OutcomeReason::SourceUnknown));
    check(
        State::Verifying,
        ActionWorld { policy: PolicyStanding::Gone, ..gone },
        100,
        &ends(Outcome::Inconclusive, OutcomeReason::PolicyGone),
    );
}

#[test]
fn a_dry_run_ends_whatever_the_state_of_the_objects() {
    let dry = Facts { mode: PolicyMode::DryRun, ..facts(State::Pending) };
    assert_eq!(next_instruction(&dry, world(), second(10)), ends(Outcome::DryRun, OutcomeReason::RecordedOnly));
}

#[test]
fn a_finished_action_stays_finished() {
    for outcome in Outcome::ALL {
        assert!(waits(&next_instruction(&facts(State::Finished(outcome)), world(), second(10))), "{outcome:?}");
    }
}

// Actions on a whole workload

pub(crate) fn restart(state: State) -> Facts {
    Facts { action: Action::RolloutRestart(Restart), ..facts(state) }
}

pub(crate) fn scale(state: State) -> Facts {
    Facts { action: Action::Scale(ReplicaChange { from: 3, to: 4, autoscaler: None }), ..facts(state) }
}

fn raise(state: State) -> Facts {
    let autoscaler = Object::known("HorizontalPodAutoscaler", "web", "uid-hpa");
    Facts { action: Action::Scale(ReplicaChange { from: 3, to: 4, autoscaler: Some(autoscaler) }), ..facts(state) }
}

/// Without the mark of this action, and with it.
pub(crate) const UNMARKED: LiveField = LiveField::Restarted { by_this: false };
pub(crate) const MARKED: LiveField = LiveField::Restarted { by_this: true };

pub(crate) fn with(field: LiveField) -> ActionWorld {
    ActionWorld { field, ..world() }
}

#[test]
fn a_workload_is_changed_by_one_write_with_the_old_and_the_new_value() {
    let autoscaler = Object::known("HorizontalPodAutoscaler", "web", "uid-hpa");
    for (facts, field, effect) in [
        (restart as fn(State) -> Facts, UNMARKED, Effect::Restart { mark: "uid-action".into() }),
        (scale, LiveField::Count(3), Effect::Scale { from: 3, to: 4 }),
        (raise, LiveField::Count(3), Effect::RaiseMinimum { autoscaler, from: 3, to: 4 }),
    ] {
        assert_eq!(
            next_instruction(&facts(State::Pending), with(field), second(10)),
            Instruction::Record(Transition::Begin)
        );
        assert_eq!(next_instruction(&facts(State::Running), with(field), second(10)), Instruction::Do(effect));
    }
}

#[test]
fn the_result_of_a_change_with_a_lost_answer_is_read_from_the_objects_in_any_case() {
    for (facts, field) in [(restart(State::Running), MARKED), (scale(State::Running), LiveField::Count(4))] {
        for doubt in [
            world(),
            ActionWorld { firing: false, ..world() },
            ActionWorld { policy: PolicyStanding::Gone, ..world() },
            ActionWorld { policy: PolicyStanding::Suspended, ..world() },
            ActionWorld { target: LiveTarget::Gone, ..world() },
            ActionWorld { target: LiveTarget::OptedOut, ..world() },
            ActionWorld { target: LiveTarget::NotHealable(NotHealable::PodsNotSelected), ..world() },
            ActionWorld { subject: LiveSubject::NotRestored, ..world() },
        ] {
            let next = next_instruction(&facts, ActionWorld { field, ..doubt }, second(10));
            assert_eq!(next, Instruction::Record(Transition::Executed { settle_by: second(610) }), "{doubt:?}");
        }
    }
}

#[test]
fn a_value_that_somebody_else_wrote_is_never_overwritten() {
    for facts in [scale as fn(State) -> Facts, raise] {
        // The number has no owner any more, or it is a third value.
        for field in [LiveField::Count(2), LiveField::Count(5), LiveField::Count(0), LiveField::Disowned] {
            for (state, outcome) in [
                (State::Pending, Outcome::Superseded),
                (State::Running, Outcome::Inconclusive),
                (State::Settling, Outcome::Inconclusive),
            ] {
                let next = next_instruction(&facts(state), with(field), second(10));
                assert_eq!(next, ends(outcome, OutcomeReason::ChangedByOthers), "{state:?} {field:?}");
            }
        }
        // Somebody else has made the change before the start.
        let next = next_instruction(&facts(State::Pending), with(LiveField::Count(4)), second(10));
        assert_eq!(next, ends(Outcome::Superseded, OutcomeReason::ChangedByOthers));
    }
    // Somebody else has reverted the change.
    for (facts, field) in [(restart(State::Settling), UNMARKED), (scale(State::Settling), LiveField::Count(3))] {
        let next = next_instruction(&facts, with(field), second(10));
        assert_eq!(next, ends(Outcome::Inconclusive, OutcomeReason::ChangedByOthers));
    }
}

#[test]
fn an_action_on_a_workload_that_is_gone_ends() {
    for facts in [restart as fn(State) -> Facts, scale, raise] {
        for (state, outcome) in [
            (State::Pending, Outcome::Superseded),
            (State::Running, Outcome::Inconclusive),
            (State::Settling, Outcome::Inconclusive),
            (State::Verifying, Outcome::Inconclusive),
        ] {
            let gone = ActionWorld { subject: LiveSubject::Gone, ..with(LiveField::None) };
            assert_eq!(
                next_instruction(&facts(state), gone, second(10)),
                ends(outcome, OutcomeReason::TargetGone),
                "{state:?}"
            );
        }
    }
}

#[test]
fn a_change_is_not_made_after_its_unhealthy_pod_is_gone() {
    for (facts, field) in [(restart as fn(State) -> Facts, UNMARKED), (scale, LiveField::Count(3))] {
        for target in [LiveTarget::Gone, LiveTarget::Terminating] {
            let gone = ActionWorld { target, ..with(field) };
            let next = next_instruction(&facts(State::Pending), gone, second(10));
            assert_eq!(next, ends(Outcome::Superseded, OutcomeReason::TargetGone));
            let next = next_instruction(&facts(State::Running), gone, second(10));
            assert_eq!(next, ends(Outcome::Inconclusive, OutcomeReason::TargetGone));
        }
    }
}

#[test]
fn the_conditions_before_each_removal_also_apply_before_each_change() {
    for (facts, field) in [(restart as fn(State) -> Facts, UNMARKED), (scale, LiveField::Count(3))] {
        for doubt in [
            ActionWorld { firing: false, ..with(field) },
            ActionWorld { target: LiveTarget::OptedOut, ..with(field) },
            ActionWorld { policy: PolicyStanding::Suspended, ..with(field) },
        ] {
            assert!(waits(&next_instruction(&facts(State::Running), doubt, second(10))), "{doubt:?}");
            let late = next_instruction(&facts(State::Running), doubt, second(600));
            assert_eq!(late, ends(Outcome::Inconclusive, OutcomeReason::NotExecuted), "{doubt:?}");
        }
        let unselected = ActionWorld { target: LiveTarget::NotHealable(NotHealable::PodsNotSelected), ..with(field) };
        let next = next_instruction(&facts(State::Pending), unselected, second(10));
        assert_eq!(next, ends(Outcome::Cancelled, OutcomeReason::NotHealable));
    }
}

#[test]
fn a_change_that_is_reverted_while_it_is_verified_is_not_judged() {
    let clear = Some((Outcome::Succeeded, OutcomeReason::Cleared));
    for (facts, reverted, in_place) in [
        (restart(State::Verifying), UNMARKED, MARKED),
        (scale(State::Verifying), LiveField::Count(3), LiveField::Count(4)),
        (scale(State::Verifying), LiveField::Count(9), LiveField::Count(4)),
    ] {
        let next = next_instruction(&facts, ActionWorld { verdict: clear, ..with(reverted) }, second(60));
        assert_eq!(next, ends(Outcome::Inconclusive, OutcomeReason::ChangedByOthers), "{reverted:?}");
        let next = next_instruction(&facts, ActionWorld { verdict: clear, ..with(in_place) }, second(60));
        assert_eq!(next, ends(Outcome::Succeeded, OutcomeReason::Cleared), "{in_place:?}");
    }
}
