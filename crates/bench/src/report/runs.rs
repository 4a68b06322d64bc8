//! The file of kept runs: a JSON list, oldest first.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

use super::run::Run;

/// How many runs are kept.
const KEPT: usize = 10;

/// Reads the kept runs. A missing file has none.
///
/// # Errors
/// The file cannot be read, or it is not a list of runs.
pub(crate) fn read(path: &Path) -> Result<Vec<Run>> {
    match fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} is not a list of runs", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Adds a run to the end, and removes the oldest ones if there are too many.
pub(crate) fn keep(runs: &mut Vec<Run>, run: Run) {
    runs.push(run);
    runs.drain(..runs.len().saturating_sub(KEPT));
}

/// Writes the kept runs.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(path: &Path, runs: &[Run]) -> Result<()> {
    let text = serde_json::to_string_pretty(runs).context("a run cannot be written as JSON")?;
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_ten_runs_are_kept() {
        let mut runs = Vec::new();
        for number in 0..12 {
            let mut run = Run::start("dist", false);
            run.version = number.to_string();
            keep(&mut runs, run);
        }
        let versions: Vec<_> = runs.iter().map(|run| run.version.as_str()).collect();
        assert_eq!((versions.len(), versions[0], versions[9]), (10, "2", "11"));
    }

    #[test]
    fn a_missing_file_has_no_runs() {
        assert!(read(Path::new("no/such/file.json")).unwrap().is_empty());
    }
}
