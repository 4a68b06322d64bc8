//! `testbed proxy`: orders from the standard input, requests to the standard
//! output.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::io::{Write, stdin, stdout};
use std::path::PathBuf;
use testbed::proxy::Rule;
use testbed::{Proxy, ProxyOptions, Testbed};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// One line of the standard input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Order {
    Arm(Rule),
    Disarm,
    Release,
    Cut,
    Pause,
    Resume,
}

/// Stands between until told to stop.
pub(crate) async fn stand(testbed: &Testbed, options: ProxyOptions, script: Option<PathBuf>) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let rules: Vec<Rule> = match script {
        Some(path) => {
            let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is no array of rules", path.display()))?
        }
        None => Vec::new(),
    };
    let proxy = testbed.proxy(options).await?;
    for rule in rules {
        proxy.arm(rule);
    }
    let address = proxy.address();
    eprintln!(
        "listening on {}: pods need KUBERNETES_SERVICE_HOST={} and KUBERNETES_SERVICE_PORT={}",
        proxy.url(),
        address.ip(),
        address.port()
    );
    tokio::select! {
        told = tell(&proxy) => told,
        never = obey(&proxy) => never,
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminated.recv() => Ok(()),
    }
}

/// Prints each request, until nobody reads it any more.
async fn tell(proxy: &Proxy) -> Result<()> {
    let mut told = 0;
    loop {
        for entry in proxy.log_from(told).await {
            told += 1;
            let line = serde_json::to_string(&entry)?;
            if writeln!(stdout().lock(), "{line}").is_err() {
                return Ok(());
            }
        }
    }
}

/// Takes orders; goes on when there are no more.
async fn obey(proxy: &Proxy) -> Result<()> {
    let (sender, mut lines) = mpsc::unbounded_channel();
    // A thread of its own: nothing waits for it at the end.
    std::thread::spawn(move || stdin().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    while let Some(line) = lines.recv().await {
        match serde_json::from_str(&line) {
            Ok(Order::Arm(rule)) => drop(proxy.arm(rule)),
            Ok(Order::Disarm) => proxy.disarm(),
            Ok(Order::Release) => proxy.release(),
            Ok(Order::Cut) => proxy.cut(),
            Ok(Order::Pause) => proxy.pause(),
            Ok(Order::Resume) => proxy.resume(),
            Err(_) if line.trim().is_empty() => {}
            Err(error) => eprintln!("testbed: {line:?} is no order: {error}"),
        }
    }
    std::future::pending().await
}
