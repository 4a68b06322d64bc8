//! What is remembered of a testbed: its options and layout, written before
//! anything is made, and a lock so that two commands do not work on the same
//! testbed at once.

use crate::layout::{Layout, registry};
use crate::options::Options;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// How far `up` has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// `up` is at work, or was killed at it.
    Starting,
    /// `up` has finished.
    Running,
}

/// The state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How far `up` has come.
    pub phase: Phase,
    /// What was asked for.
    pub options: Options,
    /// What came of it.
    pub layout: Layout,
    /// Folders above the data that `up` made, the deepest first.
    pub made_folders: Vec<PathBuf>,
}

impl State {
    /// The state of the testbed of this name, if it exists.
    ///
    /// # Errors
    /// When the file is there but cannot be read.
    pub fn load(name: &str) -> Result<Option<Self>> {
        let path = file(name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
        };
        // A file from another version says nothing that the name does not.
        Ok(serde_json::from_slice(&text).ok())
    }

    /// The state of a testbed that must exist.
    ///
    /// # Errors
    /// When there is none.
    pub fn require(name: &str) -> Result<Self> {
        match Self::load(name)? {
            Some(state) => Ok(state),
            None => bail!("testbed {name} is not up: run make cluster-up TESTBED_NAME={name}"),
        }
    }

    /// Writes the state so that a reader sees the old or the new one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self) -> Result<()> {
        let path = file(&self.layout.name);
        let next = path.with_extension("next");
        let folder = registry().join(&self.layout.name);
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&next, serde_json::to_vec_pretty(self)?))
            .and_then(|()| fs::rename(&next, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Every testbed on this machine.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let Ok(entries) = fs::read_dir(registry()) else { return Vec::new() };
        let mut all: Vec<_> =
            entries.flatten().filter_map(|e| Self::load(&e.file_name().to_string_lossy()).ok().flatten()).collect();
        all.sort_by(|a, b| a.layout.name.cmp(&b.layout.name));
        all
    }
}

fn file(name: &str) -> PathBuf {
    registry().join(name).join("state.json")
}

/// Holds a lock until it is dropped, or its process ends in whatever way.
#[derive(Debug)]
pub(crate) struct Lock(File);

/// Said, not left to closing the file: a child that was just started shares
/// the lock until the kernel has closed its copy, which may be a moment after
/// the parent goes on [an interrupted `up` took its own lock for another's,
/// and left everything behind].
impl Drop for Lock {
    fn drop(&mut self) {
        // What cannot be unlocked is unlocked by closing.
        let _ = self.0.unlock();
    }
}

impl Lock {
    /// Waits for the lock of this path; says so if it must.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub(crate) fn take(path: &Path, waiting_for: &str) -> Result<Self> {
        let file = open(path)?;
        if file.try_lock().is_err() {
            eprintln!("waiting for {waiting_for}");
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(Self(file))
    }

    /// The lock of one testbed.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub(crate) fn of(name: &str) -> Result<Self> {
        Self::take(&lock_file(&format!("prunella-testbed-{name}")), &format!("another testbed command on {name}"))
    }

    /// The lock of one testbed, unless someone has it.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub(crate) fn try_of(name: &str) -> Result<Option<Self>> {
        let path = lock_file(&format!("prunella-testbed-{name}"));
        let file = open(&path)?;
        Ok(file.try_lock().is_ok().then(|| Self(file)))
    }

    /// The lock for choosing addresses.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub(crate) fn of_addresses() -> Result<Self> {
        Self::take(&lock_file("prunella-testbed"), "another testbed to choose its addresses")
    }
}

fn open(path: &Path) -> Result<File> {
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| File::options().create(true).append(true).open(path))
        .with_context(|| format!("cannot open the lock {}", path.display()))
}

/// Lock files outlive the testbed: removing one while another process waits
/// on it would give the lock to both.
fn lock_file(name: &str) -> PathBuf {
    PathBuf::from(format!("/run/lock/{name}.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_free_once_dropped_even_while_a_child_shares_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = Lock::take(&path, "nobody").unwrap();
        let childs = lock.0.try_clone().unwrap();
        assert!(open(&path).unwrap().try_lock().is_err(), "held");
        drop(lock);
        assert!(open(&path).unwrap().try_lock().is_ok(), "free");
        drop(childs);
    }
}
