//! A real Kubernetes and Prometheus on one Linux machine: etcd, API server,
//! controller manager, scheduler, `CoreDNS`, Prometheus and kube-state-metrics,
//! and one to three nodes with a containerd, kubelet and kube-proxy each.
//! Needs root, no container engine and no image registry.
//!
//! For tests:
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! let testbed = testbed::Testbed::shared().await?;
//! testbed.load_image("localhost/sample-app:1", "target/debug/sample-app".as_ref()).await?;
//! let namespace = testbed.namespace("oom").await?;
//! namespace.kubectl(&["run", "web", "--image=localhost/sample-app:1"]).await?;
//! # Ok(())
//! # }
//! ```
//! On the command line, see `testbed --help`.
//!
//! # Guarantees
//! - After `down` there is no process, mount, link, namespace, chain or
//!   cgroup of the testbed, in whatever state `up` was left.
//! - Two testbeds of different names do not meet: addresses, cgroups, links
//!   and folders derive from the name.
//! - The host's iptables and forwarding are neither used nor changed, and
//!   nothing listens on an address of the host but its link to the testbed.
//!
//! # Assumptions
//! - Linux with network and mount namespaces, cgroup v1, hybrid or v2, and
//!   overlayfs on the data folder's file system.
//! - For each testbed one `10.N.0.0/16`, N from 100 to 199, that no route of
//!   the host uses; see [`layout`].

pub mod audit;
mod certificates;
mod cgroup;
mod control_plane;
mod disk;
mod dns;
mod down;
mod elf;
pub mod http;
pub mod image;
pub mod layout;
mod manifests;
mod monitoring;
mod network;
mod node;
mod options;
mod packages;
mod plan;
mod process;
mod progress;
pub mod proxy;
mod state;
pub mod status;
mod surroundings;
mod testbed;
mod tools;
mod up;

pub use crate::down::down;
pub use crate::options::{Extra, Options, Part};
pub use crate::process::Server;
pub use crate::proxy::{Proxy, ProxyOptions};
pub use crate::state::State;
pub use crate::surroundings::Surroundings;
pub use crate::testbed::{Fault, Namespace, Testbed};
pub use crate::up::{interrupted, require_root, up};
