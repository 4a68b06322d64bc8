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
const OURS: [&str; 4] = ["teardown", "side-one", "side-two", "refusals"];
const REGISTRY: &str = "/var/lib/prunella-testbed";

/// One test at a time: they compare what the whole machine holds.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything a testbed could leave, as full lists: processes, mounts, links,
/// routes, iptables chains, cgroups, network namespaces and folders.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Host(BTreeSet<String>);

impl Host {
    /// Takes the lists now.
    pub(crate) fn look() -> Self {
        let others = others();
        let pids: Vec<_> =
            list(Path::new("/proc")).filter(|pid| pid.join("cgroup").exists() && !elsewhere(pid)).collect();
        let mut all = BTreeSet::new();
        let mut add =
            |kind: &str, lines: Vec<String>| all.extend(lines.into_iter().map(|line| format!("{kind} {line}")));

        add("process", pids.iter().filter_map(|pid| process(pid)).collect());
        let namespaces = pids.iter().filter_map(|pid| fs::read_link(pid.join("ns/net")).ok()).map(shown);
        add("network namespace", namespaces.collect());
        add("network namespace", list(Path::new("/run/netns")).map(shown).collect());
        add(
            "mount",
            lines("/proc/self/mountinfo").filter_map(|line| Some(line.split(' ').nth(4)?.to_owned())).collect(),
        );
        add("link", list(Path::new("/sys/class/net")).map(shown).collect());
        add("route", output("ip", &["route", "show", "table", "all"]));
        for save in ["iptables-save", "ip6tables-save", "iptables-legacy-save"] {
            // Without the counters.
            add(save, output(save, &[]).iter().filter_map(|line| Some(line.split(" [").next()?.to_owned())).collect());
        }
        for root in lines("/proc/self/mountinfo").filter(|line| line.contains(" - cgroup")) {
            let root = root.split(' ').nth(4).unwrap_or_default();
            add("cgroup", list(Path::new(root)).filter(|path| path.is_dir()).map(shown).collect());
        }
        for folder in ["/var/lib", "/run", "/opt", REGISTRY] {
            add("folder", list(Path::new(folder)).map(shown).collect());
        }
        all.retain(|line| !line.contains(" # ") && !others.iter().any(|other| line.contains(other)));
        Self(all)
    }

    /// Asserts that the host is as it was.
    #[track_caller]
    pub(crate) fn assert_same(&self) {
        let mut now = Self::look();
        // Another testbed may be halfway up or down just now.
        for _ in 0..10 {
            if now == *self || others().is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(300));
            now = Self::look();
        }
        let (left, gone): (Vec<_>, Vec<_>) = (now.0.difference(&self.0).collect(), self.0.difference(&now.0).collect());
        assert!(left.is_empty() && gone.is_empty(), "left behind: {left:#?}; gone: {gone:#?}");
    }
}

/// What only other testbeds have in the lines about them.
fn others() -> Vec<String> {
    let mut words = Vec::new();
    for folder in list(Path::new(REGISTRY)) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        if OURS.contains(&name.as_str()) {
            continue;
        }
        words.extend([format!("prunella-{name}"), format!("{REGISTRY}/{name}")]);
        let state: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("state.json")).unwrap_or_default()).unwrap_or_default();
        words.push(format!("prn{}", state["layout"]["octet"]));
    }
    if !words.is_empty() {
        // Shared by all testbeds, and removed with the last.
        words.extend([REGISTRY, "/var/lib/cni", "/var/lib/kubelet"].map(String::from));
    }
    words
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
    groups.contains("/prunella-") && !OURS.iter().any(|ours| groups.contains(&format!("/prunella-{ours}")))
}

fn shown(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

fn list(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn lines(file: &str) -> impl Iterator<Item = String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(String::from).collect::<Vec<_>>().into_iter()
}

fn output(program: &str, args: &[&str]) -> Vec<String> {
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
