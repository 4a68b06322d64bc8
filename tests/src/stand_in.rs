//! Controllers that tests may kill: bare pods instead of the Deployment, each with a proxy in
//! front of the API server. The pods of a Deployment would be restarted with growing delays.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, PodSpec};
use kube::api::{DeleteParams, ListParams, LogParams, ObjectMeta, PostParams};
use kube::{Api, ResourceExt as _};
use testbed::Proxy;
use tokio::time::sleep;

use crate::install::{self, NAMESPACE};
use crate::room::Room;
use crate::wait::{PATIENCE, eventually};

const NAME: &str = "prunella";
const LABEL: &str = "stand-in";
/// Short, because tests wait for the end of each killed controller.
const POLL: Duration = Duration::from_millis(20);

/// Starts controllers in place of the installed one.
pub struct Place<'a> {
    room: &'a Room<'a>,
    pods: Api<Pod>,
    like: PodSpec,
}

/// One controller.
#[derive(Debug)]
pub struct StandIn {
    /// Its pod.
    pub pod: String,
    /// Its process.
    pub process: Process,
}

/// A process of the host.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub i32);

impl Process {
    /// Waits until the process has ended, without a deadline.
    pub async fn until_dead(self) {
        let stat = Path::new("/proc").join(self.0.to_string()).join("stat");
        while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            sleep(POLL).await;
        }
    }
}

/// Runs the body without the installed controller, and always starts that again.
///
/// # Errors
/// Those of the body and of the restart.
pub async fn in_its_place(room: &Room<'_>, body: impl AsyncFnOnce(&Place<'_>) -> Result<()>) -> Result<()> {
    let client = room.ground.client.clone();
    let deployment = Api::<Deployment>::namespaced(client.clone(), NAMESPACE).get(NAME).await?;
    let like = deployment.spec.and_then(|spec| spec.template.spec).context("the Deployment has no pods")?;
    let place = Place { room, pods: Api::namespaced(client, NAMESPACE), like };
    // Removes the pods of an earlier run that was killed.
    place.clear().await?;
    place.scale(0).await?;
    let outcome = body(&place).await;
    let cleared = async {
        place.clear().await?;
        place.scale(1).await
    };
    match (outcome, cleared.await) {
        (outcome, Ok(())) => outcome,
        (Ok(()), Err(error)) => Err(error.context("cannot start the controller again")),
        (Err(error), Err(more)) => Err(error.context(format!("and cannot start the controller again: {more:#}"))),
    }
}

impl Place<'_> {
    /// Deletes all controllers of this place.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn clear(&self) -> Result<()> {
        let (at_once, stand_ins) = (DeleteParams::default().grace_period(0), ListParams::default().labels(LABEL));
        self.pods.delete_collection(&at_once, &stand_ins).await?;
        Ok(())
    }

    /// Starts a controller that talks to the proxy. It does not elect a leader, so that the next
    /// one need not wait until a Lease expires.
    ///
    /// # Errors
    /// When its process does not start.
    pub async fn start(&self, proxy: &Proxy) -> Result<StandIn> {
        let mut spec = self.like.clone();
        spec.restart_policy = Some("Never".into());
        let container = spec.containers.first_mut().context("the Deployment has no container")?;
        towards(container, proxy);
        let pod = Pod {
            metadata: ObjectMeta {
                generate_name: Some(format!("{NAME}-")),
                labels: Some([(LABEL.to_owned(), String::new())].into()),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
            status: None,
        };
        let created = self.pods.create(&PostParams::default(), &pod).await?;
        let (name, uid) = (created.name_any(), created.uid().unwrap_or_default());
        let pid = eventually(PATIENCE, "a controller to be started", async || {
            let pod = self.pods.get(&name).await?;
            let phase = pod.status.and_then(|status| status.phase).unwrap_or_default();
            let found = self.room.ground.testbed.pod_process(&uid, NAME);
            found.with_context(|| format!("no process yet, the pod has the phase {phase}"))
        })
        .await?;
        Ok(StandIn { pod: name, process: Process(pid) })
    }

    /// The log of a controller.
    pub async fn log(&self, controller: &StandIn) -> String {
        let log = self.pods.logs(&controller.pod, &LogParams::default()).await;
        log.unwrap_or_else(|error| format!("no log: {error:#}"))
    }

    async fn scale(&self, replicas: usize) -> Result<()> {
        let (testbed, deployment) = (self.room.ground.testbed, install::DEPLOYMENT);
        let number = format!("--replicas={replicas}");
        testbed.kubectl(&["scale", deployment, "--namespace", NAMESPACE, &number]).await?;
        testbed.kubectl(&["rollout", "status", deployment, "--namespace", NAMESPACE, "--timeout=2m"]).await?;
        eventually(PATIENCE, &format!("{replicas} installed controllers"), async || {
            let pods = self.pods.list(&ListParams::default()).await?.items;
            ensure!(pods.len() == replicas, "{} pods", pods.len());
            Ok(())
        })
        .await
    }
}

fn towards(container: &mut Container, proxy: &Proxy) {
    container.args = Some(vec!["run".into(), "--leader-elect=false".into(), "--log=prunella=debug,warn".into()]);
    let env = container.env.get_or_insert_default();
    for (name, value) in [
        ("KUBERNETES_SERVICE_HOST", proxy.address().ip().to_string()),
        ("KUBERNETES_SERVICE_PORT", proxy.address().port().to_string()),
    ] {
        env.push(EnvVar { name: name.into(), value: Some(value), value_from: None });
    }
}
