//! The memory this process has in use, as the kernel counts it.

use std::fs;

/// Resident bytes of this process; `None` where there is no `/proc`.
///
/// From `/proc/self/status` and not `statm`: that counts in pages, whose size
/// differs between machines, this in KiB everywhere.
pub(crate) fn bytes() -> Option<u64> {
    in_status(&fs::read_to_string("/proc/self/status").ok()?)
}

fn in_status(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_bytes_are_found_in_status() {
        assert_eq!(in_status("VmHWM:\t   90 kB\nVmRSS:\t    5124 kB\nRssAnon:\t 1 kB\n"), Some(5124 * 1024));
        assert_eq!(in_status("Name:\tx\n"), None);
    }
}
