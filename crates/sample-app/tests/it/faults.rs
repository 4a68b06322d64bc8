//! Each fault does what it says, and ends.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::process::{App, eventually, throughout};

const MIB: u64 = 1 << 20;
/// What the service itself may use more or less between two looks.
const SLACK: u64 = 8 * MIB;

#[tokio::test]
async fn memory_grows_to_the_ceiling_and_is_free_after_reset() -> Result<()> {
    let app = App::start().await?;
    let before = app.process.resident()?;
    // Twice: an allocator may keep the second time what it gave back the first.
    for _ in 0..2 {
        app.simulate("memory-leak?rate=200Mi&ceiling=96Mi").await?;
        eventually("96 MiB are leaked", async || Ok(app.simulated().await?[0]["leaked_bytes"] == 96 * MIB)).await?;
        let ceiling = before + 96 * MIB;
        throughout(Duration::from_millis(300), "memory is at the ceiling", async || {
            let resident = app.process.resident()?;
            Ok((ceiling - SLACK..ceiling + SLACK).contains(&resident))
        })
        .await?;
        let told = app.metric("process_resident_memory_bytes").await?;
        ensure!(told.parse::<u64>()? > 96 * MIB, "the metric says {told}");
        app.simulate("reset").await?;
        let after = app.process.resident()?;
        ensure!(after < before + SLACK, "{before} bytes before, {after} after reset");
        ensure!(app.metric("sample_app_leaked_bytes").await? == "0");
    }
    Ok(())
}

#[tokio::test]
async fn memory_stops_growing_with_the_duration_and_stays() -> Result<()> {
    let app = App::start().await?;
    app.simulate("memory-leak?rate=100Mi&duration=300ms").await?;
    eventually("30 MiB are leaked", async || Ok(app.metric("sample_app_leaked_bytes").await? == "31457280")).await?;
    throughout(Duration::from_millis(300), "it stays at 30 MiB", async || {
        Ok(app.simulated().await?[0]["leaked_bytes"] == 30 * MIB)
    })
    .await
}

#[tokio::test]
async fn the_processor_is_used_by_the_share_asked_and_no_longer() -> Result<()> {
    let app = App::start().await?;
    let (began, before) = (Instant::now(), app.process.ticks()?);
    app.simulate("cpu?percentage=30&threads=2").await?;
    eventually("a second of processor time is used", async || Ok(app.process.ticks()? - before >= 100)).await?;
    // 60 % of a core; it may get less on a busy machine, but never much more.
    ensure!(began.elapsed() > Duration::from_millis(1200), "a second was used in {:?}", began.elapsed());

    app.simulate("cpu?percentage=100&duration=200ms").await?;
    eventually("the duration is over", async || Ok(app.simulated().await? == json!([]))).await?;
    let after = app.process.ticks()?;
    throughout(Duration::from_millis(500), "the processor is idle", async || Ok(app.process.ticks()? - after < 20))
        .await
}

#[tokio::test]
async fn the_share_of_errors_is_exact_and_ends_with_the_duration() -> Result<()> {
    let app = App::start().await?;
    app.simulate("errors?percentage=25").await?;
    let mut failed = 0;
    for _ in 0..40 {
        failed += u32::from(app.get("/").await? == 500);
    }
    ensure!(failed == 10, "{failed} of 40 failed");
    ensure!(app.metric(r#"http_requests_total{code="500",method="GET",path="/"}"#).await? == "10");
    ensure!(app.get("/healthz").await? == 200);

    app.simulate("errors?duration=100ms").await?;
    eventually("it answers again", async || Ok(app.get("/").await? == 200)).await?;
    ensure!(app.simulated().await? == json!([]));
    Ok(())
}

#[tokio::test]
async fn latency_is_added_to_its_share_of_requests() -> Result<()> {
    let app = App::start().await?;
    app.simulate("latency?delay=600ms&percentage=50").await?;
    for slow in [false, true, false, true] {
        let began = Instant::now();
        ensure!(app.get("/").await? == 200);
        let took = began.elapsed();
        ensure!((took >= Duration::from_millis(600)) == slow, "took {took:?}, slow: {slow}");
    }
    let bucket = r#"http_request_duration_seconds_bucket{le="0.5",code="200",method="GET",path="/"}"#;
    ensure!(app.metric(bucket).await? == "2");
    Ok(())
}

#[tokio::test]
async fn a_crash_is_answered_and_then_ends_the_process_with_its_code() -> Result<()> {
    let mut app = App::start().await?;
    let told = app.simulate("crash?code=7").await?;
    ensure!(told[0]["fault"] == "crash" && told[0]["code"] == 7, "{told}");
    ensure!(app.process.ended().await?.code() == Some(7));
    Ok(())
}

#[tokio::test]
async fn a_crash_that_was_reset_does_not_come() -> Result<()> {
    let app = App::start().await?;
    app.simulate("crash?delay=300ms").await?;
    app.simulate("reset").await?;
    throughout(Duration::from_millis(600), "it lives", async || Ok(app.get("/healthz").await? == 200)).await
}

#[tokio::test]
async fn not_ready_concerns_readiness_alone() -> Result<()> {
    let app = App::start().await?;
    ensure!(app.get("/readyz").await? == 200);
    app.simulate("not-ready").await?;
    for (path, code) in [("/readyz", 503), ("/healthz", 200), ("/startupz", 200), ("/", 200)] {
        ensure!(app.get(path).await? == code, "{path}");
    }
    ensure!(app.metric(r#"sample_app_fault_active{fault="not-ready"}"#).await? == "1");
    app.simulate("reset").await?;
    ensure!(app.get("/readyz").await? == 200);
    Ok(())
}

#[tokio::test]
async fn a_deadlock_leaves_root_and_liveness_without_an_answer() -> Result<()> {
    let app = App::start().await?;
    app.simulate("deadlock").await?;
    for path in ["/", "/healthz"] {
        let hung = app.request(path).timeout(Duration::from_millis(300)).send().await;
        ensure!(hung.is_err_and(|error| error.is_timeout()), "{path} was answered");
    }
    for path in ["/readyz", "/startupz", "/metrics", "/simulate"] {
        ensure!(app.get(path).await? == 200, "{path}");
    }
    eventually("the client that left is counted", async || {
        Ok(app.metric(r#"http_requests_total{code="499",method="GET",path="/"}"#).await? == "1")
    })
    .await?;

    // Whoever still waits is let go by the reset.
    let waiting = tokio::spawn(app.request("/").send());
    throughout(Duration::from_millis(100), "it waits", async || Ok(!waiting.is_finished())).await?;
    app.simulate("reset").await?;
    ensure!(waiting.await??.status() == 200);
    Ok(())
}

#[tokio::test]
async fn a_deadlock_ends_with_its_duration() -> Result<()> {
    let app = App::start().await?;
    app.simulate("deadlock?duration=300ms").await?;
    let began = Instant::now();
    ensure!(app.get("/healthz").await? == 200);
    ensure!(began.elapsed() > Duration::from_millis(200), "it hung for {:?}", began.elapsed());
    Ok(())
}

#[tokio::test]
async fn the_gauge_is_set_and_goes_back() -> Result<()> {
    let app = App::start().await?;
    app.simulate("gauge?value=42.5").await?;
    ensure!(app.metric("sample_app_gauge").await? == "42.5");
    app.simulate("gauge?value=-1").await?;
    ensure!(app.metric("sample_app_gauge").await? == "-1.0");
    app.simulate("reset").await?;
    ensure!(app.metric("sample_app_gauge").await? == "0.0");
    Ok(())
}
