//! Asks sources over real sockets: every kind of answer and every kind of failure.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails with a panic")]

mod answers;
mod configuration;
mod history;
mod limits;
mod server;
mod silence;
mod tls;
