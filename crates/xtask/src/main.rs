//! Generates what is committed as generated, and checks it for drift.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;

/// The project's own tasks.
#[derive(Parser)]
#[command(version, about)]
enum Task {
    /// Write the custom resource definitions to crds/.
    Crds {
        /// Write nothing; fail when a committed file differs from what would be written.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> Result<()> {
    match Task::parse() {
        Task::Crds { check } => crds(check),
    }
}

const HEADER: &str = "# Generated from crates/api by `make crds`. Do not edit.\n";

fn crds(check: bool) -> Result<()> {
    let folder = repository().join("crds");
    let mut stale = Vec::new();
    for (name, crd) in prunella_api::crds() {
        let path = folder.join(name);
        let wanted = format!("{HEADER}{}", serde_yaml::to_string(&crd)?);
        if fs::read_to_string(&path).ok().as_deref() == Some(&wanted) {
            continue;
        }
        if check {
            stale.push(name);
        } else {
            fs::create_dir_all(&folder)?;
            fs::write(&path, wanted).with_context(|| format!("cannot write {}", path.display()))?;
            println!("wrote crds/{name}");
        }
    }
    ensure!(stale.is_empty(), "crds/ is not what crates/api says: run `make crds` and commit {}", stale.join(", "));
    Ok(())
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
