//! A small HTTP service that fails on demand, and the traffic to see it fail by.
//!
//! `sample-app` (or `sample-app serve`) answers requests and simulates faults
//! when asked on `POST /simulate/{fault}`. `sample-app load` makes steady
//! traffic and prints what it saw. Both end promptly on SIGTERM and SIGINT.
//!
//! A fault ends with the process, unless it was asked to be sticky: then it is
//! kept in a file and a restart does not help.

mod app;
mod board;
mod cli;
mod fault;
mod lifecycle;
mod load;
mod metrics;
mod parameters;
mod plain_http;
mod probes;
mod quantity;
mod resident;
mod root;
mod say;
mod serve;
mod simulate;
mod simulator;
mod state_file;
mod termination;
mod upstream;
mod worker;

use anyhow::Context;
use clap::Parser;

use crate::cli::{Cli, Command};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Only plain HTTP is spoken here, but the client library is built for the
    // whole workspace without a TLS provider and asks for one when it starts.
    // An error says that one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();

    match Cli::parse().into_command() {
        Command::Serve(args) => serve::run(args).await.context("cannot serve"),
        Command::Load(args) => load::run(args).await,
    }
}
