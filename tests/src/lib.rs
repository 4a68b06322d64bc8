//! The base of the end-to-end tests: one testbed with the controller installed as a user would
//! install it, and for each test a namespace of its own.
//!
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! prunella_e2e::in_room("quiet", async |room| {
//!     let pods = room.deploy(2).await?;
//!     room.apply(&room.policy("memory", &room.gauge_over(5))).await?;
//!     room.simulate(&pods[0], "gauge?value=10").await?;
//!     room.until_outcome("memory", 1, "Succeeded").await.map(drop)
//! })
//! .await
//! # }
//! ```
//!
//! # Guarantees
//! - The controller that runs is the `prunella` of this build: its image tag is the digest of
//!   that file, and a file older than its sources is refused.
//! - Tests that break the whole cluster ([`alone`]) never run together with others, in any
//!   process.
//! - Every wait has a deadline. Its error says what was observed last.
//!
//! # Assumptions
//! - Root, which the testbed needs, and a workspace that was built with
//!   `cargo build --workspace`.
//! - The testbed is named by `TESTBED_NAME`. Default: `e2e`. It is started if it does not run,
//!   and keeps running for the next run. `testbed down --name e2e` removes it.

mod app;
mod audit;
mod binaries;
mod events;
mod ground;
mod install;
mod lock;
mod policy;
mod prometheus;
mod room;
mod stand_in;
mod story;
mod table;
mod wait;

pub use crate::app::{name_of, restarts, uid_of};
pub use crate::audit::{CONTROLLER, instant, what};
pub use crate::binaries::program;
pub use crate::events::ReportedEvent;
pub use crate::ground::{Ground, repository};
pub use crate::install::{DEPLOYMENT, NAMESPACE};
pub use crate::policy::{STEP, condition, state};
pub use crate::prometheus::Series;
pub use crate::room::{Room, alone, in_room};
pub use crate::stand_in::{Place, Process, StandIn, in_its_place};
pub use crate::story::Story;
pub use crate::table::Table;
pub use crate::wait::{PATIENCE, eventually, steadily};
