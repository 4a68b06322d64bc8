//! The commands of `docs/how-to/uninstall.md`, run by an administrator with the `ClusterRole`
//! `cluster-admin` who is not in `system:masters`. Nothing hangs, whether the controller runs,
//! is gone, or was removed in the wrong order.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{DEPLOYMENT, NAMESPACE, PATIENCE, Room, alone, eventually, repository};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

const PAGE: &str = "docs/how-to/uninstall.md";
const POLICY: &str = "gauge";
const ADMINISTRATOR: &str = "some-administrator";
const CRDS: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// The kinds of objects that an installation may leave.
const KINDS: [&str; 6] =
    [CRDS, "namespaces", "clusterroles", "clusterrolebindings", "validatingadmissionpolicies", "priorityclasses"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn uninstalled_while_an_action_is_in_flight() -> Result<()> {
    uninstalled("leaving", async |_| Ok(())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn uninstalled_when_the_controller_is_gone_already() -> Result<()> {
    uninstalled("orphaned", async |room| {
        let testbed = room.ground.testbed;
        let delete = ["delete", DEPLOYMENT, "--namespace", NAMESPACE, "--cascade=foreground"];
        testbed.kubectl(&delete).await?;
        in_flight(room).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn what_hangs_after_the_wrong_order_is_fixed_by_the_same_lines() -> Result<()> {
    uninstalled("hanging", async |room| {
        let testbed = room.ground.testbed;
        testbed.kubectl(&["delete", DEPLOYMENT, "--namespace", NAMESPACE, "--cascade=foreground"]).await?;
        let base = repository("deploy/kustomize/base").display().to_string();
        testbed.kubectl(&["delete", "--kustomize", &base, "--ignore-not-found", "--wait=false"]).await?;
        room.kubectl(&["delete", "namespace", room.name(), "--wait=false"]).await?;
        eventually(PATIENCE, "the CustomResourceDefinition to wait for a record", async || {
            let kind = testbed.kubectl(&["get", CRDS, "healingactions.prunella.dev", "--output=json"]).await?;
            ensure!(kind.contains("deletionTimestamp") && kind.contains("InstanceDeletionInProgress"), "{kind}");
            in_flight(room).await
        })
        .await
    })
    .await
}

/// Starts an action, changes the cluster, runs the documented commands and checks that nothing
/// is left. Then it installs again, in every case.
async fn uninstalled(name: &str, change: impl AsyncFnOnce(&Room<'_>) -> Result<()>) -> Result<()> {
    alone(name, async |room| {
        let outcome = async {
            start(room).await?;
            change(room).await?;
            run_the_lines(room).await?;
            nothing_is_left(room).await
        }
        .await;
        let again = async {
            if outcome.is_err() {
                // So that nothing hangs in the next test.
                let _ = run_the_lines(room).await;
            }
            room.ground.install().await
        }
        .await;
        match (outcome, again) {
            (outcome, Ok(())) => outcome,
            (Ok(()), Err(error)) => Err(error.context("cannot install again")),
            (Err(error), Err(more)) => Err(error.context(format!("and cannot install again: {more:#}"))),
        }
    })
    .await
}

/// Starts an eviction that a disruption budget delays, so that the action stays in flight.
async fn start(room: &Room<'_>) -> Result<()> {
    let pods = room.deploy(2).await?;
    let mut budget = room.example("sample-app/pdb.yaml")?;
    budget["spec"]["maxUnavailable"] = json!(0);
    room.apply(&budget).await?;
    room.apply(&room.policy(POLICY, &room.gauge_over(5))).await?;
    room.until_evaluated(POLICY).await?;
    room.simulate(pods.first().context("no pod")?, "gauge?value=10").await?;
    eventually(PATIENCE, "an action in flight", async || in_flight(room).await).await
}

async fn in_flight(room: &Room<'_>) -> Result<()> {
    let actions = room.actions(POLICY).await?;
    let action = actions.first().context("no action")?;
    let status = action.status.clone().unwrap_or_default();
    let held = action.metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty());
    ensure!(held && status.started_at.is_some() && status.outcome.is_none(), "it is not in flight: {action:#?}");
    Ok(())
}

async fn run_the_lines(room: &Room<'_>) -> Result<()> {
    let lines = lines()?;
    let mut shell = Command::new("bash");
    // Like pasted lines: a line that fails does not stop the next one.
    shell.args(["-c", &lines]).current_dir(repository(".")).stdin(Stdio::null()).kill_on_drop(true);
    let kubeconfig = as_administrator(room).await?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = room.ground.testbed.tool_folders().into_iter().chain(std::env::split_paths(&path));
    shell.env("KUBECONFIG", kubeconfig).env("PATH", std::env::join_paths(folders)?);
    let output = timeout(PATIENCE, shell.output()).await.context("the lines hang")?.context("cannot run the lines")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    Ok(())
}

/// The first block of commands of the page.
fn lines() -> Result<String> {
    let text = fs::read_to_string(repository(PAGE)).with_context(|| format!("cannot read {PAGE}"))?;
    let (_, block) = text.split_once("```sh\n").with_context(|| format!("{PAGE} has no commands"))?;
    Ok(block.split("```").next().unwrap_or_default().to_owned())
}

/// A kubeconfig of a user who has all rights, from RBAC only.
async fn as_administrator(room: &Room<'_>) -> Result<PathBuf> {
    let testbed = room.ground.testbed;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": ADMINISTRATOR},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": ADMINISTRATOR}],
    });
    testbed.apply(&binding.to_string()).await?;
    let own = fs::read_to_string(testbed.kubeconfig()).context("cannot read the testbed's kubeconfig")?;
    let mut kubeconfig: Value = serde_yaml::from_str(&own)?;
    for user in kubeconfig["users"].as_array_mut().into_iter().flatten() {
        user["user"]["as"] = json!(ADMINISTRATOR);
    }
    let path = testbed.layout().data.join("administrator.kubeconfig");
    fs::write(&path, kubeconfig.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

async fn nothing_is_left(room: &Room<'_>) -> Result<()> {
    let testbed = room.ground.testbed;
    for kind in KINDS {
        let names = testbed.kubectl(&["get", kind, "--output=name"]).await?;
        let left: Vec<_> = names.lines().filter(|name| name.contains("prunella")).collect();
        ensure!(left.is_empty(), "left: {left:?}");
    }
    room.kubectl(&["delete", "namespace", room.name(), "--timeout=1m", "--ignore-not-found"]).await.map(drop)
}
