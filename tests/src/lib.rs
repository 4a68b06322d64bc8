//! The ground on which the end-to-end tests stand: one testbed, the controller
//! installed on it as a reader would install it, and for each test a namespace
//! with what is done and seen there.
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
//! - The controller that runs is the `prunella` beside the test binary: its image's
//!   tag is the digest of that file, and a file older than its sources is refused.
//! - Tests that break the cluster as a whole ([`alone`]) never run beside others, in
//!   whatever process.
//! - Every wait has a deadline, and says in its failure what was seen last.
//!
//! # Assumptions
//! - Root, as the testbed needs it, and a workspace that was built:
//!   `cargo build --workspace`.
//! - The testbed is that of `TESTBED_NAME`, `e2e` if not set. It is brought up when it
//!   does not run and stays up for the next run: `testbed down --name e2e` ends it.

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
pub use crate::events::Told;
pub use crate::ground::{Ground, repository};
pub use crate::install::{DEPLOYMENT, NAMESPACE};
pub use crate::policy::{condition, state};
pub use crate::prometheus::Series;
pub use crate::room::{Room, alone, in_room};
pub use crate::stand_in::{Place, Process, StandIn, in_its_place};
pub use crate::story::Story;
pub use crate::table::Table;
pub use crate::wait::{PATIENCE, eventually, steadily};
