//! The testbed of the bench, with the controller installed as a user would.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::json;
use testbed::{Extra, Options, Part, State, Testbed};
use tokio::net::TcpListener;

use crate::args::Args;
use crate::console::Console;
use crate::exporter::{Exporter, QUIET_PODS};
use crate::prometheus::Prometheus;
use crate::wait::{PATIENCE, eventually};
use crate::{policies, webhook};

/// The namespace of the Deployments that fall sick, and the beginning of their names.
pub(crate) const PATIENTS: &str = "bench";
/// The namespace of the policies that never have anything to do, and the name of the
/// `StatefulSet` whose pods they choose.
pub(crate) const QUIET: &str = "bench-quiet";
/// The namespace of the pods that are watched and nothing else.
pub(crate) const CROWD: &str = "bench-crowd";
/// Scraped for the bench's own gauges; everything else comes seldom, so as not to disturb.
const SCRAPE_INTERVAL: &str = "15s";
/// The controller's namespace.
const SYSTEM: &str = "prunella-system";
const CONTROLLER_PODS: &str = "app.kubernetes.io/component=controller";

/// The cluster and the ways to talk to it.
pub(crate) struct Ground {
    pub(crate) testbed: Testbed,
    pub(crate) client: Client,
    pub(crate) prometheus: Prometheus,
    pub(crate) exporter: Exporter,
    /// Where this process serves gauges and webhook.
    pub(crate) address: SocketAddr,
    /// The controller that is measured.
    binary: PathBuf,
}

/// The controller that runs.
#[derive(Debug, Clone)]
pub(crate) struct Controller {
    /// The process on this machine.
    pub(crate) pid: i32,
    /// Its own metrics.
    pub(crate) metrics: String,
}

/// Refuses what the bench would have to share: figures need a machine to themselves.
///
/// # Errors
/// When there is a testbed of this name.
pub(crate) fn require_fresh(name: &str) -> Result<()> {
    if State::load(name)?.is_some() {
        bail!("testbed {name} is up already: take it down (testbed down --name {name}), or choose another --testbed");
    }
    Ok(())
}

/// Brings the testbed up and installs everything but policies.
///
/// # Errors
/// When something does not become ready.
pub(crate) async fn prepare(args: &Args, console: &Console) -> Result<Ground> {
    console.say("bringing up a testbed with Prometheus and Alertmanager");
    let options = Options {
        // One node is enough, and a second one only takes time from what is measured.
        nodes: 1,
        scrape_interval: SCRAPE_INTERVAL.into(),
        without: vec![Part::KubeStateMetrics],
        with: vec![Extra::Alertmanager],
        ..Options::default()
    };
    let testbed = Testbed::up(&args.testbed, options).await?;
    let kubeconfig = Kubeconfig::read_from(testbed.kubeconfig()).context("cannot read the testbed's kubeconfig")?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .context("cannot use the testbed's kubeconfig")?;
    let client = Client::try_from(config).context("cannot make a client for the testbed")?;
    let exporter = Exporter::default();
    let listener = TcpListener::bind((testbed.layout().host_ip(), 0)).await.context("cannot serve the gauges")?;
    let address = listener.local_addr().context("cannot serve the gauges")?;
    let routes = exporter.routes().merge(webhook::routes(client.clone()));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let prometheus = Prometheus::of(&testbed)?;
    let beside = || Some(std::env::current_exe().ok()?.with_file_name("prunella"));
    let binary = args.controller.clone().or_else(beside).context("cannot find this program")?;
    let ground = Ground { testbed, client, prometheus, exporter, address, binary };
    console.say("installing the controller");
    install(&ground).await?;
    patients(&ground).await?;
    Ok(ground)
}

async fn install(ground: &Ground) -> Result<()> {
    let image = format!("localhost/prunella:{}", env!("CARGO_PKG_VERSION"));
    let Ground { testbed, binary, .. } = ground;
    testbed.load_image(&image, binary).await.with_context(|| format!("cannot load {}", binary.display()))?;
    testbed.kubectl(&["apply", "-k", "deploy/kustomize/base"]).await?;
    // Each workload is restarted far more often here than its subject cap allows anywhere,
    // and ten thousand policies are more than the limit on memory is made for.
    let container = json!({
        "name": "prunella",
        "env": [{"name": "PRUNELLA_SUBJECT_CAP", "value": "1000"}],
        "resources": {"limits": {"memory": "2Gi"}},
    });
    let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}}).to_string();
    testbed.kubectl(&["patch", "deployment/prunella", "-n", SYSTEM, "-p", &patch]).await?;
    let source = json!({
        "apiVersion": "prunella.dev/v1alpha1", "kind": "ClusterPrometheusSource", "metadata": {"name": "default"},
        "spec": {"url": testbed.prometheus_url()},
    });
    eventually(PATIENCE, "the source's kind to be served", async || testbed.apply(&source.to_string()).await).await?;
    ground.controller().await.map(drop)
}

/// What may fall sick, and what is looked at and never does. All of it is the image that
/// does nothing at all.
async fn patients(ground: &Ground) -> Result<()> {
    let mut objects = [PATIENTS, QUIET, CROWD]
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .to_vec();
    for name in policies::patients() {
        let mut patient = workload("Deployment", &name, PATIENTS, 1);
        // The old pod goes at once, and the new one is not waited for.
        patient["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(0);
        objects.push(patient);
    }
    let mut quiet = workload("StatefulSet", QUIET, QUIET, QUIET_PODS);
    quiet["spec"]["podManagementPolicy"] = json!("Parallel");
    quiet["spec"]["serviceName"] = json!(QUIET);
    objects.push(quiet);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    eventually(PATIENCE, "the workloads to be accepted", async || ground.testbed.apply(&list).await).await
}

fn workload(kind: &str, name: &str, namespace: &str, replicas: usize) -> serde_json::Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "pause", "image": "localhost/pause:1", "imagePullPolicy": "Never"}]},
            },
        },
    })
}

impl Ground {
    /// The controller, once there is exactly one, and it leads.
    ///
    /// # Errors
    /// When that does not come.
    pub(crate) async fn controller(&self) -> Result<Controller> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), SYSTEM);
        eventually(PATIENCE, "one controller that leads", async || {
            let pods = api.list(&ListParams::default().labels(CONTROLLER_PODS)).await?.items;
            let [pod] = pods.as_slice() else { bail!("there are {} controllers", pods.len()) };
            let patched = pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|one| one.env.iter().flatten());
            ensure!(patched.into_iter().any(|one| one.name == "PRUNELLA_SUBJECT_CAP"), "the old one is still there");
            let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
            let metrics = format!("http://{}:8080/metrics", address.context("it has no address yet")?);
            let leads = self.prometheus.value_at(&metrics, "prunella_leader").await?;
            ensure!(leads > 0.5, "it does not lead yet");
            let uid = pod.uid().context("it has no uid")?;
            let program = self.binary.file_name().and_then(OsStr::to_str).unwrap_or_default();
            let pid = self.testbed.pod_process(&uid, program).context("it has no process")?;
            Ok(Controller { pid, metrics })
        })
        .await
    }

    /// A new process of the controller.
    ///
    /// # Errors
    /// When it does not come.
    pub(crate) async fn restart_controller(&self) -> Result<Controller> {
        let old = self.controller().await?.pid;
        self.testbed.kubectl(&["delete", "pods", "-n", SYSTEM, "-l", CONTROLLER_PODS]).await?;
        let new = self.controller().await?;
        ensure!(new.pid != old, "the controller was not restarted");
        Ok(new)
    }

    /// How many evaluations the controller has made.
    ///
    /// # Errors
    /// When it does not say.
    pub(crate) async fn evaluations(&self, controller: &Controller) -> Result<f64> {
        self.prometheus.value_at(&controller.metrics, "prunella_evaluations_total").await
    }

    /// Waits until the controller has evaluated this often since it had `before`.
    ///
    /// # Errors
    /// When it does not come to that.
    pub(crate) async fn until_evaluated(&self, controller: &Controller, before: f64, count: usize) -> Result<()> {
        let patience = PATIENCE + Duration::from_millis(u64::try_from(count)? * 20);
        eventually(patience, "all policies to be evaluated", async || {
            let done = self.evaluations(controller).await? - before;
            // No count here comes near where a float is no longer exact.
            #[allow(clippy::cast_precision_loss, reason = "at most some ten thousand")]
            let wanted = count as f64;
            ensure!(done >= wanted, "{done} of {count} evaluations");
            Ok(())
        })
        .await
    }
}
