//! The peer that `/` depends on.

use std::fmt;
use std::time::Duration;

use reqwest::{Client, StatusCode};

use crate::plain_http::{self, PlainUrl};

pub(crate) struct Upstream {
    url: PlainUrl,
    client: Client,
}

/// Why a call to the upstream failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("upstream {url} answered {code}")]
    Answer { url: PlainUrl, code: StatusCode },
    #[error("upstream {url} did not answer in time")]
    Timeout { url: PlainUrl },
    #[error("upstream {url} cannot be reached")]
    Unreachable { url: PlainUrl },
}

impl Upstream {
    pub(crate) fn new(url: PlainUrl, timeout: Duration) -> reqwest::Result<Self> {
        Ok(Self { url, client: plain_http::client(timeout)? })
    }

    /// Asks once, without a retry: hiding a failure is not this app's part.
    pub(crate) async fn call(&self) -> Result<(), Failure> {
        let url = || self.url.clone();
        match self.client.get(self.url.0.clone()).send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(Failure::Answer { url: url(), code: answer.status() }),
            Err(error) if error.is_timeout() => Err(Failure::Timeout { url: url() }),
            Err(_) => Err(Failure::Unreachable { url: url() }),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(formatter)
    }
}
