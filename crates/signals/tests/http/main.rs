//! A source over a real socket: every answer, every way of having none.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod configuration;
mod history;
mod joint;
mod limits;
mod server;
mod silence;
mod tls;
