//! The cluster that the demo runs on, and the clients for it.

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use testbed::{Options, State, Testbed};

use crate::args::{Args, Cluster};
use crate::console::Console;
use crate::kubectl::Kubectl;
use crate::prometheus::Prometheus;
use crate::undo::{Step, Undo};

/// The namespace of the sample app and the policies.
pub(crate) const NAMESPACE: &str = "prunella-demo";
/// The name of the sample app, and the value of the label `app` of its pods.
pub(crate) const APP: &str = "sample-app";
/// The controller's namespace.
pub(crate) const SYSTEM: &str = "prunella-system";
/// The controller's user name in the API server's log.
pub(crate) const CONTROLLER: &str = "system:serviceaccount:prunella-system:prunella";

/// The cluster and the clients for it.
#[derive(Clone)]
pub(crate) struct Ground {
    /// For every command that the user could type.
    pub(crate) kubectl: Kubectl,
    /// For watches.
    pub(crate) client: Client,
    /// The testbed, unless it is the user's own cluster.
    pub(crate) testbed: Option<Testbed>,
}

impl Ground {
    /// The Prometheus that the policies query.
    ///
    /// # Errors
    /// When it cannot be reached from here.
    pub(crate) async fn prometheus(&self) -> Result<Prometheus> {
        match &self.testbed {
            Some(testbed) => Prometheus::at(&testbed.prometheus_url()),
            None => Prometheus::of_default_source(&self.client).await,
        }
    }
}

/// Starts the testbed, or uses the cluster of the kubeconfig.
///
/// # Errors
/// When there is no cluster.
pub(crate) async fn prepare(args: &Args, console: &Console, undo: &Undo) -> Result<Ground> {
    match args.cluster {
        Cluster::Testbed => testbed(&args.testbed, console, undo).await,
        Cluster::Current => current(console).await,
    }
}

async fn testbed(name: &str, console: &Console, undo: &Undo) -> Result<Ground> {
    console.stage("A cluster on this machine");
    console.command(&format!("make cluster-up TESTBED_NAME={name}"));
    let earlier = State::load(name)?;
    if earlier.is_none() {
        undo.note(Step::Testbed(name.to_owned()));
    }
    let options = earlier.map_or_else(quick, |state| state.options);
    let testbed = Testbed::up(name, options).await?;
    let kubeconfig = Kubeconfig::read_from(testbed.kubeconfig()).context("cannot read the testbed's kubeconfig")?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .context("cannot use the testbed's kubeconfig")?;
    let program = testbed.kubectl_command();
    Ok(Ground {
        kubectl: Kubectl::of(program.get_program().as_ref(), testbed.kubeconfig()),
        client: Client::try_from(config).context("cannot make a client for the testbed")?,
        testbed: Some(testbed),
    })
}

/// A short scrape interval: the demo shows the times of the policies, not of scrapes.
fn quick() -> Options {
    Options { scrape_interval: "2s".into(), ..Options::default() }
}

async fn current(console: &Console) -> Result<Ground> {
    console.stage("The cluster of your kubeconfig");
    let kubectl = Kubectl::own();
    let context = kubectl.run("config current-context").await.context("kubectl has no current context")?;
    let config = Config::from_kubeconfig(&KubeConfigOptions::default()).await.context("cannot use your kubeconfig")?;
    console.say(&format!("{}, {}", context.trim(), config.cluster_url));
    let client = Client::try_from(config).context("cannot make a client for your cluster")?;
    Ok(Ground { kubectl, client, testbed: None })
}
