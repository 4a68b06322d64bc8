//! Which pod inherits which attempts.

use crate::support::*;
use prunella_core::Decision;
use prunella_core::ledger::{Lineage, Outcome, Record, State};
use prunella_core::target::{ReplacementName, Target};

/// A finished attempt on a pod, reserved at second `created`.
fn attempt(name: &str, pod: &Target, created: i64, number: u32) -> Record {
    let mut attempt = record(name, created.unsigned_abs(), pod, created, State::Finished(Outcome::Succeeded));
    attempt.attempt = number;
    attempt.unhealthy_since = second(created - 5);
    attempt
}

/// Without cooldown and wide limits, so that only the ladder decides.
fn world(attempts: u32, targets: Vec<Target>) -> World {
    let mut world = World::new(targets);
    world.policy.steps = vec![step(attempts)];
    world.policy.limits.cooldown = seconds(0);
    world.policy.limits.max_actions = 1000;
    world.policy.limits.subject_cap.count = 1000;
    world.policy.limits.max_concurrent = 1000;
    world
}

/// The decision for the only unhealthy target: the number of the attempt, or the refusal.
fn place(decision: &Decision) -> String {
    match decision.reservations.first() {
        Some(reservation) => reservation.attempt.to_string(),
        None => refused(decision).values().next().copied().unwrap_or("healthy").to_owned(),
    }
}

/// A and B are unhealthy. A is healed and its replacement stands, then B is evicted. B's
/// replacement has one attempt behind it, and not two.
#[test]
fn a_replacement_inherits_the_attempts_of_the_pod_it_replaced_only() {
    let (a, b) = (pod("a", 0), pod("b", 0));
    let mut world = world(2, vec![pod("a2", 101), pod("b2", 201), pod("c", 0)]);
    world.ledger.records = vec![attempt("r1", &a, 100, 1), attempt("r2", &b, 200, 1)];
    assert_eq!(place(&world.evaluate_from_to(210, 250, &breached(&["b2"]))), "2");
    world.policy.steps = vec![step(1)];
    assert_eq!(place(&world.evaluate(260, &breached(&["b2"]))), "Exhausted");
}

/// Each of thirty replicas is healed once, one after the other. None has more than one attempt
/// behind it.
#[test]
fn a_large_workload_does_not_exhaust_its_ladder_by_being_large() {
    let mut world = world(2, (0..30).map(|number| pod(&format!("p{number}"), 0)).collect());
    for number in 0..30_i64 {
        let at = 100 + number * 60;
        let name = format!("p{number}");
        let index = usize::try_from(number).unwrap();
        let decision = world.evaluate_from_to(at, at + 30, &breached(&[&name]));
        assert_eq!(place(&decision), "1", "{name}");
        world.reserve(&decision.reservations, second(at + 30));
        world.targets[index] = pod(&format!("q{number}"), at + 31);
        world.finish(Outcome::Succeeded);
    }
    let decision = world.evaluate_from_to(2000, 2030, &breached(&["q29"]));
    assert_eq!(place(&decision), "2", "it replaced p29");
}

/// The names of the actions that each pod may have inherited.
fn inherited(records: &[Record], targets: &[Target]) -> Vec<Vec<String>> {
    let ledger = prunella_core::ledger::Ledger { records: records.to_vec() };
    let lineage = Lineage::of(&ledger, targets);
    let names = |target: &Target| {
        let mut names: Vec<String> = records.iter().map(|record| record.name.clone()).collect();
        names.retain(|name| lineage.may_have_replaced(&target.object.uid, name));
        names
    };
    targets.iter().map(names).collect()
}

#[test]
fn a_new_pod_can_replace_only_pods_that_were_gone_or_going_and_each_of_them_once() {
    let (a, b) = (pod("a", 0), pod("b", 0));
    let on = |name: &str, pod: &Target, at| attempt(name, pod, at, 1);
    let check = |records: &[Record], targets: &[Target], expected: &[&[&str]], case: &str| {
        assert_eq!(inherited(records, targets), expected, "{case}");
    };
    check(&[on("r1", &a, 100)], &[pod("a2", 100)], &[&["r1"]], "created in the second of the action");
    check(&[on("r1", &a, 100)], &[pod("old", 99)], &[&[]], "older than the action");
    check(&[on("r1", &a, 100)], &[a.clone(), pod("new", 200)], &[&[], &[]], "the pod is still there");
    let going = Target { terminating: true, ..a.clone() };
    check(&[on("r1", &a, 100)], &[going, pod("a2", 101)], &[&[], &["r1"]], "it is going");
    check(&[on("r1", &a, 100)], &[pod("a2", 101), pod("scaled", 300)], &[&["r1"], &[]], "it is replaced already");
    let both: &[&str] = &["r1", "r2"];
    check(
        &[on("r1", &a, 100), on("r2", &b, 101)],
        &[pod("x", 102), pod("y", 103), pod("z", 104)],
        &[both, both, &[]],
        "two removals at once: either may be the one, and the third pod is new",
    );
    // The replacement of `a` was healed too, and is gone.
    let again = attempt("r2", &pod("a2", 101), 200, 2);
    check(&[on("r1", &a, 100), again], &[pod("a3", 201), pod("z", 300)], &[&["r2"], &[]], "replaced twice");
}

/// The eviction was reserved at 100 and waited for a disruption budget until 400. A scale-up and
/// another eviction made pods meanwhile.
#[test]
fn a_pod_that_was_made_while_an_eviction_waited_is_not_its_replacement() {
    let (a, b) = (pod("a", 0), pod("b", 0));
    let waited = |until: i64| Record { executed_after: Some(second(until)), ..attempt("r1", &a, 100, 1) };
    let scaled = pod("scaled", 250);
    assert_eq!(inherited(&[waited(400)], &[scaled.clone(), pod("a2", 400)]), [vec![], vec!["r1"]]);
    let other = Record { executed_after: Some(second(201)), ..attempt("r2", &b, 200, 1) };
    let pods = [pod("b2", 202), scaled.clone(), pod("a2", 401)];
    assert_eq!(inherited(&[waited(400), other], &pods), [vec!["r2"], vec![], vec!["r1"]]);
    // The clock of the API server that made the pod may be five seconds behind.
    assert_eq!(inherited(&[waited(400)], &[pod("a2", 395), pod("early", 394)]), [vec!["r1"], vec![]]);
    // A record that does not say when it was executed.
    assert_eq!(inherited(&[attempt("r1", &a, 100, 1)], &[scaled]), [["r1"]]);
    // An effect is never before its reservation.
    assert_eq!(inherited(&[waited(100)], &[pod("old", 99)]), [Vec::<String>::new()]);
}

/// The number of an attempt includes those before it, although their pods are gone.
#[test]
fn of_two_pods_that_it_may_have_replaced_the_one_with_more_attempts_counts() {
    let mut world = world(3, vec![pod("x", 202), pod("y", 203)]);
    world.ledger.records = vec![
        attempt("r1", &pod("a", 0), 100, 1),
        attempt("r2", &pod("a2", 101), 200, 2),
        attempt("r3", &pod("b", 0), 201, 1),
    ];
    let decision = world.evaluate_from_to(210, 250, &breached(&["x", "y"]));
    assert_eq!(decision.reservations.iter().map(|one| one.attempt).collect::<Vec<_>>(), [3, 3]);
}

/// It is not acted on before the action that made it is judged. Others go on.
#[test]
fn only_the_pod_that_may_be_its_replacement_is_busy() {
    let mut world = world(3, vec![pod("a2", 101), pod("scaled", 300)]);
    world.ledger.records = vec![record("r1", 1, &pod("a", 0), 100, State::Verifying)];
    let decision = world.evaluate_from_to(310, 340, &breached(&["a2", "scaled"]));
    assert_eq!(refused(&decision).get("a2"), Some(&"TargetBusy"));
    assert_eq!(reserved(&decision), ["scaled"]);
}

/// A pod whose owner numbers its pods, and may go on counting.
fn numbered(name: &str, created: i64) -> Target {
    Target { replacement_name: ReplacementName::Numbered, ..pod(name, created) }
}

#[test]
fn a_numbered_pod_replaces_the_pod_of_its_name_or_one_with_a_lower_number() {
    let (seven, two) = (numbered("game-7", 0), numbered("game-2", 0));
    let on = |name: &str, pod: &Target, at| attempt(name, pod, at, 1);
    let records = [on("r1", &seven, 100)];
    assert_eq!(inherited(&records, &[numbered("game-8", 101), numbered("game-9", 300)]), [vec!["r1"], vec![]]);
    // The name recurs. The other pod was made by a scale-up.
    let targets = [numbered("game-8", 101), Target { object: again("game-7"), ..numbered("game-7", 102) }];
    assert_eq!(inherited(&records, &targets), [Vec::<String>::new(), vec![]]);
    assert!(records[0].is_on(&targets[1]), "it inherits by its name");
    // Two removals, and one of the names recurs.
    let records = [on("r1", &seven, 100), on("r2", &two, 100)];
    let targets = [numbered("game-8", 101), Target { object: again("game-2"), ..numbered("game-2", 102) }];
    assert_eq!(inherited(&records, &targets), [vec!["r1"], vec![]]);
}

/// `kafka-0` was removed. Its operator makes the same names again and again, and replaces another pod itself.
#[test]
fn a_pod_with_a_number_that_its_owner_had_reached_before_replaces_no_other_pod() {
    let zero = numbered("kafka-0", 0);
    let records = [attempt("r1", &zero, 100, 1)];
    let rolled = |name: &str| Target { object: again(name), ..numbered(name, 101) };
    let none: [Vec<String>; 2] = [vec![], vec![]];
    // An older pod has a higher number.
    assert_eq!(inherited(&records, &[rolled("kafka-1"), numbered("kafka-2", 0)]), none);
    // A lower number that no record explains.
    let records_on_two = [attempt("r1", &numbered("kafka-2", 0), 100, 1)];
    assert_eq!(inherited(&records_on_two, &[rolled("kafka-1"), zero]), none);
    // The numbers of another group of pods say nothing, nor does a name as text.
    let (two, ten) = (numbered("game-2", 0), numbered("game-10", 101));
    let records = [attempt("r1", &numbered("game-9", 0), 100, 1)];
    let targets = [ten, two, numbered("east-99", 0), numbered("east-100", 102)];
    assert_eq!(inherited(&records, &targets), [vec!["r1"], vec![], vec![], vec![]]);
}

/// The object that has the name of another one.
fn again(name: &str) -> prunella_core::target::Object {
    prunella_core::target::Object::known("Pod", name, format!("uid-of-the-new-{name}"))
}

/// A game server that is healed and is unhealthy again climbs the ladder.
#[test]
fn a_pod_with_a_higher_number_inherits_the_attempts() {
    let mut world = world(2, vec![numbered("game-8", 101)]);
    world.policy.signal_window = seconds(0);
    world.ledger.records = vec![attempt("r1", &numbered("game-7", 0), 100, 1)];
    assert_eq!(place(&world.evaluate_from_to(110, 150, &breached(&["game-8"]))), "2");
    world.policy.steps = vec![step(1)];
    assert_eq!(place(&world.evaluate(160, &breached(&["game-8"]))), "Exhausted");
}

#[test]
fn an_action_on_a_numbered_pod_is_judged_by_its_name_or_by_a_higher_number() {
    let back = Target { object: again("game-7"), ..numbered("game-7", 102) };
    let other = Target { object: again("game-2"), ..numbered("game-2", 102) };
    for (targets, unhealthy, outcome) in [
        (vec![numbered("game-8", 101)], "none", Outcome::Succeeded),
        (vec![numbered("game-8", 101)], "game-8", Outcome::Failed),
        // Its name recurs, so game-8 is a new pod.
        (vec![numbered("game-8", 101), back.clone()], "game-8", Outcome::Succeeded),
        (vec![numbered("game-8", 101), back], "game-7", Outcome::Failed),
        // It took over the name of the other removed pod.
        (vec![numbered("game-8", 101), other.clone()], "game-2", Outcome::Succeeded),
        (vec![other], "none", Outcome::Inconclusive),
        // Somebody else replaced it. Its owner had reached its number before.
        (vec![numbered("game-8", 101), numbered("game-9", 0)], "none", Outcome::Inconclusive),
        (vec![numbered("game-6", 101)], "none", Outcome::Inconclusive),
        // It is older than the effect.
        (vec![numbered("game-8", 99)], "none", Outcome::Inconclusive),
    ] {
        let names: Vec<_> = targets.iter().map(|one| one.object.name.clone()).collect();
        let mut world = world(5, targets);
        world.policy.signal_window = seconds(0);
        let mut action = record("r1", 1, &numbered("game-7", 0), 100, State::Verifying);
        action.verify_by = Some(second(150));
        let on_other = attempt("r2", &numbered("game-2", 0), 100, 1);
        world.ledger.records = vec![action, on_other];
        let judged = (110..=150).step_by(10).find_map(|at| world.evaluate(at, &breached(&[unhealthy])).verdicts.pop());
        assert_eq!(judged.map(|verdict| verdict.outcome), Some(outcome), "{names:?}, {unhealthy} is unhealthy");
    }
}
