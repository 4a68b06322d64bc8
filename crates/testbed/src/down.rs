//! `down`: leaves nothing, whatever state `up` was left in. It needs only
//! the testbed's name: its processes are those in its cgroups, its links,
//! routes, chains and mounts live in namespaces that end with them.

use crate::cgroup::Cgroups;
use crate::layout::{check_name, registry};
use crate::network;
use crate::state::{Lock, State};
use crate::up::require_root;
use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Takes a testbed down and removes its data. Says whether there was one.
///
/// # Errors
/// When something cannot be removed; running it again goes on.
pub async fn down(name: &str) -> Result<bool> {
    check_name(name)?;
    require_root()?;
    let lock_name = name.to_owned();
    let lock = tokio::task::spawn_blocking(move || Lock::of(&lock_name));
    let _lock = lock.await.context("waiting for the lock failed")??;
    remove(name).await
}

/// The same, for one who holds the lock.
pub(crate) async fn remove(name: &str) -> Result<bool> {
    let state = State::load(name)?;
    let cgroups = Cgroups::of(name)?;
    let existed = state.is_some() || cgroups.exist() || registry().join(name).exists();

    cgroups.kill("")?;
    cgroups.remove()?;
    if let Some(state) = &state {
        unmount_below(&state.layout.data)?;
    }
    network::remove(name).await?;
    if let Some(state) = &state {
        delete(&state.layout.data)?;
        for folder in &state.made_folders {
            // Not empty: someone else uses it by now.
            let _ = fs::remove_dir(folder);
        }
    }
    // Last, so that a killed `down` can go on where it was.
    delete(&registry().join(name))?;
    network::forget(name);
    Ok(existed)
}

/// Nodes mount in namespaces of their own, which are gone by now; what is
/// still here was mounted by other hands.
fn unmount_below(data: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mount table")?;
    let mut points: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|p| p.starts_with(data) && p != data)
        .collect();
    points.sort();
    for point in points.iter().rev() {
        umount2(point, MntFlags::MNT_DETACH).with_context(|| format!("cannot unmount {}", point.display()))?;
    }
    Ok(())
}

fn delete(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
