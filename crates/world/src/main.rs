//! `make try`: the controller that ships heals an app that falls ill in five ways. Everything runs in
//! this process and in virtual time, so half an hour takes a second.

use std::io::{IsTerminal, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use prunella_api::{HealingAction, HealingPolicy};
use prunella_world::{EXAMPLE_POLICIES, Followed, Moment, SCENARIOS, Scenario, Told, World, follow, table};

/// Watch Prunella heal an app, in virtual time: no cluster, no root, no network.
#[derive(Debug, Parser)]
#[command(name = "try")]
struct Args {
    /// A policy of your own, in place of the five examples. The app is the sample app in the namespace `demo`,
    /// with the labels `app: sample-app`. May be given several times.
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// Which fault to cause: memory-leak, errors, not-ready, crash or cpu. Default: all, one after another.
    #[arg(long, value_name = "NAME", value_parser = SCENARIOS.iter().map(|one| one.name).collect::<Vec<_>>())]
    fault: Vec<String>,
    /// The seed: other names, and other delays of requests and pods.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// Print the log of the controller to standard error. Its times are those of this machine.
    #[arg(long)]
    log: bool,
}

/// How long the first evaluations may take, and to calm down after a fault.
const CALM: Duration = Duration::from_mins(20);
/// How long after a fault an action may be awaited.
const PATIENCE: Duration = Duration::from_mins(30);
/// So that all pods are older than the age below which policies leave pods alone.
const BETWEEN_FAULTS: Duration = Duration::from_mins(3);

const HEADER: [&str; 9] = ["FAULT", "POLICY", "ACTION", "VISIBLE", "DETECT", "ACT", "SETTLE", "VERIFY", "OUTCOME"];

fn main() -> ExitCode {
    let args = Args::parse();
    if args.log {
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
            .with_writer(std::io::stderr)
            .init();
    }
    match attempt(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("try: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn attempt(args: &Args) -> Result<()> {
    let own = args
        .policy
        .iter()
        .map(|path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display())));
    let own = own.collect::<Result<Vec<_>>>()?;
    let is_example = own.is_empty();
    let policies: Vec<&str> =
        if is_example { EXAMPLE_POLICIES.to_vec() } else { own.iter().map(String::as_str).collect() };
    let wanted = |scenario: &&Scenario| args.fault.is_empty() || args.fault.iter().any(|name| name == scenario.name);
    let scenarios: Vec<&Scenario> = SCENARIOS.iter().filter(wanted).collect();
    let console = Console::new();
    let began = Instant::now();
    let took = World::run(args.seed, async |world| {
        for policy in policies {
            world.apply(policy)?;
        }
        let mut rows = Vec::new();
        for scenario in scenarios {
            // A policy of one's own may never see its targets healthy, and that is worth watching too.
            match world.until_calm(CALM).await {
                Err(error) if is_example => return Err(error),
                _ => {}
            }
            tokio::time::sleep(BETWEEN_FAULTS).await;
            let heading = if is_example {
                format!("{}: {}", scenario.policy, scenario.fault_name)
            } else {
                scenario.fault_name.to_owned()
            };
            console.stage(world, &heading);
            let followed = follow(world, scenario, PATIENCE, &mut |told| console.moment(told)).await;
            if followed.outcome.is_empty() {
                line(&format!("  no action has ended within {} minutes", PATIENCE.as_secs() / 60));
            }
            world.repair();
            rows.push(row(scenario, &followed));
            if is_example {
                check(scenario, &followed)?;
            }
        }
        line("");
        let header = HEADER.map(str::to_owned).to_vec();
        console.table(&[vec![header], rows].concat());
        for (command, rows) in [
            ("kubectl get healingpolicies -n demo", table::<HealingPolicy>(world)),
            ("kubectl get healingactions -n demo", table::<HealingAction>(world)),
        ] {
            line(&format!("\n  $ {command}"));
            console.table(&rows);
        }
        Ok(world.clock().elapsed())
    })?;
    line(&format!(
        "\n  {} minutes of the cluster in {:.1} s, seed {}. The same on a real cluster: make demo",
        took.as_secs() / 60,
        began.elapsed().as_secs_f64(),
        args.seed
    ));
    Ok(())
}

/// The example policies must do what the demo shows.
fn check(scenario: &Scenario, followed: &Followed) -> Result<()> {
    if followed.outcome != "Succeeded" {
        bail!("{} was not healed: {followed:?}", scenario.fault_name);
    }
    ensure!(followed.policy == scenario.policy, "{} was healed by {}", scenario.fault_name, followed.policy);
    ensure!(followed.actions == 1, "{} actions were taken, expected one", followed.actions);
    Ok(())
}

fn row(scenario: &Scenario, followed: &Followed) -> Vec<String> {
    use Moment::{Acted, Firing, Settled, Verified, Visible};
    let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    vec![
        scenario.fault_name.to_owned(),
        or_none(&followed.policy),
        or_none(&followed.action),
        followed.seconds(None, Visible),
        followed.seconds(Some(Visible), Firing),
        followed.seconds(Some(Firing), Acted),
        followed.seconds(Some(Acted), Settled),
        followed.seconds(Some(Settled), Verified),
        or_none(&followed.outcome),
    ]
}

/// Standard output. Colours only in a terminal, and not if `NO_COLOR` is set.
struct Console {
    colours: bool,
}

impl Console {
    fn new() -> Self {
        let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colours: stdout().is_terminal() && !is_refused }
    }

    /// A heading, with the time of the world.
    fn stage(&self, world: &World, title: &str) {
        let elapsed = world.clock().elapsed().as_secs();
        let at = format!("[{:>2} min {:>2} s]", elapsed / 60, elapsed % 60);
        line(&format!("\n{} {}", self.paint("2", &at), self.paint("1", title)));
    }

    fn moment(&self, told: &Told) {
        let colour = match told.word {
            "fault" | "visible" | "Firing" | "Blocked" => "33",
            "verified" => "32",
            _ => "1",
        };
        // Padded before it is coloured: escape sequences have no width.
        let word = self.paint(colour, &format!("{:<12}", told.word));
        line(&format!("  {:>+7.1} s  {word} {}", told.at.as_secs_f64(), told.what));
    }

    /// A table whose first row is its header. Each column is as wide as its widest cell.
    fn table(&self, rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            let row = cells.collect::<Vec<_>>().join("   ").trim_end().to_owned();
            line(&format!("  {}", if number == 0 { self.paint("1", &row) } else { row }));
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A closed output is not an error.
fn line(text: &str) {
    let _ = writeln!(stdout().lock(), "{text}");
}
