//! Decides what to do about unhealthy targets. Pure and total: no IO, no clock, no
//! Kubernetes client. The same input always gives the same decision.
//!
//! ```text
//! Policy ───────┐
//! Observation ──┤
//! Targets ──────┼─ decide(now) ─▶ Decision: reservations, verdicts, refusals, states
//! Ledger ───────┤
//! Memory ───────┘
//!
//! Facts of one action ─ next_instruction(now) ─▶ Instruction: one effect or one transition
//! ```
//!
//! Nothing here panics, and durations saturate. Input that makes no sense leads to no
//! action, with a reason.
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
pub mod availability;
pub mod decide;
pub mod execute;
pub mod ledger;
pub mod observation;
pub mod policy;
pub mod readiness;
pub mod refusal;
pub mod target;
pub mod time;

pub use decide::{Decision, Inputs, decide};
pub use execute::{Instruction, next_instruction};
