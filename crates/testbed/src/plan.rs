//! Every server of a testbed, from its layout and options alone: what `up`
//! starts, what `server start` starts again, what `status` looks at.

use crate::layout::{Layout, Place};
use crate::options::{Extra, Options, Part};
use crate::process::Server;
use crate::tools::Tools;
use crate::{control_plane, dns, monitoring, node};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// All that decides how a testbed's servers are started.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Paths and addresses.
    pub layout: Layout,
    /// What was asked for.
    pub options: Options,
    /// The built programs.
    pub tools: Tools,
}

impl Plan {
    /// Every server, in the order in which they can start.
    #[must_use]
    pub fn servers(&self) -> Vec<Server> {
        let mut servers = control_plane::servers(self);
        servers.extend(self.addons());
        servers.extend(self.layout.node_numbers().flat_map(|number| node::servers(self, number)));
        servers
    }

    /// What runs beside the control plane.
    #[must_use]
    pub fn addons(&self) -> Vec<Server> {
        let mut servers = Vec::new();
        if self.options.has(Part::Coredns) {
            servers.push(dns::server(self));
        }
        if self.options.has(Part::Prometheus) {
            servers.push(monitoring::prometheus(self));
        }
        if self.options.has(Part::KubeStateMetrics) {
            servers.push(monitoring::kube_state_metrics(self));
        }
        if self.options.asks_for(Extra::Alertmanager) {
            servers.push(monitoring::alertmanager(self));
        }
        servers
    }

    /// The server of this name.
    ///
    /// # Errors
    /// When there is none, with the names there are.
    pub fn server(&self, name: &str) -> Result<Server> {
        let servers = self.servers();
        if let Some(server) = servers.iter().find(|server| server.name == name) {
            return Ok(server.clone());
        }
        let names: Vec<_> = servers.into_iter().map(|server| server.name).collect();
        bail!("no server {name}: choose one of {}", names.join(", "))
    }

    /// The number of a node given as `node-2` or `2`.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn node(&self, name: &str) -> Result<u8> {
        let number = name.strip_prefix("node-").unwrap_or(name).parse().unwrap_or(0);
        if !self.layout.node_numbers().any(|known| known == number) {
            bail!("no node {name}: there are node-1 to node-{}", self.layout.nodes);
        }
        Ok(number)
    }

    /// Writes every server's configuration.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn configure(&self) -> Result<()> {
        fs::create_dir_all(self.layout.data.join("logs")).context("cannot write to the data folder")?;
        control_plane::configure(self)?;
        dns::configure(self)?;
        monitoring::configure(self)?;
        self.layout.node_numbers().try_for_each(|number| node::configure(self, number))
    }

    /// A server in the hub, started under its own name.
    pub(crate) fn in_hub(&self, name: &str, args: Vec<String>, health: String) -> Server {
        let program = self.tools.program(name);
        Server { name: name.into(), place: Place::Hub, program, args, health: Some(health) }
    }

    /// `--kubeconfig` of a server's own user.
    pub(crate) fn kubeconfig(&self, user: &str) -> String {
        self.layout.pki(&format!("{user}.kubeconfig")).display().to_string()
    }

    /// A file below `pki/`, as text for an argument.
    pub(crate) fn pki(&self, file: &str) -> String {
        self.layout.pki(file).display().to_string()
    }
}

/// `--key=value` for each pair.
pub(crate) fn flags<const N: usize>(pairs: [(&str, String); N]) -> Vec<String> {
    pairs.into_iter().map(|(key, value)| format!("--{key}={value}")).collect()
}

/// Writes a configuration file; JSON serves where YAML is asked for.
pub(crate) fn write_json(path: &Path, value: &Value) -> Result<()> {
    write(path, &format!("{value:#}\n"))
}

pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, text))
        .with_context(|| format!("cannot write {}", path.display()))
}
