//! The project's own tasks: writes the files that are committed as generated, checks that
//! they are current, and breaks the code to see the tests fail.

mod api_reference;
mod break_it;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};

/// The project's own tasks.
#[derive(Parser)]
#[command(version, about)]
enum Task {
    /// Write the custom resource definitions to crds/.
    Crds {
        /// Write nothing. Fail when a committed file differs from the generated one.
        #[arg(long)]
        check: bool,
    },
    /// Write the generated pages of docs/reference, and the alerts for the Prometheus operator.
    Docs {
        /// Write nothing. Fail when a committed file differs from the generated one.
        #[arg(long)]
        check: bool,
        /// Generate this file only. The metrics page needs the controller's binary.
        #[arg(long, value_enum)]
        only: Option<Page>,
    },
    /// Break each promise and each guardrail in a copy of the checkout, as described in
    /// tests/break-it, and check that the named test fails.
    BreakIt {
        /// Only the breaks whose description contains this text.
        #[arg(default_value = "", hide_default_value = true)]
        only: String,
    },
}

/// A file that `xtask docs` generates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Page {
    /// docs/reference/api.md, from crates/api.
    Api,
    /// docs/reference/metrics.md, from crates/controller.
    Metrics,
    /// deploy/monitoring/prometheusrule.yaml, from alerts.yaml next to it.
    Alerts,
}

fn main() -> Result<()> {
    match Task::parse() {
        Task::Crds { check } => crds(check),
        Task::Docs { check, only } => docs(check, only),
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
    ensure!(stale.is_empty(), "out of date: {}; run `make crds` and commit the result", stale.join(", "));
    Ok(())
}

fn docs(check: bool, only: Option<Page>) -> Result<()> {
    let mut stale = Vec::new();
    for page in Page::value_variants().iter().filter(|page| only.is_none_or(|only| only == **page)) {
        let (name, wanted) = match page {
            Page::Api => ("docs/reference/api.md", marked("crates/api", &api_reference::page()?)),
            Page::Metrics => ("docs/reference/metrics.md", marked("crates/controller", &metrics()?)),
            Page::Alerts => ("deploy/monitoring/prometheusrule.yaml", prometheus_rule()?),
        };
        stale.extend(put(name, &wanted, check)?);
    }
    ensure!(stale.is_empty(), "out of date: {}; run `make docs` and commit the result", stale.join(", "));
    Ok(())
}

/// A generated page with a note for people who open it in an editor.
fn marked(source: &str, page: &str) -> String {
    format!("<!-- Generated from {source} by `make docs`. Do not edit. -->\n\n{page}")
}

/// The alerts as the Prometheus operator takes them: the same text, indented once.
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

/// The page that `prunella metrics` prints. This runs the program, because no crate may
/// depend on the controller's. It runs the binary that `make build` put next to this one:
/// `cargo run` would build it again with other features.
fn metrics() -> Result<String> {
    let program = std::env::current_exe().context("cannot find this program")?.with_file_name("prunella");
    let asked = Command::new(&program).arg("metrics").output();
    let output = asked.with_context(|| format!("cannot run {}: run `make build` first", program.display()))?;
    ensure!(output.status.success(), "`prunella metrics` failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).context("`prunella metrics` does not print text")
}

/// Writes a file of the checkout if its content differs. With `check` it writes nothing and
/// returns the name of the file that differs.
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
