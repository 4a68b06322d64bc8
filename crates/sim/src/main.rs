//! Lets histories happen: one by its seed, with everything there is to see, or many in
//! search of one that breaks a promise.

use std::time::Instant;

use anyhow::{Result, bail};
use clap::Parser;
use prunella_sim::{Report, Scenario, Tally, run, run_traced};

/// A model world in virtual time for the judgement.
#[derive(Debug, Parser)]
struct Args {
    /// The seed of the first history.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many histories, each of the next seed.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Print what happens, and the scenario it happens in.
    #[arg(long)]
    trace: bool,
    /// Go on after a broken promise.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let begun = Instant::now();
    let mut tally = Tally::default();
    let mut broken = 0;
    for seed in args.seed..args.seed.saturating_add(args.count) {
        let report = history(seed, args.trace);
        tally = tally.and(report.tally);
        for violation in &report.violations {
            broken += 1;
            println!("seed {seed}: {violation}");
        }
        if broken > 0 && !args.keep_going {
            break;
        }
    }
    let took = begun.elapsed().as_secs_f64();
    println!("{tally:#?}\n{:.0} events a second, {took:.1} s", f64::from(u32::try_from(tally.events)?) / took);
    if broken > 0 {
        bail!("{broken} histories broke a promise");
    }
    Ok(())
}

fn history(seed: u64, trace: bool) -> Report {
    let scenario = Scenario::of_seed(seed);
    if !trace {
        return run(&scenario);
    }
    println!("{scenario:#?}");
    let (report, trace) = run_traced(&scenario);
    for line in trace.lines() {
        println!("{line}");
    }
    for deed in &report.deeds {
        println!("{deed:?}");
    }
    report
}
