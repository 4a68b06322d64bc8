//! The host as the tests see it, and a testbed at the other end of the
//! command line.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot look has failed")]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Names of processes that a testbed starts. Anything else on the machine
/// comes and goes with its other users.
const PROCESSES: [&str; 21] = [
    "etcd",
    "kube-apiserver",
    "kube-controller",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "containerd",
    "containerd-shim",
    "runc",
    "ctr",
    "coredns",
    "prometheus",
    "kube-state-metr",
    "sleep",
    "nsenter",
    "unshare",
    "testbed-pause",
    "go",
    "compile",
    "link",
    "asm",
];

/// Testbeds of these tests; what other testbeds do meanwhile is their affair.
const OURS: [&str; 3] = ["/prunella-teardown", "/prunella-side-", "/prunella-refusals"];

/// One test at a time: they compare what the whole machine holds.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything a testbed could leave, as full lists.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Host {
    processes: BTreeSet<String>,
    mounts: BTreeSet<String>,
    links: BTreeSet<String>,
    routes: BTreeSet<String>,
    chains: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    network_namespaces: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
}

impl Host {
    /// Takes the lists now.
    pub(crate) fn look() -> Self {
        let pids: Vec<_> = list(Path::new("/proc")).filter(|p| p.join("cgroup").exists() && !elsewhere(p)).collect();
        Self {
            processes: pids.iter().filter_map(|pid| process(pid)).collect(),
            mounts: lines("/proc/self/mountinfo").filter_map(|line| Some(line.split(' ').nth(4)?.to_owned())).collect(),
            links: list(Path::new("/sys/class/net")).map(|link| link.display().to_string()).collect(),
            routes: output("ip", &["route", "show", "table", "all"]),
            chains: [output("iptables-save", &[]), output("ip6tables-save", &[]), output("iptables-legacy-save", &[])]
                .into_iter()
                .flatten()
                .filter(|line| !line.starts_with('#'))
                .map(|line| line.split(" [").next().unwrap_or_default().to_owned())
                .collect(),
            cgroups: cgroup_roots()
                .flat_map(|root| list(&root).collect::<Vec<_>>())
                .filter(|path| path.is_dir())
                .collect(),
            network_namespaces: pids
                .iter()
                .filter_map(|pid| fs::read_link(pid.join("ns/net")).ok())
                .chain(list(Path::new("/run/netns")))
                .collect(),
            folders: ["/var/lib", "/run", "/opt", "/var/lib/prunella-testbed"]
                .into_iter()
                .flat_map(|dir| list(Path::new(dir)))
                .collect(),
        }
    }

    /// Asserts that the host is as it was.
    #[track_caller]
    pub(crate) fn assert_same(&self) {
        let now = Self::look();
        assert_eq!(now.folders, self.folders);
        assert_eq!(now.mounts, self.mounts);
        assert_eq!(now.links, self.links);
        assert_eq!(now.routes, self.routes);
        assert_eq!(now.chains, self.chains);
        assert_eq!(now.cgroups, self.cgroups);
        assert_eq!(now.processes, self.processes);
        assert_eq!(now.network_namespaces, self.network_namespaces);
    }
}

/// A process that a testbed of these tests may have started.
fn process(pid: &Path) -> Option<String> {
    let comm = fs::read_to_string(pid.join("comm")).ok()?;
    let comm = PROCESSES.iter().find(|name| comm.trim() == **name)?;
    let command = fs::read_to_string(pid.join("cmdline")).ok()?.replace('\0', " ");
    // Everyone's shell scripts sleep; a testbed's do not end.
    let counts = *comm != "sleep" || command.contains("infinity");
    counts.then(|| format!("{} {comm}: {command}", pid.display()))
}

fn elsewhere(pid: &Path) -> bool {
    let groups = fs::read_to_string(pid.join("cgroup")).unwrap_or_default();
    groups.contains("/prunella-") && !OURS.iter().any(|ours| groups.contains(ours))
}

fn list(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn lines(file: &str) -> impl Iterator<Item = String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(String::from).collect::<Vec<_>>().into_iter()
}

fn cgroup_roots() -> impl Iterator<Item = PathBuf> {
    lines("/proc/self/mountinfo")
        .filter(|line| line.contains(" - cgroup"))
        .filter_map(|line| Some(line.split(' ').nth(4)?.into()))
}

fn output(program: &str, args: &[&str]) -> BTreeSet<String> {
    let output = Command::new(program).args(args).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).lines().map(String::from).collect()).unwrap_or_default()
}

/// A testbed of this name, by the command line.
pub(crate) struct Bed {
    name: &'static str,
    cache: Option<PathBuf>,
}

/// How a command ended.
pub(crate) struct Outcome {
    pub code: Option<i32>,
    pub errors: String,
}

impl Outcome {
    pub(crate) fn last_line(&self) -> &str {
        self.errors.lines().last().unwrap_or_default()
    }
}

impl Bed {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, cache: None }
    }

    /// With a cache of tools of its own.
    pub(crate) fn with_cache(self, cache: &Path) -> Self {
        Self { cache: Some(cache.to_owned()), ..self }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
        command
            .args(args)
            .env("TESTBED_NAME", self.name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.envs(self.cache.iter().map(|cache| ("PRUNELLA_CACHE", cache)));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        let output = self.command(args).output().unwrap();
        Outcome { code: output.status.code(), errors: String::from_utf8_lossy(&output.stderr).into_owned() }
    }

    #[track_caller]
    pub(crate) fn succeeds(&self, args: &[&str]) {
        let outcome = self.run(args);
        assert_eq!(outcome.code, Some(0), "{args:?}: {}", outcome.errors);
    }

    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let mut child = self.command(args).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        Running { child, errors }
    }
}

/// A failed test takes its testbed with it.
impl Drop for Bed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.run(&["down"]);
        }
    }
}

/// A command at work.
pub(crate) struct Running {
    child: Child,
    errors: BufReader<ChildStderr>,
}

impl Running {
    /// Reads its messages up to one with this text.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.errors.read_line(&mut line).unwrap(), 0, "ended before {text:?}");
        }
    }

    /// Ends it with a signal and gives its exit code, if it had one.
    pub(crate) fn end(mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
        let begun = Instant::now();
        let code = self.child.wait().unwrap().code();
        assert!(begun.elapsed() < Duration::from_secs(30), "took {:?} to end", begun.elapsed());
        let mut rest = String::new();
        let _ = self.errors.read_to_string(&mut rest);
        code
    }
}
