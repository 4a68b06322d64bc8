//! `make bench`: the cost and the speed of healing, next to the path that most people use
//! today.
//!
//! The bench starts its own testbed. It measures the classic path (a Prometheus rule,
//! Alertmanager and a webhook that sends the same patch) and the controller in turns. Then
//! it measures the controller's CPU, requests, writes and memory. The classic path is also
//! the reference: if it is not as fast as expected at these settings, the run is invalid
//! and the exit code is not 0. The testbed is removed at the end, even after a failure or
//! an interruption.
//!
//! Modules only use modules of the lines above their own:
//! ```text
//! console  machine  path  wait      primitives
//! environment                       testbed, controller, logs
//! measure                           measurements
//! report                            runs, figures, page
//! args  main                        command line
//! ```

mod args;
mod console;
mod environment;
mod machine;
mod measure;
mod path;
mod report;
mod wait;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Args, Part};
use crate::console::Console;
use crate::environment::Environment;
use crate::measure::load::Load;
use crate::measure::timeline::FaultTimeline;
use crate::measure::{latency, load, memory};
use crate::report::run::Run;
use crate::report::{page, runs, timeline};

/// The exit code that shells expect after Ctrl-C.
const INTERRUPTED: u8 = 130;
/// The interval of the policies whose evaluations are counted, in seconds.
const BUSY_INTERVAL: u64 = 5;
/// The interval of the policies that share queries, in seconds.
const SHARED_INTERVAL: u64 = 10;
/// How many policies share a query.
const SHARED_BY: usize = 10;

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = if args.page_only { write_page(&args).map(|()| ExitCode::SUCCESS) } else { measure_and_report(&args) };
    ended.unwrap_or_else(|error| {
        eprintln!("bench: {error:#}");
        ExitCode::FAILURE
    })
}

fn measure_and_report(args: &Args) -> Result<ExitCode> {
    let console = Console::start();
    // An error means that another part of the process has installed the same provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    let ended = runtime.block_on(run(args, console));
    // Does not wait for threads that are blocked on a file lock.
    runtime.shutdown_background();
    ended
}

async fn run(args: &Args, console: Console) -> Result<ExitCode> {
    environment::require_unused(&args.testbed)?;
    // Fails before the measurement if the file cannot be used.
    args.json.as_deref().map(runs::read).transpose()?;
    let mut terminated = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut run = Run::start(&args.profile, args.quick);
    let mut timelines = Vec::new();
    let measured = tokio::select! {
        measured = Box::pin(measure(args, console, &mut run, &mut timelines)) => Some(measured),
        _ = tokio::signal::ctrl_c() => None,
        _ = terminated.recv() => None,
    };
    if args.keep {
        console.print(&format!("the testbed is still running; remove it with: testbed down --name {}", args.testbed));
    } else {
        testbed::down(&args.testbed).await.context("cannot remove the testbed")?;
    }
    let Some(measured) = measured else {
        eprintln!("bench: interrupted");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    run.finish(measured.err().map(|error| format!("{error:#}")));
    if !timelines.is_empty() {
        println!("\n{}", timeline::timeline(&timelines));
    }
    report(args, run)
}

async fn measure(args: &Args, console: Console, run: &mut Run, timelines: &mut Vec<FaultTimeline>) -> Result<()> {
    let size = args.size();
    let environment = Environment::start(&args.testbed, args.controller.clone(), &console).await?;
    if args.measures(Part::Latency) {
        let measured = latency::measure(&environment, &size.latency, size.samples, args.timeline, &console).await?;
        run.latency = Some(measured.rounds);
        *timelines = measured.timelines;
    }
    let policies = size.policies;
    if args.measures(Part::Cpu) {
        let load = Load { policies, queries: policies, interval_seconds: BUSY_INTERVAL };
        run.cpu = Some(load::measure(&environment, load, size.window, &console).await?);
    }
    if args.measures(Part::Quiet) {
        let load = Load { policies, queries: policies / SHARED_BY, interval_seconds: SHARED_INTERVAL };
        run.quiet = Some(load::measure(&environment, load, size.window, &console).await?);
    }
    // The last part, because it fills the cluster.
    if args.measures(Part::Memory) {
        run.memory = Some(memory::measure(&environment, &size.memory, size.pods, &console).await?);
    }
    console.print("all parts are measured");
    Ok(())
}

/// Prints the run, and keeps it if it is whole and valid.
fn report(args: &Args, run: Run) -> Result<ExitCode> {
    println!("\n{}", page::page(std::slice::from_ref(&run)));
    if !run.valid {
        eprintln!("bench: the run is invalid: {}", run.invalid.join("; "));
        return Ok(ExitCode::FAILURE);
    }
    let Some(path) = &args.json else { return Ok(ExitCode::SUCCESS) };
    if args.timeline || !run.is_whole() {
        eprintln!("bench: the run is not kept: only whole runs without --quick, --only and --timeline are");
        return Ok(ExitCode::SUCCESS);
    }
    keep(path, run)?;
    write_page(args)?;
    Ok(ExitCode::SUCCESS)
}

fn keep(path: &Path, run: Run) -> Result<()> {
    let mut kept = runs::read(path)?;
    runs::keep(&mut kept, run);
    println!("{} runs are kept in {}:\n{}", kept.len(), path.display(), page::bounds(&kept));
    runs::write(path, &kept)
}

/// Writes the page of the kept runs.
fn write_page(args: &Args) -> Result<()> {
    let (Some(json), Some(markdown)) = (&args.json, &args.markdown) else { return Ok(()) };
    let page = page::page(&runs::read(json)?);
    fs::write(markdown, page).with_context(|| format!("cannot write {}", markdown.display()))
}
