//! A running testbed in the hands of a test or of the command line.

use crate::audit::{self, Event};
use crate::cgroup::Cgroups;
use crate::http::Http;
use crate::image::Archive;
use crate::layout::{Layout, Place, check_name};
use crate::options::Options;
use crate::plan::Plan;
use crate::process::{self, Server};
use crate::state::{Phase, State};
use crate::surroundings::Surroundings;
use crate::tools::Tools;
use crate::{node, up};
use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// What may be done to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL: it is gone until it is started.
    Kill,
    /// SIGSTOP: its connections stay open and nobody answers.
    Pause,
    /// SIGCONT: ends a pause.
    Resume,
}

/// A testbed that is up.
#[derive(Debug, Clone)]
pub struct Testbed {
    plan: Plan,
    cgroups: Cgroups,
}

impl Testbed {
    /// The testbed of a whole test run: the one named by `TESTBED_NAME`
    /// (default `e2e`). Whoever asks first brings it up; all later tests, in
    /// this and other processes, share it, with whatever options it has. It
    /// stays up: `testbed down --name e2e` ends it.
    ///
    /// # Errors
    /// Those of [`Testbed::up`].
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Testbed> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| async {
                let name = std::env::var("TESTBED_NAME").unwrap_or_else(|_| "e2e".into());
                // A test that holds a node down must not keep others from starting.
                if let Ok(running) = Self::open(&name)
                    && running.api_server_ready().await
                {
                    return Ok(running);
                }
                let options = State::load(&name)?.map(|state| state.options).unwrap_or_default();
                Self::up(&name, options).await
            })
            .await
    }

    /// Brings a testbed up, or mends the one that is; needs root.
    ///
    /// # Errors
    /// One line on what is wrong and what to do.
    pub async fn up(name: &str, options: Options) -> Result<Self> {
        let plan = up(name, options, &Surroundings::of_process(false)?).await?;
        Ok(Self { cgroups: Cgroups::of(name)?, plan })
    }

    /// The testbed of this name, if it is up.
    ///
    /// # Errors
    /// When it is not.
    pub fn open(name: &str) -> Result<Self> {
        check_name(name)?;
        let state = State::require(name)?;
        if state.phase == Phase::Starting {
            bail!("testbed {name} is not up yet: wait for make cluster-up TESTBED_NAME={name}, or run it again");
        }
        let tools = Tools::in_cache(&Surroundings::of_process(false)?.cache);
        Ok(Self { plan: Plan { layout: state.layout, options: state.options, tools }, cgroups: Cgroups::of(name)? })
    }

    /// Takes the testbed down.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    pub async fn down(self) -> Result<()> {
        crate::down::down(&self.plan.layout.name).await.map(drop)
    }

    /// Paths and addresses.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.plan.layout
    }

    /// What it was made with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.plan.options
    }

    /// Every server, in starting order.
    #[must_use]
    pub fn servers(&self) -> Vec<Server> {
        self.plan.servers()
    }

    pub(crate) fn cgroups(&self) -> &Cgroups {
        &self.cgroups
    }

    /// Where kubectl and promtool are.
    #[must_use]
    pub fn tool_folders(&self) -> Vec<PathBuf> {
        let folder = |program| Some(self.plan.tools.program(program).parent()?.to_owned());
        ["kubectl", "promtool"].into_iter().filter_map(folder).collect()
    }

    /// Checks that there is a server of this name.
    ///
    /// # Errors
    /// When there is none, with the names there are.
    pub fn check_server(&self, name: &str) -> Result<()> {
        self.plan.server(name).map(drop)
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.plan.layout.kubeconfig()
    }

    /// The API server's URL, `https://…`.
    #[must_use]
    pub fn api_url(&self) -> String {
        self.plan.layout.api_url()
    }

    /// Prometheus' URL, good on the host and in pods.
    #[must_use]
    pub fn prometheus_url(&self) -> String {
        self.plan.layout.prometheus_url()
    }

    /// A client for the servers' health URLs.
    ///
    /// # Errors
    /// When the certificates cannot be read.
    pub fn http(&self) -> Result<Http> {
        Http::new(&self.plan.layout)
    }

    async fn api_server_ready(&self) -> bool {
        let Ok(http) = self.http() else { return false };
        http.healthy(&format!("{}/readyz", self.api_url())).await.is_ok()
    }

    /// The built kubectl, with the administrator's rights.
    #[must_use]
    pub fn kubectl_command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(self.plan.tools.program("kubectl"));
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// Runs kubectl and gives its output.
    ///
    /// # Errors
    /// When it fails, with what it said last.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::from(self.kubectl_command());
        process::run(command.args(args), &format!("run kubectl {}", args.join(" "))).await
    }

    /// `kubectl apply` of YAML or JSON, as text.
    ///
    /// # Errors
    /// When kubectl fails, with what it said.
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        let mut child = Command::from(self.kubectl_command())
            .args(["apply", "--server-side", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start kubectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(manifests.as_bytes()).await.context("cannot talk to kubectl")?;
        }
        let output = child.wait_with_output().await.context("cannot wait for kubectl")?;
        if !output.status.success() {
            bail!("cannot apply: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// A namespace of a test's own: `NAME-PROCESS-NUMBER`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn namespace(&self, test: &str) -> Result<Namespace> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{test}-{}-{number}", std::process::id());
        self.kubectl(&["create", "namespace", &name]).await?;
        let account = ["wait", "serviceaccount/default", "--for=create", "--timeout=60s", "--namespace", &name];
        // Pods are refused until it is there.
        self.kubectl(&account).await?;
        Ok(Namespace { name, testbed: self.clone() })
    }

    /// Makes an image of a static binary and imports it into every node. The
    /// binary is the entrypoint; pods need `imagePullPolicy: IfNotPresent`.
    ///
    /// # Errors
    /// When the name does not fit, the binary is not static or a node refuses it.
    pub async fn load_image(&self, name_tag: &str, binary: &Path) -> Result<()> {
        let archive = Archive::write(&self.plan, name_tag, binary)?;
        self.import_image(archive.path()).await
    }

    /// Imports an image's archive into every node.
    ///
    /// # Errors
    /// When a node refuses it.
    pub async fn import_image(&self, archive: &Path) -> Result<()> {
        let import = |number| node::import(&self.cgroups, number, archive);
        try_join_all(self.plan.layout.node_numbers().map(import)).await.map(drop)
    }

    /// The API server's request log so far, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn audit(&self) -> Result<impl Iterator<Item = Event> + use<>> {
        audit::events(&self.plan.layout.audit_log())
    }

    /// Kills a node's kubelet (`node-1` or `1`): a real node failure. Its
    /// pods' processes go on, as they do on a node that is cut off.
    ///
    /// # Errors
    /// When there is no such node.
    pub async fn node_kill(&self, node: &str) -> Result<()> {
        let number = self.plan.node(node)?;
        self.fault(&format!("kubelet-{number}"), Fault::Kill).await
    }

    /// Starts what is dead of a node and waits until it is healthy.
    ///
    /// # Errors
    /// When there is no such node or a server does not come up.
    pub async fn node_start(&self, node: &str) -> Result<()> {
        for server in node::servers(&self.plan, self.plan.node(node)?) {
            self.start(&server.name).await?;
        }
        Ok(())
    }

    /// Runs a command in a node's namespaces and gives its output, such as
    /// `iptables` to cut the node off.
    ///
    /// # Errors
    /// When there is no such node or the command fails.
    pub async fn node_exec(&self, node: &str, command: &[&str]) -> Result<String> {
        let place = Place::Node(self.plan.node(node)?);
        let (Some(program), args) = (command.first(), command.get(1..).unwrap_or_default()) else {
            bail!("no command given")
        };
        let mut run = process::in_place(&self.cgroups, place, program)?;
        process::run(run.args(args), &format!("run {program} on {place}")).await
    }

    /// The process of the host that is this program in a container of the pod
    /// with this uid.
    #[must_use]
    pub fn pod_process(&self, uid: &str, program: &str) -> Option<i32> {
        let read = |pid: i32, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let group = format!("/pod{uid}/");
        self.cgroups
            .pids("")
            .into_iter()
            .find(|pid| read(*pid, "comm").trim_end() == program && read(*pid, "cgroup").contains(&group))
    }

    /// Kills, pauses or resumes a server, by the names in [`Testbed::servers`].
    /// A killed one is gone on return, so that it can be started again.
    ///
    /// # Errors
    /// When there is no such server, or it is not running.
    pub async fn fault(&self, server: &str, fault: Fault) -> Result<()> {
        let found = self.plan.server(server)?;
        let Some(pid) = found.main_pid(&self.cgroups) else {
            bail!("{server} is not running: testbed server start {server}");
        };
        let signal = match fault {
            Fault::Kill => Signal::SIGKILL,
            Fault::Pause => Signal::SIGSTOP,
            Fault::Resume => Signal::SIGCONT,
        };
        kill(Pid::from_raw(pid), signal).with_context(|| format!("cannot signal {server}"))?;
        while fault == Fault::Kill && found.main_pid(&self.cgroups) == Some(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Starts a server that is dead and waits until it is healthy.
    ///
    /// # Errors
    /// When there is no such server, or it does not come up.
    pub async fn start(&self, server: &str) -> Result<()> {
        let found = self.plan.server(server)?;
        found.start(&self.plan.layout, &self.cgroups).await?;
        up::server_ready(&self.plan, &self.cgroups, &self.http()?, &found).await
    }
}

/// A test's namespace, deleted when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    testbed: Testbed,
}

impl Namespace {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs kubectl in this namespace.
    ///
    /// # Errors
    /// When it fails, with what it said last.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut all = vec!["--namespace", &self.name];
        all.extend(args);
        self.testbed.kubectl(&all).await
    }
}

impl Drop for Namespace {
    /// Begins the deletion and does not wait for its end: names are unique,
    /// so no later test is in its way.
    fn drop(&mut self) {
        let mut command = self.testbed.kubectl_command();
        command.args(["delete", "namespace", "--wait=false", "--ignore-not-found", &self.name]);
        // A testbed that is gone has no namespaces.
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
