//! Observing: asking the sources. Answers are values, and so are missing answers.
//!
//! - [`sources`]: a client for each source, and its `Ready` condition.
//! - [`subscription`]: the queries of one policy.
//! - [`schedule`]: when in its interval a policy is evaluated.
//! - [`shared_answer`]: policies with the same query share one request.

pub(crate) mod schedule;
mod shared_answer;
pub(crate) mod sources;
pub(crate) mod subscription;

use std::sync::Arc;

use crate::authority::Authority;
use crate::report::metrics::Metrics;

pub(crate) use schedule::EvaluationSlots;
pub use sources::ConnectSource;
pub(crate) use sources::{SourceAccess, SourceTerms, Sources};
pub(crate) use subscription::Subscription;

/// What observing uses.
pub(crate) struct Observer {
    /// The present.
    pub(crate) authority: Arc<Authority>,
    /// The clients of the sources.
    pub(crate) sources: Arc<Sources>,
    /// When policies are evaluated.
    pub(crate) slots: EvaluationSlots,
    /// Evaluations and how long they took.
    pub(crate) metrics: Arc<Metrics>,
}
