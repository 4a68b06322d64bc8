//! Starting processes where `down` finds them: each joins its cgroup before
//! it becomes what it is to be, so that there is no moment in which a killed
//! `up` could leave it behind. That takes a small shell, because between
//! fork and exec Rust may run no safe code.

use crate::cgroup::Cgroups;
use crate::layout::{Layout, Place};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Joins every group up to `--`, leaves the terminal's session (Ctrl-C is
/// for `up` alone) and becomes the rest.
const JOIN: &str =
    r#"while [ "$1" != -- ]; do echo 0 >"$1/cgroup.procs" || exit 125; shift; done; shift; exec setsid "$@""#;

/// The group of a place's holder.
#[must_use]
pub(crate) fn holder_group(place: Place) -> String {
    format!("holder-{place}")
}

/// A command that runs in a group of the testbed.
///
/// # Errors
/// When the group cannot be made.
pub(crate) fn in_group(cgroups: &Cgroups, group: &str, program: &str) -> Result<Command> {
    cgroups.make(group)?;
    let mut command = Command::new("sh");
    command.args(["-c", JOIN, "sh"]).args(cgroups.dirs(group)).arg("--").arg(program);
    Ok(command)
}

/// The process that holds a place's namespaces open.
///
/// # Errors
/// When it is gone, and the namespaces with it.
pub(crate) fn holder(cgroups: &Cgroups, place: Place) -> Result<i32> {
    match cgroups.pids(&holder_group(place)).first() {
        Some(pid) => Ok(*pid),
        None => bail!("the namespaces of {place} are gone: run testbed down, then up"),
    }
}

/// The words that bring a command into a place's namespaces.
///
/// # Errors
/// When the place's holder is gone.
pub(crate) fn enter(cgroups: &Cgroups, place: Place) -> Result<Vec<String>> {
    let pid = holder(cgroups, place)?;
    let mut words = vec!["nsenter".into(), format!("--target={pid}"), "--net".into()];
    if place != Place::Hub {
        words.push("--mount".into());
    }
    words.push("--".into());
    Ok(words)
}

/// A command to run to its end in a place's namespaces, as one of the
/// testbed's processes.
///
/// # Errors
/// When the place's holder is gone.
pub(crate) fn in_place(cgroups: &Cgroups, place: Place, program: &str) -> Result<Command> {
    let words = enter(cgroups, place)?;
    let mut command = in_group(cgroups, "commands", &words[0])?;
    command.args(&words[1..]).arg(program);
    Ok(command)
}

/// Runs a command and gives its output.
///
/// # Errors
/// When it fails, with the last line it said.
pub(crate) async fn run(command: &mut Command, what: &str) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot start the command to {what}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message").trim().to_owned();
        bail!("cannot {what}: {last}");
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A long-running process of the testbed.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its name, its cgroup and the name of its log.
    pub name: String,
    /// Which namespaces it lives in.
    pub place: Place,
    /// What to run.
    pub program: PathBuf,
    /// With which arguments.
    pub args: Vec<String>,
    /// Answers with success when it is ready.
    pub health: Option<String>,
}

impl Server {
    /// Starts it, unless it runs already, and returns when its process has
    /// joined its group. Its output is appended to its log.
    ///
    /// # Errors
    /// When it cannot be started or ends at once.
    pub async fn start(&self, layout: &Layout, cgroups: &Cgroups) -> Result<()> {
        if self.main_pid(cgroups).is_some() {
            return Ok(());
        }
        let path = layout.log(&self.name);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let words = enter(cgroups, self.place)?;
        let mut child = in_group(cgroups, &self.name, &words[0])?
            .args(&words[1..])
            .arg(&self.program)
            .args(&self.args)
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .stdin(Stdio::null())
            .stdout(log.try_clone().with_context(|| format!("cannot write {}", path.display()))?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        while self.main_pid(cgroups).is_none() {
            if child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?.is_some() {
                return Err(self.ended(layout));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// The server's own process, not what it started (a containerd's shims
    /// and a kubelet's mounts share its group).
    #[must_use]
    pub fn main_pid(&self, cgroups: &Cgroups) -> Option<i32> {
        let program = self.program.file_name()?.to_str()?;
        // The kernel keeps 15 characters of a command's name.
        let comm = &program[..program.len().min(15)];
        cgroups.pids(&self.name).into_iter().find(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|found| found.trim() == comm)
                && fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
        })
    }

    /// The error for a server that has ended, with what it said last.
    #[must_use]
    pub fn ended(&self, layout: &Layout) -> anyhow::Error {
        let path = layout.log(&self.name);
        anyhow::anyhow!("{} ended ({}): see {}", self.name, last_line(&path), path.display())
    }
}

/// The last line of a log that says something, shortened.
#[must_use]
pub(crate) fn last_line(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim();
    line.chars().take(300).collect()
}
