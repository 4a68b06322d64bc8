//! Decisions: episodes and recovery, evidence, matching, guardrails, verdicts.

use crate::support::*;
use prunella_core::decide::{Change, Question};
use prunella_core::execute::OutcomeReason;
use prunella_core::ledger::{Outcome, State};
use prunella_core::observation::Answer;
use prunella_core::policy::{NoDataRule, PolicyMode};
use prunella_core::refusal::Reason;
use prunella_core::target::{NotHealable, ReplacementName};

fn changes(decision: &prunella_core::Decision) -> Vec<Change> {
    decision.transitions.iter().map(|transition| transition.change).collect()
}

// Episodes

#[test]
fn a_breach_is_acted_on_after_for_and_not_earlier() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    let first = world.evaluate(0, &breached(&["a"]));
    assert_eq!(changes(&first), [Change::BecamePending]);
    for at in [10, 20] {
        let early = world.evaluate(at, &breached(&["a"]));
        assert_eq!(refused(&early), [("a", "NotYetFor")].into());
        assert_eq!(early.refusals[0].refusal.until, Some(second(30)), "the refusal says when it will act");
    }
    let due = world.evaluate(30, &breached(&["a"]));
    assert_eq!(changes(&due), [Change::StartedFiring]);
    assert_eq!(reserved(&due), ["a"]);
}

#[test]
fn a_breach_that_ends_before_for_does_not_count_later() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.evaluate_from_to(0, 20, &breached(&["a"]));
    let clear = world.evaluate(30, &breached(&[]));
    assert_eq!(changes(&clear), [Change::Recovered { was_firing: false, by_itself: false }]);
    assert_eq!(reserved(&world.evaluate(40, &breached(&["a"]))), [""; 0]);
    assert_eq!(reserved(&world.evaluate_from_to(50, 60, &breached(&["a"]))), [""; 0]);
    assert_eq!(reserved(&world.evaluate(70, &breached(&["a"]))), ["a"], "it has been breached for another 30 s");
}

#[test]
fn a_firing_target_that_is_clear_now_is_not_acted_on() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    world.evaluate_from_to(0, 20, &breached(&["a", "b"]));
    // Both fire. There is an action for one, and the other waits.
    let firing = world.evaluate(30, &breached(&["a", "b"]));
    assert_eq!((reserved(&firing), refused(&firing)), (vec!["a"], [("b", "MaxConcurrent")].into()));
    let clear_now = world.evaluate(40, &breached(&["a"]));
    assert_eq!(refused(&clear_now).get("b"), Some(&"NotYetFor"));
    let flapped = world.evaluate(50, &breached(&["b"]));
    assert_eq!(refused(&flapped).get("b"), Some(&"NotYetFor"), "after a clear evaluation the breach starts again");
}

#[test]
fn recovery_takes_clear_for_with_evidence() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.mode = PolicyMode::DryRun;
    world.evaluate_from_to(0, 30, &breached(&["a"]));
    assert_eq!(changes(&world.evaluate(40, &breached(&[]))), []);
    assert_eq!(changes(&world.evaluate(50, &breached(&[]))), []);
    assert_eq!(changes(&world.evaluate(60, &breached(&[]))), [Change::Recovered { was_firing: true, by_itself: true }]);
}

#[test]
fn an_outage_of_the_source_is_not_breach_time() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.evaluate_from_to(0, 10, &breached(&["a"]));
    let unknown = world.evaluate_from_to(20, 30, &silent());
    assert_eq!(refused(&unknown), [("a", "ObservationUnknown")].into());
    // 10 s count before the outage. The 30 s until the next answer do not count.
    assert_eq!(reserved(&world.evaluate_from_to(40, 50, &breached(&["a"]))), [""; 0]);
    assert_eq!(reserved(&world.evaluate(60, &breached(&["a"]))), ["a"]);
}

#[test]
fn a_breach_before_and_after_a_long_outage_is_not_one_long_breach() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.evaluate(0, &breached(&["a"]));
    world.evaluate_from_to(10, 600, &silent());
    assert_eq!(reserved(&world.evaluate(610, &breached(&["a"]))), [""; 0]);
    assert_eq!(reserved(&world.evaluate_from_to(620, 630, &breached(&["a"]))), [""; 0]);
    assert_eq!(reserved(&world.evaluate(640, &breached(&["a"]))), ["a"]);
}

#[test]
fn a_gap_without_evaluations_restarts_the_timer() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.evaluate_from_to(0, 20, &breached(&["a"]));
    // The process was paused for longer than the longest gap.
    assert_eq!(reserved(&world.evaluate(120, &breached(&["a"]))), [""; 0]);
    assert_eq!(reserved(&world.evaluate_from_to(130, 150, &breached(&["a"]))), ["a"]);
}

#[test]
fn an_outage_is_not_a_recovery() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.mode = PolicyMode::DryRun;
    world.evaluate_from_to(0, 30, &breached(&["a"]));
    let outage = changes(&world.evaluate(40, &silent()));
    assert!(matches!(outage[..], [Change::HeldBack(refusal)] if refusal.reason == Reason::ObservationUnknown));
    assert_eq!(changes(&world.evaluate_from_to(50, 100, &silent())), []);
    assert_eq!(world.memory.timers.len(), 1);
    // 10 s clear, 10 s outage, 10 s clear: only the clear time counts.
    assert_eq!(changes(&world.evaluate_from_to(110, 120, &breached(&[]))), []);
    assert!(
        !changes(&world.evaluate(130, &silent())).contains(&Change::Recovered { was_firing: true, by_itself: true })
    );
    assert_eq!(changes(&world.evaluate(140, &breached(&[]))), []);
    assert_eq!(
        changes(&world.evaluate(150, &breached(&[]))),
        [Change::Recovered { was_firing: true, by_itself: true }]
    );
}

#[test]
fn an_old_observation_is_not_acted_on() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.evaluate_from_to(0, 30, &breached(&["a"]));
    let (observation, _) = world.decide_fully(second(30), &breached(&["a"]));
    for (now, expected) in [(50, None), (51, Some("ObservationUnknown")), (29, Some("ObservationUnknown"))] {
        let decision = prunella_core::decide(prunella_core::Inputs {
            policy: &world.policy,
            observation: &observation,
            targets: &world.targets,
            ledger: &world.ledger,
            memory: &world.memory,
            held: false,
            removals: &world.removals,
            phase: seconds(0),
            now: second(now),
        });
        assert_eq!(refused(&decision).get("a").copied(), expected, "observation of second 30 at second {now}");
    }
}

// Evidence

#[test]
fn an_empty_answer_is_not_proof_of_health() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.mode = PolicyMode::DryRun;
    world.evaluate_from_to(0, 30, &breached(&["a"]));
    // The exporter dies: the pod is in neither the answer nor the evidence.
    world.evidence = Answer::Answered(vec![]);
    let dead = world.evaluate_from_to(40, 90, &breached(&[]));
    assert_eq!(changes(&dead), []);
    assert_eq!(refused(&dead), [("a", "NoData")].into());
    world.policy.on_no_data = NoDataRule::Clear;
    assert_eq!(changes(&world.evaluate_from_to(100, 110, &breached(&[]))), []);
    assert_eq!(
        changes(&world.evaluate(120, &breached(&[]))),
        [Change::Recovered { was_firing: true, by_itself: true }]
    );
}

#[test]
fn a_quiet_policy_sends_one_query() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    let ask = |world: &World, at, breach: &Answer| world.decide(second(at), &observation(second(at), breach)).questions;
    assert_eq!(ask(&world, 0, &breached(&[])), [Question::Evidence], "can the query return anything?");
    world.evaluate(0, &breached(&[]));
    for at in [10, 300, 590] {
        assert_eq!(ask(&world, at, &breached(&[])), [], "it can, and that is not queried in every evaluation");
    }
    assert_eq!(ask(&world, 600, &breached(&[])), [Question::Evidence]);
    assert_eq!(ask(&world, 0, &breached(&["a"])), []);
    world.evaluate(0, &breached(&["a"]));
    assert_eq!(
        world.decide(second(10), &observation(second(10), &breached(&[]))).questions,
        [Question::Evidence],
        "a was breached and is missing"
    );
}

#[test]
fn evidence_about_another_target_proves_nothing() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    world.policy.mode = PolicyMode::DryRun;
    world.evaluate_from_to(0, 30, &breached(&["a"]));
    world.evidence = Answer::Answered(vec![series("b", 1.0), series("a", f64::NAN)]);
    assert_eq!(refused(&world.evaluate(40, &breached(&[]))), [("a", "NoData")].into());
}

// Matching

#[test]
fn a_series_that_names_no_selected_target_is_counted_and_ignored() {
    let mut world = World::new(vec![pod("a", -600)]);
    let mut elsewhere = series("a", 7.0);
    elsewhere.labels.insert("namespace".into(), "bank".into());
    let mut old_pod = series("a", 7.0);
    old_pod.labels.insert("uid".into(), "7d44c2b6-0f4b-4d0e-9a43-1f0e4d7c9a10".into());
    let mut nameless = series("a", 7.0);
    nameless.labels.remove("pod");
    let first = elsewhere.labels.clone();
    let mut all = vec![series("gone", 7.0), elsewhere, old_pod, nameless, series("a", f64::NAN)];
    let decision = world.evaluate(0, &Answer::Answered(all.clone()));
    assert_eq!((decision.matching.returned, decision.matching.matched, decision.matching.unplaced), (4, 0, 0));
    assert_eq!(decision.matching.first_ignored, Some(first));
    // The order of an answer is not stable, and the status must not change with it.
    all.reverse();
    assert_eq!(world.evaluate(10, &Answer::Answered(all)).matching.first_ignored, decision.matching.first_ignored);
    assert!(decision.memory.timers.is_empty());
}

#[test]
fn of_several_series_for_one_target_the_worst_is_shown() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.breach_for = seconds(0);
    let decision = world.evaluate(0, &Answer::Answered(vec![series("a", 3.0), series("a", 9.0), series("a", 5.0)]));
    assert!((decision.reservations[0].value - 9.0).abs() < f64::EPSILON);
}

#[test]
fn a_target_that_is_gone_has_no_timer() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.evaluate_from_to(0, 20, &breached(&["a"]));
    world.targets = vec![pod("b", 25)];
    let decision = world.evaluate(30, &breached(&["a"]));
    assert!(decision.memory.timers.is_empty());
    assert_eq!(decision.matching.returned - decision.matching.matched, 1);
}

// Guardrails

#[test]
fn a_target_that_is_not_healable_is_refused_with_its_reason() {
    // A pod that has finished is not unhealthy: there is nothing to refuse.
    for why in NotHealable::ALL.into_iter().filter(|why| *why != NotHealable::Completed) {
        let mut world = World::new(vec![prunella_core::target::Target { not_healable: Some(why), ..pod("a", -600) }]);
        let decision = world.evaluate_from_to(0, 60, &breached(&["a"]));
        assert_eq!(reserved(&decision), [""; 0], "{why:?}");
        assert_eq!(refused(&decision), [("a", "NotHealable")].into(), "{why:?}");
    }
}

#[test]
fn a_target_that_is_not_healable_does_not_block_the_next_one() {
    let naked = prunella_core::target::Target { not_healable: Some(NotHealable::NoController), ..pod("a", -600) };
    let mut world = World::new(vec![naked, pod("b", -600)]);
    assert_eq!(reserved(&world.evaluate_from_to(0, 30, &breached(&["a", "b"]))), ["b"]);
}

#[test]
fn a_target_with_an_action_of_another_policy_is_busy() {
    let a = pod("a", -600);
    let mut world = World::new(vec![a.clone(), pod("b", -600)]);
    world.policy.limits.max_concurrent = 5;
    let mut other = record("other-1", 1, &a, 0, State::Running);
    other.policy.name = "other".into();
    world.ledger.records.push(other);
    let decision = world.evaluate_from_to(0, 30, &breached(&["a", "b"]));
    assert_eq!((reserved(&decision), refused(&decision)), (vec!["b"], [("a", "TargetBusy")].into()));
    // An action on the owner also touches all its pods.
    world.ledger.records[0].target = deployment();
    let decision = world.evaluate(40, &breached(&["a", "b"]));
    assert_eq!(refused(&decision), [("a", "TargetBusy"), ("b", "TargetBusy")].into());
}

#[test]
fn a_replacement_is_busy_until_its_verdict() {
    let mut world = verifying("a2");
    world.policy.limits.max_concurrent = 5;
    world.policy.limits.cooldown = seconds(0);
    let decision = world.evaluate_from_to(10, 40, &breached(&["a2", "b"]));
    assert_eq!((reserved(&decision), refused(&decision)), (vec!["b"], [("a2", "TargetBusy")].into()));
}

#[test]
fn a_started_action_comes_before_a_pending_one() {
    let a = pod("a", -600);
    let pending = record("web-1", 1, &a, 0, State::Pending);
    let running = record("web-2", 2, &a, 0, State::Running);
    assert!(running.precedes(&pending) && !pending.precedes(&running));
}

#[test]
fn cooldown_counts_for_the_replacement_but_not_for_an_old_neighbour() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600)]);
    let first = world.evaluate_from_to(0, 30, &breached(&["a"]));
    world.reserve(&first.reservations, second(30));
    world.finish(Outcome::Succeeded);
    // `a2` replaces `a`. It was created in the second of the action.
    world.targets = vec![pod("a2", 30), pod("b", -600)];
    let decision = world.evaluate_from_to(40, 70, &breached(&["a2", "b"]));
    assert_eq!(refused(&decision), [("a2", "Cooldown")].into());
    assert_eq!(decision.refusals[0].refusal.until, Some(second(330)));
    assert_eq!(reserved(&decision), ["b"], "an older leak is a separate episode");
    let later = world.evaluate_from_to(80, 330, &breached(&["a2"]));
    assert_eq!(reserved(&later), ["a2"]);
}

#[test]
fn a_replacement_with_a_stable_name_inherits_actions_by_name() {
    let stable = |name: &str, uid: &str, created| {
        let mut target = pod(name, created);
        target.object.uid = uid.into();
        target.replacement_name = ReplacementName::Same;
        target
    };
    let mut world = World::new(vec![stable("web-0", "old-0", -600), stable("web-1", "old-1", -600)]);
    let first = world.evaluate_from_to(0, 30, &breached(&["web-1"]));
    world.reserve(&first.reservations, second(30));
    world.finish(Outcome::Failed);
    world.targets[1] = stable("web-1", "new-1", 31);
    world.evaluate_from_to(40, 70, &breached(&["web-1"]));
    // In its first 45 s it is not judged, because the samples may belong to the old pod.
    let decision = world.evaluate_from_to(80, 110, &breached(&["web-0", "web-1"]));
    assert_eq!((reserved(&decision), refused(&decision)), (vec!["web-0"], [("web-1", "Cooldown")].into()));
}

#[test]
fn the_window_slides_and_the_refusal_says_when_it_opens() {
    let mut world = World::new(vec![pod("d", -600)]);
    for (sequence, created) in [(1, -3000), (2, -2000), (3, -1000)] {
        let old = pod("old", -9000);
        world.ledger.records.push(record("r", sequence, &old, created, State::Finished(Outcome::Succeeded)));
    }
    let decision = world.evaluate_from_to(0, 30, &breached(&["d"]));
    assert_eq!(refused(&decision), [("d", "MaxActions")].into());
    assert_eq!(decision.refusals[0].refusal.until, Some(second(600)));
    assert_eq!(reserved(&world.evaluate_from_to(40, 590, &breached(&["d"]))), [""; 0]);
    assert_eq!(reserved(&world.evaluate(600, &breached(&["d"]))), ["d"]);
}

#[test]
fn only_actions_that_certainly_had_no_effect_give_their_budget_back() {
    for outcome in Outcome::ALL {
        let mut world = World::new(vec![pod("d", -600)]);
        world.policy.limits.max_actions = 1;
        world.ledger.records.push(record("r", 1, &pod("old", -9000), -100, State::Finished(outcome)));
        let decision = world.evaluate_from_to(0, 30, &breached(&["d"]));
        let spent = matches!(outcome, Outcome::Succeeded | Outcome::Failed | Outcome::Inconclusive);
        assert_eq!(reserved(&decision).is_empty(), spent, "{outcome:?}");
    }
}

#[test]
fn a_reservation_counts_for_the_rest_of_its_decision() {
    let mut world = World::new(vec![pod("a", -600), pod("b", -600), pod("c", -600)]);
    world.policy.limits.max_concurrent = 2;
    let decision = world.evaluate_from_to(0, 30, &breached(&["a", "b", "c"]));
    assert_eq!((reserved(&decision), refused(&decision)), (vec!["a", "b"], [("c", "MaxConcurrent")].into()));
    assert_eq!(decision.reservations.iter().map(|one| one.sequence).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_dry_run_records_an_episode_once_and_blocks_no_action() {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.mode = PolicyMode::DryRun;
    world.policy.limits.max_actions = 1;
    // The source answers between whole seconds, and the record keeps whole seconds.
    let between = |at: i64| second(at) + seconds(0) + jiff::SignedDuration::from_millis(700);
    for at in [0, 10, 20] {
        world.evaluate_at(between(at), &breached(&["a"]));
    }
    let first = world.evaluate_at(between(30), &breached(&["a"]));
    assert_eq!(reserved(&first), ["a"]);
    world.reserve(&first.reservations, between(30));
    let again = world.evaluate_at(between(40), &breached(&["a"]));
    assert_eq!((reserved(&again), refused(&again)), (vec![], [("a", "AlreadyRecorded")].into()));
    // After the switch to Enforce: the dry run spent no budget and blocks nothing.
    world.finish(Outcome::DryRun);
    world.policy.mode = PolicyMode::Enforce;
    assert_eq!(reserved(&world.evaluate_at(between(50), &breached(&["a"]))), ["a"]);
}

#[test]
fn an_action_whose_breach_ends_before_it_starts_is_cancelled() {
    let mut world = World::new(vec![pod("a", -600)]);
    let fires = world.evaluate_from_to(0, 30, &breached(&["a"]));
    world.reserve(&fires.reservations, second(30));
    assert_eq!(world.evaluate(40, &silent()).verdicts, []);
    // One clear evaluation is enough, because `clearFor` would last longer than `startBy`.
    let verdicts = world.evaluate(50, &breached(&[])).verdicts;
    assert_eq!((verdicts[0].outcome, verdicts[0].reason), (Outcome::Cancelled, OutcomeReason::Recovered));
}

// Whether an action helped

/// `a` was evicted at second 0, and its replacement is ready.
fn verifying(replacement: &str) -> World {
    let mut world = World::new(vec![pod(replacement, 0), pod("b", -600)]);
    world.ledger.records.push(record("web-1", 1, &pod("a", -600), 0, State::Verifying));
    world
}

fn verdict(world: &mut World, from: i64, to: i64, answer: &Answer) -> Option<(Outcome, OutcomeReason)> {
    let decision = world.evaluate_from_to(from, to, answer);
    decision.verdicts.first().map(|verdict| (verdict.outcome, verdict.reason))
}

#[test]
fn an_action_succeeds_when_the_replacement_was_clear_with_evidence_for_clear_for() {
    let mut world = verifying("a2");
    assert_eq!(verdict(&mut world, 10, 20, &breached(&[])), None);
    assert_eq!(verdict(&mut world, 30, 30, &breached(&[])), Some((Outcome::Succeeded, OutcomeReason::Cleared)));
}

#[test]
fn an_unhealthy_neighbour_does_not_change_the_verdict() {
    let mut world = verifying("a2");
    assert_eq!(verdict(&mut world, 10, 30, &breached(&["b"])), Some((Outcome::Succeeded, OutcomeReason::Cleared)));
}

#[test]
fn an_action_fails_when_the_replacement_is_breached_after_the_deadline() {
    let mut world = verifying("a2");
    assert_eq!(verdict(&mut world, 10, 110, &breached(&["a2"])), None);
    assert_eq!(
        verdict(&mut world, 120, 120, &breached(&["a2"])),
        Some((Outcome::Failed, OutcomeReason::StillBreached))
    );
}

#[test]
fn an_action_fails_when_the_replacement_is_clear_but_not_ready() {
    let mut world = verifying("a2");
    world.targets[0].ready = false;
    assert_eq!(verdict(&mut world, 10, 110, &breached(&[])), None);
    assert_eq!(verdict(&mut world, 120, 120, &breached(&[])), Some((Outcome::Failed, OutcomeReason::NotReady)));
}

#[test]
fn without_data_an_action_is_inconclusive() {
    let mut world = verifying("a2");
    world.evidence = Answer::Answered(vec![]);
    assert_eq!(verdict(&mut world, 10, 110, &breached(&[])), None);
    assert_eq!(verdict(&mut world, 120, 120, &breached(&[])), Some((Outcome::Inconclusive, OutcomeReason::NoData)));
}

#[test]
fn without_a_replacement_an_action_is_inconclusive() {
    let mut world = verifying("a2");
    world.targets.remove(0);
    assert_eq!(verdict(&mut world, 10, 110, &breached(&[])), None);
    assert_eq!(verdict(&mut world, 120, 120, &breached(&[])), Some((Outcome::Inconclusive, OutcomeReason::NoData)));
}

#[test]
fn a_silent_source_extends_the_deadline_but_not_without_end() {
    let mut world = verifying("a2");
    assert_eq!(verdict(&mut world, 10, 1010, &silent()), None);
    assert_eq!(verdict(&mut world, 1020, 1020, &silent()), Some((Outcome::Inconclusive, OutcomeReason::SourceUnknown)));
    let mut world = verifying("a2");
    verdict(&mut world, 10, 200, &silent());
    assert_eq!(verdict(&mut world, 210, 230, &breached(&[])), Some((Outcome::Succeeded, OutcomeReason::Cleared)));
}

#[test]
fn an_action_from_before_a_policy_change_is_not_judged() {
    let mut world = verifying("a2");
    world.policy.digest = "another rule".into();
    let changed = OutcomeReason::PolicyChanged;
    assert_eq!(verdict(&mut world, 10, 10, &breached(&[])), Some((Outcome::Inconclusive, changed)));
    world.ledger.records[0].state = State::Pending;
    assert_eq!(verdict(&mut world, 20, 20, &breached(&[])), Some((Outcome::Cancelled, changed)));
}

#[test]
fn an_older_pod_of_the_workload_is_not_a_replacement() {
    let mut world = verifying("a2");
    world.targets = vec![pod("b", -1)];
    assert_eq!(verdict(&mut world, 10, 120, &breached(&[])), Some((Outcome::Inconclusive, OutcomeReason::NoData)));
}

// The next evaluation

#[test]
fn the_next_evaluation_is_on_the_grid_of_the_interval_or_at_the_next_deadline() {
    let mut world = World::new(vec![pod("a", -600)]);
    let quiet = world.evaluate_at(second(3) + jiff::SignedDuration::from_millis(250), &breached(&[]));
    assert_eq!(quiet.next_check, jiff::SignedDuration::from_millis(6750));
    world.phase = seconds(4);
    let spread = world.evaluate_at(second(3) + jiff::SignedDuration::from_millis(250), &breached(&[]));
    assert_eq!(spread.next_check, jiff::SignedDuration::from_millis(750), "at 4, 14, 24 and so on");
    world.phase = seconds(0);
    world.policy.breach_for = seconds(5);
    let pending = world.evaluate(11, &breached(&["a"]));
    assert_eq!(pending.next_check, seconds(5), "when it will fire, not at the next grid point in nine seconds");
}

#[test]
fn an_observation_just_before_the_end_of_for_is_repeated_at_once() {
    let mut world = World::new(vec![pod("a", -600)]);
    let late = jiff::SignedDuration::from_millis(3);
    world.evaluate_at(second(0) + late, &breached(&["a"]));
    world.evaluate_from_to(10, 20, &breached(&["a"]));
    // The query is sent at 30.000 and answered at 30.006. `for` ends at 30.003.
    let (now, seen) = (second(30) + late + late, observation(second(30), &breached(&["a"])));
    let early = world.decide(now, &seen);
    assert_eq!(refused(&early), [("a", "NotYetFor")].into());
    assert_eq!(early.next_check, jiff::SignedDuration::from_millis(100));
}
