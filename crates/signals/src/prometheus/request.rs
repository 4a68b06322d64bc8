//! One HTTP request, with a deadline for all of it and a size limit for the body.

use std::time::Duration;

use prunella_core::observation::{Unknown, UnknownReason};
use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{RequestBuilder, Response, StatusCode, Url};

use super::{Exchange, failure};

/// A status code with its complete body.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) status: StatusCode,
    pub(super) bytes: Vec<u8>,
}

/// The URL of the API endpoint `path` below `base`.
pub(super) fn endpoint(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let prefix = base.path().trim_end_matches('/');
    url.set_path(&format!("{prefix}/api/v1/{path}"));
    url
}

/// Runs `work` for at most `deadline`. Cancelled work closes its connection.
pub(super) async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, Unknown>>,
) -> Result<T, Unknown> {
    tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| Err(failure::timeout()))
}

/// Sends `request`, to the `exchange` if there is one, and reads at most `max_bytes` of the answer.
pub(super) async fn send(
    request: RequestBuilder,
    exchange: Option<&dyn Exchange>,
    max_bytes: usize,
) -> Result<Body, Unknown> {
    let (client, request) = request.build_split();
    let answered = match (request, exchange) {
        (Ok(request), Some(exchange)) => exchange.send(request).await,
        (Ok(request), None) => client.execute(request).await,
        (Err(error), _) => Err(error),
    };
    let mut response = answered.map_err(|error| failure::transport(&error))?;
    let status = response.status();
    // The body of a redirect is not needed.
    if let Some(unknown) = failure::of_status_alone(status) {
        return Err(unknown);
    }
    let asks_for_password = response
        .headers()
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .any(|scheme| scheme.as_bytes().get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"basic")));
    let bytes = read(&mut response, max_bytes).await?;
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(failure::of_credentials(status, asks_for_password, &bytes));
    }
    Ok(Body { status, bytes })
}

async fn read(response: &mut Response, max_bytes: usize) -> Result<Vec<u8>, Unknown> {
    let too_large = || Unknown {
        reason: UnknownReason::TooLarge,
        message: format!(
            "the answer is larger than {}; aggregate in the query, or select fewer series",
            size(max_bytes)
        ),
    };
    let announced = response.content_length().unwrap_or_default();
    if usize::try_from(announced).map_or(true, |length| length > max_bytes) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure::transport(&error))? {
        if bytes.len().saturating_add(chunk.len()) > max_bytes {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// A size in whole MiB where possible, otherwise in bytes.
fn size(bytes: usize) -> String {
    const MIB: usize = 1 << 20;
    if bytes > 0 && bytes.is_multiple_of(MIB) { format!("{} MiB", bytes / MIB) } else { format!("{bytes} bytes") }
}
