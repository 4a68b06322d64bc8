//! The command line. Errors are one line, `testbed: what is wrong: what to
//! do`, with exit code 1; clap's own have exit code 2.

mod between;
mod cli;
mod print;

use clap::Parser;
use cli::{Cli, Command, ImageCommand, NodeCommand, ServerCommand};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;
use testbed::status::Status;
use testbed::{Fault, ProxyOptions, State, Surroundings, Testbed};
use tokio::signal::unix::{SignalKind, signal};

/// What a shell expects of a program that ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        let outcome = runtime.block_on(run(cli));
        // A thread may still wait for a lock.
        runtime.shutdown_background();
        outcome
    });
    outcome.unwrap_or_else(|error| {
        eprintln!("testbed: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let name = cli.name.as_str();
    match cli.command {
        Command::Up { options, keep_failed } => return up(name, options, keep_failed).await,
        Command::Down => {
            let existed = testbed::down(name).await?;
            eprintln!("{name} {}", if existed { "is down" } else { "was not up" });
        }
        Command::Status => return status(name).await,
        Command::Env { plain } => print::environment(&Testbed::open(name)?, plain)?,
        Command::Image(ImageCommand::Load { image, binary }) => {
            Testbed::open(name)?.load_image(&image, &binary).await?;
            eprintln!("{} is on every node", testbed::image::full_name(&image)?);
        }
        Command::Image(ImageCommand::Save { image, binary, file }) => {
            testbed::image::save(&image, &binary, &file)?;
            print::ways_to_load(&file);
        }
        Command::Node(command) => node(&Testbed::open(name)?, command).await?,
        Command::Server(command) => server(&Testbed::open(name)?, command).await?,
        Command::Logs { server, follow } => {
            let testbed = Testbed::open(name)?;
            testbed.check_server(&server)?;
            print::file(&testbed.layout().log(&server), follow).await?;
        }
        Command::Audit { follow } => print::file(&Testbed::open(name)?.layout().audit_log(), follow).await?,
        Command::Proxy { listen_port, script, uncounted } => {
            between::stand(&Testbed::open(name)?, ProxyOptions { port: listen_port, uncounted }, script).await?;
        }
        Command::Kubectl { args } => {
            return Err(Testbed::open(name)?.kubectl_command().args(args).exec().into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn up(name: &str, options: testbed::Options, keep: bool) -> anyhow::Result<ExitCode> {
    testbed::require_root()?;
    let around = Surroundings::of_process(keep)?;
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        outcome = testbed::up(name, options, &around) => outcome.map(|_| ExitCode::SUCCESS),
        _ = tokio::signal::ctrl_c() => interrupted(name).await,
        _ = terminated.recv() => interrupted(name).await,
    }
}

async fn interrupted(name: &str) -> anyhow::Result<ExitCode> {
    let removed = testbed::interrupted(name).await?;
    eprintln!("interrupted{}", if removed { ", and all that was made is removed" } else { "" });
    Ok(ExitCode::from(INTERRUPTED))
}

async fn status(name: &str) -> anyhow::Result<ExitCode> {
    let others: Vec<_> =
        State::all().into_iter().map(|state| state.layout.name).filter(|other| other != name).collect();
    if !others.is_empty() {
        eprintln!("other testbeds: {}", others.join(", "));
    }
    let status = Status::of(&Testbed::open(name)?).await?;
    println!("{status}");
    Ok(if status.healthy() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn node(testbed: &Testbed, command: NodeCommand) -> anyhow::Result<()> {
    match command {
        NodeCommand::Kill { node } => testbed.node_kill(&node).await,
        NodeCommand::Start { node } => testbed.node_start(&node).await,
        NodeCommand::Exec { node, command } => {
            let words: Vec<_> = command.iter().map(String::as_str).collect();
            print!("{}", testbed.node_exec(&node, &words).await?);
            Ok(())
        }
    }
}

async fn server(testbed: &Testbed, command: ServerCommand) -> anyhow::Result<()> {
    match command {
        ServerCommand::Kill { server } => testbed.fault(&server, Fault::Kill).await,
        ServerCommand::Pause { server } => testbed.fault(&server, Fault::Pause).await,
        ServerCommand::Resume { server } => testbed.fault(&server, Fault::Resume).await,
        ServerCommand::Start { server } => testbed.start(&server).await,
    }
}
