//! `sample-app load`: requests at a steady rate, and what came of them.
//!
//! The rate does not follow the answers: when the service slows down, as many
//! requests are due as before, up to the bound on those in flight. What is due
//! above it is skipped and counted, not sent later, so that a slow service is
//! not flattered.

mod latencies;
mod tally;

use std::mem;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use reqwest::{Client, Url};
use tokio::sync::Semaphore;
use tokio::time::{interval, interval_at, timeout};

use crate::cli::LoadArgs;
use crate::plain_http::{self, PlainUrl};
use crate::quantity::{Malformed, Span};
use crate::say::say;
use crate::termination::Termination;
use tally::{Outcome, Tally};

/// Requests per second, kept as the time between two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(Duration);

impl FromStr for Rate {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let rate = text.parse::<f64>().ok().filter(|rate| (0.01..=5000.0).contains(rate));
        let mend = Malformed("write requests per second from 0.01 to 5000, such as 20 or 0.5");
        rate.map(|rate| Self(Duration::from_secs_f64(1.0 / rate))).ok_or(mend)
    }
}

/// Sends requests until the duration is over or it is told to stop, and prints
/// what it saw. An error when nothing ever answered.
pub(crate) async fn run(args: LoadArgs) -> anyhow::Result<()> {
    let mut termination = Termination::listen()?;
    ensure!(!args.report.is_zero(), "--report 0s: write a span above 0s, such as 10s");
    let load = Load {
        client: plain_http::client(args.timeout.duration())?,
        url: args.url,
        flights: Arc::new(Semaphore::new(args.concurrency.into())),
        concurrency: args.concurrency,
        window: Arc::default(),
        total: Mutex::default(),
    };
    let began = Instant::now();
    say(format_args!("load on {}, one request every {:?}", load.url, args.rps.0));
    tokio::select! {
        signal = termination.asked() => say(format_args!("{signal}: stopping")),
        () = load.send(args.rps, args.duration) => {}
        () = load.report(args.report.duration()) => {}
    }
    load.close_window();
    let total = lock(&load.total);
    say(format_args!("total {:.0?} {total}", began.elapsed()));
    ensure!(total.anything_answered(), "nothing at {} ever answered", load.url);
    Ok(())
}

struct Load {
    url: PlainUrl,
    client: Client,
    flights: Arc<Semaphore>,
    concurrency: u16,
    /// What was seen since the last line.
    window: Arc<Mutex<Tally>>,
    /// What was seen before that.
    total: Mutex<Tally>,
}

impl Load {
    /// Sends for that long, for ever when it is 0, and waits for what is then
    /// still in flight.
    async fn send(&self, rate: Rate, duration: Span) {
        if duration.is_zero() {
            self.send_on(rate).await;
        }
        // Being over time is how this ends.
        let _ = timeout(duration.duration(), self.send_on(rate)).await;
        // Fails only for a closed semaphore, and this one is never closed.
        let _ = self.flights.acquire_many(self.concurrency.into()).await;
    }

    async fn send_on(&self, rate: Rate) {
        let mut due = interval(rate.0);
        loop {
            due.tick().await;
            let Ok(flight) = Arc::clone(&self.flights).try_acquire_owned() else {
                lock(&self.window).skip();
                continue;
            };
            lock(&self.window).send();
            let (client, url, window) = (self.client.clone(), self.url.0.clone(), Arc::clone(&self.window));
            tokio::spawn(async move {
                let began = Instant::now();
                let outcome = ask(&client, url).await;
                lock(&window).end(outcome, began.elapsed());
                drop(flight);
            });
        }
    }

    async fn report(&self, every: Duration) {
        let mut due = interval_at(tokio::time::Instant::now() + every, every);
        loop {
            due.tick().await;
            say(format_args!("last {every:?} {}", self.close_window()));
        }
    }

    /// Moves the window to the total, and returns it.
    fn close_window(&self) -> Tally {
        let window = mem::take(&mut *lock(&self.window));
        lock(&self.total).add(&window);
        window
    }
}

/// Sends one request and reads the whole answer.
async fn ask(client: &Client, url: Url) -> Outcome {
    let answer = async {
        let answer = client.get(url).send().await?;
        let code = answer.status().as_u16();
        answer.bytes().await?;
        Ok::<_, reqwest::Error>(code)
    };
    match answer.await {
        Ok(code) => Outcome::Answer(code),
        Err(error) if error.is_timeout() => Outcome::Error("timeout"),
        Err(error) if error.is_connect() => Outcome::Error("connect"),
        // Connected, but reset or not understood.
        Err(_) => Outcome::Error("broken"),
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_the_time_between_two_requests() {
        assert_eq!("20".parse(), Ok(Rate(Duration::from_millis(50))));
        assert_eq!("0.5".parse(), Ok(Rate(Duration::from_secs(2))));
        for text in ["", "0", "-1", "NaN", "inf", "5001", "many"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
