//! A whole world: it starts with the sample app, and the controller runs in it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::client::ClientBuilder;
use prunella_api::HealingPolicy;
use prunella_controller::{Controller, Settings, Surroundings};
use prunella_signals::Prometheus;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::api_server::{ApiServer, is_ready};
use crate::chance::Chance;
use crate::cluster::{Cluster, Fault};
use crate::connection::{ApiConnection, SourceConnection};
use crate::life::{Conditions, Life};
use crate::prometheus::PrometheusServer;
use crate::time::WorldClock;

/// The namespace of the app, and of the example policies' queries.
pub const NAMESPACE: &str = "demo";

/// When every world begins.
const EPOCH: &str = "2026-01-01T03:00:00Z";
/// How often Prometheus scrapes: as most do.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(15);

/// What is in the cluster from the start, and in which namespace.
const MANIFESTS: [(&str, &str); 3] = [
    (NAMESPACE, include_str!("../../../examples/sample-app/deployment.yaml")),
    (NAMESPACE, include_str!("../../../examples/sample-app/pdb.yaml")),
    ("", include_str!("../../../examples/source.yaml")),
];

/// A world in which the controller runs.
#[derive(Debug)]
pub struct World {
    clock: WorldClock,
    server: ApiServer,
    prometheus: PrometheusServer,
    cluster: Cluster,
}

impl World {
    /// Runs `story` in a new world with a controller, in virtual time. The same seed gives the same world.
    ///
    /// # Errors
    /// When the world cannot start, the controller stops, or the story fails.
    pub fn run<T>(seed: u64, story: impl AsyncFnOnce(&Self) -> Result<T>) -> Result<T> {
        Self::without_controller(seed, SCRAPE_INTERVAL, async |world| {
            let (_stop, stopped) = watch::channel(false);
            let controller = Controller::new(Settings::default(), world.surroundings(Chance::new(seed)));
            tokio::select! {
                result = story(world) => result,
                result = controller.run(stopped) => Err(result.err().unwrap_or_else(|| anyhow!("the controller stopped"))),
            }
        })
    }

    /// Runs `story` in a new world in which no controller runs but those of the story.
    ///
    /// # Errors
    /// When the world cannot start, or the story fails.
    pub fn without_controller<T>(
        seed: u64,
        scrape_interval: Duration,
        story: impl AsyncFnOnce(&Self) -> Result<T>,
    ) -> Result<T> {
        fastrand::seed(seed);
        // One provider for all worlds of the process: the second one finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async {
            let world = Self::new(Chance::new(seed), scrape_interval)?;
            tokio::select! {
                result = story(&world) => result,
                () = world.cluster.run() => Err(anyhow!("the cluster stopped")),
                () = world.cluster.be_scraped(&world.prometheus) => Err(anyhow!("Prometheus stopped")),
            }
        })
    }

    fn new(chance: Chance, scrape_interval: Duration) -> Result<Self> {
        let clock = WorldClock::starting_at(EPOCH.parse::<Timestamp>()?);
        let definitions = prunella_api::crds().into_iter().map(|(_, definition)| definition);
        let server = ApiServer::new(definitions, clock, chance);
        let namespaces = ["default", "kube-system", "prunella-system", NAMESPACE];
        for name in namespaces {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            server.apply("", &namespace).map_err(|refused| anyhow!(refused))?;
        }
        let prometheus = PrometheusServer::new(clock, scrape_interval);
        let cluster = Cluster::new(server.clone(), clock, chance);
        let world = Self { clock, server, prometheus, cluster };
        for (namespace, manifest) in MANIFESTS {
            world.apply_in(namespace, manifest)?;
        }
        Ok(world)
    }

    /// What the controller finds outside itself.
    fn surroundings(&self, chance: Chance) -> Surroundings {
        let prometheus = Arc::new(self.prometheus.clone());
        Surroundings {
            reads: ClientBuilder::new(self.server.service(), "default"),
            writes: ClientBuilder::new(self.server.service(), "default"),
            connect_source: Arc::new(move |config| Prometheus::over(config, Arc::clone(&prometheus) as _)),
            nonce: chance.number("nonce of the process"),
        }
    }

    /// Runs a process for as long as it is polled: a controller that is killed now and then, and starts
    /// again. Returns how it ended if it ended by itself.
    pub async fn live(&self, name: &str, conditions: &Conditions, chance: Chance) -> anyhow::Error {
        for number in 1_u64.. {
            let life = Arc::new(Life::new(name, number, conditions.clone(), chance));
            let (_stop, stopped) = watch::channel(false);
            let settings = Settings { pod_name: name.to_owned(), ..Settings::default() };
            let controller = Controller::new(settings, self.surroundings_of(&life, chance, number));
            tokio::select! {
                ended = controller.run(stopped) => {
                    return ended.err().unwrap_or_else(|| anyhow!("the controller stopped without a reason"));
                }
                () = life.until_killed() => {}
                () = conditions.until_killed(name) => life.kill(),
            }
            drop(controller);
            conditions.count(|tally| tally.kills += 1);
            let down = chance.between(&format!("{name}.{number} down"), 1_000, 20_000);
            tokio::time::sleep(Duration::from_millis(down)).await;
        }
        anyhow!("more lives than can be counted")
    }

    fn surroundings_of(&self, life: &Arc<Life>, chance: Chance, number: u64) -> Surroundings {
        let connection = ApiConnection { server: self.server.clone(), clock: self.clock, life: Arc::clone(life) };
        let source = Arc::new(SourceConnection { prometheus: self.prometheus.clone(), life: Arc::clone(life) });
        Surroundings {
            reads: ClientBuilder::new(connection.service(), "default"),
            writes: ClientBuilder::new(connection.service(), "default"),
            connect_source: Arc::new(move |config| Prometheus::over(config, Arc::clone(&source) as _)),
            nonce: chance.number(&format!("nonce of {} {number}", life.name)),
        }
    }

    /// Creates the object of a manifest in the namespace of the app.
    ///
    /// # Errors
    /// When it is not a manifest, or the API server refuses it.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        self.apply_in(NAMESPACE, manifest)
    }

    /// Creates an object.
    pub(crate) fn create(&self, object: &Value) -> Result<()> {
        self.server.apply(NAMESPACE, object).map_err(|refused| anyhow!(refused))
    }

    /// The source.
    pub(crate) fn prometheus(&self) -> &PrometheusServer {
        &self.prometheus
    }

    fn apply_in(&self, namespace: &str, manifest: &str) -> Result<()> {
        let object: Value = serde_yaml::from_str(manifest).context("not a manifest in YAML")?;
        self.server.apply(namespace, &object).map_err(|refused| anyhow!(refused))
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &WorldClock {
        &self.clock
    }

    /// The API server.
    #[must_use]
    pub fn server(&self) -> &ApiServer {
        &self.server
    }

    /// The values of a query now, by the label `pod`.
    #[must_use]
    pub fn query(&self, query: &str) -> Vec<(String, f64)> {
        self.prometheus.by_pod(query)
    }

    /// Whether Prometheus has scraped more often than `seen`, which becomes the present count.
    pub(crate) fn has_scraped(&self, seen: &mut u64) -> bool {
        let scrapes = self.prometheus.scrapes();
        std::mem::replace(seen, scrapes) != scrapes
    }

    /// The pods of the app that are not terminating, by name.
    #[must_use]
    pub fn pods(&self) -> Vec<Pod> {
        let mut pods: Vec<Pod> = self.server.all();
        pods.retain(|pod| pod.namespace().as_deref() == Some(NAMESPACE) && pod.metadata.deletion_timestamp.is_none());
        pods
    }

    /// Breaks the app in `pods`.
    pub fn cause(&self, pods: &[Pod], fault: Fault) {
        for pod in pods {
            self.cluster.cause(pod, fault);
        }
    }

    /// Repairs whatever is still broken, by hand.
    pub fn repair(&self) {
        self.cluster.repair();
    }

    /// Waits until every policy has seen all its targets healthy, and all pods are Ready.
    ///
    /// # Errors
    /// When that takes longer than `patience`.
    pub async fn until_calm(&self, patience: Duration) -> Result<()> {
        let calm = async {
            while !self.is_calm() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let waited = tokio::time::timeout(patience, calm).await;
        waited.with_context(|| format!("not all policies saw healthy targets within {patience:?}"))
    }

    fn is_calm(&self) -> bool {
        let healthy = |policy: &HealingPolicy| {
            let conditions = policy.status.iter().flat_map(|status| &status.conditions);
            conditions.clone().any(|one| one.type_ == "Healthy" && one.status == "True")
        };
        self.server.all::<HealingPolicy>().iter().all(healthy) && self.pods().iter().all(is_ready)
    }
}
