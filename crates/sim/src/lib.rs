//! A model world in virtual time that drives the judgement: whole histories of a
//! cluster, its metrics and one or two controllers, from a seed, in milliseconds.
//!
//! ```text
//!   Scenario ─▶ World ── events in order of time ──┐
//!                │                                 │
//!   ApiServer ◀──┼── writes arrive, late or never  │
//!   Prometheus ──┤                                 ▼
//!   Process × 2 ─┴── decide, next_instruction ◀── steps; killed, paused, blinded between any two
//!                │
//!              Check: the promises, after every step ─▶ Report
//! ```
//!
//! What the processes do between two calls of the judgement is a model of the
//! controller's reconcilers, not their code: which write follows which decision, what
//! is read live and what from a copy that lags, and what is remembered. The API server
//! is a model as well and is the oracle: what had effect is counted there, whatever a
//! process believes.
//!
//! # Guarantees
//! The same scenario always gives the same history, on every machine.

mod api_server;
mod check;
mod dice;
mod faults;
mod objects;
mod process;
mod prometheus;
mod queue;
mod report;
mod scenario;
mod trace;
mod world;

pub use faults::Weather;
pub use prometheus::{Condition, Health};
pub use report::{Deed, Report, Tally, Violation};
pub use scenario::{Episode, Happening, Scenario, WorkloadPlan, policy, step};
pub use trace::Trace;
pub use world::{run, run_traced};
