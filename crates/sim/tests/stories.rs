//! Histories written by hand, in calm weather: what is to happen does happen.

use jiff::SignedDuration;
use prunella_core::action::{ActionSpec, Restart, ScaleSpec, Towards};
use prunella_core::ledger::Outcome;
use prunella_core::policy::{LadderStep, MaxUnhealthy};
use prunella_sim::{Episode, Happening, Health, Report, Scenario, policy, run, step};

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

/// Happens over ten seeds: no story depends on the dice.
fn tell(mut scenario: Scenario, check: impl Fn(&Report)) {
    scenario.at_least_calm = scenario.calm;
    for seed in 0..10 {
        scenario.seed = seed;
        let report = run(&scenario);
        assert_eq!(report.violations.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0], "seed {seed}");
        check(&report);
    }
}

fn places(report: &Report) -> Vec<(u32, u32)> {
    report.deeds.iter().map(|deed| deed.place).collect()
}

fn outcomes(report: &Report) -> Vec<Option<Outcome>> {
    report.deeds.iter().map(|deed| deed.outcome).collect()
}

#[test]
fn a_quiet_world_is_not_written_to() {
    tell(Scenario::calm(), |report| {
        // The first look tells that there was one.
        assert_eq!((report.tally.told, report.deeds.len()), (1, 0));
        assert!(report.tally.decisions > 100);
    });
}

#[test]
fn an_unhealthy_pod_is_healed_once() {
    let mut scenario = Scenario::calm();
    scenario.happenings = vec![(seconds(60), Happening::Unhealthy(0, 1))];
    tell(scenario, |report| {
        assert_eq!(outcomes(report), [Some(Outcome::Succeeded)]);
        assert_eq!(report.tally.evictions, 1);
    });
}

#[test]
fn two_old_leaking_pods_are_two_first_attempts() {
    let mut scenario = Scenario::calm();
    scenario.happenings = vec![(seconds(60), Happening::Unhealthy(0, 0)), (seconds(61), Happening::Unhealthy(0, 1))];
    tell(scenario, |report| {
        assert_eq!(places(report), [(1, 1), (1, 1)]);
        assert_eq!(outcomes(report), [Some(Outcome::Succeeded); 2]);
    });
}

#[test]
fn a_replacement_that_is_unhealthy_again_climbs_and_ends_exhausted() {
    let mut scenario = Scenario::calm();
    scenario.workloads[0].replicas = 1;
    scenario.policies[0].0.limits.max_actions = 10;
    scenario.episode = Episode { at_first: 100, again: 100, begins_within: 5, passes: 0, passes_within: 60 };
    for stable in [false, true] {
        scenario.workloads[0].stable = stable;
        tell(scenario.clone(), |report| {
            assert_eq!(places(report), [(1, 1), (1, 2), (2, 1)]);
            assert_eq!(report.tally.evictions, 3);
            assert!(report.tally.exhausted >= 1);
        });
    }
}

/// Fifty policies, five of which healed a pod an hour ago. The controller is killed ten times:
/// nothing starts because a process is new.
#[test]
fn a_new_process_starts_nothing_because_it_is_new() {
    let mut scenario = Scenario::calm();
    scenario.workloads = vec![scenario.workloads[0].clone(); 50];
    scenario.policies = (0..50)
        .map(|number| {
            let mut rule = policy(&format!("web-{number}"));
            rule.interval = minutes(1);
            rule.longest_gap = minutes(2);
            // Healed an hour ago, so neither window nor cooldown nor ladder holds anything back.
            rule.limits.window = minutes(30);
            rule.limits.ladder_reset = minutes(30);
            (rule, vec![number], prunella_sim::Condition::Newest)
        })
        .collect();
    scenario.scrape_interval = seconds(30);
    scenario.happenings = (0..5).map(|number| (seconds(60), Happening::Unhealthy(number, 0))).collect();
    scenario.happenings.extend((0..10).map(|restart| (minutes(70 + 3 * restart), Happening::Crash(0))));
    scenario.calm = minutes(110);
    scenario.at_least_calm = scenario.calm;
    let report = run(&scenario);
    assert_eq!(report.violations.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(report.tally.kills, 10);
    assert_eq!(outcomes(&report), [Some(Outcome::Succeeded); 5]);
    assert_eq!(report.tally.evictions, 5);
}

/// Two policies see the same two of three pods unhealthy. One is evicted at a time.
#[test]
fn two_policies_leave_enough_pods_ready() {
    let mut scenario = Scenario::calm();
    scenario.policies.push((policy("shop"), vec![0], prunella_sim::Condition::Newest));
    for (rule, ..) in &mut scenario.policies {
        rule.limits.max_concurrent = 3;
        rule.limits.max_unhealthy = MaxUnhealthy::Percent(100);
        rule.limits.cooldown = seconds(0);
    }
    scenario.workloads[0].ready_within = 30;
    scenario.happenings = vec![(seconds(60), Happening::Unhealthy(0, 0)), (seconds(60), Happening::Unhealthy(0, 1))];
    tell(scenario, |report| assert_eq!(report.tally.evictions, 2));
}

#[test]
fn two_controllers_without_a_lease_do_it_once_as_well() {
    let mut scenario = Scenario::calm();
    scenario.controllers = 2;
    scenario.happenings = vec![(seconds(60), Happening::Unhealthy(0, 1))];
    tell(scenario, |report| {
        assert_eq!(outcomes(report), [Some(Outcome::Succeeded)]);
        assert_eq!(report.tally.evictions, 1);
    });
}

#[test]
fn a_disruption_budget_is_waited_for_and_never_forced() {
    let mut scenario = Scenario::calm();
    scenario.storm = minutes(30);
    scenario.happenings =
        vec![(seconds(0), Happening::Disruption(0, false)), (seconds(60), Happening::Unhealthy(0, 1))];
    scenario.policies[0].0.limits.cooldown = minutes(60);
    tell(scenario.clone(), |report| {
        assert!(report.tally.refused_by_budget > 50);
        assert_eq!(report.deeds[0].outcome, Some(Outcome::Expired), "it was given up, and its budget given back");
    });
    scenario.happenings.push((minutes(5), Happening::Disruption(0, true)));
    tell(scenario, |report| assert_eq!(outcomes(report), [Some(Outcome::Succeeded)]));
}

#[test]
fn a_silent_source_heals_nobody_and_stops_nobody() {
    let mut scenario = Scenario::calm();
    scenario.storm = minutes(15);
    for health in [Health::Down, Health::Hanging] {
        scenario.happenings = vec![
            (seconds(60), Happening::Unhealthy(0, 1)),
            (seconds(70), Happening::Source(health)),
            (minutes(10), Happening::Source(Health::Up)),
        ];
        tell(scenario.clone(), |report| assert_eq!(outcomes(report), [Some(Outcome::Succeeded)]));
        // It never comes back: nothing is done.
        scenario.happenings.pop();
        scenario.calm = SignedDuration::ZERO;
        tell(scenario.clone(), |report| assert_eq!(report.deeds, []));
        scenario.calm = minutes(30);
    }
}

#[test]
fn a_dead_exporter_behind_a_range_is_not_acted_on() {
    let mut scenario = Scenario::calm();
    scenario.policies[0].2 = prunella_sim::Condition::Range(seconds(300));
    scenario.policies[0].0.breach_for = seconds(60);
    scenario.storm = minutes(20);
    scenario.calm = SignedDuration::ZERO;
    scenario.happenings = vec![(seconds(60), Happening::Unhealthy(0, 1)), (seconds(90), Happening::Silence(100))];
    tell(scenario, |report| assert_eq!(report.deeds, []));
}

#[test]
fn history_goes_when_no_guardrail_counts_it_any_more() {
    let mut scenario = Scenario::calm();
    scenario.history_limit = 1;
    scenario.policies[0].0.interval = minutes(2);
    scenario.policies[0].0.longest_gap = minutes(4);
    scenario.policies[0].0.steps = vec![step(5)];
    scenario.policies[0].0.limits.max_actions = 10;
    scenario.scrape_interval = minutes(1);
    scenario.lookback = minutes(3);
    scenario.happenings = (0..4).map(|round| (minutes(1 + 15 * round), Happening::Unhealthy(0, 0))).collect();
    scenario.calm = minutes(26 * 60);
    tell(scenario, |report| {
        assert_eq!(report.tally.reserved, 4);
        assert_eq!(report.deeds.len(), 1, "the newest is kept");
    });
}

#[test]
fn a_restart_replaces_all_pods_by_one_write_and_is_judged_by_the_new_ones() {
    let mut scenario = Scenario::calm();
    scenario.policies[0].0.steps = vec![doing(ActionSpec::RolloutRestart(Restart))];
    scenario.happenings = vec![(seconds(60), Happening::Unhealthy(0, 1))];
    for stable in [false, true] {
        scenario.workloads[0].stable = stable;
        tell(scenario.clone(), |report| {
            assert_eq!(outcomes(report), [Some(Outcome::Succeeded)]);
            assert_eq!((report.tally.restarts, report.tally.evictions), (1, 0));
        });
    }
}

#[test]
fn scaling_climbs_to_its_maximum_and_is_passed_over_then() {
    let mut scenario = Scenario::calm();
    scenario.policies[0].0.steps = vec![LadderStep { attempts: 5, ..doing(scale_to_at_most(5)) }, step(1)];
    scenario.policies[0].0.limits.max_actions = 10;
    scenario.happenings = vec![(seconds(60), Happening::Unhealthy(0, 1))];
    tell(scenario, |report| {
        // More pods do not help this one.
        assert_eq!(places(report), [(1, 1), (1, 2), (2, 1)]);
        let [failed, succeeded] = [Outcome::Failed, Outcome::Succeeded].map(Some);
        assert_eq!(outcomes(report), [failed, failed, succeeded]);
        assert_eq!((report.tally.scalings, report.tally.evictions), (2, 1));
    });
}

#[test]
fn a_controller_that_dies_at_any_instant_still_does_it_once() {
    let cured = Some(Outcome::Succeeded);
    for (step, outcome) in [
        (step(1), cured),
        (doing(ActionSpec::RolloutRestart(Restart)), cured),
        // More pods do not help.
        (doing(scale_to_at_most(4)), Some(Outcome::Failed)),
    ] {
        // Every quarter of a second from the first sight to the end of the settling.
        for quarter in 0..400 {
            let mut scenario = Scenario::calm();
            scenario.storm = minutes(3);
            scenario.calm = minutes(10);
            scenario.at_least_calm = minutes(5);
            scenario.policies[0].0.steps = vec![step.clone()];
            let dies = seconds(60) + SignedDuration::from_millis(250 * quarter);
            scenario.happenings = vec![(seconds(60), Happening::Unhealthy(0, 1)), (dies, Happening::Crash(0))];
            let report = run(&scenario);
            let what = format!("{} killed at {dies:#}", step.action.name());
            assert!(report.violations.is_empty(), "{what}: {}", report.violations[0]);
            let tally = report.tally;
            assert_eq!(tally.evictions + tally.restarts + tally.scalings, 1, "{what}");
            assert_eq!(outcomes(&report), [outcome], "{what}");
        }
    }
}

/// An action, tried once and watched as long as an eviction.
fn doing(action: ActionSpec) -> LadderStep {
    LadderStep { action, ..step(1) }
}

fn scale_to_at_most(max: i32) -> ActionSpec {
    ActionSpec::Scale(ScaleSpec {
        towards: Towards::By(1),
        min: 1,
        max,
        raise_minimum: false,
        allow_volume_loss: false,
    })
}
