//! The very instant and the very number at which a rule changes its answer, and what is
//! decided by one label or one of two sources alone.

use crate::support::*;
use prunella_core::action::Scope;
use prunella_core::decide::{Change, Phase, Question, Reach, Timer};
use prunella_core::execute::OutcomeReason;
use prunella_core::ledger::{Outcome, State};
use prunella_core::observation::{Answer, History, Labels, Series, SeriesHistory, UnknownReason};
use prunella_core::policy::{Mode, OnNoData, SeriesMatch};
use prunella_core::refusal::Reason;
use prunella_core::target::{Object, Target, Workload};
use prunella_core::time::Span;

fn labels(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn answered(all: &[&[(&str, &str)]]) -> Answer {
    Answer::Answered(all.iter().map(|one| Series { labels: labels(one), value: 7.0 }).collect())
}

/// A pod made at second 0 in place of one of the same name, whose samples tell of it
/// until second 100.
fn successor() -> World {
    let mut world = World::new(vec![Target { stable_name: true, ..pod("web-1", 0) }]);
    world.policy.signal_window = seconds(100);
    world.policy.breach_for = seconds(0);
    world
}

#[test]
fn what_is_shown_is_the_word() {
    assert_eq!(key().to_string(), "shop/web");
    assert_eq!(deployment().to_string(), "Deployment/web");
    assert_eq!(deployment().uid.to_string(), "uid-web");
    assert_eq!(Reason::Cooldown.to_string(), "Cooldown");
    assert_eq!(UnknownReason::Timeout.to_string(), "Timeout");
    assert_eq!([answered(&[]), silent()].each_ref().map(Answer::as_str), ["Answered", "Unreachable"]);
}

#[test]
fn a_gap_as_long_as_allowed_breaks_no_stretch() {
    let seen = |gap| Span::start(second(0)).seen(second(gap), seconds(45), false).since;
    assert_eq!((seen(45), seen(46)), (second(0), second(46)));
}

#[test]
fn of_two_series_with_one_value_the_same_is_shown_in_whatever_order_they_come() {
    let two: [&[_]; 2] = [&[("pod", "a"), ("container", "x")], &[("pod", "a"), ("container", "y")]];
    for order in [two, [two[1], two[0]]] {
        let mut world = World::new(vec![pod("a", -600)]);
        let shown = world.look(0, &answered(&order)).matching.breached.remove(&"uid-a".into());
        assert_eq!(shown.map(|one| one.labels), Some(labels(two[0])));
    }
}

#[test]
fn a_successor_is_young_to_the_end_of_the_window_and_shown_as_such() {
    let mut world = successor();
    let young = world.look_from_to(0, 90, &breached(&["web-1"]));
    // As breached as its predecessor, for all that anybody knows: nothing is pending.
    assert_eq!((refused(&young), world.memory.timers.len()), ([].into(), 0));
    assert_eq!(reserved(&world.look(100, &breached(&["web-1"]))), ["web-1"]);
}

#[test]
fn evidence_with_the_uid_speaks_of_no_namesake() {
    let own: &[_] = &[("pod", "web-1"), ("uid", "uid-web-1")];
    let somebodys: &[_] = &[("pod", "web-1")];
    for evidence in [[own, somebodys], [somebodys, own]] {
        let mut world = successor();
        let mut cure = record("r", 1, &pod("web-1", -600), 0, State::Verifying);
        cure.target.uid = "uid-of-the-old".into();
        world.ledger.records.push(cure);
        world.evidence = answered(&evidence);
        let judged = world.look_from_to(10, 30, &breached(&[]));
        assert_eq!(judged.verdicts.first().map(|verdict| verdict.outcome), Some(Outcome::Succeeded));
    }
}

#[test]
fn a_source_that_is_silent_about_evidence_clears_nobody_even_where_no_data_does() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.on_no_data = OnNoData::Clear;
    world.look_from_to(0, 30, &breached(&["a"]));
    world.evidence = silent();
    world.look_from_to(40, 100, &breached(&[]));
    assert_eq!(world.memory.timers.len(), 1, "nobody says that it has recovered");
    world.evidence = answered(&[]);
    world.look_from_to(110, 140, &breached(&[]));
    assert_eq!(world.memory.timers.len(), 0);
}

#[test]
fn a_breach_that_names_a_target_proves_that_the_query_reaches_them() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.evidence = answered(&[]);
    assert_eq!(world.look(0, &breached(&["a"])).memory.reached.map(|reached| reached.reach), Some(Reach::Targets));
}

#[test]
fn a_query_is_not_called_wrong_while_there_is_no_target_to_name() {
    let mut world = World::new(vec![]);
    world.evidence = breached(&["a"]);
    assert_eq!(world.look(0, &breached(&[])).memory.reached.map(|reached| reached.reach), Some(Reach::Targets));
}

#[test]
fn freshness_is_asked_of_so_many_at_once_and_by_the_label_that_named_each() {
    let names: Vec<String> = (0..9).map(|number| format!("p{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(names.iter().map(|name| pod(name, -600)).collect());
    world.policy.limits.max_concurrent = 20;
    world.policy.limits.max_actions = 20;
    world.policy.limits.subject_cap.count = 20;
    world.look_from_to(0, 20, &breached(&names));
    let asked = world.decide(second(30), &observation(second(30), &breached(&names))).questions;
    assert_eq!(asked.len(), 8, "{asked:?}");

    let own: &[_] = &[("deployment", "web"), ("pod", "of-the-exporter"), ("namespace", "shop")];
    let pods: &[_] = &[("pod", "web-1"), ("namespace", "shop")];
    for (series, pins) in [(own, labels(&[own[0], own[2]])), (pods, labels(pods))] {
        let mut world = World::new(vec![Target { subject: deployment(), ..pod("web", -600) }]);
        world.targets[0].object = deployment();
        world.targets[0].pods = vec![Object { kind: "Pod".into(), name: "web-1".into(), uid: "uid-1".into() }];
        world.policy.series = SeriesMatch::Label("deployment".into());
        world.policy.steps[0].action = prunella_core::action::ActionSpec::RolloutRestart;
        world.targets[0].workload = Some(steady());
        world.policy.breach_for = seconds(0);
        let asked = world.decide(second(0), &observation(second(0), &answered(&[series]))).questions;
        assert!(
            asked.iter().any(|one| matches!(one, Question::Freshness { pins: asked, .. } if *asked == pins)),
            "{asked:?}"
        );
    }
}

/// A workload that nobody changes.
fn steady() -> Workload {
    Workload { replicas: Some(3), rolls_out: true, all_selected: true, autoscaler: None, rollout_progress: None }
}

#[test]
fn only_what_has_begun_and_was_refused_by_a_disruption_budget_waits_for_one() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    world.ledger.records.push(record("r", 1, &pod("a", -600), 0, State::Running));
    let mut waiting = record("s", 2, &pod("b", -600), 0, State::Running);
    waiting.waiting = true;
    world.ledger.records.push(waiting);
    assert_eq!(world.look_from_to(0, 30, &breached(&["a", "b"])).waiting, ["uid-b".into()].into());
}

#[test]
fn what_waits_goes_on_at_the_instant_at_which_the_rollout_counts_as_stuck() {
    let mut world = World::new(vec![pod("a", -600)]);
    let mut waiting = record("r", 1, &pod("a", -600), 0, State::Running);
    waiting.waiting = true;
    world.ledger.records.push(waiting);
    world.targets[0].workload = Some(Workload { rollout_progress: Some(second(0)), ..steady() });
    let waits = |at: i64, world: &mut World| !world.look(at, &breached(&["a"])).waiting.is_empty();
    assert_eq!([110, 120].map(|at| waits(at, &mut world)), [true, false], "verify.within is 120 s");
}

#[test]
fn what_was_done_in_the_second_of_a_reset_by_hand_is_reset_with_the_rest() {
    for (created, expected) in [(-100, 1), (-99, 2)] {
        let mut world = World::new(vec![pod("a", -600)]);
        world.policy.limits.cooldown = seconds(0);
        world.policy.reset_at = Some(second(-100));
        world.ledger.records.push(record("r", 1, &world.targets[0], created, State::Finished(Outcome::Failed)));
        let next = world.look_from_to(0, 30, &breached(&["a"])).reservations;
        assert_eq!(next[0].attempt, expected, "done at {created}");
    }
}

#[test]
fn a_replacement_made_in_the_very_second_of_the_action_inherits_it() {
    // Milliseconds after it, and both are told in whole seconds.
    for (born, place, held_by) in [(-100, (1, 2), "Cooldown"), (-101, (1, 1), "")] {
        let mut world = World::new(vec![pod("b", born)]);
        world.ledger.records.push(record("r", 1, &pod("a", -900), -100, State::Finished(Outcome::Failed)));
        let held = world.look_from_to(0, 30, &breached(&["b"]));
        assert_eq!(refused(&held).get("b").copied().unwrap_or_default(), held_by, "born at {born}");
        world.policy.limits.cooldown = seconds(0);
        let next = world.look(40, &breached(&["b"])).reservations;
        assert_eq!((next[0].rung, next[0].attempt), place, "born at {born}");
    }
}

#[test]
fn nobody_is_asked_for_evidence_while_the_breach_itself_is_unknown_or_names_somebody() {
    for breach in [silent(), breached(&["a"])] {
        let world = World::new(vec![pod("a", -600)]);
        assert_eq!(world.decide(second(0), &observation(second(0), &breach)).questions, []);
    }
}

#[test]
fn the_pending_and_the_firing_are_counted_apart() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600), pod("c", -600)]);
    world.look_from_to(0, 20, &breached(&["a"]));
    let counts = world.look(30, &breached(&["a", "b", "c"])).counts;
    assert_eq!((counts.selected, counts.firing, counts.pending), (3, 1, 2));
}

#[test]
fn a_deadline_that_is_now_makes_no_look_the_sooner() {
    let mut world = World::new(vec![pod("a", -600)]);
    let mut running = record("r", 1, &pod("b", -600), 0, State::Verifying);
    running.verify_by = Some(second(30));
    world.ledger.records.push(running);
    // A silent source extends it, and is asked again in its turn.
    assert_eq!(world.look(30, &silent()).next_check, seconds(10));
}

#[test]
fn who_waits_for_another_is_held_back_and_who_is_in_an_actions_hands_is_not() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    world.ledger.records.push(record("r", 1, &pod("a", -600), 0, State::Running));
    let decision = world.look_from_to(0, 30, &breached(&["a", "b"]));
    let due: Vec<_> = decision
        .refusals
        .iter()
        .map(|one| (decision.names[&one.target].as_str(), one.refusal.reason, one.due))
        .collect();
    assert_eq!(due, [("a", Reason::TargetBusy, false), ("b", Reason::MaxConcurrent, true)]);
    // What is over holds nobody in its hands.
    world.ledger.records[0].state = State::Finished(Outcome::Failed);
    let cooling = world.look(40, &breached(&["a"]));
    assert_eq!((cooling.refusals[0].refusal.reason, cooling.refusals[0].due), (Reason::Cooldown, true));
}

#[test]
fn a_sickness_that_the_history_proves_is_taken_over_as_it_was_written_down() {
    // (breached at these, acted on, sick since, the value shown)
    for (at, acted_on, since, value) in
        [(&[0, 10, 20, 30][..], vec!["a"], 0, 5.0), (&[20, 30], vec![], 20, 5.0), (&[0, 10], vec![], 30, 7.0)]
    {
        let mut world = World::new(vec![pod("a", -600)]);
        world.memory.timers.insert("uid-a".into(), Timer::restored(Phase::Pending, second(0), 5.0));
        let at = at.iter().copied().map(second).collect();
        world.history = History::Answered(vec![SeriesHistory { labels: series("a", 1.0).labels, at }]);
        let decision = world.look(30, &breached(&["a"]));
        let timer = decision.memory.timers[&"uid-a".into()];
        assert_eq!((reserved(&decision), timer.since), (acted_on, second(since)));
        assert_eq!(timer.value.to_bits(), f64::to_bits(value));
    }
}

#[test]
fn a_sickness_is_as_old_as_the_breach_while_pending_and_keeps_its_age_from_then_on() {
    let mut world = World::new(vec![pod("a", -600)]);
    let since = |world: &World| world.memory.timers[&"uid-a".into()].since;
    world.look(0, &breached(&["a"]));
    world.look(100, &breached(&["a"]));
    assert_eq!(since(&world), second(100), "nobody knows what was in between");
    world.look_from_to(110, 130, &breached(&["a"]));
    world.look(300, &breached(&["a"]));
    assert_eq!(since(&world), second(100), "it fires, whatever was in between");
}

#[test]
fn only_what_was_begun_about_this_very_sickness_has_cured_it() {
    for (on, created, state, by_itself) in [
        ("a", 30, State::Running, false),
        ("a", 30, State::Pending, true),
        ("a", -100, State::Finished(Outcome::Failed), true),
        ("b", 30, State::Running, true),
    ] {
        let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
        world.look_from_to(0, 30, &breached(&["a"]));
        world.ledger.records.push(record("r", 1, &pod(on, -600), created, state));
        let well = world.look_from_to(40, 60, &breached(&[]));
        let changes: Vec<_> = well.transitions.iter().map(|one| one.change).collect();
        assert_eq!(changes, [Change::Recovered { by_itself }], "{on} {state:?} at {created}");
    }
}

#[test]
fn a_replacement_that_was_judged_costs_no_evidence_any_more() {
    let mut world = World::new(vec![pod("b", 1)]);
    world.ledger.records.push(record("r", 1, &pod("a", -600), 0, State::Finished(Outcome::Succeeded)));
    world.look(10, &breached(&[]));
    assert_eq!(world.decide(second(20), &observation(second(20), &breached(&[]))).questions, []);
    world.ledger.records[0].state = State::Verifying;
    let asked = world.decide(second(20), &observation(second(20), &breached(&[]))).questions;
    assert_eq!(asked, [Question::Evidence]);
}

#[test]
fn a_successor_of_a_stable_name_is_judged_by_its_own_name_alone() {
    for (sick, outcome) in [("web-1", Outcome::Succeeded), ("web-0", Outcome::Failed)] {
        let stable = |name: &str, created| Target { stable_name: true, ..pod(name, created) };
        let mut world = World::new(vec![stable("web-0", 1), stable("web-1", 5)]);
        world.targets[0].object.uid = "uid-of-the-new".into();
        world.policy.signal_window = seconds(0);
        let mut cure = record("r", 1, &stable("web-0", -600), 0, State::Verifying);
        cure.verify_by = Some(second(40));
        world.ledger.records.push(cure);
        let judged = (10..=40).step_by(10).find_map(|at| world.look(at, &breached(&[sick])).verdicts.pop());
        assert_eq!(judged.map(|verdict| verdict.outcome), Some(outcome), "{sick} is sick");
    }
}

#[test]
fn a_workload_that_is_a_target_is_judged_by_its_own_series_for_as_long_as_it_stays() {
    for (terminating, outcome) in [(false, Outcome::Succeeded), (true, Outcome::Inconclusive)] {
        let mut world = World::new(vec![Target { subject: deployment(), terminating, ..pod("web", -600) }]);
        world.targets[0].object = deployment();
        world.policy.series = SeriesMatch::Label("deployment".into());
        world.evidence = answered(&[&[("deployment", "web"), ("namespace", "shop")]]);
        let mut cure = record("r", 1, &world.targets[0], 0, State::Verifying);
        cure.scope = Scope::NewPods;
        cure.verify_by = Some(second(40));
        world.ledger.records.push(cure);
        let judged = (10..=40).step_by(10).find_map(|at| world.look(at, &breached(&[])).verdicts.pop());
        assert_eq!(judged.map(|verdict| verdict.outcome), Some(outcome), "terminating: {terminating}");
    }
}

#[test]
fn an_action_for_somebody_of_whom_no_sickness_is_known_is_called_off() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.ledger.records.push(record("r", 1, &world.targets[0], 0, State::Pending));
    let verdicts = world.look(1, &breached(&[])).verdicts;
    assert_eq!((verdicts[0].outcome, verdicts[0].reason), (Outcome::Cancelled, OutcomeReason::Recovered));
    assert_eq!(world.look(2, &breached(&["a"])).verdicts, []);
}

#[test]
fn silence_in_a_verification_is_no_time_in_which_all_was_clear() {
    let mut world = World::new(vec![pod("b", 1)]);
    world.ledger.records.push(record("r", 1, &pod("a", -600), 0, State::Verifying));
    world.look(10, &breached(&[]));
    world.look(20, &silent());
    assert_eq!(world.look_from_to(30, 40, &breached(&[])).verdicts, []);
    assert_eq!(world.look(50, &breached(&[])).verdicts[0].outcome, Outcome::Succeeded);
}

#[test]
fn a_reservation_may_be_begun_for_two_intervals_and_ten_seconds_at_least() {
    for (interval, within) in [(1, 10), (5, 10), (6, 12), (60, 120)] {
        let mut world = World::new(vec![pod("a", -600)]);
        world.policy.interval = seconds(interval);
        world.policy.breach_for = seconds(0);
        assert_eq!(world.look(0, &breached(&["a"])).reservations[0].start_by, second(within), "every {interval} s");
    }
}

#[test]
fn a_sickness_is_on_record_by_a_dry_run_about_this_target_and_since_it_began_and_by_no_other() {
    let about = |target: &str, mode, since: i64| {
        let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
        world.policy.mode = Mode::DryRun;
        world.policy.limits.cooldown = seconds(0);
        let mut earlier = record("r", 1, &pod(target, -600), since, State::Finished(Outcome::DryRun));
        earlier.mode = mode;
        world.ledger.records.push(earlier);
        refused(&world.look_from_to(0, 30, &breached(&["a"]))).get("a").copied()
    };
    assert_eq!(about("a", Mode::DryRun, 0), Some("AlreadyRecorded"));
    assert_eq!(about("a", Mode::DryRun, -1), None, "of an earlier sickness");
    assert_eq!(about("b", Mode::DryRun, 0), None, "of another");
    assert_eq!(about("a", Mode::Enforce, 0), None, "not by a dry run");
}

#[test]
fn a_young_successor_costs_evidence_only_where_its_health_must_be_proven() {
    let mut world = successor();
    world.look(0, &breached(&["web-1"]));
    for breach in [breached(&[]), breached(&["web-1"])] {
        assert_eq!(world.decide(second(10), &observation(second(10), &breach)).questions, []);
    }
}
