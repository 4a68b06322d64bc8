//! What a query says about itself: evidence, leaves, window, namespaces, and
//! what is refused.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod alerts;
mod evidence;
mod guard;
mod leaves;
mod proof;
mod window;
