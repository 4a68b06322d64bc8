//! What a busy target waits for, and which of two policies goes first.

use crate::support::*;
use prunella_core::action::{ActionSpec, Restart};
use prunella_core::decide::{BusyWith, PlannedRemoval};
use prunella_core::ledger::State;
use prunella_core::target::Target;

/// A policy that restarts the workload of an unhealthy pod.
fn restarts() -> World {
    let workload = steady_workload(Some(3));
    let mut world = World::new(vec![Target { workload: Some(workload), ..pod("a", -600) }]);
    world.policy.steps[0].action = ActionSpec::RolloutRestart(Restart);
    world
}

#[test]
fn the_removal_of_one_pod_goes_before_a_change_of_the_whole_workload() {
    let mut world = restarts();
    let uid = world.targets[0].object.uid.clone();
    let removal = |at| PlannedRemoval { policy: "pods".into(), at: second(at) };
    world.removals.insert(deployment().uid, removal(35));
    let decision = world.evaluate_from_to(0, 30, &breached(&["a"]));
    assert_eq!(refused(&decision), [("a", "TargetBusy")].into());
    assert_eq!(decision.busy.get(&uid), Some(&BusyWith::Removal { policy: "pods".into() }));
    // A policy whose `for` ends later than the next evaluation is not waited for.
    world.removals.insert(deployment().uid, removal(51));
    assert_eq!(reserved(&world.evaluate(40, &breached(&["a"]))), ["a"]);
    // A removal does not wait for a removal.
    let mut world = World::new(vec![pod("a", -600)]);
    world.removals.insert(deployment().uid, removal(30));
    assert_eq!(reserved(&world.evaluate_from_to(0, 30, &breached(&["a"]))), ["a"]);
}

#[test]
fn a_policy_says_when_it_will_remove_a_pod() {
    let mut world = World::new(vec![pod("a", -600)]);
    let web = deployment().uid;
    assert_eq!(world.evaluate(0, &breached(&["a"])).removals, [(web.clone(), second(30))].into(), "pending");
    let now = world.evaluate_from_to(10, 30, &breached(&["a"]));
    assert_eq!(now.removals, [(web, second(30))].into(), "reserved");
    // Nobody knows whether its exporter will ever be back.
    let mut stale = World::new(vec![pod("a", -600)]);
    stale.stale.insert("a".to_owned());
    assert!(stale.evaluate_from_to(0, 30, &breached(&["a"])).removals.is_empty(), "it cannot be proven");
    world.policy.suspended = true;
    assert!(world.evaluate(40, &breached(&["a"])).removals.is_empty(), "held back");
    assert!(restarts().evaluate_from_to(0, 30, &breached(&["a"])).removals.is_empty(), "the whole workload");
}

#[test]
fn a_busy_target_names_the_action_and_its_policy() {
    let mut world = World::new(vec![pod("a", -600)]);
    let mut other = record("pods-1", 1, &world.targets[0], 0, State::Verifying);
    other.policy.name = "pods".into();
    world.ledger.records.push(other);
    let decision = world.evaluate_from_to(0, 30, &breached(&["a"]));
    assert_eq!(refused(&decision), [("a", "TargetBusy")].into());
    let expected = BusyWith::Action {
        name: "pods-1".into(),
        action: "DeletePod".into(),
        touches: world.targets[0].object.clone(),
        policy: "pods".into(),
    };
    assert_eq!(decision.busy.into_values().collect::<Vec<_>>(), [expected]);
}
