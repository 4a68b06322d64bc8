//! kubectl, run as the reader would run it: what the demo does to the cluster it
//! does by commands that are printed and can be typed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::time::timeout;

/// No command may take longer; those that wait have a deadline of their own.
const LONGEST: Duration = Duration::from_mins(5);

/// A kubectl and the cluster it talks to.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    program: PathBuf,
    /// The reader's own when `None`.
    kubeconfig: Option<PathBuf>,
}

impl Kubectl {
    /// The reader's own.
    pub(crate) fn own() -> Self {
        Self { program: "kubectl".into(), kubeconfig: None }
    }

    /// Another one.
    pub(crate) fn of(program: &Path, kubeconfig: PathBuf) -> Self {
        Self { program: program.to_owned(), kubeconfig: Some(kubeconfig) }
    }

    /// Runs a command, words separated by spaces, and gives its output.
    ///
    /// # Errors
    /// When it cannot be run or fails, with what it said.
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

/// The checkout that this program was built from: the manifests are taken from it.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The text of a file of the checkout.
///
/// # Errors
/// When the checkout has gone or moved.
pub(crate) fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(repository().join(path))
        .with_context(|| format!("cannot read {path} in the checkout this was built from"))
}
