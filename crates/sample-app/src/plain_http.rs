//! Requests over plain HTTP, to peers in the same cluster.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

/// A URL that can be called without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlainUrl(pub(crate) Url);

/// Why a URL was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a URL that begins with http://, such as http://backend:8080/ (TLS is not spoken here)")]
pub(crate) struct NotPlain;

impl FromStr for PlainUrl {
    type Err = NotPlain;

    fn from_str(text: &str) -> Result<Self, NotPlain> {
        // Without the slashes `http:backend` would be read as a URL too.
        let url = Url::parse(text).ok().filter(|_| text.starts_with("http://"));
        url.map(Self).ok_or(NotPlain)
    }
}

impl fmt::Display for PlainUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A client that opens a connection for each request. A kept one would stay
/// with the pod that a Service picked first, and a peer that has been added
/// or healed would see no traffic.
pub(crate) fn client(timeout: Duration) -> reqwest::Result<Client> {
    Client::builder()
        .timeout(timeout)
        .pool_max_idle_per_host(0)
        .redirect(Policy::none())
        .no_proxy()
        // In an image from scratch there are no system certificates, and
        // looking for them fails.
        .tls_certs_only([])
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_is_called() {
        assert_eq!("http://web:8080".parse::<PlainUrl>().map(|url| url.to_string()), Ok("http://web:8080/".to_owned()));
        for text in ["", "web:8080", "https://web", "http://", "http:web", "ftp://web"] {
            assert_eq!(text.parse::<PlainUrl>(), Err(NotPlain), "{text}");
        }
    }
}
