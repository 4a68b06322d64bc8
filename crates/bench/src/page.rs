//! `docs/performance.md`, from a report.

use std::fmt::Write as _;

use crate::latency::Latency;
use crate::memory::{self, Memory};
use crate::policies::{PATIENT_COUNT, QUIET_INTERVAL};
use crate::proc::Machine;
use crate::report::Report;
use crate::window::Window;

/// What the figures do not say by themselves; written by people.
const NOTES: &str = include_str!("notes.md");

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let mut page = String::from("# Performance\n\n");
    let Report { date, version, profile, quick, machine, latency, cpu, quiet, memory, bounds: _, invalid } = report;
    let Machine { cores, processor, memory_gib, kernel, load_before } = machine;
    line(
        &mut page,
        "`make bench` measures all of this on one machine and writes this page and [performance.json](performance.json).\n",
    );
    line(
        &mut page,
        &format!(
            "Version {version} (profile `{profile}`), {date}, {cores} cores ({processor}), {memory_gib:.0} GiB, Linux {kernel}; load before: {load_before}."
        ),
    );
    let valid = if invalid.is_empty() {
        "The run is valid.".to_owned()
    } else {
        format!("**The run is invalid:** {}.", invalid.join("; "))
    };
    let quick = if *quick { " It was a quick one, not to be cited." } else { "" };
    line(&mut page, &format!("{valid}{quick}\n"));
    page.push_str(&bounds(report));
    page.extend(latency.as_ref().map(|latency| self::latency(latency)));
    page.extend(cpu.as_ref().map(self::cpu));
    page.extend(quiet.as_ref().map(self::quiet));
    page.extend(memory.as_ref().map(self::memory));
    page.push('\n');
    page.push_str(NOTES);
    page
}

/// The bounds, as a table.
pub(crate) fn bounds(report: &Report) -> String {
    let mut page = String::from("| | measured | at most | |\n|---|---|---|---|\n");
    for bound in &report.bounds {
        let met = if bound.met { "met" } else { "**missed**" };
        let (measured, unit) = (figure(bound.measured), bound.unit);
        line(&mut page, &format!("| {} | {measured} {unit} | {} {unit} | {met} |", bound.what, figure(bound.at_most)));
    }
    page
}

fn latency(rounds: &[Latency]) -> String {
    let mut page = String::from("\n## From fault to write\n\n");
    line(
        &mut page,
        "From the instant at which an exporter shows a fault to the API server's having taken the patch that restarts the",
    );
    line(&mut page, "Deployment. Both paths by turns on the same Deployments, each scraped every second:\n");
    line(
        &mut page,
        "- classic: a rule evaluated every 1 s (`for: 0s`), Alertmanager (`group_wait: 0s`, each fault a group of its own), a webhook that patches;",
    );
    line(&mut page, "- ours: a policy with `interval: 1s`, `for: 0s` and the action `rolloutRestart`.\n");
    line(
        &mut page,
        &format!(
            "{PATIENT_COUNT} of the policies, and as many rules, have faults to deal with; the others, and as many rules, are quiet, at an interval of {QUIET_INTERVAL}. Where one fault comes at a time the next begins when the last was answered: its rollout goes on meanwhile.\n"
        ),
    );
    line(&mut page, "| policies | faults at once | path | faults | p50 | p90 | p99 |\n|---|---|---|---|---|---|---|");
    for Latency { policies, at_once, classic, ours } in rounds {
        for (path, spread) in [("classic", classic), ("ours", ours)] {
            let (p50, p90, p99) = (figure(spread.p50), figure(spread.p90), figure(spread.p99));
            let faults = spread.samples;
            line(&mut page, &format!("| {policies} | {at_once} | {path} | {faults} | {p50} s | {p90} s | {p99} s |"));
        }
    }
    page
}

fn cpu(window: &Window) -> String {
    let mut page = String::from("\n## CPU\n\n");
    let Window { policies, interval_seconds, seconds, evaluations, controller_cpu, controller_cpu_idle, .. } = window;
    line(
        &mut page,
        &format!(
            "{policies} policies with a query each, judged every {interval_seconds} s, over {seconds:.0} s: {evaluations:.0} evaluations.\n"
        ),
    );
    line(&mut page, "| CPU seconds for 1 000 evaluations | |\n|---|---|");
    line(&mut page, &format!("| controller, all that it does | {} s |", figure(window.controller_per_thousand())));
    line(
        &mut page,
        &format!("| Prometheus, on top of its scrapes and rules | {} s |", figure(window.prometheus_per_thousand())),
    );
    line(
        &mut page,
        &format!(
            "\nThe controller used {} s in that time, and {} s in the same time without policies.",
            figure(*controller_cpu),
            figure(*controller_cpu_idle)
        ),
    );
    page
}

fn quiet(window: &Window) -> String {
    let mut page = String::from("\n## Quiet policies\n\n");
    let Window { policies, queries, interval_seconds, seconds, writes, .. } = window;
    line(
        &mut page,
        &format!(
            "{policies} policies with {queries} different queries, judged every {interval_seconds} s, over {seconds:.0} s.\n"
        ),
    );
    line(&mut page, "| | |\n|---|---|");
    line(
        &mut page,
        &format!(
            "| writes to the API server, other than the Lease, in {} policy hours | {} |",
            figure(window.policy_hours()),
            writes.len()
        ),
    );
    line(
        &mut page,
        &format!(
            "| requests to Prometheus for each different query and interval | {} |",
            figure(window.requests_per_query())
        ),
    );
    page
}

fn memory(memory: &Memory) -> String {
    let mut page = String::from("\n## Resident memory\n\n");
    let Memory { idle_kb, program_kb, pods, with_pods_kb, policies, restarted_kb } = memory;
    let interval = memory::INTERVAL;
    line(
        &mut page,
        &format!(
            "Of the controller's process, its program's pages included. Policies are judged every {interval}, all in one namespace.\n"
        ),
    );
    line(&mut page, "| policies | pods watched | resident | |\n|---|---|---|---|");
    let mb = |kb: f64| format!("{:.1} MB", kb / 1000.0);
    line(&mut page, &format!("| 0 | few | {} | of which {} are the program itself |", mb(*idle_kb), mb(*program_kb)));
    line(&mut page, &format!("| 0 | {pods} | {} | {} kB a pod |", mb(*with_pods_kb), figure(memory.per_pod())));
    for (count, kb) in policies {
        let each = (kb - with_pods_kb) / f64::from(u32::try_from(*count).unwrap_or(u32::MAX));
        line(&mut page, &format!("| {count} | {pods} | {} | {} kB a policy |", mb(*kb), figure(each)));
    }
    let last = policies.last().map_or(0, |(count, _)| *count);
    line(&mut page, &format!("| {last} | {pods} | {} | a new process that finds them there |", mb(*restarted_kb)));
    page
}

/// Three digits that mean something.
fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

fn line(page: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(page, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_mean_something() {
        for (value, expected) in [(0.0, "0"), (0.0312, "0.031"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1234")] {
            assert_eq!(figure(value), expected);
        }
    }

    #[test]
    fn what_was_not_measured_has_no_section_and_what_is_invalid_says_so() {
        let mut report = Report::begin("dist", false);
        report.invalid.push("a reason".to_owned());
        let page = page(&report);
        assert!(page.contains("**The run is invalid:** a reason."), "{page}");
        assert!(!page.contains("## CPU") && !page.contains("## Resident memory"), "{page}");
    }
}
