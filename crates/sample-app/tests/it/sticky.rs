//! What outlives the process, and what does not.

use std::path::Path;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::tempdir;

use crate::process::{App, Process};

async fn restart(mut app: App, folder: &Path) -> Result<App> {
    app.process.signal(Signal::SIGKILL)?;
    app.process.ended().await?;
    App::start_sticky(folder).await
}

#[tokio::test]
async fn a_sticky_fault_survives_a_restart_and_others_do_not() -> Result<()> {
    let folder = tempdir()?;
    let app = App::start_sticky(folder.path()).await?;
    app.simulate("not-ready?sticky=true&duration=1h").await?;
    app.simulate("gauge?value=42&sticky=true").await?;
    app.simulate("errors").await?;

    let app = restart(app, folder.path()).await?;
    ensure!(app.get("/readyz").await? == 503);
    ensure!(app.metric("sample_app_gauge").await? == "42.0");
    ensure!(app.get("/").await? == 200);

    // Asked again without sticky, it is one of those that do not.
    app.simulate("gauge?value=7").await?;
    let app = restart(app, folder.path()).await?;
    ensure!(app.metric("sample_app_gauge").await? == "0.0");
    ensure!(app.get("/readyz").await? == 503);

    app.simulate("reset").await?;
    ensure!(std::fs::read_dir(folder.path())?.next().is_none(), "reset left a file");
    let app = restart(app, folder.path()).await?;
    ensure!(app.simulated().await? == json!([]));
    Ok(())
}

#[tokio::test]
async fn a_sticky_leak_grows_again() -> Result<()> {
    let folder = tempdir()?;
    let app = App::start_sticky(folder.path()).await?;
    app.simulate("memory-leak?rate=100Mi&ceiling=64Mi&sticky=true").await?;
    let app = restart(app, folder.path()).await?;
    crate::process::eventually("64 MiB are leaked", async || Ok(app.process.resident()? > 64 << 20)).await
}

#[tokio::test]
async fn a_sticky_crash_comes_after_every_start() -> Result<()> {
    let folder = tempdir()?;
    let mut app = App::start_sticky(folder.path()).await?;
    app.simulate("crash?code=3&sticky=true").await?;
    for _ in 0..2 {
        ensure!(app.process.ended().await?.code() == Some(3));
        app = App::start_sticky(folder.path()).await?;
    }
    ensure!(app.process.ended().await?.code() == Some(3));
    Ok(())
}

#[tokio::test]
async fn sticky_without_a_folder_is_refused() -> Result<()> {
    let app = App::start().await?;
    let (code, answer) = app.post("errors?sticky=true").await?;
    ensure!(code == 400 && answer["error"].to_string().contains("STATE_DIR"), "{code} {answer}");
    ensure!(app.simulated().await? == json!([]));
    Ok(())
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_leaves_things_as_they_are() -> Result<()> {
    let folder = tempdir()?;
    let app = App::start_sticky(&folder.path().join("gone")).await?;
    let (code, answer) = app.post("errors?sticky=true").await?;
    ensure!(code == 500 && answer["error"].to_string().contains("writable volume"), "{code} {answer}");
    ensure!(app.get("/").await? == 200);
    Ok(())
}

#[tokio::test]
async fn a_state_file_that_is_not_understood_stops_the_start() -> Result<()> {
    let folder = tempdir()?;
    std::fs::write(folder.path().join("faults.json"), "half a fi")?;
    let folder = folder.path().display().to_string();
    let mut process = Process::start(&["serve", "--state-dir", &folder])?;
    ensure!(!process.ended().await?.success());
    Ok(())
}
