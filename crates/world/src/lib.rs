//! The controller that ships, in a world that runs in one process and in virtual time: an API server
//! ([`api_server`]), a cluster with an app in its pods, and a Prometheus.
//!
//! ```text
//!                 ┌ requests ─▶ ApiServer ◀─ Cluster: rollouts, kubelet, app
//! Controller::run ┤                                      │ scraped
//!                 └ queries ──▶ PrometheusServer ◀───────┘
//! ```
//!
//! Nothing here is a model of the controller: its code is the one of the binary, and it has no other
//! path for this world. An hour takes about a second, because tokio's clock jumps to the next timer
//! whenever nothing else is to be done.
//!
//! # Guarantees
//! A seed replays: the same seed gives the same requests at the same times ([`api_server::RequestLog`]).
//! Two things come from outside: the order of requests within one millisecond, because hash maps have
//! random seeds, and the names of Events, which kube-runtime takes from the wall clock. The log is
//! ordered by text within a millisecond, and leaves out the names of Events and the versions of objects.

pub mod api_server;
mod chance;
mod cluster;
mod connection;
mod faults;
mod follow;
pub mod history;
mod life;
mod panics;
mod prometheus;
mod promises;
mod scenario;
mod tables;
mod time;
mod world;

pub use chance::Chance;
pub use cluster::{Cluster, Fault};
pub use faults::Weather;
pub use follow::{Followed, Moment, Told, follow};
pub use life::{Conditions, SourceState, Tally};
pub use prometheus::PrometheusServer;
pub use promises::{Pace, Sickness, Violation, Witness};
pub use scenario::{Befalls, EXAMPLE_POLICIES, SCENARIOS, Scenario, Unit};
pub use tables::table;
pub use time::WorldClock;
pub use world::{NAMESPACE, World};
