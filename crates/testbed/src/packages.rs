//! Programs that the machine must have. On Debian they are installed, on
//! other systems named.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use tokio::process::Command;

use crate::progress::Progress;

/// A program and the Debian package it comes in.
const PROGRAMS: [(&str, &str); 13] = [
    ("containerd", "containerd"),
    ("containerd-shim-runc-v2", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("setsid", "util-linux"),
    ("mount", "mount"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("/usr/lib/cni/host-local", "containernetworking-plugins"),
];

/// Installs what is missing, where that is possible.
///
/// # Errors
/// When something is missing and cannot be installed.
pub(crate) async fn require(progress: &Progress) -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !Path::new("/etc/debian_version").exists() {
        bail!("programs are missing: install the packages {list} (Debian's names) with your package manager");
    }
    progress.say(&format!("installing {list}"));
    let log = std::env::temp_dir().join("testbed-apt.log");
    let out = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let status = Command::new("sh")
        .args(["-c", "apt-get install -y --no-install-recommends \"$@\" || { apt-get update && apt-get install -y --no-install-recommends \"$@\"; }", "sh"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(std::process::Stdio::null())
        .stdout(out.try_clone().context("cannot open the log of apt-get")?)
        .stderr(out)
        // Not killed with `up`: dpkg must end what it has begun.
        .status()
        .await
        .context("cannot run apt-get")?;
    let left = self::missing();
    if !status.success() || !left.is_empty() {
        bail!("apt-get could not install {}: see {}", left.join(" "), log.display());
    }
    let _ = fs::remove_file(log);
    Ok(())
}

/// The Go compiler is needed only to build the servers.
///
/// # Errors
/// When it is missing.
pub(crate) fn require_go() -> Result<()> {
    if find("go").is_none() {
        bail!("go is not in PATH, it builds the servers: install Go 1.26 or newer, see https://go.dev/dl");
    }
    Ok(())
}

fn missing() -> Vec<&'static str> {
    let mut packages: Vec<_> =
        PROGRAMS.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An absolute path replaces what it is joined to.
    std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).map(|dir| dir.join(program)).find(|p| p.is_file())
}
