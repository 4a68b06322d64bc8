//! Installs the controller on the testbed as a user would: a kustomize overlay that sets the
//! image, and the example source.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use testbed::Testbed;

use crate::binaries::{digest, folder, program};
use crate::ground::repository;
use crate::wait::{PATIENCE, eventually};

/// The controller's namespace.
pub const NAMESPACE: &str = "prunella-system";
/// The controller's Deployment, for kubectl.
pub const DEPLOYMENT: &str = "deployment/prunella";

const PODS: &str = "app.kubernetes.io/component=controller";
const IMAGE: &str = "localhost/prunella";

/// Makes the testbed run the controller of this workspace. Repeated, it changes nothing.
pub(crate) async fn install(testbed: &Testbed) -> Result<()> {
    let (prunella, sample_app) = (program("prunella")?, program("sample-app")?);
    // The tag is a digest of the content: a pod with this tag runs exactly this file.
    let tag = format!("e2e-{}", digest(&prunella)?);
    let image = format!("{IMAGE}:{tag}");
    if running(testbed).await.ok().as_ref() != Some(&image) {
        testbed.load_image(&image, &prunella).await?;
    }
    testbed.load_image(&sample_app_image()?, &sample_app).await?;

    let overlay = overlay(testbed, &tag)?;
    let applied = testbed.kubectl(&["apply", "--kustomize", &overlay.display().to_string()]).await?;
    if applied.lines().any(|line| line.starts_with("clusterrole") && line.ends_with("configured")) {
        // A watch that was refused is retried after up to 30 s. Until then the controller
        // would not see all objects.
        testbed.kubectl(&["rollout", "restart", DEPLOYMENT, "--namespace", NAMESPACE]).await?;
        testbed.kubectl(&["rollout", "status", DEPLOYMENT, "--namespace", NAMESPACE, "--timeout=2m"]).await?;
    }
    let source = repository("examples/source.yaml").display().to_string();
    eventually(PATIENCE, "the source's kind to be served", async || {
        testbed.kubectl(&["apply", "--filename", &source]).await
    })
    .await?;
    eventually(PATIENCE, "the controller to run", async || {
        let running = running(testbed).await?;
        ensure!(running == image, "{running} is running, expected {image}");
        Ok(())
    })
    .await?;
    eventually(PATIENCE, "the controller to reach Prometheus", async || {
        let ready = r#"jsonpath={.status.conditions[?(@.type=="Ready")]}"#;
        let ready = testbed.kubectl(&["get", "clusterprometheussource", "default", "--output", ready]).await?;
        ensure!(ready.contains(r#""status":"True""#), "the source's condition is {ready:?}");
        Ok(())
    })
    .await
}

/// The image of the only controller, if it is ready.
async fn running(testbed: &Testbed) -> Result<String> {
    let pods = testbed.kubectl(&["get", "pods", "--namespace", NAMESPACE, "--selector", PODS, "--output", "json"]);
    let pods: Value = serde_json::from_str(&pods.await?).context("the output of kubectl is not JSON")?;
    let pods = pods["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let [pod] = pods else { bail!("there are {} controllers", pods.len()) };
    let conditions = pod["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
    let terminating = !pod["metadata"]["deletionTimestamp"].is_null();
    ensure!(
        ready && !terminating,
        "its pod has the phase {}, ready: {ready}, terminating: {terminating}",
        pod["status"]["phase"]
    );
    pod["spec"]["containers"][0]["image"].as_str().map(str::to_owned).context("its pod has no image")
}

/// The image in the examples.
fn sample_app_image() -> Result<String> {
    let path = repository("examples/sample-app/deployment.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: Value = serde_yaml::from_str(&text).with_context(|| format!("{} is not YAML", path.display()))?;
    let image = manifest.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
    image.map(str::to_owned).with_context(|| format!("{} has no image", path.display()))
}

/// A folder for `kubectl apply -k`, in the target folder: `deploy/kustomize/base` with this
/// image tag.
fn overlay(testbed: &Testbed, tag: &str) -> Result<PathBuf> {
    let overlay = folder()?.join("e2e").join(&testbed.layout().name);
    fs::create_dir_all(&overlay).with_context(|| format!("cannot create {}", overlay.display()))?;
    let overlay = overlay.canonicalize()?;
    let base = repository("deploy/kustomize/base").canonicalize().context("deploy/kustomize/base does not exist")?;
    // kustomize accepts relative paths only: up to the root, then down again.
    let up = "../".repeat(overlay.components().count() - 1);
    let base = format!("{up}{}", base.strip_prefix("/")?.display());
    let text = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n\
         resources: [{base}]\nimages: [{{name: {IMAGE}, newTag: {tag}}}]\n"
    );
    fs::write(overlay.join("kustomization.yaml"), text).context("cannot write the overlay")?;
    Ok(overlay)
}
