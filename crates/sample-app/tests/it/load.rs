//! The load: steady, bounded, and what it prints.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::process::{App, Process};

/// The `name=value` counts in a line.
fn counts(line: &str) -> BTreeMap<String, u64> {
    let pairs = line.split(' ').filter_map(|word| word.split_once('='));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

#[tokio::test]
async fn it_counts_what_it_sent_and_saw_by_code() -> Result<()> {
    let app = App::start().await?;
    app.simulate("errors?percentage=50").await?;
    let mut load =
        Process::start(&["load", "--url", &app.url, "--rps", "50", "--duration", "2s", "--report", "500ms"])?;
    let window = load.line_with("last 500ms").await?;
    ensure!(counts(&window)["sent"] > 0 && window.contains(" p50=") && window.contains(" p99="), "{window}");
    let total = load.line_with("total").await?;
    let seen = counts(&total);
    // 100 are due; the first at once, and a busy machine may lose some.
    let sent = seen["sent"];
    ensure!((80..=101).contains(&sent), "{total}");
    ensure!(seen["code.200"] + seen["code.500"] == sent && seen["code.500"] == sent / 2, "{total}");
    ensure!(load.ended().await?.code() == Some(0));
    Ok(())
}

#[tokio::test]
async fn it_says_so_when_nothing_ever_answered() -> Result<()> {
    let mut gone = App::start().await?;
    gone.simulate("crash").await?;
    gone.process.ended().await?;
    let mut load = Process::start(&["load", "--url", &gone.url, "--rps", "20", "--duration", "300ms"])?;
    let total = load.line_with("total").await?;
    ensure!(counts(&total)["error.connect"] == counts(&total)["sent"], "{total}");
    ensure!(load.ended().await?.code() == Some(1));
    Ok(())
}

#[tokio::test]
async fn it_stops_at_once_when_told_and_sums_up() -> Result<()> {
    let app = App::start().await?;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut load = Process::start(&["load", "--url", &app.url, "--rps", "20", "--report", "300ms"])?;
        load.line_with("last").await?;
        load.signal(signal)?;
        let total = load.line_with("total").await?;
        ensure!(counts(&total)["code.200"] > 0, "{total}");
        ensure!(load.ended().await?.code() == Some(0), "{signal}");
    }
    Ok(())
}

#[tokio::test]
async fn requests_in_flight_are_bounded_and_the_rest_is_counted() -> Result<()> {
    let app = App::start().await?;
    app.simulate("deadlock").await?;
    let args = ["--rps", "50", "--duration", "1s", "--concurrency", "4", "--timeout", "5s", "--report", "400ms"];
    let mut load = Process::start(&[&["load", "--url", &app.url], &args[..]].concat())?;
    let window = load.line_with("last").await?;
    ensure!(counts(&window)["sent"] == 4 && counts(&window)["skipped"] > 4, "{window}");
    // What hangs is let go, and is waited for.
    app.simulate("reset").await?;
    let total = load.line_with("total").await?;
    ensure!(counts(&total)["code.200"] == counts(&total)["sent"], "{total}");
    ensure!(load.ended().await?.code() == Some(0));
    Ok(())
}

#[tokio::test]
async fn a_request_without_an_answer_is_a_timeout() -> Result<()> {
    let app = App::start().await?;
    app.simulate("deadlock").await?;
    let mut load = Process::start(&["load", "--url", &app.url, "--duration", "500ms", "--timeout", "200ms"])?;
    let total = load.line_with("total").await?;
    let timeouts = counts(&total).get("error.timeout").copied().context("no timeouts")?;
    ensure!(timeouts == counts(&total)["sent"], "{total}");
    ensure!(load.ended().await?.code() == Some(1), "after {:?}", Duration::from_millis(500));
    Ok(())
}

#[tokio::test]
async fn a_wrong_flag_is_refused_with_the_mend() -> Result<()> {
    for args in [["--url", "https://web"], ["--url", "web:8080"]] {
        let mut load = Process::start(&[&["load"], &args[..]].concat())?;
        ensure!(load.ended().await?.code() == Some(2), "{args:?}");
    }
    Ok(())
}
