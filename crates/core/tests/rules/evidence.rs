//! Evidence speaks for the series that was breached, and a query is checked for metrics that
//! have no series.

use std::collections::BTreeSet;

use prunella_core::decide::{Question, Reach};
use prunella_core::execute::OutcomeReason;
use prunella_core::ledger::{Outcome, State};
use prunella_core::observation::{Answer, Operands, Series};
use prunella_core::policy::{EvidenceMatch, PolicyMode, QueryTraits, SeriesMatch};
use prunella_core::target::{Object, Target};

use super::support::*;

/// A series of `pod` with more labels.
fn of(pod: &str, more: &[(&str, &str)]) -> Series {
    let mut one = series(pod, 7.0);
    one.labels.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    one
}

fn answer(series: &[Series]) -> Answer {
    Answer::Answered(series.to_vec())
}

/// `web-1` is breached by the prober `eu` and then missing from the answer.
fn breached_by_eu() -> World {
    let mut world = World::new(vec![pod("web-1", -600)]);
    world.policy.mode = PolicyMode::DryRun;
    world.evaluate_from_to(0, 30, &answer(&[of("web-1", &[("prober", "eu")])]));
    world
}

#[test]
fn another_prober_of_the_target_does_not_clear_it() {
    let mut world = breached_by_eu();
    // The prober eu stops. The other one never saw the breach.
    world.evidence = answer(&[of("web-1", &[("prober", "us")])]);
    assert_eq!(refused(&world.evaluate_from_to(40, 90, &breached(&[]))), [("web-1", "NoData")].into());
    world.evidence = answer(&[of("web-1", &[("prober", "us")]), of("web-1", &[("prober", "eu")])]);
    world.evaluate_from_to(100, 120, &breached(&[]));
    assert!(world.memory.timers.is_empty(), "the prober that saw the breach has data again");
}

#[test]
fn each_of_the_breached_series_needs_data() {
    let mut world = World::new(vec![pod("web-1", -600)]);
    world.policy.mode = PolicyMode::DryRun;
    let both = [of("web-1", &[("prober", "eu")]), of("web-1", &[("prober", "us")])];
    world.evaluate_from_to(0, 30, &answer(&both));
    for one in &both {
        world.evidence = answer(std::slice::from_ref(one));
        assert_eq!(refused(&world.evaluate(40, &breached(&[]))), [("web-1", "NoData")].into());
    }
    world.evidence = answer(&both);
    assert_eq!(refused(&world.evaluate(50, &breached(&[]))), [("web-1", "NotYetFor")].into());
}

#[test]
fn a_series_that_was_not_breached_for_long_is_forgotten() {
    let mut world = breached_by_eu();
    world.evidence = answer(&[of("web-1", &[("prober", "us")])]);
    world.evaluate_from_to(40, 3600, &breached(&[]));
    assert_eq!(world.memory.timers.len(), 1);
    world.evaluate_from_to(3610, 3660, &breached(&[]));
    assert!(world.memory.timers.is_empty(), "the prober may be gone for good");
}

#[test]
fn labels_that_a_healthy_target_lacks_or_that_change_with_a_container_are_not_compared() {
    for (was, is, clear) in [
        (("prober", "eu"), ("other", "us"), true),
        (("id", "/pods/1/a"), ("id", "/pods/1/b"), true),
        (("container_id", "a"), ("container_id", "b"), true),
        (("__name__", "lag"), ("__name__", "depth"), true),
        (("reason", "CrashLoopBackOff"), ("reason", "Completed"), true),
        (("instance", "10.0.0.1:80"), ("instance", "10.0.0.2:80"), false),
        (("job", "blackbox-eu"), ("job", "blackbox-us"), false),
    ] {
        let mut world = World::new(vec![pod("web-1", -600)]);
        world.policy.mode = PolicyMode::DryRun;
        let except = BTreeSet::from(["reason".to_owned()]);
        world.policy.query.evidence = EvidenceMatch::Series { except };
        world.evaluate_from_to(0, 30, &answer(&[of("web-1", &[was])]));
        world.evidence = answer(&[of("web-1", &[is])]);
        world.evaluate_from_to(40, 60, &breached(&[]));
        assert_eq!(world.memory.timers.is_empty(), clear, "{was:?} {is:?}");
    }
}

#[test]
fn evidence_that_the_user_wrote_counts_by_target() {
    let mut world = breached_by_eu();
    world.policy.query.evidence = EvidenceMatch::Target;
    world.evidence = answer(&[of("web-1", &[("prober", "us")])]);
    world.evaluate_from_to(40, 60, &breached(&[]));
    assert!(world.memory.timers.is_empty());
}

#[test]
fn a_replacement_is_judged_by_the_same_series_without_the_labels_of_its_pod() {
    let verdict = |evidence: &[(&str, &str)]| {
        let mut world = World::new(vec![pod("web-2", 0)]);
        let mut action = record("web-1", 1, &pod("web-1", -600), 0, State::Verifying);
        let labels = [("prober", "eu"), ("instance", "10.0.0.1:80"), ("node", "n1"), ("path", "/pods/web-1/x")];
        action.breached = of("web-1", &labels).labels;
        world.ledger.records.push(action);
        world.evidence = answer(&[of("web-2", evidence)]);
        let decision = world.evaluate_from_to(10, 120, &breached(&[]));
        decision.verdicts.first().map(|verdict| (verdict.outcome, verdict.reason))
    };
    let succeeded = Some((Outcome::Succeeded, OutcomeReason::Cleared));
    let no_data = Some((Outcome::Inconclusive, OutcomeReason::NoData));
    let new_pod = [("instance", "10.0.0.2:80"), ("node", "n2"), ("path", "/pods/web-2/x")];
    assert_eq!(verdict(&new_pod), succeeded);
    assert_eq!(verdict(&[new_pod[0], ("prober", "eu")]), succeeded);
    assert_eq!(verdict(&[new_pod[0], ("prober", "us")]), no_data);
    assert_eq!(verdict(&[]), succeeded, "an aggregation keeps the pod alone");
}

#[test]
fn a_workload_is_judged_by_the_series_of_its_new_pods() {
    let mut world = World::new(vec![Target { object: deployment(), ..pod("web", -600) }]);
    world.policy.mode = PolicyMode::DryRun;
    world.policy.series = SeriesMatch::Label("deployment".into());
    let pods = |names: &[&str]| {
        names.iter().map(|name| Object::known("Pod", *name, format!("uid-{name}"))).collect::<Vec<_>>()
    };
    world.targets[0].pods = pods(&["web-1"]);
    world.evaluate_from_to(0, 30, &answer(&[of("web-1", &[("job", "app"), ("instance", "1")])]));
    // The pod is still there, but another one has data.
    world.targets[0].pods = pods(&["web-1", "web-2"]);
    world.evidence = answer(&[of("web-2", &[("job", "app"), ("instance", "2")])]);
    assert_eq!(refused(&world.evaluate(40, &breached(&[]))), [("web", "NoData")].into());
    world.targets[0].pods = pods(&["web-2"]);
    assert_eq!(refused(&world.evaluate(50, &breached(&[]))), [("web", "NotYetFor")].into());
    world.evidence = answer(&[of("web-2", &[("job", "sidecar"), ("instance", "2")])]);
    assert_eq!(refused(&world.evaluate(60, &breached(&[]))), [("web", "NoData")].into());
}

fn with_operands(operands: Operands) -> World {
    let mut world = World::new(vec![pod("a", -600)]);
    world.policy.query = QueryTraits { several_operands: true, ..QueryTraits::default() };
    world.operands = operands;
    world
}

fn asked(world: &World, at: i64) -> Vec<Question> {
    world.decide(second(at), &observation(second(at), &breached(&[]))).questions
}

fn reach(world: &World) -> Option<Reach> {
    world.memory.reached.as_ref().map(|reached| reached.reach.clone())
}

#[test]
fn a_metric_without_series_is_named_although_the_other_one_has_data() {
    let mut world = with_operands(Operands::Missing("b".into()));
    assert_eq!(asked(&world, 0), [Question::Evidence, Question::Operands]);
    world.evaluate(0, &breached(&[]));
    assert_eq!(reach(&world), Some(Reach::NoOperand("b".into())));
    // Once a minute while it is missing, and then as seldom as the evidence.
    assert_eq!(asked(&world, 50), []);
    assert_eq!(asked(&world, 60), [Question::Evidence, Question::Operands]);
    world.operands = Operands::Unknown;
    world.evaluate(60, &breached(&[]));
    assert_eq!(reach(&world), Some(Reach::NoOperand("b".into())), "without an answer the last one stays");
    assert_eq!(asked(&world, 110), []);
    world.operands = Operands::AllReported;
    world.evaluate(120, &breached(&[]));
    assert_eq!(reach(&world), Some(Reach::Targets));
    assert_eq!(asked(&world, 710), []);
    assert_eq!(asked(&world, 720), [Question::Evidence, Question::Operands]);
}

#[test]
fn evidence_for_another_question_does_not_hide_a_metric_without_series() {
    let mut world = with_operands(Operands::Missing("b".into()));
    world.evaluate(0, &breached(&[]));
    let mut observation = observation(second(10), &breached(&[]));
    observation.evidence = Some(breached(&["a"]));
    let decision = world.decide(second(10), &observation);
    assert_eq!(decision.memory.reached, world.memory.reached);
    // A breach proves that the query can return something.
    world.evaluate(20, &breached(&["a"]));
    assert_eq!(reach(&world), Some(Reach::Targets));
}

#[test]
fn a_query_with_one_metric_asks_only_for_evidence() {
    let world = World::new(vec![pod("a", -600)]);
    assert_eq!(asked(&world, 0), [Question::Evidence]);
}
