//! Asks Prometheus and returns the observations of [`prunella_core::observation`].
//! This is the only crate that knows the JSON of the Prometheus API.
//!
//! - [`query`] analyses a user's expression once, when a policy is loaded: what it
//!   filters, which targets have data, and how far back it looks.
//! - [`prometheus`] asks one source. It returns a complete answer or the reason why
//!   there is none. It never guesses: an incomplete answer is *unknown*.
//!
//! Deliberately absent: retries (the next evaluation asks again), caches, decisions
//! about targets, and a clock. `main` installs the TLS provider.

pub mod prometheus;
pub mod query;

pub use prometheus::{Exchange, Prometheus, SourceConfig, SourceError};
pub use query::{LabelScope, Leaf, Query, QueryError, RequiredLabels, RequiredNamespace, ValueUnit};
