//! What a stretch of time cost while policies had nothing to do.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use crate::console::Console;
use crate::ground::{Controller, Ground, QUIET};
use crate::{journal, policies, proc, prometheus};

/// What was spent and asked for.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Window {
    pub(crate) policies: usize,
    pub(crate) queries: usize,
    pub(crate) interval_seconds: u64,
    pub(crate) seconds: f64,
    pub(crate) evaluations: f64,
    /// CPU seconds of the controller.
    pub(crate) controller_cpu: f64,
    /// CPU seconds of the controller over the same time without any policy.
    pub(crate) controller_cpu_idle: f64,
    /// CPU seconds of Prometheus, its scrapes included.
    pub(crate) prometheus_cpu: f64,
    /// CPU seconds of Prometheus over the same time without any policy.
    pub(crate) prometheus_cpu_idle: f64,
    /// Instant queries that reached Prometheus.
    pub(crate) requests: f64,
    /// What the controller asked to be changed, other than its Lease.
    pub(crate) writes: Vec<String>,
}

/// A choice of quiet policies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) policies: usize,
    /// How many different queries they have together.
    pub(crate) queries: usize,
    pub(crate) interval_seconds: u64,
}

impl Window {
    /// CPU seconds of the controller for 1 000 evaluations, all that it does included.
    pub(crate) fn controller_per_thousand(&self) -> f64 {
        self.controller_cpu / self.evaluations * 1000.0
    }

    /// CPU seconds of Prometheus for 1 000 evaluations: what it does without us is not ours.
    pub(crate) fn prometheus_per_thousand(&self) -> f64 {
        (self.prometheus_cpu - self.prometheus_cpu_idle) / self.evaluations * 1000.0
    }

    /// Requests for each distinct query and interval.
    #[allow(clippy::cast_precision_loss, reason = "at most some thousand")]
    pub(crate) fn requests_per_query(&self) -> f64 {
        self.requests / (self.queries as f64 * self.seconds / self.interval_seconds as f64)
    }

    /// Policies times hours.
    #[allow(clippy::cast_precision_loss, reason = "at most some thousand")]
    pub(crate) fn policy_hours(&self) -> f64 {
        self.policies as f64 * self.seconds / 3600.0
    }

    /// Writes of a quiet policy in an hour.
    #[allow(clippy::cast_precision_loss, reason = "at most some thousand")]
    pub(crate) fn writes_per_policy_hour(&self) -> f64 {
        self.writes.len() as f64 / self.policy_hours()
    }
}

/// Measures a load over some seconds; leaves no policy behind.
///
/// # Errors
/// When something cannot be asked.
pub(crate) async fn measure(ground: &Ground, load: Load, seconds: u64, console: &Console) -> Result<Window> {
    let Load { policies, queries, interval_seconds } = load;
    prometheus::configure(ground, 0, 0).await?;
    let controller = ground.restart_controller().await?;
    console.say(&format!("{seconds} s without a policy"));
    let idle = Spent::over(ground, &controller, seconds).await?;
    console.say(&format!("{policies} policies with {queries} queries, each judged every {interval_seconds} s"));
    let before = ground.evaluations(&controller).await?;
    let query = |number: usize| policies::quiet_query(number % queries);
    let interval = format!("{interval_seconds}s");
    policies::create_quiet(&ground.client, 0..policies, &interval, query, console).await?;
    // Three looks each: by then every policy has told its state and knows what its query reaches.
    ground.until_evaluated(&controller, before, 3 * policies).await?;
    console.say(&format!("{seconds} s of them"));
    let begun = Timestamp::now();
    let spent = Spent::over(ground, &controller, seconds).await?;
    let writes = journal::writes(&ground.testbed, begun, Timestamp::now())?;
    policies::delete_all(&ground.client, QUIET).await?;
    Ok(Window {
        policies,
        queries,
        interval_seconds,
        seconds: spent.seconds,
        evaluations: spent.evaluations,
        controller_cpu: spent.controller,
        controller_cpu_idle: idle.controller * spent.seconds / idle.seconds,
        prometheus_cpu: spent.prometheus,
        prometheus_cpu_idle: idle.prometheus * spent.seconds / idle.seconds,
        requests: spent.requests,
        writes,
    })
}

/// Differences over a stretch of time.
struct Spent {
    seconds: f64,
    controller: f64,
    prometheus: f64,
    requests: f64,
    evaluations: f64,
}

impl Spent {
    async fn over(ground: &Ground, controller: &Controller, seconds: u64) -> Result<Self> {
        let begun = Self::so_far(ground, controller).await?;
        // The time itself is what is measured: there is nothing to wait for.
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let ended = Self::so_far(ground, controller).await?;
        Ok(Self {
            seconds: ended.seconds - begun.seconds,
            controller: ended.controller - begun.controller,
            prometheus: ended.prometheus - begun.prometheus,
            requests: ended.requests - begun.requests,
            evaluations: ended.evaluations - begun.evaluations,
        })
    }

    async fn so_far(ground: &Ground, controller: &Controller) -> Result<Self> {
        let evaluations = ground.evaluations(controller).await?;
        let (prometheus, requests) = ground.prometheus.spent().await?;
        let controller = proc::cpu_seconds(controller.pid)?;
        let seconds = Timestamp::now().duration_since(Timestamp::UNIX_EPOCH).as_secs_f64();
        Ok(Self { seconds, controller, prometheus, requests, evaluations })
    }
}
