//! What is derived from a query (evidence, leaves, window, label scope) and which queries
//! are refused.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails with a panic")]

mod alerts;
mod evidence;
mod guard;
mod inject;
mod leaves;
mod proof;
mod window;
