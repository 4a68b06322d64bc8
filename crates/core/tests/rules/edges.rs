//! Boundary cases: the exact time or number at which a rule changes its answer, and cases
//! that depend on one label or one of two answers.

use crate::support::*;
use prunella_core::action::{ActionScope, Restart};
use prunella_core::decide::{BreachPhase, Change, Question, Reach, Timer};
use prunella_core::execute::OutcomeReason;
use prunella_core::ledger::{Outcome, State};
use prunella_core::observation::{Answer, History, Labels, Series, SeriesHistory, UnknownReason};
use prunella_core::policy::{NoDataRule, PolicyMode, SeriesMatch};
use prunella_core::readiness::ReadyTimes;
use prunella_core::refusal::Reason;
use prunella_core::target::{Object, ReplacementName, Target, TargetWorkload};
use prunella_core::time::Span;

fn labels(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn answered(all: &[&[(&str, &str)]]) -> Answer {
    Answer::Answered(all.iter().map(|one| Series { labels: labels(one), value: 7.0 }).collect())
}

/// A pod created at second 0 as the replacement of a pod with the same name. The samples of
/// the old pod can affect answers until second 100.
fn replacement() -> World {
    let mut world = World::new(vec![Target { replacement_name: ReplacementName::Same, ..pod("web-1", 0) }]);
    world.policy.signal_window = seconds(100);
    world.policy.breach_for = seconds(0);
    world
}

#[test]
fn display_gives_the_word() {
    assert_eq!(key().to_string(), "shop/web");
    assert_eq!(deployment().to_string(), "Deployment/web");
    assert_eq!(deployment().uid.to_string(), "uid-web");
    assert_eq!(Reason::Cooldown.to_string(), "Cooldown");
    assert_eq!(UnknownReason::Timeout.to_string(), "Timeout");
    assert_eq!([answered(&[]), silent()].each_ref().map(Answer::as_str), ["Answered", "Unreachable"]);
}

#[test]
fn a_gap_of_the_allowed_length_does_not_restart_a_span() {
    let seen = |gap| Span::start(second(0)).seen(second(gap), seconds(45), false).since;
    assert_eq!((seen(45), seen(46)), (second(0), second(46)));
}

#[test]
fn of_two_series_with_equal_values_the_same_one_is_shown_in_any_order() {
    let two: [&[_]; 2] = [&[("pod", "a"), ("container", "x")], &[("pod", "a"), ("container", "y")]];
    for order in [two, [two[1], two[0]]] {
        let mut world = World::new(vec![pod("a", -600)]);
        let shown = world.evaluate(0, &answered(&order)).matching.breached.remove(&"uid-a".into());
        assert_eq!(shown.map(|one| one.labels), Some(labels(two[0])));
    }
}

#[test]
fn a_replacement_with_the_same_name_is_young_until_the_signal_window_ends() {
    let mut world = replacement();
    let young = world.evaluate_from_to(0, 90, &breached(&["web-1"]));
    // The breach may belong to the old pod, so nothing is pending.
    assert_eq!((refused(&young), world.memory.timers.len()), ([].into(), 0));
    assert_eq!(reserved(&world.evaluate(100, &breached(&["web-1"]))), ["web-1"]);
}

#[test]
fn evidence_with_the_uid_belongs_to_the_replacement() {
    let own: &[_] = &[("pod", "web-1"), ("uid", "uid-web-1")];
    let without_uid: &[_] = &[("pod", "web-1")];
    for evidence in [[own, without_uid], [without_uid, own]] {
        let mut world = replacement();
        let mut action = record("r", 1, &pod("web-1", -600), 0, State::Verifying);
        action.target.uid = "uid-of-the-old".into();
        world.ledger.records.push(action);
        world.evidence = answered(&evidence);
        let judged = world.evaluate_from_to(10, 30, &breached(&[]));
        assert_eq!(judged.verdicts.first().map(|verdict| verdict.outcome), Some(Outcome::Succeeded));
    }
}

#[test]
fn without_an_answer_about_evidence_no_target_is_clear_even_if_no_data_means_clear() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.on_no_data = NoDataRule::Clear;
    world.evaluate_from_to(0, 30, &breached(&["a"]));
    world.evidence = silent();
    world.evaluate_from_to(40, 100, &breached(&[]));
    assert_eq!(world.memory.timers.len(), 1, "no answer says that it has recovered");
    world.evidence = answered(&[]);
    world.evaluate_from_to(110, 140, &breached(&[]));
    assert_eq!(world.memory.timers.len(), 0);
}

#[test]
fn a_breach_that_names_a_target_proves_that_the_query_reaches_targets() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.evidence = answered(&[]);
    assert_eq!(world.evaluate(0, &breached(&["a"])).memory.reached.map(|reached| reached.reach), Some(Reach::Targets));
}

#[test]
fn a_query_is_not_reported_as_wrong_without_targets() {
    let mut world = World::new(vec![]);
    world.evidence = breached(&["a"]);
    assert_eq!(world.evaluate(0, &breached(&[])).memory.reached.map(|reached| reached.reach), Some(Reach::Targets));
}

#[test]
fn freshness_is_queried_for_a_few_targets_at_once_by_the_labels_of_the_breached_series() {
    let names: Vec<String> = (0..9).map(|number| format!("p{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(names.iter().map(|name| pod(name, -600)).collect());
    world.policy.limits.max_concurrent = 20;
    world.policy.limits.max_actions = 20;
    world.policy.limits.subject_cap.count = 20;
    world.evaluate_from_to(0, 20, &breached(&names));
    let asked = world.decide(second(30), &observation(second(30), &breached(&names))).questions;
    assert_eq!(asked.len(), 8, "{asked:?}");

    let own: &[_] = &[("deployment", "web"), ("pod", "of-the-exporter"), ("namespace", "shop")];
    let pods: &[_] = &[("pod", "web-1"), ("namespace", "shop")];
    // All labels of the breached series narrow the question, except the name of the metric.
    let with_name: &[_] = &[("__name__", "lag"), ("pod", "web-1"), ("namespace", "shop")];
    for (series, pins) in [(own, labels(own)), (pods, labels(pods)), (with_name, labels(pods))] {
        let mut world = World::new(vec![Target { subject: deployment(), ..pod("web", -600) }]);
        world.targets[0].object = deployment();
        world.targets[0].pods = vec![Object::known("Pod", "web-1", "uid-1")];
        world.policy.series = SeriesMatch::Label("deployment".into());
        world.policy.steps[0].action = prunella_core::action::ActionSpec::RolloutRestart(Restart);
        world.targets[0].workload = Some(steady());
        world.policy.breach_for = seconds(0);
        let asked = world.decide(second(0), &observation(second(0), &answered(&[series]))).questions;
        assert!(
            asked.iter().any(|one| matches!(one, Question::Freshness { pins: asked, .. } if *asked == pins)),
            "{asked:?}"
        );
    }
}

/// A workload without a rollout.
fn steady() -> TargetWorkload {
    steady_workload(Some(3))
}

#[test]
fn only_a_started_action_that_a_disruption_budget_refused_waits_for_one() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    world.ledger.records.push(record("r", 1, &pod("a", -600), 0, State::Running));
    let mut waiting = record("s", 2, &pod("b", -600), 0, State::Running);
    waiting.waiting = true;
    world.ledger.records.push(waiting);
    assert_eq!(world.evaluate_from_to(0, 30, &breached(&["a", "b"])).waiting, ["uid-b".into()].into());
}

#[test]
fn a_waiting_action_continues_as_soon_as_the_rollout_counts_as_stuck() {
    let mut world = World::new(vec![pod("a", -600)]);
    let mut waiting = record("r", 1, &pod("a", -600), 0, State::Running);
    waiting.waiting = true;
    world.ledger.records.push(waiting);
    world.targets[0].workload = Some(TargetWorkload {
        rollout_progress: Some(second(0)),
        ready_times: ReadyTimes { progress_deadline: Some(seconds(120)), startup: None },
        ..steady()
    });
    let waits = |at: i64, world: &mut World| !world.evaluate(at, &breached(&["a"])).waiting.is_empty();
    assert_eq!([110, 120].map(|at| waits(at, &mut world)), [true, false], "the progress deadline is 120 s");
}

#[test]
fn an_action_in_the_second_of_a_ladder_reset_no_longer_counts() {
    for (created, expected) in [(-100, 1), (-99, 2)] {
        let mut world = World::new(vec![pod("a", -600)]);
        world.policy.limits.cooldown = seconds(0);
        world.policy.reset_at = Some(second(-100));
        world.ledger.records.push(record("r", 1, &world.targets[0], created, State::Finished(Outcome::Failed)));
        let next = world.evaluate_from_to(0, 30, &breached(&["a"])).reservations;
        assert_eq!(next[0].attempt, expected, "created at {created}");
    }
}

#[test]
fn a_replacement_created_in_the_second_of_the_action_inherits_it() {
    // It is created milliseconds after the action, and both times are in whole seconds.
    for (created, place, held_by) in [(-100, (1, 2), "Cooldown"), (-101, (1, 1), "")] {
        let mut world = World::new(vec![pod("b", created)]);
        world.ledger.records.push(record("r", 1, &pod("a", -900), -100, State::Finished(Outcome::Failed)));
        let held = world.evaluate_from_to(0, 30, &breached(&["b"]));
        assert_eq!(refused(&held).get("b").copied().unwrap_or_default(), held_by, "created at {created}");
        world.policy.limits.cooldown = seconds(0);
        let next = world.evaluate(40, &breached(&["b"])).reservations;
        assert_eq!((next[0].step, next[0].attempt), place, "created at {created}");
    }
}

#[test]
fn evidence_is_not_queried_while_the_breach_is_unknown_or_names_a_target() {
    for breach in [silent(), breached(&["a"])] {
        let world = World::new(vec![pod("a", -600)]);
        assert_eq!(world.decide(second(0), &observation(second(0), &breach)).questions, []);
    }
}

#[test]
fn pending_and_firing_targets_are_counted_separately() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600), pod("c", -600)]);
    world.evaluate_from_to(0, 20, &breached(&["a"]));
    let counts = world.evaluate(30, &breached(&["a", "b", "c"])).counts;
    assert_eq!((counts.selected, counts.firing, counts.pending), (3, 1, 2));
}

#[test]
fn a_deadline_that_is_now_does_not_advance_the_next_evaluation() {
    let mut world = World::new(vec![pod("a", -600)]);
    let mut running = record("r", 1, &pod("b", -600), 0, State::Verifying);
    running.verify_by = Some(second(30));
    world.ledger.records.push(running);
    // A silent source extends the deadline, and the next query is at the usual time.
    assert_eq!(world.evaluate(30, &silent()).next_check, seconds(10));
}

#[test]
fn a_target_that_waits_for_another_is_due_and_one_with_an_action_in_flight_is_not() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    world.ledger.records.push(record("r", 1, &pod("a", -600), 0, State::Running));
    let decision = world.evaluate_from_to(0, 30, &breached(&["a", "b"]));
    let due: Vec<_> = decision
        .refusals
        .iter()
        .map(|one| (decision.names[&one.target].as_str(), one.refusal.reason, one.due))
        .collect();
    assert_eq!(due, [("a", Reason::TargetBusy, false), ("b", Reason::MaxConcurrent, true)]);
    // A finished action is not in flight.
    world.ledger.records[0].state = State::Finished(Outcome::Failed);
    let cooling = world.evaluate(40, &breached(&["a"]));
    assert_eq!((cooling.refusals[0].refusal.reason, cooling.refusals[0].due), (Reason::Cooldown, true));
}

#[test]
fn a_restored_episode_continues_as_far_as_the_history_proves_it() {
    // (breached at, acted on, unhealthy since, the value shown)
    for (at, acted_on, since, value) in
        [(&[0, 10, 20, 30][..], vec!["a"], 0, 5.0), (&[20, 30], vec![], 20, 5.0), (&[0, 10], vec![], 30, 7.0)]
    {
        let mut world = World::new(vec![pod("a", -600)]);
        world.memory.timers.insert("uid-a".into(), Timer::restored(BreachPhase::Pending, second(0), 5.0));
        let at = at.iter().copied().map(second).collect();
        world.history = History::Answered(vec![SeriesHistory { labels: series("a", 1.0).labels, at }]);
        let decision = world.evaluate(30, &breached(&["a"]));
        let timer = decision.memory.timers[&"uid-a".into()];
        assert_eq!((reserved(&decision), timer.since), (acted_on, second(since)));
        assert_eq!(timer.value.to_bits(), f64::to_bits(value));
    }
}

#[test]
fn an_episode_is_as_old_as_its_breach_while_pending_and_keeps_its_start_while_firing() {
    let mut world = World::new(vec![pod("a", -600)]);
    let since = |world: &World| world.memory.timers[&"uid-a".into()].since;
    world.evaluate(0, &breached(&["a"]));
    world.evaluate(100, &breached(&["a"]));
    assert_eq!(since(&world), second(100), "the gap does not count");
    world.evaluate_from_to(110, 130, &breached(&["a"]));
    world.evaluate(300, &breached(&["a"]));
    assert_eq!(since(&world), second(100), "it is firing, so the gap does not matter");
}

#[test]
fn a_recovery_is_by_itself_unless_an_action_of_the_same_episode_started() {
    for (on, created, state, by_itself) in [
        ("a", 30, State::Running, false),
        ("a", 30, State::Pending, true),
        ("a", -100, State::Finished(Outcome::Failed), true),
        ("b", 30, State::Running, true),
    ] {
        let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
        world.evaluate_from_to(0, 30, &breached(&["a"]));
        world.ledger.records.push(record("r", 1, &pod(on, -600), created, state));
        let well = world.evaluate_from_to(40, 60, &breached(&[]));
        let changes: Vec<_> = well.transitions.iter().map(|one| one.change).collect();
        assert_eq!(changes, [Change::Recovered { was_firing: true, by_itself }], "{on} {state:?} at {created}");
    }
}

/// A workload of one policy, and an action of another one on a pod of it.
#[test]
fn what_another_policys_action_healed_is_no_recovery_by_itself() {
    for (created, finished, by_itself) in
        [(10, None, false), (-20, None, false), (-20, Some(5), false), (-20, Some(-5), true)]
    {
        let mut world = World::new(vec![pod("web", -600)]);
        world.targets[0].subject = world.targets[0].object.clone();
        world.targets[0].replacement_name = ReplacementName::Same;
        world.evaluate_from_to(0, 30, &breached(&["web"]));
        let one = Target { subject: world.targets[0].object.clone(), ..pod("web-1", -600) };
        let state = finished.map_or(State::Verifying, |_| State::Finished(Outcome::Succeeded));
        let mut other = record("r", 1, &one, created, state);
        other.policy.name = "pods".into();
        other.finished = finished.map(second);
        world.ledger.records.push(other);
        let well = world.evaluate_from_to(40, 60, &breached(&[]));
        let changes: Vec<_> = well.transitions.iter().map(|one| one.change).collect();
        assert_eq!(changes, [Change::Recovered { was_firing: true, by_itself }], "{created} {finished:?}");
    }
}

#[test]
fn a_judged_replacement_needs_no_evidence() {
    let mut world = World::new(vec![pod("b", 1)]);
    world.ledger.records.push(record("r", 1, &pod("a", -600), 0, State::Finished(Outcome::Succeeded)));
    world.evaluate(10, &breached(&[]));
    assert_eq!(world.decide(second(20), &observation(second(20), &breached(&[]))).questions, []);
    world.ledger.records[0].state = State::Verifying;
    let asked = world.decide(second(20), &observation(second(20), &breached(&[]))).questions;
    assert_eq!(asked, [Question::Evidence]);
}

#[test]
fn a_replacement_with_a_stable_name_is_judged_by_its_own_name_only() {
    for (unhealthy, outcome) in [("web-1", Outcome::Succeeded), ("web-0", Outcome::Failed)] {
        let stable = |name: &str, created| Target { replacement_name: ReplacementName::Same, ..pod(name, created) };
        let mut world = World::new(vec![stable("web-0", 1), stable("web-1", 5)]);
        world.targets[0].object.uid = "uid-of-the-new".into();
        world.policy.signal_window = seconds(0);
        let mut action = record("r", 1, &stable("web-0", -600), 0, State::Verifying);
        action.verify_by = Some(second(40));
        world.ledger.records.push(action);
        let judged = (10..=40).step_by(10).find_map(|at| world.evaluate(at, &breached(&[unhealthy])).verdicts.pop());
        assert_eq!(judged.map(|verdict| verdict.outcome), Some(outcome), "{unhealthy} is unhealthy");
    }
}

/// The eviction waited for a disruption budget until 100, and a scale-up made a pod at 50.
#[test]
fn a_pod_that_was_made_before_the_effect_does_not_show_its_result() {
    for (unhealthy, outcome) in [("scaled", Outcome::Succeeded), ("new", Outcome::Failed)] {
        let mut world = World::new(vec![pod("scaled", 50), pod("new", 101)]);
        let mut action = record("r", 1, &pod("old", -600), 0, State::Verifying);
        action.executed_after = Some(second(100));
        action.verify_by = Some(second(150));
        world.ledger.records.push(action);
        let judged = (110..=150).step_by(10).find_map(|at| world.evaluate(at, &breached(&[unhealthy])).verdicts.pop());
        assert_eq!(judged.map(|verdict| verdict.outcome), Some(outcome), "{unhealthy} is unhealthy");
    }
}

#[test]
fn a_workload_that_is_a_target_is_judged_by_its_own_series_unless_it_is_being_deleted() {
    for (terminating, outcome) in [(false, Outcome::Succeeded), (true, Outcome::Inconclusive)] {
        let mut world = World::new(vec![Target { subject: deployment(), terminating, ..pod("web", -600) }]);
        world.targets[0].object = deployment();
        world.policy.series = SeriesMatch::Label("deployment".into());
        world.evidence = answered(&[&[("deployment", "web"), ("namespace", "shop")]]);
        let mut action = record("r", 1, &world.targets[0], 0, State::Verifying);
        action.scope = ActionScope::NewPods;
        action.verify_by = Some(second(40));
        world.ledger.records.push(action);
        let judged = (10..=40).step_by(10).find_map(|at| world.evaluate(at, &breached(&[])).verdicts.pop());
        assert_eq!(judged.map(|verdict| verdict.outcome), Some(outcome), "terminating: {terminating}");
    }
}

#[test]
fn a_pending_action_without_a_known_episode_is_cancelled() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.ledger.records.push(record("r", 1, &world.targets[0], 0, State::Pending));
    let verdicts = world.evaluate(1, &breached(&[])).verdicts;
    assert_eq!((verdicts[0].outcome, verdicts[0].reason), (Outcome::Cancelled, OutcomeReason::Recovered));
    assert_eq!(world.evaluate(2, &breached(&["a"])).verdicts, []);
}

#[test]
fn an_outage_during_a_verification_is_not_clear_time() {
    let mut world = World::new(vec![pod("b", 1)]);
    world.ledger.records.push(record("r", 1, &pod("a", -600), 0, State::Verifying));
    world.evaluate(10, &breached(&[]));
    world.evaluate(20, &silent());
    assert_eq!(world.evaluate_from_to(30, 40, &breached(&[])).verdicts, []);
    assert_eq!(world.evaluate(50, &breached(&[])).verdicts[0].outcome, Outcome::Succeeded);
}

#[test]
fn a_reservation_may_start_within_two_intervals_and_at_least_ten_seconds() {
    for (interval, within) in [(1, 10), (5, 10), (6, 12), (60, 120)] {
        let mut world = World::new(vec![pod("a", -600)]);
        world.policy.interval = seconds(interval);
        world.policy.breach_for = seconds(0);
        assert_eq!(world.evaluate(0, &breached(&["a"])).reservations[0].start_by, second(within), "every {interval} s");
    }
}

#[test]
fn only_a_dry_run_of_the_same_target_and_episode_counts_as_recorded() {
    let about = |target: &str, mode, since: i64| {
        let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
        world.policy.mode = PolicyMode::DryRun;
        world.policy.limits.cooldown = seconds(0);
        let mut earlier = record("r", 1, &pod(target, -600), since, State::Finished(Outcome::DryRun));
        earlier.mode = mode;
        world.ledger.records.push(earlier);
        refused(&world.evaluate_from_to(0, 30, &breached(&["a"]))).get("a").copied()
    };
    assert_eq!(about("a", PolicyMode::DryRun, 0), Some("AlreadyRecorded"));
    assert_eq!(about("a", PolicyMode::DryRun, -1), None, "of an earlier episode");
    assert_eq!(about("b", PolicyMode::DryRun, 0), None, "of another target");
    assert_eq!(about("a", PolicyMode::Enforce, 0), None, "not of a dry run");
}

#[test]
fn a_young_replacement_needs_evidence_only_if_its_health_must_be_proven() {
    let mut world = replacement();
    world.evaluate(0, &breached(&["web-1"]));
    for breach in [breached(&[]), breached(&["web-1"])] {
        assert_eq!(world.decide(second(10), &observation(second(10), &breach)).questions, []);
    }
}
