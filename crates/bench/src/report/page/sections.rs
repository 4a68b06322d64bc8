//! The tables of each part.

use crate::environment::policies::QUIET_INTERVAL;
use crate::environment::workloads::TARGET_COUNT;
use crate::measure::latency::{Latency, Spread};
use crate::measure::load::Window;
use crate::measure::memory::{self, Memory};
use crate::report::figures::Range;
use crate::report::run::Run;
use crate::report::text::{line, range};

/// A section for each part that was measured.
pub(super) fn all(runs: &[Run]) -> String {
    let rounds: Vec<_> = runs.iter().filter_map(|run| run.latency.as_deref()).collect();
    let cpu: Vec<_> = runs.iter().filter_map(|run| run.cpu.as_ref()).collect();
    let quiet: Vec<_> = runs.iter().filter_map(|run| run.quiet.as_ref()).collect();
    let memory: Vec<_> = runs.iter().filter_map(|run| run.memory.as_ref()).collect();
    [latency(&rounds), self::cpu(&cpu), self::quiet(&quiet), self::memory(&memory)].concat()
}

/// The spread of a value over runs, with its unit.
fn over<T>(all: &[T], unit: &str, value: impl Fn(&T) -> Option<f64>) -> String {
    Range::of(all.iter().filter_map(value)).map_or_else(|| "not measured".to_owned(), |found| range(found, unit))
}

fn latency(runs: &[&[Latency]]) -> String {
    let Some(newest) = runs.last() else { return String::new() };
    let mut page = String::from("\n## From fault to write\n\n");
    line(
        &mut page,
        "The time from the moment when an exporter shows a fault until the API server has accepted the patch that restarts the\n\
         Deployment. Both paths run in turns on the same Deployments. Each Deployment is scraped every 1 s.\n",
    );
    line(
        &mut page,
        "- classic: a rule that is evaluated every 1 s (`for: 0s`), Alertmanager (`group_wait: 0s`, each fault is its own group), a webhook that patches;",
    );
    line(&mut page, "- Prunella: a policy with `interval: 1s`, `for: 0s` and the action `rolloutRestart`.\n");
    line(
        &mut page,
        &format!(
            "{TARGET_COUNT} policies and {TARGET_COUNT} rules get faults. The other policies, and as many other rules, are quiet and have an interval of {QUIET_INTERVAL}.\n\
             With one fault at a time, the next fault starts when the last one was answered; the rollout of the last one continues meanwhile.\n"
        ),
    );
    line(
        &mut page,
        "| policies | faults at a time | path | faults per run | p50 | p90 | p99 |\n|---|---|---|---|---|---|---|",
    );
    for Latency { policies, at_once, classic, prunella } in *newest {
        let same = |one: &&Latency| one.policies == *policies && one.at_once == *at_once;
        let rounds: Vec<&Latency> = runs.iter().flat_map(|run| run.iter()).filter(same).collect();
        let ours: Vec<&Spread> = rounds.iter().map(|one| &one.prunella).collect();
        let theirs: Vec<&Spread> = rounds.iter().map(|one| &one.classic).collect();
        for (path, faults, spreads) in [("classic", classic.samples, &theirs), ("Prunella", prunella.samples, &ours)] {
            let p50 = over(spreads, "s", |one| Some(one.p50));
            let p90 = over(spreads, "s", |one| Some(one.p90));
            let p99 = over(spreads, "s", |one| Some(one.p99));
            line(&mut page, &format!("| {policies} | {at_once} | {path} | {faults} | {p50} | {p90} | {p99} |"));
        }
    }
    page
}

fn cpu(windows: &[&Window]) -> String {
    let Some(newest) = windows.last() else { return String::new() };
    let mut page = String::from("\n## CPU\n\n");
    let Window { policies, interval_seconds, seconds, .. } = newest;
    line(
        &mut page,
        &format!(
            "{policies} policies, each with its own query and an interval of {interval_seconds} s, for {seconds:.0} s.\n"
        ),
    );
    line(&mut page, "| | |\n|---|---|");
    let mut row = |name: &str, value: String| line(&mut page, &format!("| {name} | {value} |"));
    row("evaluations", over(windows, "", |one| Some(one.evaluations)));
    row(
        "CPU of the controller per 1 000 evaluations, including everything else that it does",
        over(windows, "s", |one| Some(one.controller_per_thousand())),
    );
    row(
        "CPU of Prometheus per 1 000 evaluations, without its scrapes and rules",
        over(windows, "s", |one| Some(one.prometheus_per_thousand())),
    );
    row("CPU of the controller in that time", over(windows, "s", |one| Some(one.controller_cpu)));
    row(
        "CPU of the controller in the same time without policies",
        over(windows, "s", |one| Some(one.controller_cpu_idle)),
    );
    page
}

fn quiet(windows: &[&Window]) -> String {
    let Some(newest) = windows.last() else { return String::new() };
    let mut page = String::from("\n## Quiet policies\n\n");
    let Window { policies, queries, interval_seconds, seconds, .. } = newest;
    line(
        &mut page,
        &format!(
            "{policies} policies with {queries} different queries and an interval of {interval_seconds} s, for {seconds:.0} s.\n"
        ),
    );
    line(&mut page, "| | |\n|---|---|");
    let mut row = |name: &str, value: String| line(&mut page, &format!("| {name} | {value} |"));
    row("policies times hours", over(windows, "", |one| Some(one.policy_hours())));
    row(
        "writes to the API server in that time, except for the Lease",
        over(windows, "", |one| Some(one.writes_per_policy_hour() * one.policy_hours())),
    );
    row("requests to Prometheus per different query and interval", over(windows, "", |one| one.requests_per_query()));
    page
}

fn memory(runs: &[&Memory]) -> String {
    let Some(newest) = runs.last() else { return String::new() };
    let mut page = String::from("\n## Resident memory\n\n");
    let (Memory { pods, policies, .. }, interval) = (newest, memory::INTERVAL);
    line(
        &mut page,
        &format!(
            "The controller's process, including the pages of its program file. All policies are in one namespace and have an interval of {interval}.\n"
        ),
    );
    line(&mut page, "| policies | watched pods | resident | |\n|---|---|---|---|");
    let mb = |value: &dyn Fn(&Memory) -> Option<f64>| over(runs, "MB", |one| value(one).map(|kb| kb / 1000.0));
    let program = mb(&|one| Some(one.program_kb));
    line(&mut page, &format!("| 0 | few | {} | {program} of it are the program file |", mb(&|one| Some(one.idle_kb))));
    let per_pod = over(runs, "kB", |one| Some(one.per_pod()));
    line(&mut page, &format!("| 0 | {pods} | {} | {per_pod} per pod |", mb(&|one| Some(one.with_pods_kb))));
    for (count, _) in policies {
        let kb = |one: &Memory| one.policies.iter().find(|(number, _)| number == count).map(|(_, kb)| *kb);
        let each = |one: &Memory| Some((kb(one)? - one.with_pods_kb) / f64::from(u32::try_from(*count).ok()?));
        let each = over(runs, "kB", |one| each(one));
        line(&mut page, &format!("| {count} | {pods} | {} | {each} per policy |", mb(&kb)));
    }
    let last = policies.last().map_or(0, |(count, _)| *count);
    let restarted = mb(&|one| Some(one.restarted_kb));
    line(&mut page, &format!("| {last} | {pods} | {restarted} | a new process with the same policies and pods |"));
    page
}
