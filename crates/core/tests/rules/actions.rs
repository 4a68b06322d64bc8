//! Actions on whole workloads: which action a step gives for a target, when it does not
//! apply, which other actions it blocks, and which pods judge it.

use crate::support::{self, *};
use proptest::prelude::*;
use prunella_core::Decision;
use prunella_core::action::{
    Action, ActionScope, ActionSpec, Inapplicable, PodRemoval, ProtectedPod, Removal, ReplicaChange, Restart,
    ScaleSpec, Towards,
};
use prunella_core::execute::OutcomeReason;
use prunella_core::ledger::{Outcome, Record, State};
use prunella_core::observation::Answer;
use prunella_core::policy::{LadderStep, MaxUnhealthy, PolicyMode};
use prunella_core::target::{Autoscaler, Object, Target, TargetWorkload};

fn workload(replicas: i32) -> TargetWorkload {
    steady_workload(Some(replicas))
}

fn autoscaler(minimum: i32, maximum: i32) -> Autoscaler {
    let object = Object::known("HorizontalPodAutoscaler", "web", "uid-hpa");
    Autoscaler { object, minimum, maximum, controlled: false }
}

/// A pod of a Deployment with this number of replicas.
fn of_many(name: &str, created: i64, replicas: i32) -> Target {
    Target { workload: Some(workload(replicas)), ..pod(name, created) }
}

fn owned(owner: Autoscaler, replicas: i32) -> Target {
    let autoscaler = Some(owner);
    Target { workload: Some(TargetWorkload { autoscaler, ..workload(replicas) }), ..pod("a", 0) }
}

/// Up to 5 and down to 2.
fn scale(towards: Towards) -> ScaleSpec {
    ScaleSpec { towards, min: 2, max: 5, raise_minimum: false, allow_volume_loss: false }
}

fn raise(towards: Towards) -> ScaleSpec {
    ScaleSpec { raise_minimum: true, ..scale(towards) }
}

fn of_kind(kind: &str, replicas: i32) -> Target {
    let mut target = of_many("a", 0, replicas);
    target.subject.kind = kind.into();
    target
}

#[test]
fn scaling_resolves_to_two_numbers_or_does_not_apply() {
    use Inapplicable::{AlreadyThere, AtMaximum, AtMinimum, ScaledToZero};
    use Towards::{By, To};
    for (towards, replicas, expected) in [
        (By(1), 1, Ok(2)),
        (By(1), 4, Ok(5)),
        (By(3), 4, Ok(5)),
        (By(1), 5, Err(AtMaximum)),
        // Somebody else scaled beyond the limit. The step does not revert that.
        (By(1), 9, Err(AtMaximum)),
        (By(i32::MAX), 1, Ok(5)),
        (By(-1), 4, Ok(3)),
        (By(-3), 4, Ok(2)),
        (By(-1), 2, Err(AtMinimum)),
        (By(-1), 1, Err(AtMinimum)),
        (By(-1), 9, Ok(8)),
        (By(i32::MIN), 4, Ok(2)),
        (To(4), 1, Ok(4)),
        (To(4), 9, Ok(4)),
        (To(4), 4, Err(AlreadyThere)),
        (By(1), 0, Err(ScaledToZero)),
        (To(4), 0, Err(ScaledToZero)),
    ] {
        let resolved = ActionSpec::Scale(scale(towards)).resolve(&of_many("a", 0, replicas));
        let expected = expected.map(|to| Action::Scale(ReplicaChange { from: replicas, to, autoscaler: None }));
        assert_eq!(resolved, expected, "{towards:?} with {replicas}");
    }
}

#[test]
fn an_action_has_the_name_of_its_spec() {
    let target = Target { workload: Some(workload(3)), ..pod("a", 0) };
    let delete =
        ActionSpec::DeletePod(PodRemoval { removal: Removal::Evict, grace: None, protected: ProtectedPod::Skip });
    for (spec, name) in [
        (delete, "DeletePod"),
        (ActionSpec::RolloutRestart(Restart), "RolloutRestart"),
        (ActionSpec::Scale(scale(Towards::By(1))), "Scale"),
    ] {
        assert_eq!((spec.name(), spec.resolve(&target).unwrap().name()), (name, name));
    }
}

#[test]
fn an_owner_of_another_kind_has_no_such_action() {
    for (kind, restart, scaled) in [
        ("Deployment", true, true),
        ("StatefulSet", true, true),
        ("DaemonSet", true, false),
        ("ReplicaSet", false, false),
        ("Rollout", false, false),
    ] {
        let owner_kind = |applies: bool| if applies { None } else { Some(Inapplicable::OwnerKind) };
        let target = of_kind(kind, 3);
        assert_eq!(ActionSpec::RolloutRestart(Restart).resolve(&target).err(), owner_kind(restart), "{kind}");
        assert_eq!(ActionSpec::Scale(scale(Towards::By(1))).resolve(&target).err(), owner_kind(scaled), "{kind}");
    }
}

#[test]
fn an_owner_of_another_group_is_not_taken_for_one_of_kubernetes() {
    let mut target = of_kind("StatefulSet", 3);
    assert_eq!(target.subject.native_kind(), "StatefulSet");
    target.subject.api_version = "apps.kruise.io/v1beta1".into();
    assert_eq!(target.subject.native_kind(), "");
    assert_eq!(ActionSpec::RolloutRestart(Restart).resolve(&target), Err(Inapplicable::OwnerKind));
    assert_eq!(ActionSpec::Scale(scale(Towards::By(1))).resolve(&target), Err(Inapplicable::OwnerKind));
    let delete =
        ActionSpec::DeletePod(PodRemoval { removal: Removal::Evict, grace: None, protected: ProtectedPod::Skip });
    assert!(delete.resolve(&target).is_ok(), "its pods are healed one by one");
}

#[test]
fn a_protected_pod_is_removed_only_if_the_policy_says_so() {
    let target = Target { protected_by: Some("karpenter.sh/do-not-disrupt"), ..pod("a", 0) };
    for (protected, removal) in [
        (ProtectedPod::Skip, Removal::Evict),
        (ProtectedPod::Skip, Removal::Delete),
        (ProtectedPod::Remove, Removal::Evict),
    ] {
        let action = ActionSpec::DeletePod(PodRemoval { removal, grace: None, protected });
        let expected = if protected == ProtectedPod::Skip { Some(Inapplicable::ProtectedPod) } else { None };
        assert_eq!(action.resolve(&target).err(), expected, "{protected:?} {removal:?}");
    }
}

#[test]
fn a_record_holds_the_grace_period_of_the_pod_only_if_it_may() {
    let delete =
        ActionSpec::DeletePod(PodRemoval { removal: Removal::Evict, grace: None, protected: ProtectedPod::Skip });
    for (own, recorded) in
        [(Some(0), None), (Some(1), Some(1)), (Some(3600), Some(3600)), (Some(7200), None), (None, None)]
    {
        let target = Target { grace: own.map(seconds), ..pod("a", 0) };
        let Ok(Action::DeletePod(removal)) = delete.resolve(&target) else { panic!("it applies") };
        assert_eq!(removal.grace, recorded.map(seconds), "{own:?}");
    }
}

#[test]
fn a_step_that_would_have_no_effect_does_not_apply() {
    let held = |why| TargetWorkload { restart_held: Some(why), ..workload(3) };
    let stuck = TargetWorkload { rollout_progress: Some(second(0)), ..workload(3) };
    for (known, why) in [
        (Some(held(Inapplicable::RolloutPaused)), Inapplicable::RolloutPaused),
        (Some(held(Inapplicable::OrderedPodUnready)), Inapplicable::OrderedPodUnready),
        (Some(stuck), Inapplicable::RolloutStuck),
        (None, Inapplicable::WorkloadUnknown),
    ] {
        let target = Target { workload: known, ..pod("a", 0) };
        assert_eq!(ActionSpec::RolloutRestart(Restart).resolve(&target), Err(why));
    }
    let unknown = ActionSpec::Scale(scale(Towards::By(1))).resolve(&pod("a", 0));
    assert_eq!(unknown, Err(Inapplicable::WorkloadUnknown));
}

#[test]
fn scaling_down_never_deletes_volumes_unless_the_policy_says_so() {
    let set =
        Target { workload: Some(TargetWorkload { deletes_volumes: true, ..workload(4) }), ..of_kind("StatefulSet", 4) };
    for (towards, allow_volume_loss, expected) in [
        (Towards::By(-1), false, Err(Inapplicable::VolumesDeleted)),
        (Towards::To(2), false, Err(Inapplicable::VolumesDeleted)),
        (Towards::By(-1), true, Ok(3)),
        (Towards::By(1), false, Ok(5)),
    ] {
        let resolved = ActionSpec::Scale(ScaleSpec { allow_volume_loss, ..scale(towards) }).resolve(&set);
        let expected = expected.map(|to| Action::Scale(ReplicaChange { from: 4, to, autoscaler: None }));
        assert_eq!(resolved, expected, "{towards:?} {allow_volume_loss}");
    }
}

#[test]
fn an_ordered_set_with_an_unready_pod_is_not_scaled_up() {
    let ordered = TargetWorkload { restart_held: Some(Inapplicable::OrderedPodUnready), ..workload(3) };
    let set = Target { workload: Some(ordered), ..of_kind("StatefulSet", 3) };
    let up = ActionSpec::Scale(scale(Towards::By(1))).resolve(&set);
    assert_eq!(up, Err(Inapplicable::OrderedPodUnready), "its next pod would never start");
    assert!(ActionSpec::Scale(scale(Towards::By(-1))).resolve(&set).is_ok());
}

#[test]
fn a_workload_that_another_tool_scales_is_not_scaled() {
    let scaled = TargetWorkload { scaled_by: Some("keda".into()), ..workload(3) };
    let target = Target { workload: Some(scaled), ..pod("a", 0) };
    for spec in [scale(Towards::By(1)), raise(Towards::By(1))] {
        assert_eq!(ActionSpec::Scale(spec).resolve(&target), Err(Inapplicable::ScaledByOthers));
    }
    assert!(Inapplicable::ScaledByOthers.explain(&target).starts_with("keda scales Deployment/web"));
}

#[test]
fn the_reason_of_a_skipped_step_has_a_word_and_a_sentence() {
    let target = owned(autoscaler(1, 9), 3);
    let all: std::collections::BTreeSet<_> =
        Inapplicable::ALL.iter().map(|why| (why.as_str(), why.explain(&target))).collect();
    assert_eq!(all.len(), Inapplicable::ALL.len());
    let sentences: std::collections::BTreeSet<_> = all.iter().map(|(_, sentence)| sentence).collect();
    assert_eq!(sentences.len(), all.len(), "each has its own");
    let autoscaled = Inapplicable::Autoscaled.explain(&target);
    for part in ["HorizontalPodAutoscaler/web", "RaiseMinimum"] {
        assert!(autoscaled.contains(part), "{autoscaled}");
    }
}

#[test]
fn scaling_skips_an_autoscaled_workload_unless_the_minimum_may_be_raised() {
    use Inapplicable::{AlreadyThere, AtMaximum, Autoscaled, AutoscalerControlled};
    use Towards::{By, To};
    let controlled = Autoscaler { controlled: true, ..autoscaler(1, 9) };
    for (spec, owner, replicas, expected) in [
        (scale(By(1)), autoscaler(1, 9), 3, Err(Autoscaled)),
        (scale(To(4)), autoscaler(1, 9), 3, Err(Autoscaled)),
        (raise(By(1)), controlled.clone(), 3, Err(AutoscalerControlled)),
        (scale(By(1)), controlled, 3, Err(Autoscaled)),
        // Relative to the present number. A minimum below that would change nothing.
        (raise(By(1)), autoscaler(1, 9), 3, Ok((1, 4))),
        (raise(By(1)), autoscaler(4, 9), 3, Ok((4, 5))),
        (raise(By(3)), autoscaler(1, 9), 3, Ok((1, 5))),
        (raise(By(3)), autoscaler(1, 4), 3, Ok((1, 4))),
        (raise(By(1)), autoscaler(1, 3), 3, Err(AtMaximum)),
        (raise(By(1)), autoscaler(1, 9), 5, Err(AtMaximum)),
        (raise(By(1)), autoscaler(5, 9), 3, Err(AtMaximum)),
        (raise(By(-1)), autoscaler(1, 9), 4, Err(Autoscaled)),
        (raise(To(4)), autoscaler(1, 9), 3, Ok((1, 4))),
        (raise(To(4)), autoscaler(1, 9), 4, Err(AlreadyThere)),
        (raise(To(4)), autoscaler(1, 9), 5, Err(AlreadyThere)),
        (raise(To(4)), autoscaler(5, 9), 3, Err(AlreadyThere)),
    ] {
        let object = owner.object.clone();
        let resolved = ActionSpec::Scale(spec).resolve(&owned(owner.clone(), replicas));
        let expected = expected.map(|(from, to)| Action::Scale(ReplicaChange { from, to, autoscaler: Some(object) }));
        assert_eq!(resolved, expected, "{spec:?} {owner:?} with {replicas}");
    }
}

/// Mostly a realistic number.
fn number() -> impl Strategy<Value = i32> {
    prop_oneof![3 => -3..10, 1 => any::<i32>()]
}

proptest! {
    /// A resolved action changes the number in the wanted direction, up to the limit on that
    /// side.
    #[test]
    fn scaling_never_reverses_its_direction_nor_exceeds_its_limit(
        by in number(), min in number(), max in number(), replicas in number(),
        owner in proptest::option::of((number(), number())), raise_minimum in any::<bool>(),
    ) {
        let spec = ScaleSpec { towards: Towards::By(by), min, max, raise_minimum, allow_volume_loss: false };
        let autoscaler = owner.map(|(minimum, maximum)| autoscaler(minimum, maximum));
        let target = Target { workload: Some(TargetWorkload { autoscaler, ..workload(replicas) }), ..pod("a", 0) };
        if let Ok(action) = ActionSpec::Scale(spec).resolve(&target) {
            let Action::Scale(ReplicaChange { from, to, autoscaler }) = action else { panic!("not scaled") };
            prop_assert_eq!(autoscaler.is_some(), owner.is_some());
            if by > 0 {
                prop_assert!(to > from && to > replicas && to <= max);
                prop_assert!(owner.is_none_or(|(_, maximum)| to <= maximum));
            } else {
                prop_assert!(owner.is_none() && from == replicas && to < from && to >= min);
            }
        }
    }
}

// On the ladder

fn step(action: ActionSpec, attempts: u32) -> LadderStep {
    LadderStep { name: action.name().to_lowercase(), action, attempts, verify_within: seconds(120), ready_within: None }
}

fn up() -> LadderStep {
    step(ActionSpec::Scale(scale(Towards::By(1))), 5)
}

fn restart() -> LadderStep {
    step(ActionSpec::RolloutRestart(Restart), 1)
}

/// A policy with these steps and targets, where only the ladder limits actions.
fn world(steps: Vec<LadderStep>, targets: Vec<Target>) -> World {
    let mut world = World::new(targets);
    world.policy.steps = steps;
    world.policy.limits.cooldown = seconds(0);
    world.policy.limits.max_actions = 100;
    world.policy.limits.max_concurrent = 10;
    world
}

/// The decision for the only unhealthy target: `step/attempt` or the refusal, and the
/// skipped steps.
fn place(decision: &Decision) -> (String, Vec<String>) {
    let shown = |skipped: &[prunella_core::decide::Skipped]| skipped.iter().map(ToString::to_string).collect();
    if let Some(one) = decision.reservations.first() {
        return (format!("{}/{}", one.step, one.attempt), shown(&one.skipped));
    }
    let skipped = decision.skipped.values().next().map(|skipped| shown(skipped)).unwrap_or_default();
    (refused(decision).values().next().copied().unwrap_or("healthy").to_owned(), skipped)
}

#[test]
fn a_step_that_does_not_apply_is_skipped_with_its_reason() {
    let at_maximum =
        "step scale (Scale): AtMaximum (Deployment/web has as many replicas as the step may set)".to_owned();
    for (steps, replicas, expected) in [
        (vec![up(), restart()], 3, ("1/1".to_owned(), vec![])),
        (vec![up(), restart()], 5, ("2/1".to_owned(), vec![at_maximum.clone()])),
        (vec![up()], 5, ("Exhausted".to_owned(), vec![at_maximum.clone()])),
    ] {
        let mut world = world(steps, vec![of_many("a", -600, replicas)]);
        assert_eq!(place(&world.evaluate_from_to(0, 30, &breached(&["a"]))), expected);
    }
}

#[test]
fn scaling_by_one_stops_at_its_maximum_and_then_the_next_step_follows() {
    let mut world = world(vec![up(), restart()], vec![of_many("a", -600, 3)]);
    let mut seen = Vec::new();
    for round in 0..5 {
        let decision = world.evaluate_from_to(round * 100, round * 100 + 40, &breached(&["a"]));
        seen.push(place(&decision).0);
        world.reserve(&decision.reservations, second(round * 100 + 40));
        world.finish(Outcome::Failed);
        if let Some(Action::Scale(ReplicaChange { to, .. })) = decision.reservations.first().map(|one| &one.action) {
            world.targets[0].workload = Some(workload(*to));
        }
    }
    assert_eq!(seen, ["1/1", "1/2", "2/1", "Exhausted", "Exhausted"]);
}

#[test]
fn a_change_that_somebody_else_took_back_is_not_repeated() {
    for (reason, expected) in
        [(OutcomeReason::ChangedByOthers, "2/1"), (OutcomeReason::SourceUnknown, "1/1"), (OutcomeReason::NoData, "1/2")]
    {
        let mut world = world(vec![step(ActionSpec::RolloutRestart(Restart), 3), up()], vec![of_many("a", -600, 3)]);
        let mut past = record("past", 1, &of_many("a", -600, 3), -100, State::Finished(Outcome::Inconclusive));
        past.scope = ActionScope::NewPods;
        past.reason = Some(reason);
        world.ledger.records.push(past);
        let (place, skipped) = place(&world.evaluate_from_to(0, 30, &breached(&["a"])));
        assert_eq!(place, expected, "{reason:?}");
        let says = skipped.iter().any(|one| one.contains("TakenBack"));
        assert_eq!(says, reason == OutcomeReason::ChangedByOthers, "{skipped:?}");
    }
}

#[test]
fn a_dry_run_records_the_first_step_that_applies() {
    for (steps, replicas, expected) in [
        (vec![up(), restart()], 5, "2/1"),
        (vec![up()], 5, "Exhausted"),
        // An action was executed before the policy was set back to a dry run.
        (vec![restart(), up()], 3, "1/1"),
        (vec![restart()], 3, "Exhausted"),
    ] {
        let mut world = world(steps, vec![of_many("a", -600, replicas)]);
        let past = record("past", 1, &of_many("a", -600, replicas), -100, State::Finished(Outcome::Failed));
        world.ledger.records.push(past);
        world.policy.mode = PolicyMode::DryRun;
        assert_eq!(place(&world.evaluate_from_to(0, 30, &breached(&["a"]))).0, expected);
    }
}

// In a storm

/// The decision for `target` after its probe, an eviction, has failed. A second pod is
/// unhealthy, too.
fn after_the_probe(target: Target, above: Vec<LadderStep>) -> String {
    let probe = record("probe", 1, &target, 15, State::Finished(Outcome::Failed));
    let mut world = world([vec![support::step(5)], above].concat(), vec![target, of_many("b", -600, 3)]);
    world.policy.limits.max_unhealthy = MaxUnhealthy::Percent(50);
    world.evaluate_from_to(0, 10, &breached(&["a", "b"]));
    world.ledger.records.push(probe);
    let decision = world.evaluate_from_to(20, 40, &breached(&["a", "b"]));
    assert!(decision.memory.storm.is_some());
    match decision.reservations.first() {
        Some(one) => format!("{} {}/{}", one.target.name, one.step, one.attempt),
        None => refused(&decision)["a"].to_owned(),
    }
}

#[test]
fn in_a_storm_the_target_of_a_failed_probe_skips_steps_that_do_not_apply() {
    assert_eq!(after_the_probe(of_many("a", -600, 5), vec![up(), restart()]), "a 3/1");
    assert_eq!(after_the_probe(of_many("a", -600, 5), vec![up()]), "Storm");
}

#[test]
fn in_a_storm_unselected_pods_still_protect_their_workload() {
    let mut target = of_many("a", -600, 3);
    target.workload = Some(TargetWorkload { all_selected: false, ..workload(3) });
    assert_eq!(after_the_probe(target, vec![restart()]), "NotHealable");
}

#[test]
fn a_workload_with_unselected_pods_is_not_acted_on_as_a_whole() {
    let mut world = world(vec![restart()], vec![of_many("a", -600, 3)]);
    world.targets[0].workload = Some(TargetWorkload { all_selected: false, ..workload(3) });
    let decision = world.evaluate_from_to(0, 30, &breached(&["a"]));
    assert_eq!(place(&decision).0, "NotHealable");
    assert_eq!(format!("{:?}", decision.refusals[0].refusal.reason), "NotHealable(PodsNotSelected)");
    // An action on one selected pod is allowed.
    world.policy.steps = vec![support::step(1)];
    assert_eq!(place(&world.evaluate(40, &breached(&["a"]))).0, "1/1");
}

// Which other actions it blocks

#[test]
fn one_action_on_a_workload_covers_all_its_unhealthy_pods() {
    let pods = vec![of_many("a", -600, 3), of_many("b", -600, 3)];
    let mut world = world(vec![restart()], pods);
    let decision = world.evaluate_from_to(0, 30, &breached(&["a", "b"]));
    assert_eq!(reserved(&decision), ["a"]);
    assert_eq!(refused(&decision), [("b", "TargetBusy")].into());
}

#[test]
fn an_action_on_a_pod_blocks_actions_on_its_workload_and_vice_versa() {
    for (first, second) in [(support::step(1), restart()), (restart(), support::step(1))] {
        let mut world = world(vec![first], vec![of_many("a", -600, 3), of_many("b", -600, 3)]);
        let decision = world.evaluate_from_to(0, 30, &breached(&["a"]));
        assert_eq!(reserved(&decision), ["a"]);
        world.reserve(&decision.reservations, support::second(30));
        world.policy.steps = vec![second];
        let decision = world.evaluate_from_to(40, 80, &breached(&["b"]));
        assert_eq!(refused(&decision), [("b", "TargetBusy")].into());
        world.finish(Outcome::Cancelled);
        assert_eq!(reserved(&world.evaluate(90, &breached(&["b"]))), ["b"]);
    }
}

#[test]
fn an_action_on_the_workload_counts_against_each_of_its_pods() {
    let mut world = world(vec![up()], vec![of_many("a", -600, 3), of_many("b", -600, 3)]);
    world.policy.limits.cooldown = seconds(300);
    let decision = world.evaluate_from_to(0, 30, &breached(&["a"]));
    world.reserve(&decision.reservations, second(30));
    world.finish(Outcome::Failed);
    let decision = world.evaluate_from_to(40, 80, &breached(&["b"]));
    assert_eq!(refused(&decision), [("b", "Cooldown")].into());
    let decision = world.evaluate_from_to(90, 330, &breached(&["b"]));
    assert_eq!(place(&decision).0, "1/2");
}

#[test]
fn an_action_on_the_workload_overlaps_with_an_action_on_any_of_its_pods() {
    let of = |name: &str, scope| Record { scope, ..record(name, 1, &of_many(name, -600, 3), 0, State::Pending) };
    let (one, whole) = (ActionScope::Replacement, ActionScope::NewPods);
    for (first, second, expected) in [(one, one, false), (whole, one, true), (one, whole, true), (whole, whole, true)] {
        assert_eq!(of("a", first).overlaps(&of("b", second)), expected, "{first:?} {second:?}");
    }
}

// Which pods judge it

/// A settled action on the workload of the pods, reserved for `a` at second 0.
fn verifying(scope: ActionScope, targets: Vec<Target>) -> World {
    let mut world = world(vec![restart()], targets);
    let mut record = record("web-1", 1, &pod("a", -600), 0, State::Verifying);
    record.scope = scope;
    world.ledger.records.push(record);
    world
}

#[test]
fn a_restart_is_judged_by_all_new_pods_and_by_no_old_pod() {
    let old_and_new = || vec![of_many("a", -600, 2), of_many("old", -600, 2), of_many("n", 1, 2), of_many("m", 2, 2)];
    for (unhealthy, expected) in [
        (vec!["a", "old"], Some(Outcome::Succeeded)),
        (vec!["n"], None),
        (vec!["m"], None),
        (vec![], Some(Outcome::Succeeded)),
    ] {
        let mut world = verifying(ActionScope::NewPods, old_and_new());
        let verdicts = world.evaluate_from_to(10, 40, &breached(&unhealthy)).verdicts;
        assert_eq!(verdicts.first().map(|verdict| verdict.outcome), expected, "{unhealthy:?}");
    }
}

#[test]
fn scaling_is_judged_by_all_pods_old_and_new() {
    let old_and_new = || vec![of_many("a", -600, 3), of_many("old", -600, 3), of_many("n", 1, 3)];
    for (unhealthy, expected) in
        [(vec!["a"], None), (vec!["old"], None), (vec!["n"], None), (vec![], Some(Outcome::Succeeded))]
    {
        let mut world = verifying(ActionScope::AllPods, old_and_new());
        let verdicts = world.evaluate_from_to(10, 40, &breached(&unhealthy)).verdicts;
        assert_eq!(verdicts.first().map(|verdict| verdict.outcome), expected, "{unhealthy:?}");
        let verdicts = world.evaluate_from_to(50, 120, &breached(&unhealthy)).verdicts;
        let failed = (!unhealthy.is_empty()).then_some(Outcome::Failed).or(expected);
        assert_eq!(verdicts.first().map(|verdict| verdict.outcome), failed, "{unhealthy:?}");
    }
}

#[test]
fn scaling_has_not_helped_while_an_old_pod_is_not_ready() {
    let mut world = verifying(ActionScope::AllPods, vec![Target { ready: false, ..of_many("old", -600, 3) }]);
    let verdicts = world.evaluate_from_to(10, 120, &Answer::Answered(vec![])).verdicts;
    assert_eq!(verdicts.first().map(|verdict| verdict.outcome), Some(Outcome::Failed));
}
