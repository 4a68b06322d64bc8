//! `status`: what runs, where, how it is and what it takes.

use crate::cgroup::resident;
use crate::layout::Place;
use crate::node::pods_group;
use crate::process::Server;
use crate::testbed::Testbed;
use anyhow::Result;
use futures::future::join_all;
use std::fmt;

/// One line of the table.
#[derive(Debug)]
pub struct Line {
    /// The server.
    pub server: Server,
    /// Its process, if it has one.
    pub pid: Option<i32>,
    /// Its address.
    pub address: String,
    /// `healthy`, or what is wrong.
    pub health: Result<(), String>,
    /// Resident bytes of its group.
    pub resident: u64,
}

/// The whole table.
#[derive(Debug)]
pub struct Status {
    /// One line a server.
    pub lines: Vec<Line>,
    /// Resident bytes of all the testbed's processes, pods too.
    pub resident: u64,
    /// Resident bytes of the pods on each node.
    pub pods: Vec<(Place, u64)>,
}

impl Status {
    /// Looks at every server of a testbed.
    ///
    /// # Errors
    /// When the testbed's certificates cannot be read.
    pub async fn of(testbed: &Testbed) -> Result<Self> {
        let (http, cgroups, layout) = (testbed.http()?, testbed.cgroups(), testbed.layout());
        let lines = testbed.servers().into_iter().map(async |server| {
            let pid = server.main_pid(cgroups);
            let health = match (pid, &server.health) {
                (None, _) => Err("dead".into()),
                (Some(_), None) => Ok(()),
                (Some(_), Some(url)) => http.healthy(url).await.map_err(|error| error.to_string()),
            };
            let address = match server.place {
                Place::Hub => layout.hub_ip(),
                Place::Node(number) => layout.node_ip(number),
            };
            Line { pid, address, health, resident: resident(&cgroups.pids(&server.name)), server }
        });
        let pods = layout.node_numbers().map(|n| (Place::Node(n), resident(&cgroups.pids(&pods_group(n))))).collect();
        Ok(Self { lines: join_all(lines).await, resident: resident(&cgroups.pids("")), pods })
    }

    /// Whether every server is.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.lines.iter().all(|line| line.health.is_ok())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24} {:<7} {:>7}  {:<13} {:>8}  HEALTH", "SERVER", "PLACE", "PID", "ADDRESS", "MEMORY")?;
        for line in &self.lines {
            let pid = line.pid.map_or_else(|| "-".into(), |pid| pid.to_string());
            let health = line.health.as_ref().map_or_else(String::as_str, |()| "healthy");
            let (name, place) = (&line.server.name, line.server.place.to_string());
            writeln!(
                f,
                "{name:<24} {place:<7} {pid:>7}  {:<13} {:>5} MB  {health}",
                line.address,
                line.resident >> 20
            )?;
        }
        for (place, bytes) in &self.pods {
            writeln!(f, "{:<24} {:<7} {:>7}  {:<13} {:>5} MB", "(pods)", place.to_string(), "", "", bytes >> 20)?;
        }
        write!(f, "{:<24} {:<7} {:>7}  {:<13} {:>5} MB", "total", "", "", "", self.resident >> 20)
    }
}
