//! The controller as a library. Its outside world is a value, [`Surroundings`], so that a simulation
//! runs the code that ships. The binary `prunella` gives it the real one.

mod act;
mod admin;
pub mod args;
mod authority;
mod clients;
mod clock;
mod cluster_view;
mod compiled;
mod handover;
mod isolation;
mod judge;
mod leadership;
mod observe;
mod records;
mod report;
mod run;
mod settings;
mod wakers;
mod watch_log;
mod writes;

pub use clients::ApiServerService;
pub use leadership::{Timing, TimingError};
pub use observe::ConnectSource;
pub use report::metrics::page as metrics_page;
pub use run::{Controller, Surroundings};
pub use settings::Settings;
