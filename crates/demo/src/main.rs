//! `make demo`: starts a cluster, installs the controller, breaks an app in five ways, one
//! after another, and prints what happens from each fault to the verified action.
//!
//! The exit code is 0 only if each fault was healed by exactly one action that succeeded, and
//! nothing else was changed. The demo removes what it created, also when it fails or is
//! interrupted, unless `--keep` is given.

mod args;
mod autopsy;
mod calm;
mod console;
mod ground;
mod heal;
mod install;
mod kubectl;
mod policies;
mod prometheus;
mod remedy;
mod report;
mod scenario;
mod story;
mod undo;
mod verdict;
mod watch;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Args;
use crate::console::Console;
use crate::ground::Ground;
use crate::prometheus::Prometheus;
use crate::scenario::{SCENARIOS, Scenario};
use crate::undo::Undo;

/// The exit code of a program that ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let args = Args::parse();
    let console = Console::of_process();
    // Fails only if the same provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ended = tokio::runtime::Runtime::new().context("cannot start the async runtime").and_then(|runtime| {
        let ended = runtime.block_on(run(&args, &console));
        // A thread may still be waiting for a lock.
        runtime.shutdown_background();
        ended
    });
    ended.unwrap_or_else(|error| {
        console.failure(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

async fn run(args: &Args, console: &Console) -> Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let undo = Undo::default();
    let shown = tokio::select! {
        shown = show(args, console, &undo) => Some(shown),
        _ = tokio::signal::ctrl_c() => None,
        _ = terminated.recv() => None,
    };
    if shown.is_none() {
        console.failure("interrupted");
    }
    let removed = if args.keep {
        console.kept(&undo.list());
        Ok(())
    } else {
        undo.all(console).await.context("the cleanup is not complete")
    };
    // The last line is the result.
    Ok(match shown.map(|shown| shown.and(removed)) {
        Some(Ok(())) => {
            console.success("every fault was healed, and nothing else was changed");
            ExitCode::SUCCESS
        }
        Some(Err(error)) => {
            console.failure(&format!("{error:#}"));
            ExitCode::FAILURE
        }
        None => ExitCode::from(INTERRUPTED),
    })
}

async fn show(args: &Args, console: &Console, undo: &Undo) -> Result<()> {
    let ground = ground::prepare(args, console, undo).await?;
    let shown = heal_all(args, console, undo, &ground).await;
    if shown.is_err() {
        autopsy::print(&ground, console).await;
    }
    shown
}

async fn heal_all(args: &Args, console: &Console, undo: &Undo, ground: &Ground) -> Result<()> {
    install::controller(ground, console, undo).await?;
    install::sample_app(ground, console, undo).await?;
    policies::apply(ground, console).await?;
    let prometheus = policies::prometheus(ground, console).await?;
    if args.scale_controller_to_zero {
        install::stop_controller(ground, console, undo).await?;
    }
    let mut rows = Vec::new();
    let mut ended = Ok(());
    for scenario in SCENARIOS.iter().filter(|scenario| args.shows(scenario)) {
        match one(console, ground, prometheus.as_ref(), scenario).await {
            Ok(row) => rows.push(row),
            Err(error) => {
                ended = Err(error.context(scenario.fault_name));
                break;
            }
        }
    }
    if !rows.is_empty() {
        console.table(&report::HEADER, &rows);
    }
    ended?;
    report::further_commands(ground, console).await
}

async fn one(
    console: &Console,
    ground: &Ground,
    prometheus: Option<&Prometheus>,
    scenario: &Scenario,
) -> Result<report::Row> {
    let policy = policies::of(scenario)?;
    calm::wait(ground, prometheus, scenario).await?;
    let before = verdict::look(ground).await?;
    let healed = heal::break_and_follow(ground, console, prometheus, scenario, &policy, &before).await?;
    verdict::check(ground, console, &policy, &before, &healed).await?;
    Ok(report::row(scenario, &healed))
}
