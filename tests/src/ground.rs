//! A testbed with the controller installed, as long as a test uses it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use testbed::{Options, State, Testbed};
use tokio::sync::OnceCell;

use crate::install;
use crate::lock::{self, Hold, Use};

/// Short, because the times in the tests' policies are a few seconds.
const SCRAPE_INTERVAL: &str = "2s";

/// The testbed as long as a test uses it.
pub struct Ground {
    /// The testbed itself.
    pub testbed: &'static Testbed,
    /// A client with the administrator's rights.
    pub client: Client,
    /// For Prometheus and for pods, which the host reaches directly.
    pub(crate) http: reqwest::Client,
    _hold: Hold,
}

impl Ground {
    /// Together with other tests.
    ///
    /// # Errors
    /// When the testbed does not start, or the controller cannot be installed.
    pub async fn shared() -> Result<Self> {
        Self::hold(Use::Shared).await
    }

    /// With no other test at the same time: for tests that break the cluster.
    ///
    /// # Errors
    /// Those of [`Ground::shared`].
    pub async fn alone() -> Result<Self> {
        Self::hold(Use::Alone).await
    }

    /// Installs the controller again, after a test that has removed a part of it.
    ///
    /// # Errors
    /// When it does not run afterwards.
    pub async fn install(&self) -> Result<()> {
        install::install(self.testbed).await
    }

    async fn hold(how: Use) -> Result<Self> {
        // Fails only if another test of this process has already done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let name = std::env::var("TESTBED_NAME").unwrap_or_else(|_| "e2e".into());
        let hold = lock::hold(&name, how).await?;
        let testbed = ready(&name).await?;
        Ok(Self { testbed, client: client(testbed).await?, http: http()?, _hold: hold })
    }
}

/// The testbed, running and with the controller installed. Every process checks this once,
/// because the binaries may have changed since another process did.
async fn ready(name: &str) -> Result<&'static Testbed> {
    static READY: OnceCell<&'static Testbed> = OnceCell::const_new();
    READY
        .get_or_try_init(|| async {
            let _alone = lock::installing(name).await?;
            if State::load(name)?.is_none() {
                let options = Options { scrape_interval: SCRAPE_INTERVAL.into(), ..Options::default() };
                Testbed::up(name, options).await?;
            }
            let testbed = Testbed::shared().await?;
            install::install(testbed).await?;
            Ok(testbed)
        })
        .await
        .copied()
}

async fn client(testbed: &Testbed) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(testbed.kubeconfig()).context("cannot read the testbed's kubeconfig")?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Client::try_from(config).context("cannot build a client for the API server")
}

fn http() -> Result<reqwest::Client> {
    // Plain HTTP to addresses of the testbed only: no proxy, no certificates.
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .timeout(std::time::Duration::from_secs(10))
        .build()
        .context("cannot build an HTTP client")
}

/// A file or folder of the checkout, such as `examples`.
#[must_use]
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).join(path)
}
