//! Room on disk, asked for before it is needed: a full disk in the middle
//! shows up as a hundred different errors.

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::statvfs;
use std::path::Path;

/// Checks that the file system a path is or will be on has room.
///
/// # Errors
/// When it has not.
pub(crate) fn require(path: &Path, bytes: u64, purpose: &str) -> Result<()> {
    let existing = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let stat = statvfs(existing).with_context(|| format!("cannot look at the disk of {}", existing.display()))?;
    let free = stat.blocks_available() * stat.fragment_size();
    if free < bytes {
        bail!(
            "{} has {} MB free, {} MB are needed {purpose}: free some or choose another folder",
            path.display(),
            free >> 20,
            bytes >> 20
        );
    }
    Ok(())
}
