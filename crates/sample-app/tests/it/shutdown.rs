//! An end that is asked for: first not ready, then drained, then exit 0.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::process::{App, DEADLINE, eventually, throughout};

#[tokio::test]
async fn it_serves_on_but_is_not_ready_and_then_exits_well() -> Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut app = App::start_with(&["--shutdown-delay", "500ms"]).await?;
        app.process.signal(signal)?;
        eventually("it is not ready", async || Ok(app.get("/readyz").await? == 503)).await?;
        ensure!(app.get("/").await? == 200);
        ensure!(app.process.ended().await?.code() == Some(0), "{signal}");
    }
    Ok(())
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_end() -> Result<()> {
    let mut app = App::start().await?;
    app.simulate("latency?delay=600ms").await?;
    let waiting = tokio::spawn(app.request("/").send());
    throughout(Duration::from_millis(200), "it waits", async || Ok(!waiting.is_finished())).await?;
    app.process.signal(Signal::SIGTERM)?;
    ensure!(waiting.await??.status() == 200);
    ensure!(app.process.ended().await?.code() == Some(0));
    Ok(())
}

#[tokio::test]
async fn a_request_that_hangs_does_not_hold_up_the_end() -> Result<()> {
    let mut app = App::start_with(&["--drain", "200ms"]).await?;
    app.simulate("deadlock").await?;
    let waiting = tokio::spawn(app.request("/").send());
    throughout(Duration::from_millis(200), "it waits", async || Ok(!waiting.is_finished())).await?;
    let began = Instant::now();
    app.process.signal(Signal::SIGTERM)?;
    ensure!(app.process.ended().await?.code() == Some(0));
    // Well before the client would give up, which ends the drain too.
    ensure!(began.elapsed() < DEADLINE / 3, "it took {:?}", began.elapsed());
    ensure!(waiting.await?.is_err());
    Ok(())
}
