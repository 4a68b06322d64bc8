//! What is answered when nothing is wrong, when the request is, and when the
//! upstream is.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::process::{App, eventually};

#[tokio::test]
async fn every_endpoint_answers() -> Result<()> {
    let app = App::start_with(&["--name", "web-0"]).await?;
    for path in ["/", "/healthz", "/readyz", "/startupz", "/metrics", "/simulate"] {
        ensure!(app.get(path).await? == 200, "{path}");
    }
    let root: Value = app.request("/").send().await?.json().await?;
    ensure!(root["name"] == "web-0" && root["version"] == env!("CARGO_PKG_VERSION"), "{root}");
    ensure!(app.get("/nothing").await? == 404);
    ensure!(app.get("/simulate/errors").await? == 405);
    Ok(())
}

#[tokio::test]
async fn a_bad_request_is_refused_with_the_mend_and_changes_nothing() -> Result<()> {
    let app = App::start().await?;
    for (asked, code, mend) in [
        ("errors?percent=5", 400, "known here: percentage, duration, sticky"),
        ("errors?percentage=0", 400, "from 0.01 to 100"),
        ("errors?percentage=5&percentage=6", 400, "give it once"),
        ("memory-leak?rate=fast", 400, "such as 10Mi"),
        ("latency?delay=5", 400, "such as 30s"),
        ("gauge", 400, "?value=42"),
        ("reset?duration=1s", 400, "known here: none"),
        ("flood", 404, "there are memory-leak"),
    ] {
        let (got, answer) = app.post(asked).await?;
        let why = answer["error"].as_str().unwrap_or_default();
        ensure!(got == code && why.contains(mend), "{asked}: {got} {why}");
    }
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
    let in_body = client.post(format!("{}/simulate/errors", app.url)).body("percentage=5").send().await?;
    ensure!(in_body.status() == 400);
    ensure!(app.simulated().await? == json!([]));
    Ok(())
}

#[tokio::test]
async fn an_answer_tells_all_that_is_simulated() -> Result<()> {
    let app = App::start().await?;
    app.simulate("errors?percentage=12.5&duration=90s").await?;
    let told = app.simulate("deadlock").await?;
    ensure!(told[0]["fault"] == "errors" && told[0]["percentage"] == "12.5", "{told}");
    ensure!(told[0]["duration"] == "1m30s" && told[0]["sticky"] == false, "{told}");
    ensure!(told[0]["remaining_seconds"].as_f64().is_some_and(|left| left > 0.0 && left <= 90.0), "{told}");
    ensure!(told[1]["fault"] == "deadlock", "{told}");
    ensure!(app.simulate("reset").await? == json!([]));
    Ok(())
}

#[tokio::test]
async fn probes_and_scrapes_are_not_counted() -> Result<()> {
    let app = App::start().await?;
    for path in ["/", "/healthz", "/readyz", "/startupz", "/nothing"] {
        app.get(path).await?;
    }
    let page = app.request("/metrics").send().await?;
    let kind = page.headers()["content-type"].to_str()?.to_owned();
    ensure!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let page = page.text().await?;
    ensure!(page.ends_with("# EOF\n"));
    let counted: Vec<&str> = page.lines().filter(|line| line.starts_with("http_requests_total")).collect();
    ensure!(counted.len() == 4, "{counted:#?}");
    for series in [
        r#"http_requests_total{code="200",method="GET",path="/"} 1"#,
        r#"http_requests_total{code="500",method="GET",path="/"} 0"#,
        r#"http_requests_total{code="502",method="GET",path="/"} 0"#,
        r#"http_requests_total{code="404",method="GET",path="other"} 1"#,
    ] {
        ensure!(counted.contains(&series), "no {series} in {counted:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_sick_upstream_makes_root_fail_but_not_readiness() -> Result<()> {
    let mut peer = App::start().await?;
    let app = App::start_with(&["--upstream", &peer.url, "--upstream-timeout", "300ms"]).await?;
    ensure!(app.get("/").await? == 200);
    for fault in ["errors", "deadlock"] {
        peer.simulate(fault).await?;
        ensure!(app.get("/").await? == 502, "{fault}");
        ensure!(app.get("/readyz").await? == 200, "{fault}");
        peer.simulate("reset").await?;
        ensure!(app.get("/").await? == 200, "after {fault}");
    }
    peer.simulate("crash").await?;
    peer.process.ended().await?;
    ensure!(app.get("/").await? == 502);
    ensure!(app.metric(r#"http_requests_total{code="502",method="GET",path="/"}"#).await? == "3");
    Ok(())
}

#[tokio::test]
async fn a_slow_start_shows_in_start_up_and_readiness() -> Result<()> {
    let app = App::start_with(&["--startup-delay", "1s"]).await?;
    ensure!(app.get("/startupz").await? == 503);
    ensure!(app.get("/readyz").await? == 503);
    ensure!(app.get("/healthz").await? == 200);
    eventually("it has started", async || Ok(app.get("/startupz").await? == 200)).await?;
    ensure!(app.get("/readyz").await? == 200);
    Ok(())
}
