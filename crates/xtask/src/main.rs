//! Generates what is committed as generated, and checks it for drift; breaks the code to
//! see the tests fail.

mod break_it;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    /// Write what is generated for those who watch: docs/metrics.md, and the alerts for the
    /// Prometheus operator.
    Docs {
        /// Write nothing; fail when a committed page differs from what would be written.
        #[arg(long)]
        check: bool,
    },
    /// Break each promise and each brake in a copy of the checkout, as tests/break-it tells,
    /// and see that the named test fails.
    BreakIt {
        /// Only those whose description contains this.
        #[arg(default_value = "", hide_default_value = true)]
        only: String,
    },
}

fn main() -> Result<()> {
    match Task::parse() {
        Task::Crds { check } => crds(check),
        Task::Docs { check } => docs(check),
        Task::BreakIt { only } => break_it::all(&repository(), &only),
    }
}

fn crds(check: bool) -> Result<()> {
    let mut stale = Vec::new();
    for (name, crd) in prunella_api::crds() {
        let header = "# Generated from crates/api by `make crds`. Do not edit.\n";
        let wanted = format!("{header}{}", serde_yaml::to_string(&crd)?);
        stale.extend(put(&format!("crds/{name}"), &wanted, check)?);
    }
    ensure!(stale.is_empty(), "crds/ is not what crates/api says: run `make crds` and commit {}", stale.join(", "));
    Ok(())
}

fn docs(check: bool) -> Result<()> {
    let header = "<!-- Generated from crates/controller by `make docs`. Do not edit. -->\n\n";
    let mut stale: Vec<String> = Vec::new();
    stale.extend(put("docs/metrics.md", &format!("{header}{}", metrics()?), check)?);
    stale.extend(put("deploy/monitoring/prometheusrule.yaml", &prometheus_rule()?, check)?);
    ensure!(stale.is_empty(), "what is generated is not up to date: run `make docs` and commit {}", stale.join(", "));
    Ok(())
}

/// The alerts as the Prometheus operator takes them: the same text, one step further in.
fn prometheus_rule() -> Result<String> {
    let path = repository().join("deploy/monitoring/alerts.yaml");
    let alerts = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut rule = "# Generated from alerts.yaml by `make docs`. Do not edit.\n\
                    apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n\
                    metadata:\n  name: prunella\n  namespace: prunella-system\nspec:\n"
        .to_owned();
    for line in alerts.lines().skip_while(|line| line.starts_with('#')) {
        rule.push_str(if line.is_empty() { "" } else { "  " });
        rule.push_str(line);
        rule.push('\n');
    }
    Ok(rule)
}

/// What the controller says of its metrics. The program is asked, for nobody may depend
/// on its crate; and the one that `make build` put beside this one, for `cargo run` would
/// build it anew with the features of it alone.
fn metrics() -> Result<String> {
    let program = std::env::current_exe().context("cannot find this program")?.with_file_name("prunella");
    let asked = Command::new(&program).arg("metrics").output();
    let output = asked.with_context(|| format!("cannot run {}: `make build` first", program.display()))?;
    ensure!(output.status.success(), "`prunella metrics` failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).context("`prunella metrics` prints no text")
}

/// Writes a file of the checkout unless it is as wanted; when only checking, names it
/// instead.
fn put(name: &str, wanted: &str, check: bool) -> Result<Option<String>> {
    let path = repository().join(name);
    if fs::read_to_string(&path).ok().as_deref() == Some(wanted) {
        return Ok(None);
    }
    if check {
        return Ok(Some(name.to_owned()));
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&path, wanted).with_context(|| format!("cannot write {}", path.display()))?;
    println!("wrote {name}");
    Ok(None)
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
