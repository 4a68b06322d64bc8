//! The cases in brackets: each rule of the judgement by the harm it keeps off. Storms,
//! the ladder and sickness have files of their own.

use crate::support::*;
use prunella_core::decide::{Change, Question, Reach};
use prunella_core::execute::OutcomeReason;
use prunella_core::ledger::{Outcome, State};
use prunella_core::observation::{Answer, Labels, Series};
use prunella_core::policy::{Mode, SeriesMatch, SubjectCap, Unhealthy};
use prunella_core::refusal::Reason;
use prunella_core::target::{NotHealable, Object, OptOut, Workload};

fn labelled(labels: &[(&str, &str)]) -> Answer {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Labels>();
    Answer::Answered(vec![Series { labels, value: 7.0 }])
}

/// A workload in a rollout that last made progress then.
fn rolling(progress: jiff::Timestamp) -> Workload {
    Workload {
        replicas: Some(3),
        rolls_out: true,
        all_selected: true,
        autoscaler: None,
        rollout_progress: Some(progress),
    }
}

fn until(decision: &prunella_core::Decision) -> Option<jiff::Timestamp> {
    decision.refusals[0].refusal.until
}

// Whose a series is

#[test]
fn a_series_is_laid_to_whom_its_labels_name_and_to_nobody_else() {
    // (the query pins the namespace, the series' labels, matched, unplaced)
    for (pinned, labels, matched, unplaced) in [
        (true, &[("pod", "a")][..], 1, 0),
        (false, &[("pod", "a")], 0, 1),
        (false, &[("pod", "a"), ("namespace", "shop")], 1, 0),
        (true, &[("pod", "a"), ("namespace", "bank")], 0, 0),
        (false, &[("pod", "a"), ("exported_namespace", "shop")], 0, 1),
        (true, &[("pod", "old")], 0, 0),
        (true, &[("pod", "a"), ("uid", "uid-a")], 1, 0),
        (true, &[("pod", "a"), ("uid", "another")], 0, 0),
        (true, &[("instance", "a")], 0, 0),
    ] {
        let mut world = World::new(vec![pod("a", -600)]);
        world.policy.pinned = pinned;
        let matching = world.look(0, &labelled(labels)).matching;
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
    assert_eq!(world.look(0, &labelled(&labels)).matching.matched, 1);
}

#[test]
fn a_global_series_speaks_of_every_target() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    world.policy.series = SeriesMatch::Global;
    world.policy.limits.max_unhealthy = Unhealthy::Percent(50);
    world.look(0, &labelled(&[]));
    assert_eq!(world.memory.timers.len(), 2);
    assert_eq!(world.memory.storm, None, "all are breached at once by design");
    world.policy.pinned = false;
    assert_eq!(world.look(10, &labelled(&[("namespace", "bank")])).matching.matched, 0, "of another namespace");
}

#[test]
fn a_workload_is_named_by_its_own_label_or_by_one_of_its_pods() {
    let of = |name: &str, uid: &str| Object { kind: "Pod".into(), name: name.into(), uid: uid.into() };
    for (labels, matched) in [
        (&[("deployment", "web")][..], 1),
        (&[("pod", "web-1")], 1),
        (&[("pod", "web-1"), ("uid", "uid-1")], 1),
        (&[("pod", "web-1"), ("uid", "uid-of-an-older-one")], 0),
        (&[("pod", "api-1")], 0),
        (&[("deployment", "api"), ("pod", "web-1")], 0),
    ] {
        let mut world = World::new(vec![pod("web", -600)]);
        world.targets[0].object.kind = "Deployment".into();
        world.targets[0].pods = vec![of("web-1", "uid-1"), of("web-2", "uid-2")];
        world.policy.series = SeriesMatch::Label("deployment".into());
        assert_eq!(world.look(0, &labelled(labels)).matching.matched, matched, "{labels:?}");
    }
}

#[test]
fn of_several_series_for_one_target_any_breaches_and_the_worst_is_shown() {
    let mut world = World::new(vec![pod("a", -600)]);
    let Answer::Answered(mut all) = breached(&["a"]) else { unreachable!() };
    all.extend([series("a", 9.0), series("a", f64::NAN)]);
    let decision = world.look(0, &Answer::Answered(all));
    assert_eq!(decision.matching.breached[&"uid-a".into()].value.to_bits(), 9.0_f64.to_bits());
}

// What a query reaches

#[test]
fn a_query_that_can_return_nothing_is_told_from_one_that_is_quiet() {
    let elsewhere = Labels::from([("pod".to_owned(), "x".to_owned())]);
    for (evidence, reach) in [
        (breached(&["a"]), Reach::Targets),
        (Answer::Answered(vec![]), Reach::NoSeries),
        (labelled(&[("pod", "x")]), Reach::NoTarget(elsewhere)),
    ] {
        let mut world = World::new(vec![pod("a", -600)]);
        world.evidence = evidence;
        assert_eq!(world.look(0, &breached(&[])).memory.reached.map(|reached| reached.reach), Some(reach));
    }
}

#[test]
fn a_query_that_reaches_nothing_is_asked_about_again_soon_and_mends_itself() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.evidence = Answer::Answered(vec![]);
    world.look(0, &breached(&[]));
    let asks =
        |world: &World, at| !world.decide(second(at), &observation(second(at), &breached(&[]))).questions.is_empty();
    assert!(!asks(&world, 4));
    assert!(asks(&world, 5));
    world.evidence = breached(&["a"]);
    assert_eq!(world.look(60, &breached(&[])).memory.reached.unwrap().reach, Reach::Targets);
    // A source that does not say is not asked at every look, and nothing is forgotten.
    world.evidence = silent();
    assert_eq!(world.look(660, &breached(&[])).memory.reached.unwrap().reach, Reach::Targets);
    assert!(!asks(&world, 670));
}

#[test]
fn a_query_that_returns_only_those_who_are_gone_is_asked_whether_it_reaches_the_living() {
    let gone = series("gone", 7.0).labels;
    for (evidence, reach) in [(breached(&["gone", "a"]), Reach::Targets), (breached(&["gone"]), Reach::NoTarget(gone))]
    {
        let mut world = World::new(vec![pod("a", -600)]);
        world.evidence = evidence;
        let asked = world.decide(second(0), &observation(second(0), &breached(&["gone"]))).questions;
        assert_eq!(asked, [Question::Evidence]);
        assert_eq!(world.look(0, &breached(&["gone"])).memory.reached.map(|reached| reached.reach), Some(reach));
        let asked = world.decide(second(4), &observation(second(4), &breached(&["gone"]))).questions;
        assert_eq!(asked, [], "not at every look");
    }
}

// Youth

#[test]
fn what_is_starting_up_is_not_sick() {
    let mut world = World::new(vec![pod("a", 0)]);
    world.policy.min_age = seconds(30);
    world.look_from_to(0, 20, &breached(&["a"]));
    assert!(world.memory.timers.is_empty());
    assert_eq!(reserved(&world.look_from_to(30, 50, &breached(&["a"]))), [""; 0]);
    assert_eq!(reserved(&world.look(60, &breached(&["a"]))), ["a"], "30 s of age, 30 s of breach");
}

#[test]
fn a_young_replacement_that_is_breached_is_no_cure() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.min_age = seconds(600);
    let mut cure = record("r", 1, &world.targets[0], 0, State::Verifying);
    cure.verify_by = Some(second(100));
    world.ledger.records.push(cure);
    world.targets[0] = pod("a2", 1);
    assert_eq!(world.look_from_to(10, 90, &breached(&["a2"])).verdicts, []);
    assert_eq!(world.look(100, &breached(&["a2"])).verdicts[0].reason, OutcomeReason::StillBreached);
}

#[test]
fn a_successor_is_not_condemned_by_its_predecessors_samples() {
    let mut successor = pod("web-1", 0);
    successor.stable_name = true;
    let mut world = World::new(vec![successor]);
    world.policy.signal_window = seconds(345);
    world.policy.breach_for = seconds(0);
    assert_eq!(reserved(&world.look_from_to(0, 340, &breached(&["web-1"]))), [""; 0]);
    assert!(world.memory.timers.is_empty(), "increase(...[5m]) still sees the dead one's samples");
    assert_eq!(reserved(&world.look(350, &breached(&["web-1"]))), ["web-1"]);
}

#[test]
fn a_series_with_the_uid_speaks_of_no_namesake() {
    let mut successor = pod("web-1", 0);
    successor.stable_name = true;
    let mut world = World::new(vec![successor]);
    world.policy.signal_window = seconds(345);
    world.policy.breach_for = seconds(0);
    let own = labelled(&[("pod", "web-1"), ("uid", "uid-web-1")]);
    assert_eq!(reserved(&world.look(10, &own)), ["web-1"]);
}

#[test]
fn a_successors_health_is_not_proven_by_its_predecessors_samples() {
    let mut old = pod("web-1", -600);
    old.stable_name = true;
    let mut world = World::new(vec![old.clone()]);
    world.policy.signal_window = seconds(100);
    let mut cure = record("r", 1, &old, 0, State::Verifying);
    cure.verify_by = Some(second(500));
    world.ledger.records.push(cure);
    world.targets[0] = old;
    world.targets[0].object.uid = "new".into();
    world.targets[0].created = second(1);
    // verifyBy passes meanwhile: whose samples they are is unknown, and extends it.
    world.ledger.records[0].verify_by = Some(second(60));
    assert_eq!(world.look_from_to(10, 110, &breached(&[])).verdicts, [], "clear for long, but by whose samples?");
    assert_eq!(world.look(130, &breached(&[])).verdicts[0].outcome, Outcome::Succeeded);
}

#[test]
fn a_successors_health_is_proven_by_samples_with_its_uid() {
    let mut successor = pod("web-1", 1);
    successor.stable_name = true;
    let mut world = World::new(vec![successor.clone()]);
    world.policy.signal_window = seconds(100);
    let mut cure = record("r", 1, &pod("web-1", -600), 0, State::Verifying);
    cure.target.uid = "old".into();
    world.ledger.records.push(cure);
    // An empty answer carries no uid: it takes the evidence to know whose data it is.
    world.evidence = labelled(&[("pod", "web-1"), ("uid", "uid-web-1")]);
    assert_eq!(world.look_from_to(10, 20, &breached(&[])).verdicts, []);
    assert_eq!(world.look(30, &breached(&[])).verdicts[0].outcome, Outcome::Succeeded, "long before second 101");
}

// Brakes

#[test]
fn a_rollout_that_makes_progress_is_let_alone_and_a_stuck_one_is_not() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.look_from_to(0, 20, &breached(&["a"]));
    world.targets[0].workload = Some(rolling(second(20)));
    let busy = world.look(30, &breached(&["a"]));
    assert_eq!(refused(&busy), [("a", "NotHealable")].into());
    assert_eq!(busy.refusals[0].refusal.reason, Reason::NotHealable(NotHealable::MidRollout));
    assert_eq!(until(&busy), Some(second(140)), "verify.within after the last progress");
    assert_eq!(reserved(&world.look_from_to(40, 130, &breached(&["a"]))), [""; 0]);
    assert_eq!(reserved(&world.look(140, &breached(&["a"]))), ["a"]);
}

#[test]
fn one_subject_bears_so_many_actions_of_all_policies_together() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.limits.subject_cap = SubjectCap { count: 2, window: seconds(3600) };
    for (sequence, created) in [(1, -3000), (2, -2000)] {
        let mut others = record("r", sequence, &pod("b", -9000), created, State::Finished(Outcome::Succeeded));
        others.policy.name = "another".into();
        world.ledger.records.push(others);
    }
    let full = world.look_from_to(0, 30, &breached(&["a"]));
    assert_eq!((refused(&full), until(&full)), ([("a", "SubjectCap")].into(), Some(second(600))));
    // What provably had no effect is no burden.
    world.ledger.records[1].state = State::Finished(Outcome::Cancelled);
    assert_eq!(reserved(&world.look(40, &breached(&["a"]))), ["a"]);
}

#[test]
fn what_waits_for_a_disruption_budget_yields_its_slot_and_is_asked_again() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600), pod("c", -600)]);
    let mut waiting = record("r", 1, &pod("a", -600), 0, State::Running);
    waiting.waiting = true;
    world.ledger.records.push(waiting);
    let all = breached(&["a", "b", "c"]);
    let decision = world.look_from_to(0, 30, &all);
    assert_eq!(reserved(&decision), ["b"], "the slot is free, a itself stays locked");
    assert_eq!(refused(&decision), [("a", "TargetBusy"), ("c", "MaxConcurrent")].into());
    assert_eq!(decision.waiting, ["uid-a".into()].into(), "and a must not go on meanwhile");
    world.reserve(&decision.reservations, second(30));
    assert_eq!(world.look(40, &all).waiting.len(), 1);
    world.ledger.records[1].state = State::Finished(Outcome::Failed);
    assert!(world.look(50, &breached(&["a"])).waiting.is_empty());
}

#[test]
fn what_waits_for_a_disruption_budget_waits_for_a_rollout_and_for_good_when_the_rule_has_changed() {
    let mut world = World::new(vec![pod("a", -600)]);
    let mut waiting = record("r", 1, &pod("a", -600), 0, State::Running);
    waiting.waiting = true;
    world.ledger.records.push(waiting);
    assert!(world.look_from_to(0, 30, &breached(&["a"])).waiting.is_empty());
    world.targets[0].workload = Some(rolling(second(30)));
    assert_eq!(world.look(40, &breached(&["a"])).waiting, ["uid-a".into()].into());
    world.targets[0].workload = None;
    world.policy.hash = "another rule".into();
    assert_eq!(world.look(50, &breached(&["a"])).waiting, ["uid-a".into()].into());
}

#[test]
fn one_missed_look_forgets_no_exhaustion_and_tells_nothing_twice() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.steps = vec![step(1)];
    world.ledger.records.push(record("r", 1, &world.targets[0], -100, State::Finished(Outcome::Failed)));
    let exhausted = world.look_from_to(0, 30, &breached(&["a"]));
    assert_eq!(exhausted.counts.exhausted, 1);
    let missed = world.look(40, &silent());
    assert_eq!(missed.counts.exhausted, 1);
    world.look_from_to(50, 90, &breached(&["a"]));
    assert_eq!(world.look(100, &silent()).transitions, []);
    assert_eq!(world.look_from_to(110, 140, &breached(&["a"])).transitions, []);
}

#[test]
fn the_ladder_is_reset_by_hand_and_cooldown_and_window_are_not() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.steps = vec![step(1)];
    world.policy.limits.cooldown = seconds(600);
    world.ledger.records.push(record("r", 1, &world.targets[0], -100, State::Finished(Outcome::Failed)));
    assert_eq!(refused(&world.look_from_to(0, 30, &breached(&["a"]))), [("a", "Exhausted")].into());
    world.policy.reset_at = Some(second(-101));
    assert_eq!(refused(&world.look(40, &breached(&["a"]))), [("a", "Exhausted")].into(), "reset before it");
    world.policy.reset_at = Some(second(40));
    let reset = world.look(50, &breached(&["a"]));
    assert_eq!((refused(&reset), until(&reset)), ([("a", "Cooldown")].into(), Some(second(500))));
}

#[test]
fn why_a_sick_target_is_left_alone_is_told_once_for_each_reason() {
    let told = |decision: &prunella_core::Decision| {
        let reasons = decision.transitions.iter().filter_map(|one| match one.change {
            Change::HeldBack(refusal) => Some(refusal.reason.as_str()),
            _ => None,
        });
        reasons.collect::<Vec<_>>()
    };
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.suspended = true;
    assert_eq!(told(&world.look_from_to(0, 20, &breached(&["a"]))), [""; 0], "nothing is due yet");
    assert_eq!(told(&world.look(30, &breached(&["a"]))), ["Suspended"]);
    assert_eq!(told(&world.look(40, &breached(&["a"]))), [""; 0]);
    world.policy.suspended = false;
    world.targets[0].opted_out = Some(OptOut { until: None });
    assert_eq!(told(&world.look(50, &breached(&["a"]))), ["OptedOut"]);
    world.targets[0].opted_out = None;
    let acts = world.look(60, &breached(&["a"]));
    assert_eq!((told(&acts), reserved(&acts)), (vec![], vec!["a"]));
    world.reserve(&acts.reservations, second(60));
    assert_eq!(told(&world.look(70, &breached(&["a"]))), [""; 0], "it is in the hands of an action");
}

#[test]
fn what_gets_well_without_any_action_is_told_from_what_was_acted_on() {
    for (acted, by_itself) in [(false, true), (true, false)] {
        let mut world = World::new(vec![pod("a", -600)]);
        world.policy.mode = Mode::DryRun;
        world.look_from_to(0, 30, &breached(&["a"]));
        if acted {
            world.ledger.records.push(record("r", 1, &world.targets[0], 30, State::Finished(Outcome::Succeeded)));
        }
        let well = world.look_from_to(40, 60, &breached(&[]));
        assert_eq!(well.transitions[0].change, Change::Recovered { by_itself });
    }
}

// A dry run

#[test]
fn a_dry_run_is_held_back_by_what_would_hold_the_action_back() {
    let others = |state| {
        let mut other = record("r", 1, &pod("a", -600), -60, state);
        other.policy.name = "another".into();
        other
    };
    for (on_record, expected) in
        [(others(State::Running), "TargetBusy"), (others(State::Finished(Outcome::Succeeded)), "Cooldown")]
    {
        let mut world = World::new(vec![pod("a", -600)]);
        world.policy.mode = Mode::DryRun;
        world.ledger.records.push(on_record);
        assert_eq!(refused(&world.look_from_to(0, 30, &breached(&["a"]))), [("a", expected)].into());
    }
}

#[test]
fn freshness_is_asked_last_and_for_those_alone_that_would_be_acted_on() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    world.targets[1].opted_out = Some(OptOut { until: None });
    world.look_from_to(0, 20, &breached(&["a", "b"]));
    let asked = world.decide(second(30), &observation(second(30), &breached(&["a", "b"]))).questions;
    let pins = series("a", 0.0).labels;
    assert_eq!(asked, [Question::Freshness { target: world.targets[0].object.clone(), pins }]);
}
