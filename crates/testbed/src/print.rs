//! Standard output.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;
use testbed::{Part, Testbed};

/// How often a followed file is read.
const FOLLOW: Duration = Duration::from_millis(200);

/// Prints the variables with which other programs find the testbed.
pub(crate) fn environment(testbed: &Testbed, plain: bool) -> Result<()> {
    let layout = testbed.layout();
    let mut variables = vec![
        ("TESTBED_NAME", layout.name.clone()),
        ("KUBECONFIG", testbed.kubeconfig().display().to_string()),
        ("KUBERNETES_URL", testbed.api_url()),
        ("TESTBED_AUDIT_LOG", layout.audit_log().display().to_string()),
    ];
    if testbed.options().has(Part::Prometheus) {
        variables.push(("PROMETHEUS_URL", testbed.prometheus_url()));
    }
    let mut out = io::stdout().lock();
    for (name, value) in variables {
        let line = if plain { format!("{name}={value}") } else { format!("export {name}={}", quoted(&value)) };
        writeln!(out, "{line}")?;
    }
    if !plain {
        // After the user's own folders: their own kubectl has priority.
        for folder in testbed.tool_folders() {
            writeln!(out, "export PATH=\"$PATH\":{}", quoted(&folder.display().to_string()))?;
        }
    }
    Ok(())
}

/// Quoted for a shell.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Prints a file. With `follow`, also everything that is added to it.
pub(crate) async fn file(path: &Path, follow: bool) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    loop {
        match io::copy(&mut file, &mut io::stdout().lock()) {
            // The reader has closed the pipe.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            copied => copied.with_context(|| format!("cannot print {}", path.display()))?,
        };
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(FOLLOW).await;
    }
}

/// Prints the commands that load an image's archive onto nodes.
pub(crate) fn ways_to_load(archive: &Path) {
    let archive = archive.display();
    println!("{archive}");
    println!("  kind load image-archive {archive}");
    println!("  k3d image import {archive}");
    println!("  minikube image load {archive}");
    println!("  docker load --input {archive}");
}
