//! kubectl. The demo changes the cluster with commands that it prints, so that a user can
//! type them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::time::timeout;

/// No command may take longer. Commands that wait have a deadline of their own.
const LONGEST: Duration = Duration::from_mins(5);

/// A kubectl and its cluster.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    program: PathBuf,
    /// `None`: the user's own.
    kubeconfig: Option<PathBuf>,
}

impl Kubectl {
    /// The user's own kubectl.
    pub(crate) fn own() -> Self {
        Self { program: "kubectl".into(), kubeconfig: None }
    }

    /// Another kubectl.
    pub(crate) fn of(program: &Path, kubeconfig: PathBuf) -> Self {
        Self { program: program.to_owned(), kubeconfig: Some(kubeconfig) }
    }

    /// Runs a command, given as words separated by spaces, and returns its output.
    ///
    /// # Errors
    /// When it cannot be run or fails, with its error output.
    pub(crate) async fn run(&self, words: &str) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(words.split_whitespace()).current_dir(repository()).stdin(Stdio::null()).kill_on_drop(true);
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let output = timeout(LONGEST, command.output())
            .await
            .with_context(|| format!("kubectl {words} took longer than {LONGEST:?}"))?
            .context("cannot run kubectl: is it installed?")?;
        if !output.status.success() {
            bail!("kubectl {words} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The checkout that this program was built from. It contains the manifests.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The text of a file of the checkout.
///
/// # Errors
/// When the checkout was deleted or moved.
pub(crate) fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(repository().join(path))
        .with_context(|| format!("cannot read {path} in the checkout that this program was built from"))
}
