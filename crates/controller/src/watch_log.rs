//! When the API server has last answered each watch. A watch is opened again every minute, also if
//! nothing changes. So one that was not opened for longer is silent or failing, and what is kept
//! from it may be out of date: a hold, an opt-out or a pod that is gone would not be seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use tower::{Layer, Service};

/// After how long without an answer a watch counts as silent: two opened watches.
pub(crate) const SILENT_AFTER: Duration = Duration::from_mins(2);

/// When each watch was last answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct WatchLog(Arc<Mutex<BTreeMap<WatchKey, Instant>>>);

/// One watch: the path of its requests, and who watches. Two watches of one path would otherwise hide
/// each other's silence.
type WatchKey = (String, Option<Watcher>);

/// Who watches, as an extension of the requests. Without it, the path alone tells a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Watcher(pub(crate) &'static str);

impl WatchLog {
    /// The resource whose watch had no answer for [`SILENT_AFTER`], for example `pods`. A watch that
    /// was never answered does not count: nothing is decided before the first list is complete.
    pub(crate) fn silent(&self, now: Instant) -> Option<String> {
        let log = self.log();
        let ((path, _), _) = log.iter().find(|(_, last)| now.saturating_duration_since(**last) >= SILENT_AFTER)?;
        path.rsplit('/').next().map(str::to_owned)
    }

    /// Forgets all watches: they are opened anew.
    pub(crate) fn clear(&self) {
        self.log().clear();
    }

    fn answered(&self, watch: WatchKey, at: Instant) {
        self.log().insert(watch, at);
    }

    // No operation under the lock can stop halfway.
    fn log(&self) -> MutexGuard<'_, BTreeMap<WatchKey, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Layer<S> for WatchLog {
    type Service = LoggedWatches<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LoggedWatches { inner, log: self.clone() }
    }
}

/// A client whose answered watches are logged.
#[derive(Debug, Clone)]
pub(crate) struct LoggedWatches<S> {
    inner: S,
    log: WatchLog,
}

impl<S, A, B> Service<Request<A>> for LoggedWatches<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Response: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let is_watch = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
        let watch = is_watch.then(|| (request.uri().path().to_owned(), request.extensions().get().copied()));
        let answer = self.inner.call(request);
        let Some(watch) = watch else { return answer.boxed() };
        let log = self.log.clone();
        async move {
            let answer = answer.await?;
            if answer.status().is_success() {
                log.answered(watch, Instant::now());
            }
            Ok(answer)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt, service_fn};

    use super::*;

    async fn asked(log: &WatchLog, uri: &str, status: u16) {
        let answer = Response::builder().status(status).body(()).unwrap();
        let server = service_fn(move |_: Request<()>| {
            let answer = answer.clone();
            async move { Ok::<_, Infallible>(answer) }
        });
        let request = Request::builder().uri(uri).body(()).unwrap();
        log.layer(server).oneshot(request).await.unwrap();
    }

    #[tokio::test]
    async fn a_watch_without_an_answer_for_two_minutes_is_silent() {
        let log = WatchLog::default();
        let later = |log: &WatchLog, seconds| log.silent(Instant::now() + Duration::from_secs(seconds));
        assert_eq!(later(&log, 3600), None, "no watch was opened yet");
        asked(&log, "/api/v1/pods?&limit=100", 200).await;
        asked(&log, "/api/v1/nodes?watch=true&timeoutSeconds=50", 403).await;
        assert_eq!(later(&log, 3600), None, "lists and refused watches say nothing");
        asked(&log, "/api/v1/pods?&watch=true&timeoutSeconds=50&resourceVersion=5", 200).await;
        assert_eq!(later(&log, 119), None);
        assert_eq!(later(&log, 121), Some("pods".to_owned()));
        log.clear();
        assert_eq!(later(&log, 121), None);
    }
}
