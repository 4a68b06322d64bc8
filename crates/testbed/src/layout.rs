//! Where everything of one testbed lives: paths, addresses and names, all
//! derived from the testbed's name, its data folder and one number (the
//! second octet of its addresses), so that two testbeds never meet.
//!
//! ```text
//! host ── veth prn<octet> ── hub (a network namespace: bridge br0, 10.<octet>.0.1)
//!   10.<octet>.0.254         │  etcd, API server, Prometheus, CoreDNS, …
//!                            ├── node-1 (network and mount namespace) 10.<octet>.0.11, pods 10.<octet>.1.0/24
//!                            └── node-2                               10.<octet>.0.12, pods 10.<octet>.2.0/24
//! ```
//! No namespace has a name under `/run/netns`: each lives as long as its
//! holder process, so killing the processes removes links, routes, chains
//! and mounts with them.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// The API server's Service addresses; the same in every testbed, because
/// only that testbed's nodes ever see them.
pub const SERVICE_CIDR: &str = "10.96.0.0/16";
/// The `kubernetes` Service: the first address of [`SERVICE_CIDR`].
pub const KUBERNETES_SERVICE: &str = "10.96.0.1";
/// Where pods ask for names.
pub const DNS_SERVICE: &str = "10.96.0.10";
/// At most this many nodes: more would not fit two cores.
pub const MAX_NODES: u8 = 3;

/// Where a process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// The control plane's network namespace.
    Hub,
    /// Node number 1, 2 or 3.
    Node(u8),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub => f.write_str("hub"),
            Self::Node(number) => write!(f, "node-{number}"),
        }
    }
}

/// One testbed's paths, addresses and names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The testbed's name.
    pub name: String,
    /// Second octet of every address.
    pub octet: u8,
    /// How many nodes, 0 to [`MAX_NODES`].
    pub nodes: u8,
    /// Everything the testbed writes is below this folder, which it owns.
    pub data: PathBuf,
}

/// A name is a path part, a cgroup and part of messages.
///
/// # Errors
/// When it is not 1 to 20 of `a-z`, `0-9` and `-`, beginning with a letter.
pub fn check_name(name: &str) -> Result<()> {
    let fits = (1..=20).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    ensure!(fits, "name {name:?} does not fit: use 1 to 20 of a-z, 0-9 and -, beginning with a letter");
    Ok(())
}

impl Layout {
    /// The hub's address: the control plane, Prometheus and DNS listen on it.
    #[must_use]
    pub fn hub_ip(&self) -> String {
        format!("10.{}.0.1", self.octet)
    }

    /// The host's own address on the testbed's network.
    #[must_use]
    pub fn host_ip(&self) -> String {
        format!("10.{}.0.254", self.octet)
    }

    /// A node's address.
    #[must_use]
    pub fn node_ip(&self, number: u8) -> String {
        format!("10.{}.0.{}", self.octet, 10 + number)
    }

    /// The addresses of one node's pods.
    #[must_use]
    pub fn pod_cidr(&self, number: u8) -> String {
        format!("10.{}.{number}.0/24", self.octet)
    }

    /// The one link the testbed adds to the host.
    #[must_use]
    pub fn host_link(&self) -> String {
        format!("prn{}", self.octet)
    }

    /// The root of the testbed's cgroups, in every hierarchy.
    #[must_use]
    pub fn cgroup(&self) -> String {
        cgroup_of(&self.name)
    }

    /// Where this place's servers keep their data and configuration.
    #[must_use]
    pub fn dir(&self, place: Place) -> PathBuf {
        self.data.join(place.to_string())
    }

    /// Certificates, keys and kubeconfigs.
    #[must_use]
    pub fn pki(&self, file: &str) -> PathBuf {
        self.data.join("pki").join(file)
    }

    /// Where Prometheus looks for further scrape configurations (`*.json`, see its
    /// `scrape_config_files`) when it starts or is told to reload.
    #[must_use]
    pub fn scrape_files(&self) -> PathBuf {
        self.dir(Place::Hub).join("scrape.d")
    }

    /// Where it looks for rules (`*.json`, see its `rule_files`).
    #[must_use]
    pub fn rule_files(&self) -> PathBuf {
        self.dir(Place::Hub).join("rules.d")
    }

    /// Alertmanager's configuration: a receiver that does nothing, until it is written
    /// anew and Alertmanager told to reload.
    #[must_use]
    pub fn alertmanager_config(&self) -> PathBuf {
        self.dir(Place::Hub).join("alertmanager.json")
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.pki("admin.kubeconfig")
    }

    /// A server's log.
    #[must_use]
    pub fn log(&self, server: &str) -> PathBuf {
        self.data.join("logs").join(format!("{server}.log"))
    }

    /// The API server's request log, JSON lines.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.data.join("logs").join("audit.jsonl")
    }

    /// The API server, from the host and from every namespace.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("https://{}:6443", self.hub_ip())
    }

    /// Prometheus, from the host and from every namespace.
    #[must_use]
    pub fn prometheus_url(&self) -> String {
        format!("http://{}:9090", self.hub_ip())
    }

    /// Alertmanager, if the testbed has one, from the host and from every namespace.
    #[must_use]
    pub fn alertmanager_url(&self) -> String {
        format!("http://{}:9093", self.hub_ip())
    }

    /// Node numbers, counted from 1.
    pub fn node_numbers(&self) -> impl Iterator<Item = u8> + use<> {
        1..=self.nodes
    }
}

/// The cgroup root of the testbed of this name.
#[must_use]
pub fn cgroup_of(name: &str) -> String {
    format!("prunella-{name}")
}

/// Where testbeds are written down: a folder for each, so that `down` and
/// `status` find one by its name wherever its data is.
#[must_use]
pub fn registry() -> &'static Path {
    Path::new("/var/lib/prunella-testbed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_part_and_nothing_more() {
        for (name, fits) in [
            ("dev", true),
            ("e2e-2", true),
            ("", false),
            ("Dev", false),
            ("2e2", false),
            ("a/b", false),
            ("..", false),
            ("a-name-that-is-too-long", false),
        ] {
            assert_eq!(check_name(name).is_ok(), fits, "{name:?}");
        }
    }

    #[test]
    fn link_names_fit_the_kernel() {
        let layout = Layout { name: "n".into(), octet: 255, nodes: 3, data: "/d".into() };
        assert!(layout.host_link().len() <= 15);
    }
}
