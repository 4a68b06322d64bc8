//! One request: a deadline around everything, and a body that is never held
//! beyond its limit.

use std::time::Duration;

use prunella_core::observation::{Unknown, UnknownReason};
use reqwest::{RequestBuilder, Response, StatusCode, Url};

use super::failure;

/// A status with the whole body that came with it.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) status: StatusCode,
    pub(super) bytes: Vec<u8>,
}

/// `path` under the API's root under `base`.
pub(super) fn endpoint(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let prefix = base.path().trim_end_matches('/');
    url.set_path(&format!("{prefix}/api/v1/{path}"));
    url
}

/// Bounds `work` by `deadline`; cancelled work closes its connection.
pub(super) async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, Unknown>>,
) -> Result<T, Unknown> {
    tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| Err(failure::timeout()))
}

/// Sends and reads at most `max_bytes`.
pub(super) async fn send(request: RequestBuilder, max_bytes: usize) -> Result<Body, Unknown> {
    let mut response = request.send().await.map_err(|error| failure::transport(&error))?;
    let status = response.status();
    // The body of a redirect or of a refused login says nothing that is needed.
    if let Some(unknown) = failure::of_status_alone(status) {
        return Err(unknown);
    }
    let bytes = read(&mut response, max_bytes).await?;
    Ok(Body { status, bytes })
}

async fn read(response: &mut Response, max_bytes: usize) -> Result<Vec<u8>, Unknown> {
    let too_large = || Unknown {
        reason: UnknownReason::TooLarge,
        message: format!(
            "the answer has more than {max_bytes} bytes; aggregate in the query or raise the source's limit"
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
