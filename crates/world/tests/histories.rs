//! The controller that ships keeps its promises in worlds in which everything goes wrong. One that does
//! not is seen again with `SEED=… make sim`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use prunella_world::Weather;
use prunella_world::history::{Plan, Report, run};

/// The histories of each share. The shares run side by side.
const SHARE: u64 = 16;

/// Every promise is kept, and the histories did meet what they are there to meet.
fn check(share: u64) {
    let (mut kills, mut fates, mut ended) = (0, 0, 0_u64);
    for seed in share * SHARE..(share + 1) * SHARE {
        let report = run(&Plan::of_seed(seed)).unwrap();
        let broken = report.violations.first().map(ToString::to_string);
        assert_eq!(broken, None, "see it with: SEED={seed} make sim");
        kills += report.tally.kills;
        fates += report.tally.fates.values().sum::<u64>();
        ended += outcomes(&report).len() as u64;
    }
    for (what, met, at_least) in
        [("kills", kills, 10), ("requests that went wrong", fates, 300), ("actions that ended", ended, 25)]
    {
        assert!(met >= at_least, "only {met} {what} in {SHARE} histories");
    }
}

fn outcomes(report: &Report) -> Vec<String> {
    let actions = report.audit.iter().filter(|entry| entry.kind == "HealingAction" && entry.before.is_some());
    let outcome = |object: &serde_json::Value| object.pointer("/status/outcome")?.as_str().map(str::to_owned);
    let ended = actions.filter(|entry| entry.before.as_deref().and_then(outcome).is_none());
    ended.filter_map(|entry| entry.after.as_deref().and_then(outcome)).collect()
}

#[test]
fn promises_are_kept_in_the_first_share() {
    check(0);
}

#[test]
fn promises_are_kept_in_the_second_share() {
    check(1);
}

/// Otherwise the oracles could look at a world in which nothing is healed.
#[test]
fn in_calm_weather_every_action_succeeds() {
    for seed in 0..4 {
        let plan = Plan { weather: Weather::default(), happenings: Vec::new(), ..Plan::of_seed(seed) };
        let report = run(&plan).unwrap();
        assert_eq!(report.violations, [], "seed {seed}");
        // The witness.
        assert_eq!(outcomes(&report), ["Succeeded"], "seed {seed}");
    }
}
