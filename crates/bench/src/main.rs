//! `make bench`: what healing costs, and how soon it comes, beside what people use today.
//!
//! On a testbed of its own: the classic path (Prometheus' rule, Alertmanager, a webhook
//! that makes the same patch) and the controller, by turns; then the controller's use of
//! CPU, requests, writes and memory. The classic path is the yardstick too: when it is
//! not what it is known to be at these settings, the run is invalid, and the exit code
//! tells. Everything is removed at the end, also after a failure or an interruption.

mod args;
mod console;
mod exporter;
mod ground;
mod journal;
mod latency;
mod memory;
mod page;
mod policies;
mod proc;
mod prometheus;
mod report;
mod wait;
mod webhook;
mod window;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Args, Part};
use crate::console::Console;
use crate::report::Report;
use crate::window::Load;

/// What a shell expects of a program that ended by Ctrl-C.
const INTERRUPTED: u8 = 130;
/// The interval of the policies whose evaluations are counted, in seconds.
const BUSY_INTERVAL: u64 = 5;
/// The interval of the policies that share queries, in seconds, and how many share one.
const SHARED_INTERVAL: u64 = 10;
const SHARED_BY: usize = 10;

fn main() -> ExitCode {
    let args = Args::parse();
    let console = Console::begin();
    // Whoever came first has installed the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ended = tokio::runtime::Runtime::new().context("cannot start the async runtime").and_then(|runtime| {
        let ended = runtime.block_on(run(&args, console));
        // A thread may still wait for a lock.
        runtime.shutdown_background();
        ended
    });
    ended.unwrap_or_else(|error| {
        eprintln!("bench: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(args: &Args, console: Console) -> Result<ExitCode> {
    ground::require_fresh(&args.testbed)?;
    let mut terminated = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut report = Report::begin(&args.profile, args.quick);
    let measured = tokio::select! {
        measured = Box::pin(measure(args, console, &mut report)) => Some(measured),
        _ = tokio::signal::ctrl_c() => None,
        _ = terminated.recv() => None,
    };
    if args.keep {
        console.say(&format!("the testbed is left up: testbed down --name {}", args.testbed));
    } else {
        testbed::down(&args.testbed).await.context("the testbed could not be taken down")?;
    }
    let Some(measured) = measured else {
        eprintln!("bench: interrupted");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    report.judge();
    // What was measured before something failed is worth being told.
    report.invalid.extend(measured.err().map(|error| format!("it ended early: {error:#}")));
    tell(args, &report)
}

async fn measure(args: &Args, console: Console, report: &mut Report) -> Result<()> {
    let size = args.size();
    let ground = ground::prepare(args, &console).await?;
    if args.measures(Part::Latency) {
        report.latency = Some(latency::measure(&ground, &size.latency, size.samples, &console).await?);
    }
    let policies = size.policies;
    if args.measures(Part::Cpu) {
        let load = Load { policies, queries: policies, interval_seconds: BUSY_INTERVAL };
        report.cpu = Some(window::measure(&ground, load, size.window, &console).await?);
    }
    if args.measures(Part::Quiet) {
        let load = Load { policies, queries: policies / SHARED_BY, interval_seconds: SHARED_INTERVAL };
        report.quiet = Some(window::measure(&ground, load, size.window, &console).await?);
    }
    // Last, for it fills the cluster.
    if args.measures(Part::Memory) {
        report.memory = Some(memory::measure(&ground, &size.memory, size.pods, &console).await?);
    }
    console.say("measured");
    Ok(())
}

/// Prints and writes the report; the exit code tells whether it is worth anything.
fn tell(args: &Args, report: &Report) -> Result<ExitCode> {
    println!("\n{}", page::page(report));
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(report).context("the report is no JSON")?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.markdown {
        fs::write(path, page::page(report)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if report.invalid.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("bench: the run is invalid: {}", report.invalid.join("; "));
    Ok(ExitCode::FAILURE)
}
