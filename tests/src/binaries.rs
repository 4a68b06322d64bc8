//! The binaries under test. `cargo test` does not build the binary of another package, so it
//! may be missing or old. An old binary is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

const FIX: &str = "run cargo build --workspace first";

/// A program of the workspace, in the folder of the test binaries.
///
/// # Errors
/// When it is missing or older than its sources.
pub fn program(name: &str) -> Result<PathBuf> {
    let binary = folder()?.join(name);
    let Ok(built) = modified(&binary) else { bail!("{} does not exist: {FIX}", binary.display()) };
    let listed = binary.with_extension("d");
    let listed = fs::read_to_string(&listed).with_context(|| format!("cannot read {}: {FIX}", listed.display()))?;
    for source in sources(&listed) {
        // Cargo itself reports a source that is missing.
        if modified(&source).is_ok_and(|changed| changed > built) {
            bail!("{} is older than {}: {FIX}", binary.display(), source.display());
        }
    }
    Ok(binary)
}

/// The folder where cargo puts binaries: the parent of `deps/`.
pub(crate) fn folder() -> Result<PathBuf> {
    let test = std::env::current_exe().context("cannot find the test binary")?;
    test.parent().and_then(Path::parent).map(Path::to_owned).context("the test binary is not in a target folder")
}

/// The first twelve digits of the file's digest, for an image tag.
pub(crate) fn digest(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Sha256::digest(bytes).iter().take(6).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")))
}

/// The sources of a binary, as cargo lists them: `BINARY: SOURCE SOURCE …`.
fn sources(listed: &str) -> Vec<PathBuf> {
    let (_, sources) = listed.split_once(": ").unwrap_or_default();
    // Cargo writes a backslash before a space in a path.
    let words = sources.replace("\\ ", "\0");
    words.split_whitespace().map(|word| word.replace('\0', " ").into()).collect()
}

fn modified(path: &Path) -> std::io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_as_cargo_writes_them() {
        assert_eq!(
            sources("/t/debug/prunella: /a/main.rs /b\\ c/lib.rs\n"),
            ["/a/main.rs", "/b c/lib.rs"].map(PathBuf::from)
        );
    }
}
