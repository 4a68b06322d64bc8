//! The configuration of a source, and the HTTP client made from it.

use std::fmt;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};
use thiserror::Error;

/// The longest that connecting to a source can take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The URL, credentials and limits of one source.
#[derive(Clone)]
pub struct SourceConfig {
    /// `http` or `https`, with the path prefix of the API if it has one. Without user
    /// name, query string and fragment.
    pub url: String,
    /// The scrape interval of the source. Default: 1 min.
    pub scrape_interval: Option<Duration>,
    /// The size limit of one answer, in bytes.
    pub max_bytes: usize,
    /// The limit of series in one answer.
    pub max_series: usize,
    /// The certificate authorities for `https`, as PEM. No others are trusted: the
    /// controller's image has no system certificates.
    pub ca_pem: Option<Vec<u8>>,
    /// Sent as `Authorization: Bearer …`.
    pub bearer_token: Option<String>,
    /// Whether an answer with several values of the label `cluster` is refused. Off if the label
    /// names something else than Kubernetes clusters in this source.
    pub one_cluster: bool,
}

impl SourceConfig {
    /// The configuration for `url` with the default limits: 8 MiB and 10 000 series. A
    /// series with the kubelet's labels has about 500 bytes.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            scrape_interval: None,
            max_bytes: 8 << 20,
            max_series: 10_000,
            ca_pem: None,
            bearer_token: None,
            one_cluster: true,
        }
    }

    pub(super) fn connect(&self) -> Result<(Client, Url), SourceError> {
        let base = self.base()?;
        let certificates = match &self.ca_pem {
            Some(pem) => authorities(pem)?,
            None if base.scheme() == "https" => return Err(SourceError::NoAuthority),
            None => Vec::new(),
        };
        let client = Client::builder()
            .tls_certs_only(certificates)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            // Only `main` reads the environment, and a proxy from the environment would
            // see the token.
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .default_headers(self.headers()?)
            .build()
            .map_err(|error| SourceError::Client { message: error.to_string() })?;
        Ok((client, base))
    }

    fn base(&self) -> Result<Url, SourceError> {
        let refuse = |why: &'static str| SourceError::Url { why };
        let url = Url::parse(&self.url).map_err(|_| refuse("it does not parse as a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("its scheme must be http or https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("it must not contain a user name or password; put a token into a Secret"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("it must not have a query string or a fragment"));
        }
        Ok(url)
    }

    fn headers(&self) -> Result<HeaderMap, SourceError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &self.bearer_token {
            let mut value =
                HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_| SourceError::Token)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

/// Omits the token, so that no log contains it.
impl fmt::Debug for SourceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, scrape_interval, max_bytes, max_series, ca_pem, bearer_token, one_cluster } = self;
        f.debug_struct("SourceConfig")
            .field("url", url)
            .field("scrape_interval", scrape_interval)
            .field("max_bytes", max_bytes)
            .field("max_series", max_series)
            .field("ca_pem", &ca_pem.is_some())
            .field("bearer_token", &bearer_token.is_some())
            .field("one_cluster", one_cluster)
            .finish()
    }
}

fn authorities(pem: &[u8]) -> Result<Vec<Certificate>, SourceError> {
    match Certificate::from_pem_bundle(pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => Err(SourceError::Authority),
    }
}

/// Why the configuration of a source cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SourceError {
    /// The URL.
    #[error("the source's url cannot be used: {why}")]
    Url {
        /// The reason.
        why: &'static str,
    },
    /// `https` without certificate authorities.
    #[error("the source's url is https but it has no certificate authorities; set caBundle")]
    NoAuthority,
    /// The certificate authorities.
    #[error("the source's caBundle has no certificate in PEM format; give at least one")]
    Authority,
    /// The token.
    #[error("the source's bearer token has characters that are not allowed in an HTTP header; correct the Secret")]
    Token,
    /// The HTTP client.
    #[error("cannot create an HTTP client for the source: {message}")]
    Client {
        /// The error of the HTTP library.
        message: String,
    },
}

impl SourceError {
    /// The reason for conditions.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Url { .. } => "BadUrl",
            Self::NoAuthority | Self::Authority => "BadCertificateAuthority",
            Self::Token => "BadToken",
            Self::Client { .. } => "BadSource",
        }
    }
}
