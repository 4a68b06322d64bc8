//! Rules with a harmful case: names and namespaces of series, reach of a query, young
//! targets, guardrails, dry runs.

use crate::support::*;
use prunella_core::action::{ActionSpec, Restart};
use prunella_core::decide::{Change, Question, Reach};
use prunella_core::execute::OutcomeReason;
use prunella_core::ledger::{Outcome, State};
use prunella_core::observation::{Answer, Labels, Series};
use prunella_core::policy::{MaxUnhealthy, PolicyMode, SeriesMatch, SubjectCap};
use prunella_core::readiness::ReadyTimes;
use prunella_core::refusal::Reason;
use prunella_core::target::{NotHealable, Object, OptOut, ReplacementName, Target, TargetWorkload};

fn labelled(labels: &[(&str, &str)]) -> Answer {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Labels>();
    Answer::Answered(vec![Series { labels, value: 7.0 }])
}

/// A workload in a rollout that last made progress at `progress`.
fn rolling(progress: jiff::Timestamp) -> TargetWorkload {
    TargetWorkload {
        replicas: Some(3),
        restart_held: None,
        all_selected: true,
        autoscaler: None,
        scaled_by: None,
        deletes_volumes: false,
        has_readiness_probe: true,
        rollout_progress: Some(progress),
        ready_times: ReadyTimes { progress_deadline: Some(seconds(120)), startup: None },
    }
}

fn until(decision: &prunella_core::Decision) -> Option<jiff::Timestamp> {
    decision.refusals[0].refusal.until
}

// The target of a series

#[test]
fn a_series_counts_only_for_the_target_that_its_labels_name() {
    // (the query names the namespace, the labels of the series, matched, unplaced)
    for (pinned, labels, matched, unplaced) in [
        (true, &[("pod", "a")][..], 1, 0),
        (false, &[("pod", "a")], 0, 1),
        (false, &[("pod", "a"), ("namespace", "shop")], 1, 0),
        (true, &[("pod", "a"), ("namespace", "bank")], 0, 0),
        (false, &[("pod", "a"), ("exported_namespace", "shop")], 0, 1),
        (true, &[("pod", "old")], 0, 0),
        (true, &[("pod", "a"), ("uid", "uid-a")], 1, 0),
        // An application's own label, for example a user id, is not a Kubernetes uid.
        (true, &[("pod", "a"), ("uid", "1000")], 1, 0),
        (true, &[("pod", "a"), ("uid", "7d44c2b6-0f4b-4d0e-9a43-1f0e4d7c9a10")], 0, 0),
        (true, &[("instance", "a")], 0, 0),
    ] {
        let mut world = World::new(vec![pod("a", -600)]);
        world.policy.pinned = pinned;
        let matching = world.evaluate(0, &labelled(labels)).matching;
        assert_eq!((matching.matched, matching.unplaced), (matched, unplaced), "{labels:?}");
        assert_eq!(matching.first_ignored.is_some(), matched == 0, "{labels:?}");
    }
}

#[test]
fn the_namespace_may_be_in_another_label() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.pinned = false;
    world.policy.namespace_label = "exported_namespace".into();
    let labels = [("pod", "a"), ("namespace", "monitoring"), ("exported_namespace", "shop")];
    assert_eq!(world.evaluate(0, &labelled(&labels)).matching.matched, 1);
}

#[test]
fn a_global_series_counts_for_every_target() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    world.policy.series = SeriesMatch::Global;
    world.policy.limits.max_unhealthy = MaxUnhealthy::Percent(50);
    world.evaluate(0, &labelled(&[]));
    assert_eq!(world.memory.timers.len(), 2);
    assert_eq!(world.memory.storm, None, "all are breached at once by design");
    world.policy.pinned = false;
    assert_eq!(
        world.evaluate(10, &labelled(&[("namespace", "bank")])).matching.matched,
        0,
        "it names another namespace"
    );
}

#[test]
fn a_workload_is_named_by_its_own_label_or_by_one_of_its_pods() {
    let of = |name: &str, uid: &str| Object::known("Pod", name, uid);
    for (labels, matched) in [
        (&[("deployment", "web")][..], 1),
        (&[("pod", "web-1")], 1),
        (&[("pod", "web-1"), ("uid", "uid-1")], 1),
        (&[("pod", "web-1"), ("uid", "7d44c2b6-0f4b-4d0e-9a43-1f0e4d7c9a10")], 0),
        (&[("pod", "api-1")], 0),
        (&[("deployment", "api"), ("pod", "web-1")], 0),
    ] {
        let mut world = World::new(vec![pod("web", -600)]);
        world.targets[0].object.kind = "Deployment".into();
        world.targets[0].pods = vec![of("web-1", "uid-1"), of("web-2", "uid-2")];
        world.policy.series = SeriesMatch::Label("deployment".into());
        assert_eq!(world.evaluate(0, &labelled(labels)).matching.matched, matched, "{labels:?}");
    }
}

#[test]
fn of_several_series_of_one_target_any_is_a_breach_and_the_worst_is_shown() {
    let mut world = World::new(vec![pod("a", -600)]);
    let Answer::Answered(mut all) = breached(&["a"]) else { unreachable!() };
    all.extend([series("a", 9.0), series("a", f64::NAN)]);
    let decision = world.evaluate(0, &Answer::Answered(all));
    assert_eq!(decision.matching.breached[&"uid-a".into()].value.to_bits(), 9.0_f64.to_bits());
}

// What a query can return

#[test]
fn a_query_that_can_return_nothing_differs_from_a_quiet_one() {
    let elsewhere = Labels::from([("pod".to_owned(), "x".to_owned())]);
    for (evidence, reach) in [
        (breached(&["a"]), Reach::Targets),
        (Answer::Answered(vec![]), Reach::NoSeries),
        (labelled(&[("pod", "x")]), Reach::NoTarget(elsewhere)),
    ] {
        let mut world = World::new(vec![pod("a", -600)]);
        world.evidence = evidence;
        assert_eq!(world.evaluate(0, &breached(&[])).memory.reached.map(|reached| reached.reach), Some(reach));
    }
}

#[test]
fn a_query_that_reaches_nothing_is_soon_checked_again() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.evidence = Answer::Answered(vec![]);
    world.evaluate(0, &breached(&[]));
    let asks =
        |world: &World, at| !world.decide(second(at), &observation(second(at), &breached(&[]))).questions.is_empty();
    assert!(!asks(&world, 4));
    assert!(asks(&world, 5));
    world.evidence = breached(&["a"]);
    assert_eq!(world.evaluate(60, &breached(&[])).memory.reached.unwrap().reach, Reach::Targets);
    // Without an answer, the last result stays, and the check is not repeated in each evaluation.
    world.evidence = silent();
    assert_eq!(world.evaluate(660, &breached(&[])).memory.reached.unwrap().reach, Reach::Targets);
    assert!(!asks(&world, 670));
}

#[test]
fn a_query_that_returns_only_deleted_pods_is_checked_for_existing_ones() {
    let gone = series("gone", 7.0).labels;
    for (evidence, reach) in [(breached(&["gone", "a"]), Reach::Targets), (breached(&["gone"]), Reach::NoTarget(gone))]
    {
        let mut world = World::new(vec![pod("a", -600)]);
        world.evidence = evidence;
        let asked = world.decide(second(0), &observation(second(0), &breached(&["gone"]))).questions;
        assert_eq!(asked, [Question::Evidence]);
        assert_eq!(world.evaluate(0, &breached(&["gone"])).memory.reached.map(|reached| reached.reach), Some(reach));
        let asked = world.decide(second(4), &observation(second(4), &breached(&["gone"]))).questions;
        assert_eq!(asked, [], "not in every evaluation");
    }
}

// Young targets

#[test]
fn a_pod_that_is_starting_up_is_not_unhealthy() {
    let mut world = World::new(vec![pod("a", 0)]);
    world.policy.min_age = seconds(30);
    world.evaluate_from_to(0, 20, &breached(&["a"]));
    assert!(world.memory.timers.is_empty());
    assert_eq!(reserved(&world.evaluate_from_to(30, 50, &breached(&["a"]))), [""; 0]);
    assert_eq!(reserved(&world.evaluate(60, &breached(&["a"]))), ["a"], "30 s of age, 30 s of breach");
}

#[test]
fn an_action_has_not_helped_if_its_young_replacement_is_breached() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.min_age = seconds(600);
    let mut action = record("r", 1, &world.targets[0], 0, State::Verifying);
    action.verify_by = Some(second(100));
    world.ledger.records.push(action);
    world.targets[0] = pod("a2", 1);
    assert_eq!(world.evaluate_from_to(10, 90, &breached(&["a2"])).verdicts, []);
    assert_eq!(world.evaluate(100, &breached(&["a2"])).verdicts[0].reason, OutcomeReason::StillBreached);
}

#[test]
fn a_replacement_with_the_same_name_is_not_judged_by_samples_of_the_old_pod() {
    let mut replacement = pod("web-1", 0);
    replacement.replacement_name = ReplacementName::Same;
    let mut world = World::new(vec![replacement]);
    world.policy.signal_window = seconds(345);
    world.policy.breach_for = seconds(0);
    assert_eq!(reserved(&world.evaluate_from_to(0, 340, &breached(&["web-1"]))), [""; 0]);
    assert!(world.memory.timers.is_empty(), "increase(...[5m]) still includes samples of the old pod");
    assert_eq!(reserved(&world.evaluate(350, &breached(&["web-1"]))), ["web-1"]);
}

#[test]
fn a_series_with_the_uid_belongs_to_the_replacement() {
    let mut replacement = pod("web-1", 0);
    replacement.replacement_name = ReplacementName::Same;
    let mut world = World::new(vec![replacement]);
    world.policy.signal_window = seconds(345);
    world.policy.breach_for = seconds(0);
    let own = labelled(&[("pod", "web-1"), ("uid", "uid-web-1")]);
    assert_eq!(reserved(&world.evaluate(10, &own)), ["web-1"]);
}

#[test]
fn a_new_workload_is_judged_at_once_by_series_of_its_own_pods() {
    const POD: &str = "3f2b1c00-0000-4000-8000-000000000001";
    let of_pod: &[_] = &[("pod", "web-1")];
    let with_uid: &[_] = &[("pod", "web-1"), ("uid", POD)];
    let by_name: &[_] = &[("deployment", "web"), ("statefulset", "web")];
    for (kind, series, expected) in [
        ("Deployment", of_pod, 1),
        ("Deployment", by_name, 0),
        // The pod of an earlier StatefulSet had the same name.
        ("StatefulSet", of_pod, 0),
        ("StatefulSet", with_uid, 1),
    ] {
        let mut target = Target { replacement_name: ReplacementName::Same, ..pod("web", 0) };
        target.object = Object::known(kind, "web", "uid-web");
        target.subject = target.object.clone();
        target.pods = vec![Object::known("Pod", "web-1", POD)];
        target.workload = Some(steady_workload(Some(3)));
        let mut world = World::new(vec![target]);
        world.policy.series = SeriesMatch::Label(kind.to_lowercase());
        world.policy.steps[0].action = ActionSpec::RolloutRestart(Restart);
        world.policy.signal_window = seconds(345);
        world.policy.breach_for = seconds(0);
        let decision = world.evaluate(40, &labelled(series));
        assert_eq!(reserved(&decision).len(), expected, "{kind} {series:?}: {:?}", decision.refusals);
    }
}

#[test]
fn samples_of_the_old_pod_do_not_prove_the_health_of_its_replacement() {
    let mut old = pod("web-1", -600);
    old.replacement_name = ReplacementName::Same;
    let mut world = World::new(vec![old.clone()]);
    world.policy.signal_window = seconds(100);
    let mut action = record("r", 1, &old, 0, State::Verifying);
    action.verify_by = Some(second(500));
    world.ledger.records.push(action);
    world.targets[0] = old;
    world.targets[0].object.uid = "new".into();
    world.targets[0].created = second(1);
    // `verifyBy` passes. The samples may belong to the old pod, and that extends the deadline.
    world.ledger.records[0].verify_by = Some(second(60));
    assert_eq!(
        world.evaluate_from_to(10, 110, &breached(&[])).verdicts,
        [],
        "clear for long, but the samples may belong to the old pod"
    );
    assert_eq!(world.evaluate(130, &breached(&[])).verdicts[0].outcome, Outcome::Succeeded);
}

#[test]
fn samples_with_the_uid_prove_the_health_of_a_replacement() {
    let mut replacement = pod("web-1", 1);
    replacement.replacement_name = ReplacementName::Same;
    let mut world = World::new(vec![replacement.clone()]);
    world.policy.signal_window = seconds(100);
    let mut action = record("r", 1, &pod("web-1", -600), 0, State::Verifying);
    action.target.uid = "old".into();
    world.ledger.records.push(action);
    // An empty answer has no uid. Only the evidence shows which pod has data.
    world.evidence = labelled(&[("pod", "web-1"), ("uid", "uid-web-1")]);
    assert_eq!(world.evaluate_from_to(10, 20, &breached(&[])).verdicts, []);
    assert_eq!(world.evaluate(30, &breached(&[])).verdicts[0].outcome, Outcome::Succeeded, "long before second 101");
}

// Guardrails

#[test]
fn a_rollout_that_makes_progress_blocks_actions_and_a_stuck_one_does_not() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.evaluate_from_to(0, 20, &breached(&["a"]));
    world.targets[0].workload = Some(rolling(second(20)));
    let busy = world.evaluate(30, &breached(&["a"]));
    assert_eq!(refused(&busy), [("a", "NotHealable")].into());
    assert_eq!(busy.refusals[0].refusal.reason, Reason::NotHealable(NotHealable::MidRollout));
    assert_eq!(until(&busy), Some(second(140)), "verify.within after the last progress");
    assert_eq!(reserved(&world.evaluate_from_to(40, 130, &breached(&["a"]))), [""; 0]);
    assert_eq!(reserved(&world.evaluate(140, &breached(&["a"]))), ["a"]);
}

#[test]
fn the_subject_cap_counts_actions_of_all_policies() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.limits.subject_cap = SubjectCap { count: 2, window: seconds(3600) };
    for (sequence, created) in [(1, -3000), (2, -2000)] {
        let mut others = record("r", sequence, &pod("b", -9000), created, State::Finished(Outcome::Succeeded));
        others.policy.name = "another".into();
        world.ledger.records.push(others);
    }
    let full = world.evaluate_from_to(0, 30, &breached(&["a"]));
    assert_eq!((refused(&full), until(&full)), ([("a", "SubjectCap")].into(), Some(second(600))));
    // An action that certainly had no effect does not count.
    world.ledger.records[1].state = State::Finished(Outcome::Cancelled);
    assert_eq!(reserved(&world.evaluate(40, &breached(&["a"]))), ["a"]);
}

#[test]
fn an_action_that_waits_for_a_disruption_budget_frees_its_slot_and_is_checked_again() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600), pod("c", -600)]);
    let mut waiting = record("r", 1, &pod("a", -600), 0, State::Running);
    waiting.waiting = true;
    world.ledger.records.push(waiting);
    let all = breached(&["a", "b", "c"]);
    let decision = world.evaluate_from_to(0, 30, &all);
    assert_eq!(reserved(&decision), ["b"], "the slot is free, but a is still busy");
    assert_eq!(refused(&decision), [("a", "TargetBusy"), ("c", "MaxConcurrent")].into());
    assert_eq!(decision.waiting, ["uid-a".into()].into(), "a must not continue meanwhile");
    world.reserve(&decision.reservations, second(30));
    assert_eq!(world.evaluate(40, &all).waiting.len(), 1);
    world.ledger.records[1].state = State::Finished(Outcome::Failed);
    assert!(world.evaluate(50, &breached(&["a"])).waiting.is_empty());
}

#[test]
fn an_action_that_waits_for_a_disruption_budget_also_waits_for_a_rollout_and_never_continues_after_a_policy_change() {
    let mut world = World::new(vec![pod("a", -600)]);
    let mut waiting = record("r", 1, &pod("a", -600), 0, State::Running);
    waiting.waiting = true;
    world.ledger.records.push(waiting);
    assert!(world.evaluate_from_to(0, 30, &breached(&["a"])).waiting.is_empty());
    world.targets[0].workload = Some(rolling(second(30)));
    assert_eq!(world.evaluate(40, &breached(&["a"])).waiting, ["uid-a".into()].into());
    world.targets[0].workload = None;
    world.policy.digest = "another rule".into();
    assert_eq!(world.evaluate(50, &breached(&["a"])).waiting, ["uid-a".into()].into());
}

#[test]
fn after_a_failed_evaluation_a_target_is_still_exhausted_and_not_reported_again() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.steps = vec![step(1)];
    world.ledger.records.push(record("r", 1, &world.targets[0], -100, State::Finished(Outcome::Failed)));
    let exhausted = world.evaluate_from_to(0, 30, &breached(&["a"]));
    assert_eq!(exhausted.counts.exhausted, 1);
    let missed = world.evaluate(40, &silent());
    assert_eq!(missed.counts.exhausted, 1);
    world.evaluate_from_to(50, 90, &breached(&["a"]));
    assert_eq!(world.evaluate(100, &silent()).transitions, []);
    assert_eq!(world.evaluate_from_to(110, 140, &breached(&["a"])).transitions, []);
}

#[test]
fn a_reset_by_a_user_resets_the_ladder_but_not_cooldown_and_window() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.steps = vec![step(1)];
    world.policy.limits.cooldown = seconds(600);
    world.ledger.records.push(record("r", 1, &world.targets[0], -100, State::Finished(Outcome::Failed)));
    assert_eq!(refused(&world.evaluate_from_to(0, 30, &breached(&["a"]))), [("a", "Exhausted")].into());
    world.policy.reset_at = Some(second(-101));
    assert_eq!(
        refused(&world.evaluate(40, &breached(&["a"]))),
        [("a", "Exhausted")].into(),
        "the reset was before the action"
    );
    world.policy.reset_at = Some(second(40));
    let reset = world.evaluate(50, &breached(&["a"]));
    assert_eq!((refused(&reset), until(&reset)), ([("a", "Cooldown")].into(), Some(second(500))));
}

#[test]
fn each_reason_not_to_act_is_reported_once_in_an_episode() {
    let reported = |decision: &prunella_core::Decision| {
        let reasons = decision.transitions.iter().filter_map(|one| match one.change {
            Change::HeldBack(refusal) => Some(refusal.reason.as_str()),
            _ => None,
        });
        reasons.collect::<Vec<_>>()
    };
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.suspended = true;
    assert_eq!(reported(&world.evaluate_from_to(0, 20, &breached(&["a"]))), [""; 0], "no action is due yet");
    assert_eq!(reported(&world.evaluate(30, &breached(&["a"]))), ["Suspended"]);
    assert_eq!(reported(&world.evaluate(40, &breached(&["a"]))), [""; 0]);
    world.policy.suspended = false;
    world.targets[0].opted_out = Some(OptOut { until: None });
    assert_eq!(reported(&world.evaluate(50, &breached(&["a"]))), ["OptedOut"]);
    world.targets[0].opted_out = None;
    let acts = world.evaluate(60, &breached(&["a"]));
    assert_eq!((reported(&acts), reserved(&acts)), (vec![], vec!["a"]));
    world.reserve(&acts.reservations, second(60));
    assert_eq!(reported(&world.evaluate(70, &breached(&["a"]))), [""; 0], "it has an action in flight");
}

#[test]
fn a_recovery_without_any_action_differs_from_one_after_an_action() {
    for (acted, by_itself) in [(false, true), (true, false)] {
        let mut world = World::new(vec![pod("a", -600)]);
        world.policy.mode = PolicyMode::DryRun;
        world.evaluate_from_to(0, 30, &breached(&["a"]));
        if acted {
            world.ledger.records.push(record("r", 1, &world.targets[0], 30, State::Finished(Outcome::Succeeded)));
        }
        let well = world.evaluate_from_to(40, 60, &breached(&[]));
        assert_eq!(well.transitions[0].change, Change::Recovered { was_firing: true, by_itself });
    }
}

/// It is in the answer and must not look healthy.
#[test]
fn a_target_that_is_not_judged_yet_because_of_its_name_is_known_with_the_time() {
    let mut world = World::new(vec![pod("web-0", 0), pod("web-1", -600)]);
    world.targets.iter_mut().for_each(|target| target.replacement_name = ReplacementName::Same);
    let uid = world.targets[0].object.uid.clone();
    let young = world.evaluate(10, &breached(&["web-0", "web-1"]));
    assert_eq!(young.too_young, [(uid, second(45))].into());
    assert!(world.evaluate(20, &breached(&["web-1"])).too_young.is_empty(), "it is not in the answer");
    assert!(world.evaluate(50, &breached(&["web-0"])).too_young.is_empty(), "it is old enough");
}

/// It must not look healthy either.
#[test]
fn a_breached_target_younger_than_min_age_is_known_with_the_time() {
    let mut world = World::new(vec![pod("a", 0), pod("b", 0), pod("old", -600)]);
    world.policy.min_age = seconds(30);
    let young = world.evaluate(10, &breached(&["a"]));
    assert_eq!(young.below_min_age, [("uid-a".into(), second(30))].into());
    assert!(young.too_young.is_empty() && young.memory.timers.is_empty());
    assert!(world.evaluate(20, &breached(&["old"])).below_min_age.is_empty(), "it is not in the answer");
    assert!(world.evaluate(30, &breached(&["a"])).below_min_age.is_empty(), "it is old enough");
    // As the replacement of an action it is judged, as soon as its workload is whole.
    for state in [State::Running, State::Settling, State::Verifying] {
        world.ledger.records = vec![record("r", 1, &pod("gone", -600), 0, state)];
        assert!(world.evaluate(20, &breached(&["a"])).below_min_age.is_empty(), "{state:?}");
    }
    for (created, state) in [(1, State::Settling), (0, State::Pending), (0, State::Finished(Outcome::Failed))] {
        world.ledger.records = vec![record("r", 1, &pod("gone", -600), created, state)];
        assert!(!world.evaluate(20, &breached(&["a"])).below_min_age.is_empty(), "{state:?}, reserved at {created} s");
    }
}

#[test]
fn a_hold_is_reported_as_soon_as_a_target_is_pending() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.held = true;
    let reasons = |decision: &prunella_core::Decision| {
        decision.transitions.iter().filter(|one| matches!(one.change, Change::HeldBack(_))).count()
    };
    let pending = world.evaluate(0, &breached(&["a"]));
    assert!(pending.refusals[0].due && reasons(&pending) == 1, "{:?}", pending.transitions);
    assert_eq!(reasons(&world.evaluate_from_to(10, 60, &breached(&["a"]))), 0, "once in an episode");
}

// Dry runs

#[test]
fn the_guardrails_of_an_action_also_hold_a_dry_run_back() {
    let others = |state| {
        let mut other = record("r", 1, &pod("a", -600), -60, state);
        other.policy.name = "another".into();
        other
    };
    for (on_record, expected) in
        [(others(State::Running), "TargetBusy"), (others(State::Finished(Outcome::Succeeded)), "Cooldown")]
    {
        let mut world = World::new(vec![pod("a", -600)]);
        world.policy.mode = PolicyMode::DryRun;
        world.ledger.records.push(on_record);
        assert_eq!(refused(&world.evaluate_from_to(0, 30, &breached(&["a"]))), [("a", expected)].into());
    }
}

#[test]
fn freshness_is_queried_last_and_only_for_targets_that_would_be_acted_on() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    world.targets[1].opted_out = Some(OptOut { until: None });
    world.evaluate_from_to(0, 20, &breached(&["a", "b"]));
    let asked = world.decide(second(30), &observation(second(30), &breached(&["a", "b"]))).questions;
    let pins = series("a", 0.0).labels;
    assert_eq!(asked, [Question::Freshness { target: world.targets[0].object.clone(), pins }]);
}
