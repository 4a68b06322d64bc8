//! The bench's testbed, with the controller installed as a user would install it.

pub(crate) mod exporter;
pub(crate) mod policies;
pub(crate) mod prometheus;
pub(crate) mod query_log;
pub(crate) mod request_log;
pub(crate) mod webhook;
pub(crate) mod workloads;

use std::ffi::OsStr;
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

use self::exporter::Exporter;
use self::prometheus::Prometheus;
use self::webhook::Webhook;
use crate::console::Console;
use crate::wait::{PATIENCE, eventually};

/// The scrape interval of everything except the bench's gauges. It is long, so that these
/// scrapes do not disturb the measurement.
const SCRAPE_INTERVAL: &str = "15s";
/// The controller's namespace.
const SYSTEM: &str = "prunella-system";
const CONTROLLER_PODS: &str = "app.kubernetes.io/component=controller";
/// The environment variable that the bench sets. A controller pod without it is an old one.
const SUBJECT_CAP: &str = "PRUNELLA_SUBJECT_CAP";

/// The cluster and the clients for it.
pub(crate) struct Environment {
    pub(crate) testbed: Testbed,
    pub(crate) client: Client,
    pub(crate) prometheus: Prometheus,
    pub(crate) exporter: Exporter,
    pub(crate) webhook: Webhook,
    /// The controller that is measured.
    binary: PathBuf,
}

/// The running controller.
#[derive(Debug, Clone)]
pub(crate) struct Controller {
    /// The process on this machine.
    pub(crate) pid: i32,
    /// The URL of its metrics page.
    pub(crate) metrics: String,
}

/// Refuses to share a testbed: other load would change the figures.
///
/// # Errors
/// A testbed of this name is running.
pub(crate) fn require_unused(name: &str) -> Result<()> {
    if State::load(name)?.is_some() {
        bail!(
            "the testbed {name} is already running; remove it (testbed down --name {name}), or choose another --testbed"
        );
    }
    Ok(())
}

impl Environment {
    /// Starts the testbed and installs everything except policies. `controller` is the
    /// program to measure; the default is the file `prunella` next to this program.
    ///
    /// # Errors
    /// Something does not become ready.
    pub(crate) async fn start(name: &str, controller: Option<PathBuf>, console: &Console) -> Result<Self> {
        console.print("starting a testbed with Prometheus and Alertmanager");
        let options = Options {
            // One node is enough. A second one would take CPU from the measurement.
            nodes: 1,
            scrape_interval: SCRAPE_INTERVAL.into(),
            without: vec![Part::KubeStateMetrics],
            with: vec![Extra::Alertmanager],
            ..Options::default()
        };
        let testbed = Testbed::up(name, options).await?;
        let kubeconfig = Kubeconfig::read_from(testbed.kubeconfig()).context("cannot read the testbed's kubeconfig")?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .context("cannot use the testbed's kubeconfig")?;
        let client = Client::try_from(config).context("cannot create a client for the testbed")?;
        let (exporter, webhook) = (Exporter::default(), Webhook::new(client.clone()));
        let listener = TcpListener::bind((testbed.layout().host_ip(), 0)).await.context("cannot serve the gauges")?;
        let address = listener.local_addr().context("cannot serve the gauges")?;
        let routes = exporter.routes().merge(webhook.routes());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let prometheus = Prometheus::new(&testbed, address)?;
        let beside = || Some(std::env::current_exe().ok()?.with_file_name("prunella"));
        let binary = controller.or_else(beside).context("cannot find the controller; give --controller")?;
        let environment = Self { testbed, client, prometheus, exporter, webhook, binary };
        console.print("installing the controller");
        environment.install().await?;
        let workloads = workloads::manifests().to_string();
        eventually(PATIENCE, "the API server to accept the workloads", async || {
            environment.testbed.apply(&workloads).await
        })
        .await?;
        Ok(environment)
    }

    async fn install(&self) -> Result<()> {
        let image = format!("localhost/prunella:{}", env!("CARGO_PKG_VERSION"));
        let Self { testbed, binary, .. } = self;
        testbed.load_image(&image, binary).await.with_context(|| format!("cannot load {}", binary.display()))?;
        testbed.kubectl(&["apply", "-k", "deploy/kustomize/base"]).await?;
        // The bench restarts each workload more often than the default subject cap allows.
        // The default memory limit is too low for 10 000 policies.
        let container = json!({
            "name": "prunella",
            "env": [{"name": SUBJECT_CAP, "value": "1000"}],
            "resources": {"limits": {"memory": "2Gi"}},
        });
        let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}}).to_string();
        testbed.kubectl(&["patch", "deployment/prunella", "-n", SYSTEM, "-p", &patch]).await?;
        let source = json!({
            "apiVersion": "prunella.dev/v1alpha1", "kind": "ClusterPrometheusSource", "metadata": {"name": "default"},
            "spec": {"url": testbed.prometheus_url()},
        });
        eventually(PATIENCE, "the API server to accept the source", async || testbed.apply(&source.to_string()).await)
            .await?;
        self.controller().await.map(drop)
    }

    /// The controller. Waits until there is exactly one and it is the leader.
    ///
    /// # Errors
    /// This does not happen within the time limit.
    pub(crate) async fn controller(&self) -> Result<Controller> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), SYSTEM);
        eventually(PATIENCE, "one controller that is the leader", async || {
            let pods = api.list(&ListParams::default().labels(CONTROLLER_PODS)).await?.items;
            let [pod] = pods.as_slice() else { bail!("there are {} controller pods", pods.len()) };
            let variables = pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|one| one.env.iter().flatten());
            ensure!(variables.into_iter().any(|one| one.name == SUBJECT_CAP), "the old controller pod is still there");
            let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
            let address = address.context("the controller pod has no address yet")?;
            let metrics = format!("http://{address}:8080/metrics");
            let leads = self.prometheus.value_at(&metrics, "prunella_leader").await?;
            ensure!(leads > 0.5, "the controller is not the leader yet");
            let uid = pod.uid().context("the controller pod has no uid")?;
            let program = self.binary.file_name().and_then(OsStr::to_str).unwrap_or_default();
            let pid = self.testbed.pod_process(&uid, program).context("the controller pod has no process")?;
            Ok(Controller { pid, metrics })
        })
        .await
    }

    /// Replaces the controller by a new process.
    ///
    /// # Errors
    /// The new process does not become the leader.
    pub(crate) async fn restart_controller(&self) -> Result<Controller> {
        let old = self.controller().await?.pid;
        self.testbed.kubectl(&["delete", "pods", "-n", SYSTEM, "-l", CONTROLLER_PODS]).await?;
        let new = self.controller().await?;
        ensure!(new.pid != old, "the controller was not restarted");
        Ok(new)
    }

    /// The number of evaluations that the controller has made.
    ///
    /// # Errors
    /// The controller does not answer.
    pub(crate) async fn evaluations(&self, controller: &Controller) -> Result<f64> {
        self.prometheus.value_at(&controller.metrics, "prunella_evaluations_total").await
    }

    /// Waits until the controller has made `count` more evaluations than `before`.
    ///
    /// # Errors
    /// It does not make them within the time limit.
    pub(crate) async fn until_evaluated(&self, controller: &Controller, before: f64, count: usize) -> Result<()> {
        let patience = PATIENCE + Duration::from_millis(u64::try_from(count)? * 20);
        eventually(patience, "the evaluation of all policies", async || {
            let done = self.evaluations(controller).await? - before;
            #[allow(clippy::cast_precision_loss, reason = "a float is exact up to far more than 100 000")]
            let wanted = count as f64;
            ensure!(done >= wanted, "only {done} of {count} evaluations are done");
            Ok(())
        })
        .await
    }
}
