//! What the kernel reports about the machine and about processes.

use std::fs;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The unit of CPU time in /proc on every Linux that the Rust standard library supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// The machine that the bench ran on, without its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    /// The load average over the minute before the run. Above zero, other programs were
    /// running.
    pub(crate) load_before: String,
}

impl Machine {
    /// This machine.
    pub(crate) fn current() -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let (info, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let kib = field(&memory, "MemTotal").split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0);
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: field(&info, "model name"),
            memory_gib: (kib / 1024.0 / 1024.0_f64).round(),
            // The text after the version may contain the name of the person who built it.
            kernel: read("/proc/sys/kernel/osrelease").split('-').next().unwrap_or_default().trim().to_owned(),
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

/// The CPU seconds that a process has used, in user and kernel mode.
///
/// # Errors
/// The process has ended.
pub(crate) fn cpu_seconds(pid: i32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process has ended")?;
    // The process name before it may contain spaces.
    let (_, rest) = stat.rsplit_once(") ").context("/proc/PID/stat has an unknown format")?;
    let ticks = rest.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok());
    Ok(ticks.map(f64::from).sum::<f64>() / TICKS_PER_SECOND)
}

/// Resident memory in kB, including the pages of the program file.
///
/// # Errors
/// The process has ended.
pub(crate) fn resident_kb(pid: i32) -> Result<f64> {
    status_kb(pid, "VmRSS:")
}

/// The resident pages of the program file, in kB. The kernel can share and drop them.
///
/// # Errors
/// The process has ended.
pub(crate) fn program_kb(pid: i32) -> Result<f64> {
    status_kb(pid, "RssFile:")
}

fn status_kb(pid: i32, field: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process has ended")?;
    let line = status.lines().find(|line| line.starts_with(field));
    let line = line.with_context(|| format!("/proc/PID/status has no {field}"))?;
    let kib: f64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("/proc/PID/status has no number for {field}"))?;
    Ok(kib * 1.024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_uses_cpu_time_and_memory() {
        let me = i32::try_from(std::process::id()).unwrap();
        let before = cpu_seconds(me).unwrap();
        let begun = std::time::Instant::now();
        while cpu_seconds(me).unwrap() < before + 0.05 {
            assert!(begun.elapsed().as_secs() < 60, "the kernel counts no CPU time");
        }
        let (all, program) = (resident_kb(me).unwrap(), program_kb(me).unwrap());
        assert!(0.0 < program && program < all, "{program} of {all}");
    }
}
