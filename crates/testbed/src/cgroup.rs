//! The testbed's cgroups: one group a server, below one root a testbed, in
//! every hierarchy of the machine (v1, hybrid or v2). They are how the
//! testbed knows its processes: no pid file can go stale, and what a server
//! forks is found too.

use crate::layout::cgroup_of;
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One mounted hierarchy.
#[derive(Debug, Clone)]
struct Hierarchy {
    mount: PathBuf,
    /// Pure v2, where controllers must be handed down by the parent.
    unified: bool,
}

/// The cgroups of one testbed.
#[derive(Debug, Clone)]
pub struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    root: String,
}

impl Cgroups {
    /// Finds the machine's hierarchies. Makes nothing.
    ///
    /// # Errors
    /// When none is mounted.
    pub fn of(name: &str) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mount table")?;
        let hierarchies: Vec<_> = mounts.lines().filter_map(hierarchy).collect();
        if hierarchies.is_empty() {
            bail!("no cgroup hierarchy is mounted: mount cgroup2 on /sys/fs/cgroup");
        }
        Ok(Self { hierarchies, root: cgroup_of(name) })
    }

    /// Makes one group in every hierarchy; `group` may be a path.
    ///
    /// # Errors
    /// When a group cannot be made.
    pub fn make(&self, group: &str) -> Result<()> {
        for hierarchy in &self.hierarchies {
            let mut dir = hierarchy.mount.clone();
            for part in Path::new(&self.root).join(group).components() {
                if hierarchy.unified {
                    hand_down_controllers(&dir);
                }
                let parent = dir.clone();
                dir.push(part);
                match fs::create_dir(&dir) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(e).with_context(|| format!("cannot make the cgroup {}", dir.display()));
                    }
                    _ => inherit_cpuset(&parent, &dir),
                }
            }
        }
        Ok(())
    }

    /// The folders of one group, for a process to join.
    #[must_use]
    pub fn dirs(&self, group: &str) -> Vec<PathBuf> {
        self.hierarchies.iter().map(|h| h.mount.join(&self.root).join(group)).collect()
    }

    /// The processes in a group and below it; `""` is the whole testbed.
    #[must_use]
    pub fn pids(&self, group: &str) -> BTreeSet<i32> {
        let mut pids = BTreeSet::new();
        for dir in self.dirs(group) {
            walk(&dir, &mut |dir| {
                let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
                pids.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()));
            });
        }
        pids
    }

    /// Sends a signal to every process of a group, but never to the caller.
    pub fn signal(&self, group: &str, signal: Signal) {
        let me = Pid::this();
        for pid in self.pids(group).into_iter().map(Pid::from_raw).filter(|pid| *pid != me) {
            // It may have ended since it was listed.
            let _ = kill(pid, signal);
        }
    }

    /// Kills until nothing is left in a group: processes may fork meanwhile.
    ///
    /// # Errors
    /// When something is still there after 20 s (a process the kernel holds).
    pub fn kill(&self, group: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut killed = BTreeSet::new();
        loop {
            let left = self.pids(group);
            if left.is_empty() {
                wait_until_reaped(&killed);
                return Ok(());
            }
            killed.extend(&left);
            if Instant::now() > deadline {
                bail!("processes {left:?} do not end: see /proc/PID/stack, then run down again");
            }
            self.signal(group, Signal::SIGKILL);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Removes every group of the testbed, and kills what joins meanwhile: a
    /// command that `up` began just before it was ended. Whoever comes later
    /// finds nothing to join, and gives up.
    ///
    /// # Errors
    /// When a group stays busy for 10 s.
    pub fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        for dir in self.dirs("") {
            loop {
                let mut dirs = Vec::new();
                walk(&dir, &mut |dir| dirs.push(dir.to_path_buf()));
                let mut failed = None;
                // Deepest first; a group with a dying process is busy for a moment.
                for dir in dirs.iter().rev() {
                    failed = fs::remove_dir(dir).err();
                }
                match failed {
                    None => break,
                    Some(e) if Instant::now() > deadline => {
                        return Err(e)
                            .with_context(|| format!("cannot remove the cgroup {}: run down again", dir.display()));
                    }
                    Some(_) => {
                        self.signal("", Signal::SIGKILL);
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether any group of the testbed exists.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.dirs("").iter().any(|dir| dir.exists())
    }
}

/// Resident bytes of these processes, shared pages split among their users
/// (Pss), so that a sum does not count a shared binary many times.
#[must_use]
pub(crate) fn resident(pids: &BTreeSet<i32>) -> u64 {
    let kilobytes: u64 = pids
        .iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|text| {
            text.lines().find(|line| line.starts_with("Pss:"))?.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .sum();
    kilobytes * 1024
}

/// Gives the processes' parents, init for most, a moment to take note of
/// their end. One that does not is no fault of the testbed.
fn wait_until_reaped(pids: &BTreeSet<i32>) {
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline && pids.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn hierarchy(line: &str) -> Option<Hierarchy> {
    let (before, after) = line.split_once(" - ")?;
    let mount = PathBuf::from(before.split(' ').nth(4)?);
    match after.split(' ').next()? {
        "cgroup" => Some(Hierarchy { mount, unified: false }),
        "cgroup2" => {
            // On a hybrid machine v2 is mounted too but has no controllers.
            let controllers = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
            Some(Hierarchy { mount, unified: controllers.split_whitespace().next().is_some() })
        }
        _ => None,
    }
}

/// v2: children have only the controllers their parent enables. Which of
/// them can be had differs by machine, so a refusal is not an error here:
/// the kubelet names what it misses.
fn hand_down_controllers(dir: &Path) {
    for controller in fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default().split_whitespace() {
        let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// v1: a new cpuset is empty, and no process can join an empty one.
fn inherit_cpuset(parent: &Path, child: &Path) {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let (Ok(theirs), Ok(ours)) = (fs::read_to_string(parent.join(file)), fs::read_to_string(child.join(file)))
            && ours.trim().is_empty()
        {
            let _ = fs::write(child.join(file), theirs.trim());
        }
    }
}

/// Visits a folder and those below it, parents first.
fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    visit(dir);
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        walk(&entry.path(), visit);
    }
}
