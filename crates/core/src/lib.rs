//! The judgement: pure and total. No IO, no clock, no Kubernetes client; the
//! same input always gives the same decision.
//!
//! ```text
//! Policy ───────┐
//! Observation ──┤
//! Targets ──────┼─ decide(now) ─▶ Decision: reservations, verdicts, refusals, states
//! Ledger ───────┤
//! Memory ───────┘
//!
//! Facts of one action ─ next_step(now) ─▶ Step: one effect or one transition
//! ```
//!
//! Every function here is total: durations saturate, nothing panics, and an
//! input that makes no sense leads to inaction with a reason.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::disallowed_methods
    )
)]

pub mod action;
pub mod decide;
pub mod execute;
pub mod ledger;
pub mod observation;
pub mod policy;
pub mod refusal;
pub mod target;
pub mod time;

pub use decide::{Decision, Inputs, decide};
pub use execute::{Step, next_step};
