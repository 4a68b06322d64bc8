//! The promises of `decide`, over random histories: unhealthy pods, silent sources, dead
//! exporters, restarts that lose the memory, clocks that jump, and actions that end at any
//! time with any outcome.

use std::collections::BTreeMap;

use crate::support::{World, pod, record, second, seconds, series};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use prunella_core::decide::{Decision, Memory};
use prunella_core::ledger::{Outcome, Record, State};
use prunella_core::observation::{Answer, UnknownReason};
use prunella_core::policy::{MaxUnhealthy, PolicyMode};
use prunella_core::target::Uid;

const PODS: [&str; 4] = ["a", "b", "c", "d"];

/// One round of a history.
#[derive(Debug, Clone)]
struct Round {
    /// Seconds since the previous round. Negative: the clock jumps back.
    pass: i64,
    /// Which pods are breached. `None`: the source is silent.
    breached: Option<Vec<bool>>,
    /// Which pods have data. `None`: the source is silent when evidence is queried.
    evidence: Option<Vec<bool>>,
    /// How each action in flight proceeds: to a later state or to an outcome.
    actions: Vec<u8>,
    /// Whether the controller restarts before the round.
    restart: bool,
}

fn round() -> impl Strategy<Value = Round> {
    let subset = || proptest::collection::vec(any::<bool>(), PODS.len());
    (
        prop_oneof![12 => Just(10), 3 => 1..60i64, 1 => 60..4000i64, 1 => -600..0i64],
        proptest::option::weighted(0.85, subset()),
        proptest::option::weighted(0.9, subset()),
        proptest::collection::vec(any::<u8>(), PODS.len()),
        proptest::bool::weighted(0.05),
    )
        .prop_map(|(pass, breached, evidence, actions, restart)| Round {
            pass,
            breached,
            evidence,
            actions,
            restart,
        })
}

fn answer(pods: Option<&Vec<bool>>) -> Answer {
    match pods {
        None => Answer::unknown(UnknownReason::Timeout, "silent"),
        Some(pods) => {
            let named = PODS.iter().zip(pods).filter(|(_, included)| **included).map(|(name, _)| series(name, 5.0));
            Answer::Answered(named.collect())
        }
    }
}

/// Moves an action in flight to the next state or to an outcome, as `dice` says.
fn advance_state(record: &mut Record, dice: u8, now: Timestamp) {
    if !record.in_flight() {
        return;
    }
    record.state = match (record.state, dice % 8) {
        (State::Pending, 0) => State::Finished(Outcome::Cancelled),
        (State::Pending, 1..=5) => State::Running,
        (State::Running, 0) => State::Finished(Outcome::Expired),
        (State::Running, 1..=5) => State::Settling,
        (State::Settling, 0) => State::Finished(Outcome::Failed),
        (State::Settling, 1..=5) => State::Verifying,
        (State::Verifying, 0) => State::Finished(Outcome::Inconclusive),
        (State::Verifying, 1) => State::Finished(Outcome::Succeeded),
        (state, _) => state,
    };
    if record.state == State::Verifying {
        record.verify_by = record.verify_by.or(Some(now + seconds(120)));
    }
}

/// Computes the breach time independently: the time between two consecutive evaluations
/// that both show the breach.
#[derive(Debug, Default)]
struct Observer {
    breaches: BTreeMap<&'static str, Breach>,
}

#[derive(Debug)]
struct Breach {
    held: SignedDuration,
    last: Timestamp,
    /// Whether an evaluation since then said nothing about the pod.
    doubt: bool,
}

impl Observer {
    fn observe(&mut self, at: Timestamp, round: &Round) {
        if round.restart {
            self.breaches.clear();
        }
        for (index, name) in PODS.into_iter().enumerate() {
            let shown = round.breached.as_ref().map(|breached| breached[index]);
            let has_data = round.evidence.as_ref().is_some_and(|evidence| evidence[index]);
            match (shown, self.breaches.get_mut(name)) {
                (Some(true), None) => {
                    self.breaches.insert(name, Breach { held: SignedDuration::ZERO, last: at, doubt: false });
                }
                (Some(true), Some(breach)) => {
                    let gap = at.duration_since(breach.last);
                    if gap > seconds(45) {
                        breach.held = SignedDuration::ZERO;
                    } else if gap.is_positive() && !breach.doubt {
                        breach.held += gap;
                    }
                    breach.last = at.max(breach.last);
                    breach.doubt = false;
                }
                (Some(false), Some(_)) if has_data => drop(self.breaches.remove(name)),
                (Some(false) | None, Some(breach)) => breach.doubt = true,
                (Some(false) | None, None) => {}
            }
        }
    }

    fn held(&self, name: &str) -> Option<SignedDuration> {
        self.breaches.get(name).map(|breach| breach.held)
    }
}

fn most_within(window: SignedDuration, mut times: Vec<Timestamp>) -> usize {
    times.sort();
    times
        .iter()
        .map(|end| times.iter().filter(|at| **at <= *end && end.duration_since(**at) < window).count())
        .max()
        .unwrap_or(0)
}

fn check_decision(world: &World, decision: &Decision) -> Result<(), TestCaseError> {
    prop_assert!(decision.next_check.is_positive() && decision.next_check <= world.policy.interval, "HP-10");
    let mut entries: BTreeMap<&Uid, usize> = BTreeMap::new();
    decision.refusals.iter().for_each(|refused| *entries.entry(&refused.target).or_default() += 1);
    decision.reservations.iter().for_each(|reserved| *entries.entry(&reserved.target.uid).or_default() += 1);
    for uid in decision.memory.timers.keys() {
        prop_assert_eq!(entries.get(uid), Some(&1), "HP-12: one reservation or one refusal for {}", uid);
    }
    prop_assert_eq!(entries.len(), decision.memory.timers.len(), "HP-12: no entry for a healthy target");
    prop_assert!(decision.memory.timers.len() <= world.targets.len(), "HP-9");
    prop_assert!(decision.memory.verifications.len() <= world.ledger.records.len(), "HP-9");
    Ok(())
}

fn history(rounds: &[Round], max_concurrent: u32, cooldown: i64) -> Result<usize, TestCaseError> {
    let mut world = World::new(PODS.map(|name| pod(name, -10_000)).to_vec());
    world.policy.limits.max_concurrent = max_concurrent;
    world.policy.limits.cooldown = seconds(cooldown);
    let mut observer = Observer::default();
    let mut clock = second(0);
    let mut acted = 0;
    for round in rounds {
        clock += seconds(round.pass);
        if round.restart {
            world.memory = Memory::default();
        }
        for (record, dice) in world.ledger.records.iter_mut().zip(round.actions.iter().cycle()) {
            advance_state(record, *dice, clock);
        }
        world.evidence = answer(round.evidence.as_ref());
        let breach = answer(round.breached.as_ref());
        observer.observe(clock, round);
        let decision = world.evaluate_at(clock, &breach);
        check_decision(&world, &decision)?;

        for reservation in &decision.reservations {
            let name = reservation.target.name.as_str();
            let held = observer.held(name);
            prop_assert!(
                held.is_some_and(|held| held >= world.policy.breach_for),
                "HP-2: {name} was breached for {held:?}"
            );
            let last = world.ledger.records.iter().filter(|record| record.spends() && record.target.name == name);
            if let Some(last) = last.map(|record| record.created).max() {
                prop_assert!(clock.duration_since(last) >= world.policy.limits.cooldown, "HP-5");
            }
            for record in world.ledger.records.iter().filter(|record| record.in_flight()) {
                prop_assert!(record.target.uid != reservation.target.uid, "HP-4");
            }
            acted += 1;
        }
        world.reserve(&decision.reservations, clock);

        let (_, again) = world.decide_fully(clock, &breach);
        prop_assert!(again.reservations.is_empty(), "HP-6: with its own plan recorded it plans nothing more");
        prop_assert_eq!(&again.memory, &world.memory, "HP-11: a repeated evaluation changes nothing");

        let spent = world.ledger.records.iter().filter(|record| record.spends()).map(|record| record.created).collect();
        let limits = &world.policy.limits;
        prop_assert!(most_within(limits.window, spent) <= limits.max_actions as usize, "HP-1");
        let in_flight = world.ledger.records.iter().filter(|record| record.in_flight()).count();
        prop_assert!(in_flight <= max_concurrent as usize, "maxConcurrent");
    }
    Ok(acted)
}

/// A policy that acts and a twin that only records, over the same history up to the first
/// action. Both have the same records of other policies.
fn twins(rounds: &[Round], others: &[(usize, u8, i64)]) -> Result<bool, TestCaseError> {
    let world = |mode| {
        let mut world = World::new(PODS.map(|name| pod(name, -10_000)).to_vec());
        world.policy.mode = mode;
        world.policy.limits.max_unhealthy = MaxUnhealthy::Percent(50);
        for (sequence, (place, state, created)) in (1..).zip(others) {
            let target = pod(PODS[place % PODS.len()], -10_000);
            let mut other = record("r", sequence, &target, *created, State::Pending);
            other.policy.name = "another".into();
            (0..state % 5).for_each(|dice| advance_state(&mut other, dice, second(0)));
            world.ledger.records.push(other);
        }
        world
    };
    let (mut acts, mut records) = (world(PolicyMode::Enforce), world(PolicyMode::DryRun));
    let mut clock = second(0);
    for round in rounds {
        clock += seconds(round.pass);
        if round.restart {
            (acts.memory, records.memory) = (Memory::default(), Memory::default());
        }
        let breach = answer(round.breached.as_ref());
        for world in [&mut acts, &mut records] {
            world.evidence = answer(round.evidence.as_ref());
        }
        let (acted, recorded) = (acts.evaluate_at(clock, &breach), records.evaluate_at(clock, &breach));
        prop_assert_eq!(acted.reservations.first(), recorded.reservations.first());
        if !acted.reservations.is_empty() {
            return Ok(true);
        }
        prop_assert_eq!(acted, recorded);
    }
    Ok(false)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold_over_any_history(
        rounds in proptest::collection::vec(round(), 1..80),
        max_concurrent in 1..4u32,
        cooldown in prop_oneof![Just(0), Just(300)],
    ) {
        history(&rounds, max_concurrent, cooldown)?;
    }

    /// A dry run decides the same as a policy that acts, up to the first action.
    #[test]
    fn a_dry_run_decides_as_if_it_acted(
        rounds in proptest::collection::vec(round(), 1..60),
        others in proptest::collection::vec((0..4usize, any::<u8>(), -4000..0i64), 0..4),
    ) {
        twins(&rounds, &others)?;
    }

    /// HP-13: if the breach holds, its samples are fresh and no guardrail refuses, an action is
    /// reserved within `for` and two intervals.
    #[test]
    fn a_breach_that_holds_is_acted_on_in_time(start in 0..1000i64, breach_for in 0..120i64) {
        let mut world = World::new(vec![pod("a", -10_000)]);
        world.policy.breach_for = seconds(breach_for);
        let breach = Answer::Answered(vec![series("a", 5.0)]);
        let mut clock = second(start);
        loop {
            let decision = world.evaluate_at(clock, &breach);
            if !decision.reservations.is_empty() {
                break;
            }
            prop_assert!(clock.duration_since(second(start)) <= seconds(breach_for + 20), "HP-13");
            clock += decision.next_check;
        }
    }

    /// `decide` is total: no time and no duration makes it panic.
    #[test]
    fn no_time_makes_a_decision_panic(
        at in any::<i64>(), now in any::<i64>(), interval in any::<i64>(), breach_for in any::<i64>(),
        clear_for in any::<i64>(), cooldown in any::<i64>(), window in any::<i64>(), count in any::<u32>(),
    ) {
        let instant = |nanos: i64| Timestamp::from_nanosecond(i128::from(nanos) * 27).unwrap_or(Timestamp::MAX);
        let mut world = World::new(vec![pod("a", -10_000)]);
        world.policy.interval = SignedDuration::from_nanos(interval);
        world.policy.breach_for = SignedDuration::from_secs(breach_for);
        world.policy.clear_for = SignedDuration::from_secs(clear_for);
        world.policy.limits.cooldown = SignedDuration::from_secs(cooldown);
        world.policy.limits.window = SignedDuration::from_secs(window);
        world.policy.limits.max_actions = count;
        world.ledger.records.push(record("r", u64::MAX, &pod("a", 0), 0, State::Verifying));
        for at in [instant(at), instant(now), Timestamp::MIN, Timestamp::MAX] {
            for breach in [answer(None), Answer::Answered(vec![]), Answer::Answered(vec![series("a", f64::INFINITY)])] {
                let decision = world.evaluate_at(at, &breach);
                prop_assert!(decision.next_check.is_positive());
            }
        }
    }
}

/// Checks that the random histories have actions at all.
#[test]
fn the_histories_contain_actions() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let acted: usize = (0..300)
        .map(|_| {
            let rounds = proptest::collection::vec(round(), 80).new_tree(&mut runner).unwrap().current();
            history(&rounds, 3, 300).unwrap()
        })
        .sum();
    assert!(acted > 100, "only {acted} actions in 300 histories");
}
