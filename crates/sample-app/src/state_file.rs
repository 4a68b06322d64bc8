//! Sticky faults on a volume, so that a restart does not help.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::board::Active;
use crate::fault::Order;

/// `faults.json` in the state folder. It exists only while a sticky fault does.
pub(crate) struct StateFile {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    order: Order,
    asked_unix_milliseconds: u64,
}

/// Why the state file could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot write {path}: {error}; is the state folder a writable volume?")]
    Write { path: PathBuf, error: io::Error },
    #[error("cannot read {path}: {error}")]
    Read { path: PathBuf, error: io::Error },
    #[error("cannot understand {path}: {error}; remove it to start without sticky faults")]
    Content { path: PathBuf, error: serde_json::Error },
}

impl StateFile {
    pub(crate) fn within(folder: &Path) -> Self {
        Self { path: folder.join("faults.json") }
    }

    /// The orders kept, and when each was asked.
    pub(crate) fn load(&self) -> Result<Vec<(Order, SystemTime)>, Failure> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Failure::Read { path: self.path.clone(), error }),
        };
        let entries: Vec<Entry> =
            serde_json::from_slice(&text).map_err(|error| Failure::Content { path: self.path.clone(), error })?;
        Ok(entries
            .into_iter()
            .map(|entry| (entry.order, UNIX_EPOCH + Duration::from_millis(entry.asked_unix_milliseconds)))
            .collect())
    }

    /// Keeps the sticky ones of these faults, and no others.
    pub(crate) fn save<'a>(&self, faults: impl Iterator<Item = &'a Active>) -> Result<(), Failure> {
        let entries: Vec<Entry> = faults.filter(|active| active.order.sticky).map(Entry::of).collect();
        let written = if entries.is_empty() { self.remove() } else { self.replace(&entries) };
        written.map_err(|error| Failure::Write { path: self.path.clone(), error })
    }

    /// Renamed into place: a crash in the middle, which is to be expected of
    /// this program, leaves the old file or the new one.
    fn replace(&self, entries: &[Entry]) -> io::Result<()> {
        let draft = self.path.with_extension("draft");
        fs::write(&draft, serde_json::to_vec_pretty(entries)?)?;
        fs::rename(&draft, &self.path)
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Entry {
    fn of(active: &Active) -> Self {
        let asked = active.asked.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let asked_unix_milliseconds = u64::try_from(asked.as_millis()).unwrap_or(u64::MAX);
        Self { order: active.order.clone(), asked_unix_milliseconds }
    }
}
