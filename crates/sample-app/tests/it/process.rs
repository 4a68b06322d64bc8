//! The program under test, and how to wait for it.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

/// How long anything may take that does come about. Long, because the
/// machine may be busy; a test that passes does not wait for it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running `sample-app`, killed when dropped.
pub(crate) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub(crate) fn start(args: &[&str]) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sample-app"))
            .args(args)
            // Not even HOSTNAME is passed on: every flag has a variable.
            .env_clear()
            .env("LISTEN", "127.0.0.1:0")
            .env("SHUTDOWN_DELAY", "0s")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("no stdout")?;
        Ok(Self { child, lines: BufReader::new(stdout).lines() })
    }

    /// The next line it prints; an error when it ends before.
    pub(crate) async fn line(&mut self) -> Result<String> {
        let line = timeout(DEADLINE, self.lines.next_line()).await.context("no line in time")??;
        line.context("ended without another line")
    }

    /// Reads on until a line begins like this.
    pub(crate) async fn line_with(&mut self, beginning: &str) -> Result<String> {
        loop {
            let line = self.line().await?;
            if line.starts_with(beginning) {
                return Ok(line);
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.pid()?.try_into()?), signal)?)
    }

    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(timeout(DEADLINE, self.child.wait()).await.context("did not end in time")??)
    }

    fn pid(&self) -> Result<u32> {
        self.child.id().context("it has ended")
    }

    /// Resident memory as the kernel counts it, not as the program says.
    pub(crate) fn resident(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Processor time used, in hundredths of a second.
    pub(crate) fn ticks(&self) -> Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()?))?;
        let (_, fields) = stat.rsplit_once(") ").context("no name")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
    }
}

/// A serving `sample-app` and a client for it.
pub(crate) struct App {
    pub(crate) process: Process,
    pub(crate) url: String,
    client: Client,
}

impl App {
    pub(crate) async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_sticky(folder: &Path) -> Result<Self> {
        Self::start_with(&["--state-dir", folder.to_str().context("no text")?]).await
    }

    pub(crate) async fn start_with(args: &[&str]) -> Result<Self> {
        let mut process = Process::start(args)?;
        let first = process.line().await?;
        let url = first.rsplit(' ').next().unwrap_or_default().to_owned();
        ensure!(url.starts_with("http://127.0.0.1:"), "the first line is {first:?}");
        // Another client may have installed it before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(DEADLINE).no_proxy().tls_certs_only([]).build()?;
        Ok(Self { process, url, client })
    }

    pub(crate) fn request(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    /// The status code of a GET.
    pub(crate) async fn get(&self, path: &str) -> Result<u16> {
        Ok(self.request(path).send().await?.status().as_u16())
    }

    /// Asks for a fault; code and JSON of the answer.
    pub(crate) async fn post(&self, path_and_query: &str) -> Result<(u16, Value)> {
        let answer = self.client.post(format!("{}/simulate/{path_and_query}", self.url)).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// Asks for a fault that must be granted; what is simulated then.
    pub(crate) async fn simulate(&self, path_and_query: &str) -> Result<Value> {
        let (code, answer) = self.post(path_and_query).await?;
        ensure!(code == 200, "{path_and_query} was answered {code} {answer}");
        Ok(answer["simulating"].clone())
    }

    pub(crate) async fn simulated(&self) -> Result<Value> {
        let answer: Value = self.request("/simulate").send().await?.json().await?;
        Ok(answer["simulating"].clone())
    }

    /// The value of one series as it is written, by its name and labels as they are.
    pub(crate) async fn metric(&self, series: &str) -> Result<String> {
        let page = self.request("/metrics").send().await?.error_for_status()?.text().await?;
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no {series} in\n{page}"))?.to_owned())
    }
}

/// Polls until it is so.
pub(crate) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !check().await? {
        if began.elapsed() > DEADLINE {
            bail!("never came about: {what}");
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Polls that it stays so for that long.
pub(crate) async fn throughout(span: Duration, what: &str, mut check: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < span {
        ensure!(check().await?, "did not stay so: {what}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
