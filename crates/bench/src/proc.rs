//! What the kernel says of processes and of the machine.

use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

/// The kernel counts CPU time in these on every Linux that Rust's standard library runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// The machine that was measured on, without its name.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    /// Processes that wanted a core over the minute before: above zero, others were at work.
    pub(crate) load_before: String,
}

impl Machine {
    /// Of this machine.
    pub(crate) fn here() -> Self {
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
            // What follows the version may name whoever built it.
            kernel: read("/proc/sys/kernel/osrelease").split('-').next().unwrap_or_default().trim().to_owned(),
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

/// CPU seconds that a process has used, in user and kernel mode.
///
/// # Errors
/// When it is gone.
pub(crate) fn cpu_seconds(pid: i32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    // The name before it may hold anything, blanks too.
    let (_, rest) = stat.rsplit_once(") ").context("/proc/PID/stat is not as expected")?;
    let ticks = rest.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok());
    Ok(ticks.map(f64::from).sum::<f64>() / TICKS_A_SECOND)
}

/// Resident memory in kB, the pages of the program's own file included.
///
/// # Errors
/// When it is gone.
pub(crate) fn resident_kb(pid: i32) -> Result<f64> {
    status_kb(pid, "VmRSS:")
}

/// Those pages alone, in kB: code, which the kernel shares and can drop.
///
/// # Errors
/// When it is gone.
pub(crate) fn program_kb(pid: i32) -> Result<f64> {
    status_kb(pid, "RssFile:")
}

fn status_kb(pid: i32, field: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let line = status.lines().find(|line| line.starts_with(field));
    let line = line.with_context(|| format!("/proc/PID/status has no {field}"))?;
    let kib: f64 = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).context("it is empty")?;
    Ok(kib * 1.024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_uses_time_and_memory() {
        let me = i32::try_from(std::process::id()).unwrap();
        let before = cpu_seconds(me).unwrap();
        let begun = std::time::Instant::now();
        while cpu_seconds(me).unwrap() < before + 0.05 {
            assert!(begun.elapsed().as_secs() < 60, "no CPU time is counted");
        }
        let (all, program) = (resident_kb(me).unwrap(), program_kb(me).unwrap());
        assert!(0.0 < program && program < all, "{program} of {all}");
    }
}
