//! Installs the controller and the app with the commands and files that a user would use.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use prunella_api::ClusterPrometheusSource;

use crate::console::Console;
use crate::ground::{APP, Ground, NAMESPACE, SYSTEM};
use crate::undo::{Step, Undo};

/// The label of a namespace that the demo created. It deletes no other namespace.
const MADE_BY_DEMO: &str = "prunella.dev/demo";
/// The images that the manifests name.
const IMAGES: [&str; 2] = ["prunella", "sample-app"];

/// Installs the controller and its source, unless they exist.
///
/// # Errors
/// When it does not become ready.
pub(crate) async fn controller(ground: &Ground, console: &Console, undo: &Undo) -> Result<()> {
    load_images(ground, console).await?;
    console.stage("The controller");
    let deployments: Api<Deployment> = Api::namespaced(ground.client.clone(), SYSTEM);
    let installed = deployments.get_opt("prunella").await.context("cannot read the Deployment prunella")?.is_some();
    if installed && ground.testbed.is_none() {
        console.say("it is already installed and is not changed");
    } else {
        if !installed {
            let words = "delete -k deploy/kustomize/base --ignore-not-found";
            undo.note(Step::Kubectl(ground.kubectl.clone(), words.to_owned()));
        }
        run(ground, console, "apply -k deploy/kustomize/base").await?;
        if installed {
            // The image of an earlier run has the same name.
            run(ground, console, &format!("rollout restart deployment/prunella -n {SYSTEM}")).await?;
        }
    }
    run(ground, console, &format!("rollout status deployment/prunella -n {SYSTEM} --timeout=90s")).await?;

    let sources: Api<ClusterPrometheusSource> = Api::all(ground.client.clone());
    if sources.get_opt("default").await.context("cannot read the ClusterPrometheusSource default")?.is_none() {
        let words = "delete -f examples/source.yaml --ignore-not-found";
        undo.note(Step::Kubectl(ground.kubectl.clone(), words.to_owned()));
        run(ground, console, "apply -f examples/source.yaml").await?;
    }
    run(ground, console, "wait --for=condition=Ready clusterprometheussource/default --timeout=60s").await
}

/// On a testbed: makes images of the binaries in the folder of this program.
async fn load_images(ground: &Ground, console: &Console) -> Result<()> {
    let Some(testbed) = &ground.testbed else { return Ok(()) };
    console.stage("Images");
    let folder = std::env::current_exe().context("cannot find this program")?;
    for name in IMAGES {
        let image = format!("localhost/{name}:{}", env!("CARGO_PKG_VERSION"));
        let binary: PathBuf = folder.with_file_name(name);
        testbed.load_image(&image, &binary).await?;
        console.say(&format!("image {image} is on every node"));
    }
    Ok(())
}

/// Starts three pods of the sample app under load, in a namespace that the demo creates.
///
/// # Errors
/// When the namespace does not belong to the demo, or the app does not become ready.
pub(crate) async fn sample_app(ground: &Ground, console: &Console, undo: &Undo) -> Result<()> {
    console.stage("An app that fails on demand: three pods, under load");
    let namespaces: Api<Namespace> = Api::all(ground.client.clone());
    if let Some(earlier) = namespaces.get_opt(NAMESPACE).await.context("cannot read the namespace")? {
        if !earlier.labels().contains_key(MADE_BY_DEMO) {
            bail!(
                "the namespace {NAMESPACE} exists and does not belong to the demo: delete it, or use another cluster"
            );
        }
        run(ground, console, &format!("delete namespace {NAMESPACE}")).await?;
    }
    let words = format!("delete namespace {NAMESPACE} --ignore-not-found");
    undo.note(Step::Kubectl(ground.kubectl.clone(), words));
    run(ground, console, &format!("create namespace {NAMESPACE}")).await?;
    ground.kubectl.run(&format!("label namespace {NAMESPACE} {MADE_BY_DEMO}=true")).await?;
    run(ground, console, &format!("apply -n {NAMESPACE} -k examples/sample-app")).await?;
    for name in [APP, "sample-app-load"] {
        run(ground, console, &format!("rollout status deployment/{name} -n {NAMESPACE} --timeout=90s")).await?;
    }
    Ok(())
}

/// Scales the controller to zero: nothing is healed from now on.
///
/// # Errors
/// When its pod does not end.
pub(crate) async fn stop_controller(ground: &Ground, console: &Console, undo: &Undo) -> Result<()> {
    console.stage("Control run without a controller");
    let words = format!("scale deployment/prunella -n {SYSTEM} --replicas=1");
    undo.note(Step::Kubectl(ground.kubectl.clone(), words));
    run(ground, console, &format!("scale deployment/prunella -n {SYSTEM} --replicas=0")).await?;
    let gone = "wait --for=delete pod -l app.kubernetes.io/name=prunella,app.kubernetes.io/component=controller";
    run(ground, console, &format!("{gone} -n {SYSTEM} --timeout=60s")).await
}

/// Prints a kubectl command and runs it.
///
/// # Errors
/// When it fails.
pub(crate) async fn run(ground: &Ground, console: &Console, words: &str) -> Result<()> {
    console.command(&format!("kubectl {words}"));
    ground.kubectl.run(words).await.map(drop)
}
