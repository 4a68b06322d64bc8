//! CPU time, requests and writes while policies have nothing to do.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::console::Console;
use crate::environment::workloads::QUIET;
use crate::environment::{Controller, Environment, policies, request_log};
use crate::machine;

/// The usage over a time window.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Window {
    pub(crate) policies: usize,
    pub(crate) queries: usize,
    pub(crate) interval_seconds: u64,
    pub(crate) seconds: f64,
    pub(crate) evaluations: f64,
    /// CPU seconds of the controller.
    pub(crate) controller_cpu: f64,
    /// CPU seconds of the controller in the same time without policies.
    pub(crate) controller_cpu_idle: f64,
    /// CPU seconds of Prometheus, including its scrapes.
    pub(crate) prometheus_cpu: f64,
    /// CPU seconds of Prometheus in the same time without policies.
    pub(crate) prometheus_cpu_idle: f64,
    /// Instant queries that Prometheus received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requests: Option<f64>,
    /// The writes of the controller, except for its Lease.
    pub(crate) writes: Vec<String>,
}

/// A number of quiet policies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) policies: usize,
    /// How many different queries they have together.
    pub(crate) queries: usize,
    pub(crate) interval_seconds: u64,
}

impl Window {
    /// CPU seconds of the controller per 1 000 evaluations, including everything else that
    /// it does.
    pub(crate) fn controller_per_thousand(&self) -> f64 {
        self.controller_cpu / self.evaluations * 1000.0
    }

    /// CPU seconds of Prometheus per 1 000 evaluations, without its scrapes and rules.
    pub(crate) fn prometheus_per_thousand(&self) -> f64 {
        (self.prometheus_cpu - self.prometheus_cpu_idle) / self.evaluations * 1000.0
    }

    /// Requests per different query and interval.
    #[allow(clippy::cast_precision_loss, reason = "at most some thousand")]
    pub(crate) fn requests_per_query(&self) -> Option<f64> {
        Some(self.requests? / (self.queries as f64 * self.seconds / self.interval_seconds as f64))
    }

    /// Policies times hours.
    #[allow(clippy::cast_precision_loss, reason = "at most some thousand")]
    pub(crate) fn policy_hours(&self) -> f64 {
        self.policies as f64 * self.seconds / 3600.0
    }

    /// Writes of a quiet policy per hour.
    #[allow(clippy::cast_precision_loss, reason = "at most some thousand")]
    pub(crate) fn writes_per_policy_hour(&self) -> f64 {
        self.writes.len() as f64 / self.policy_hours()
    }
}

/// Measures a load for some seconds. Deletes its policies afterwards.
///
/// # Errors
/// A server does not answer.
pub(crate) async fn measure(environment: &Environment, load: Load, seconds: u64, console: &Console) -> Result<Window> {
    let Load { policies, queries, interval_seconds } = load;
    environment.prometheus.configure(0, 0).await?;
    let controller = environment.restart_controller().await?;
    console.print(&format!("measuring {seconds} s without policies"));
    let idle = Usage::over(environment, &controller, seconds).await?;
    console
        .print(&format!("creating {policies} policies with {queries} queries and an interval of {interval_seconds} s"));
    let before = environment.evaluations(&controller).await?;
    let query = |number: usize| policies::quiet_query(number % queries);
    let interval = format!("{interval_seconds}s");
    policies::create_quiet(&environment.client, 0..policies, &interval, query, console).await?;
    // After three evaluations each, every policy has written its status.
    environment.until_evaluated(&controller, before, 3 * policies).await?;
    console.print(&format!("measuring {seconds} s with policies"));
    let started = Timestamp::now();
    let used = Usage::over(environment, &controller, seconds).await?;
    let writes = request_log::writes(&environment.testbed, started, Timestamp::now())?;
    policies::delete_all(&environment.client, QUIET).await?;
    Ok(Window {
        policies,
        queries,
        interval_seconds,
        seconds: used.seconds,
        evaluations: used.evaluations,
        controller_cpu: used.controller,
        controller_cpu_idle: idle.controller * used.seconds / idle.seconds,
        prometheus_cpu: used.prometheus,
        prometheus_cpu_idle: idle.prometheus * used.seconds / idle.seconds,
        requests: Some(used.requests),
        writes,
    })
}

/// Counters, or their differences over a time window.
struct Usage {
    seconds: f64,
    controller: f64,
    prometheus: f64,
    requests: f64,
    evaluations: f64,
}

impl Usage {
    async fn over(environment: &Environment, controller: &Controller, seconds: u64) -> Result<Self> {
        let start = Self::so_far(environment, controller).await?;
        // A fixed time, because it is the time window of the measurement.
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let end = Self::so_far(environment, controller).await?;
        Ok(Self {
            seconds: end.seconds - start.seconds,
            controller: end.controller - start.controller,
            prometheus: end.prometheus - start.prometheus,
            requests: end.requests - start.requests,
            evaluations: end.evaluations - start.evaluations,
        })
    }

    async fn so_far(environment: &Environment, controller: &Controller) -> Result<Self> {
        let evaluations = environment.evaluations(controller).await?;
        let (prometheus, requests) = environment.prometheus.usage().await?;
        let controller = machine::cpu_seconds(controller.pid)?;
        let seconds = Timestamp::now().duration_since(Timestamp::UNIX_EPOCH).as_secs_f64();
        Ok(Self { seconds, controller, prometheus, requests, evaluations })
    }
}
