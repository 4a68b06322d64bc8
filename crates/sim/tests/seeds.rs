//! The promises over thousands of histories, each of a seed. One that breaks is told
//! by its seed and seen again with `cargo run -p prunella-sim -- --seed N --trace`.

use prunella_sim::{Scenario, Tally, run};

/// The histories of each share; the shares run side by side.
const SHARE: u64 = 500;

fn share(number: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in number * SHARE..(number + 1) * SHARE {
        let report = run(&Scenario::of_seed(seed));
        let broken = report.violations.first().map(ToString::to_string);
        assert_eq!(broken, None, "see it with: cargo run -p prunella-sim -- --seed {seed} --trace");
        tally = tally.and(report.tally);
    }
    tally
}

/// Every promise is kept, and the histories did meet what they are there to meet.
fn check(number: u64) {
    let tally = share(number);
    for (what, met, at_least) in [
        ("reservations", tally.reserved, 500),
        ("names that were taken", tally.collisions, 50),
        ("records that had changed", tally.conflicts, 100),
        ("evictions", tally.evictions, 500),
        ("restarts", tally.restarts, 100),
        ("changes of a number of replicas", tally.scalings, 50),
        ("evictions refused by a disruption budget", tally.refused_by_budget, 50),
        ("evictions that met another pod", tally.missed, 10),
        ("kills", tally.kills, 500),
        ("writes whose fate was not told", tally.untold, 500),
        ("budget given back", tally.given_back, 10),
        ("higher attempts", tally.climbed, 100),
        ("exhausted targets", tally.exhausted, 100),
        ("storms", tally.storms, 100),
    ] {
        assert!(met >= at_least, "only {met} {what} in {SHARE} histories: {tally:?}");
    }
}

#[test]
fn promises_are_kept_in_the_first_share() {
    check(0);
}

#[test]
fn promises_are_kept_in_the_second_share() {
    check(1);
}

#[test]
fn promises_are_kept_in_the_third_share() {
    check(2);
}

#[test]
fn promises_are_kept_in_the_fourth_share() {
    check(3);
}

#[test]
fn a_seed_always_tells_the_same_history() {
    let twice = [(); 2].map(|()| run(&Scenario::of_seed(7)));
    assert_eq!(twice[0].tally, twice[1].tally);
    assert_eq!(twice[0].deeds, twice[1].deeds);
}
