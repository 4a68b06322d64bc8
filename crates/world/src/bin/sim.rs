//! `make sim`: the controller that ships, in many worlds in which everything goes wrong, one for each
//! seed. `SEED=… make sim` shows one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use prunella_world::history::{Plan, Report, run, shrink};
use serde_json::Value;

/// Runs the controller through histories in which everything goes wrong, and checks its promises.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Args {
    /// Run this seed alone, and print its plan, its requests, and what was changed.
    #[arg(long, env = "SEED", value_name = "NUMBER")]
    seed: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    from: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    runs: u64,
    /// Start no further seed after this time. 0: run all.
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    seconds: u64,
    /// Go on after a broken promise.
    #[arg(long)]
    all: bool,
    /// Print the log of the controllers to standard error. Its times are those of this machine.
    #[arg(long)]
    log: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.log {
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
            .with_writer(stderr)
            .init();
    }
    let broken = match args.seed {
        Some(seed) => show(seed),
        None => many(&args),
    };
    match broken {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Shows one history. Returns whether it broke a promise.
fn show(seed: u64) -> Result<bool> {
    let plan = Plan::of_seed(seed);
    say(&format!("{plan:#?}"));
    let report = run(&plan)?;
    trace(&report);
    report.violations.iter().for_each(|violation| say(&format!("seed {seed}: {violation}")));
    Ok(!report.violations.is_empty())
}

/// Runs many histories. Returns whether one broke a promise.
fn many(args: &Args) -> Result<bool> {
    let began = Instant::now();
    let mut sums = Sums::default();
    for seed in args.from..args.from.saturating_add(args.runs) {
        let plan = Plan::of_seed(seed);
        let report = run(&plan)?;
        sums.add(seed, &report);
        for violation in &report.violations {
            say(&format!("seed {seed}: {violation}"));
        }
        if !report.violations.is_empty() && !args.all {
            say(&format!("what is left when all that does not matter is left out:\n{:#?}", shrink(&plan)?));
        }
        let is_late = args.seconds > 0 && began.elapsed().as_secs() >= args.seconds;
        if is_late || sums.broken > 0 && !args.all {
            break;
        }
    }
    sums.print(began.elapsed());
    Ok(sums.broken > 0)
}

/// What happened in all histories together.
#[derive(Debug, Default)]
struct Sums {
    count: u64,
    broken: u64,
    lasted: Duration,
    /// The most of each in one history, and its seed.
    slowest: (Duration, u64),
    busiest: (u64, u64),
    loudest: (u64, u64),
    numbers: BTreeMap<String, u64>,
    /// In how many histories each guardrail refused.
    guardrails: BTreeMap<String, u64>,
}

impl Sums {
    fn add(&mut self, seed: u64, report: &Report) {
        self.count += 1;
        self.broken += u64::from(!report.violations.is_empty());
        self.lasted += report.lasted;
        self.slowest = self.slowest.max((report.took, seed));
        self.busiest = self.busiest.max((report.pace.requests, seed));
        self.loudest = self.loudest.max((report.pace.events, seed));
        let mut number = |what: String, number: u64| *self.numbers.entry(what).or_default() += number;
        number("processes killed".to_owned(), report.tally.kills);
        number("processes that exited".to_owned(), report.tally.exits);
        number("requests".to_owned(), report.requests.len() as u64);
        for (fate, count) in &report.tally.fates {
            number((*fate).to_owned(), *count);
        }
        for (outcome, count) in outcomes(report) {
            number(format!("actions that ended as {outcome}"), count);
        }
        for reason in refusals(report) {
            *self.guardrails.entry(reason).or_default() += 1;
        }
    }

    fn print(&self, took: Duration) {
        for (what, number) in &self.numbers {
            say(&format!("{number:>9}  {what}"));
        }
        for ((most, seed), what) in [(self.busiest, "requests"), (self.loudest, "Events")] {
            say(&format!("{most:>9}  {what} of a process within a minute, at most: seed {seed}"));
        }
        let met = self.guardrails.iter().map(|(reason, count)| format!("{reason} {count}"));
        say(&format!("guardrails, by histories: {}", met.collect::<Vec<_>>().join(", ")));
        say(&format!(
            "{} histories, {:.1} hours, in {:.1} s; the slowest took {:.1} s: seed {}; {} broke a promise",
            self.count,
            self.lasted.as_secs_f64() / 3600.0,
            took.as_secs_f64(),
            self.slowest.0.as_secs_f64(),
            self.slowest.1,
            self.broken
        ));
    }
}

fn outcomes(report: &Report) -> BTreeMap<String, u64> {
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    for entry in report.audit.iter().filter(|entry| entry.kind == "HealingAction") {
        let outcome = |object: Option<&Value>| Some(object?.pointer("/status/outcome")?.as_str()?.to_owned());
        if let (None, Some(ended)) = (outcome(entry.before.as_deref()), outcome(entry.after.as_deref())) {
            *all.entry(ended).or_default() += 1;
        }
    }
    all
}

/// The reasons for which policies said that they do not act.
fn refusals(report: &Report) -> BTreeSet<String> {
    let policies = report.audit.iter().filter(|entry| entry.kind == "HealingPolicy");
    let blocked = policies.filter_map(|entry| entry.after.as_ref()?.pointer("/status/blocked")?.as_array());
    blocked.flatten().filter_map(|one| Some(one.get("reason")?.as_str()?.to_owned())).collect()
}

fn trace(report: &Report) {
    for request in &report.requests {
        say(&request.to_string());
    }
    for entry in report.audit.iter().filter(|entry| !matches!(entry.kind.as_str(), "Lease" | "ReplicaSet")) {
        let by = entry.by.as_ref().map_or("the cluster", |by| &by.name);
        let at = entry.at.strftime("%H:%M:%S%.3f");
        let after = entry.after.as_ref().map_or_else(|| "removed".to_owned(), ToString::to_string);
        match entry.after.as_ref().filter(|_| entry.kind == "Event") {
            // Its name and its time are those of the wall clock.
            Some(event) => say(&format!("{at} {by}: {}", event["note"])),
            None => say(&format!("{at} {by}: {} {}: {after}", entry.kind, entry.name)),
        }
    }
}

/// A closed output is not an error.
fn say(text: &str) {
    let _ = writeln!(stdout().lock(), "{text}");
}
