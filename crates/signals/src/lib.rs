//! The senses: `PromQL` over HTTP, handed on as the values of
//! [`prunella_core::observation`]. The only crate that knows Prometheus' JSON.
//!
//! - [`query`] takes a user's expression apart once, when a policy is loaded:
//!   what it filters, for whom it has data at all, how far back it looks.
//! - [`prometheus`] asks one source and says either a whole answer or why there
//!   is none. It never guesses: what is not a whole answer is *unknown*.
//!
//! Deliberately absent: retries (the next poll is one), caches, any judgement
//! about targets, and a clock. The TLS provider is installed by `main`.

pub mod prometheus;
pub mod query;

pub use prometheus::{Prometheus, SourceConfig, SourceError};
pub use query::{Leaf, Query, QueryError, Scope};
