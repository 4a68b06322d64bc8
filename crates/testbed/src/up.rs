//! `up`: from whatever there is to a running testbed, in stages. What is
//! independent starts at the same time; everything is polled with a deadline
//! and nothing sleeps for a fixed time.

use crate::cgroup::Cgroups;
use crate::http::Http;
use crate::layout::{Layout, Place, check_name, registry};
use crate::options::{Options, Part};
use crate::plan::Plan;
use crate::process::{self, Server, holder};
use crate::progress::Progress;
use crate::state::{Lock, Phase, State};
use crate::surroundings::Surroundings;
use crate::tools::Tools;
use crate::{certificates, disk, dns, down, image, manifests, network, node, packages};
use anyhow::{Context, Error, Result, anyhow, bail};
use futures::future::{try_join, try_join_all};
use nix::sys::signal::Signal;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a cluster, its images and some hours of metrics take.
const DISK_FOR_DATA: u64 = 1 << 30;
/// On a machine that is busy with other builds everything takes longer.
const PATIENCE: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(50);

/// Brings a testbed up, or checks and mends the one that is.
///
/// # Errors
/// One line on what is wrong and what to do. What a failed `up` made is gone
/// then, unless the testbed was running before.
pub async fn up(name: &str, options: Options, around: &Surroundings) -> Result<Plan> {
    let progress = Progress::begin();
    check_name(name)?;
    require_root()?;
    let options = options.normal();
    let lock_name = name.to_owned();
    let lock = tokio::task::spawn_blocking(move || Lock::of(&lock_name));
    let _lock = lock.await.context("waiting for the lock failed")??;
    let cgroups = Cgroups::of(name)?;

    match State::load(name)? {
        Some(state) if state.phase == Phase::Running && holders_live(&state.layout, &cgroups) => {
            if state.options != options {
                let theirs = told(&state.options);
                bail!("{name} is up with other options: use {theirs}, another --name, or testbed down --name {name}");
            }
            let plan = Plan { layout: state.layout, options, tools: Tools::in_cache(&around.cache) };
            Work { http: Http::new(&plan.layout)?, plan: &plan, cgroups: &cgroups, progress }.mend().await?;
            progress.say(&format!("{name} is up"));
            return Ok(plan);
        }
        Some(_) => {
            progress.say("removing what an earlier testbed left");
            down::remove(name).await?;
        }
        None if cgroups.exist() => drop(down::remove(name).await?),
        None => {}
    }

    match fresh(name, options, around, &cgroups, progress).await {
        Err(error) if !around.keep => Err(undone(name, error).await),
        made => made,
    }
}

/// Namespaces and cgroups are the administrator's.
///
/// # Errors
/// When the caller is not.
pub fn require_root() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("namespaces and cgroups need root: run with sudo");
    }
    Ok(())
}

/// Removes what a failed `up` made. The error may name a log that goes too.
async fn undone(name: &str, error: Error) -> Error {
    let data = State::load(name).ok().flatten().map(|state| state.layout.data.display().to_string());
    if let Err(more) = down::remove(name).await {
        return anyhow!("{error:#}; and what was made could not be removed: {more:#}");
    }
    let text = format!("{error:#}");
    match data.filter(|data| text.contains(data)) {
        Some(_) => anyhow!("{text} (removed now: up --keep-failed keeps it)"),
        None => error,
    }
}

/// Cleans up after an `up` that was interrupted before it was done, and says
/// whether there was something. One that only looked after a running testbed,
/// or waited for its turn, made nothing.
///
/// # Errors
/// When something cannot be removed.
pub async fn interrupted(name: &str) -> Result<bool> {
    let Some(_lock) = Lock::try_of(name)? else { return Ok(false) };
    match State::load(name)? {
        Some(state) if state.phase == Phase::Starting => down::remove(name).await,
        _ => Ok(false),
    }
}

fn told(options: &Options) -> String {
    let mut words =
        vec![format!("--nodes {}", options.nodes), format!("--scrape-interval {}", options.scrape_interval)];
    words.extend(options.data.iter().map(|data| format!("--data {}", data.display())));
    words.extend(options.without.iter().map(|part| format!("--without {part}")));
    words.extend(options.with.iter().map(|part| format!("--with {part}")));
    words.join(" ")
}

fn holders_live(layout: &Layout, cgroups: &Cgroups) -> bool {
    let places = layout.node_numbers().map(Place::Node);
    std::iter::once(Place::Hub).chain(places).all(|place| holder(cgroups, place).is_ok())
}

async fn fresh(
    name: &str,
    options: Options,
    around: &Surroundings,
    cgroups: &Cgroups,
    progress: Progress,
) -> Result<Plan> {
    let data = data_folder(name, options.data.as_deref())?;
    disk::require(&data, DISK_FOR_DATA, "for a testbed's data")?;
    let layout = reserve(name, &options, data).await?;
    let plan = Plan { layout, options, tools: Tools::in_cache(&around.cache) };

    progress.stage("packages", packages::require(&progress)).await?;
    progress.stage("servers built", plan.tools.build(&plan.options, cgroups, &progress)).await?;
    progress.stage("certificates and configuration", async { prepare(&plan, cgroups) }).await?;
    progress.stage("network and node namespaces", network::make(&plan.layout, cgroups)).await?;
    Work { http: Http::new(&plan.layout)?, plan: &plan, cgroups, progress }.rise(around).await?;

    let mut state = State::require(name)?;
    state.phase = Phase::Running;
    state.save()?;
    progress.say(&format!("{name} is up: eval \"$(make -s env TESTBED_NAME={name})\""));
    Ok(plan)
}

/// Where the data goes: a folder of the testbed's own, which `down` may
/// remove whole.
fn data_folder(name: &str, wanted: Option<&Path>) -> Result<PathBuf> {
    let Some(wanted) = wanted else { return Ok(registry().join(name).join("data")) };
    let absolute = std::path::absolute(wanted).with_context(|| format!("--data {} is no path", wanted.display()))?;
    if absolute.ancestors().any(|dir| dir.join(".git").exists()) {
        bail!("--data {} is inside a checkout: choose a folder outside it", absolute.display());
    }
    if let Some(hidden) = network::PRIVATE.iter().find(|hidden| absolute.starts_with(hidden)) {
        bail!("--data {} is below {hidden}, where nodes have their own: choose another folder", absolute.display());
    }
    Ok(absolute.join(format!("testbed-{name}")))
}

/// Writes the testbed down before anything of it is made.
async fn reserve(name: &str, options: &Options, data: PathBuf) -> Result<Layout> {
    let lock = tokio::task::spawn_blocking(Lock::of_addresses);
    let _lock = lock.await.context("waiting for the lock failed")??;
    let layout = Layout { name: name.into(), octet: network::choose_octet(name).await?, nodes: options.nodes, data };
    let above = layout.data.ancestors().skip(1).take_while(|dir| !dir.exists());
    let made_folders = above.filter(|dir| !dir.starts_with(registry())).map(Path::to_owned).collect();
    State { phase: Phase::Starting, options: options.clone(), layout: layout.clone(), made_folders }.save()?;
    Ok(layout)
}

fn prepare(plan: &Plan, cgroups: &Cgroups) -> Result<()> {
    certificates::write(&plan.layout)?;
    plan.configure()?;
    plan.layout.node_numbers().try_for_each(|number| node::prepare(plan, cgroups, number))
}

/// A testbed whose namespaces are there, on its way up.
struct Work<'a> {
    plan: &'a Plan,
    cgroups: &'a Cgroups,
    http: Http,
    progress: Progress,
}

impl Work<'_> {
    async fn rise(&self, around: &Surroundings) -> Result<()> {
        try_join(self.start_control_plane(), self.start_runtimes(around)).await?;
        let rest: Vec<_> = self.dead().collect();
        try_join_all(rest.iter().map(|server| self.start(server))).await?;
        self.verify().await
    }

    /// A second `up`: wakes what was paused, starts what has died, checks all.
    async fn mend(&self) -> Result<()> {
        for server in self.plan.servers() {
            self.cgroups.signal(&server.name, Signal::SIGCONT);
        }
        for server in self.dead() {
            self.start(&server).await?;
        }
        self.verify().await
    }

    fn dead(&self) -> impl Iterator<Item = Server> {
        self.plan.servers().into_iter().filter(|server| server.main_pid(self.cgroups).is_none())
    }

    /// etcd, then the API server, then what the cluster holds from the start.
    async fn start_control_plane(&self) -> Result<()> {
        for name in ["etcd", "kube-apiserver"] {
            self.start(&self.plan.server(name)?).await?;
        }
        self.progress.stage("Services and rights", self.apply()).await
    }

    async fn start_runtimes(&self, around: &Surroundings) -> Result<()> {
        let (plan, cgroups) = (self.plan, self.cgroups);
        let archive = image::Archive::write(plan, node::PAUSE_IMAGE, around.pause()?)?;
        let runtimes = plan.layout.node_numbers().map(async |number| {
            node::containerd(plan, number).start(&plan.layout, cgroups).await?;
            node::containerd_ready(plan, cgroups, number).await?;
            node::import(cgroups, number, archive.path()).await
        });
        self.progress.stage("containerd and the pause image", try_join_all(runtimes)).await.map(drop)
    }

    async fn start(&self, server: &Server) -> Result<()> {
        let work = async {
            server.start(&self.plan.layout, self.cgroups).await?;
            server_ready(self.plan, self.cgroups, &self.http, server).await
        };
        self.progress.stage(&server.name, work).await
    }

    async fn apply(&self) -> Result<()> {
        let path = self.plan.layout.dir(Place::Hub).join("manifests.json");
        crate::plan::write_json(&path, &manifests::all(self.plan))?;
        let program = self.plan.tools.program("kubectl").display().to_string();
        within(PATIENCE, async || {
            let mut kubectl = process::in_group(self.cgroups, "commands", &program).map_err(Failure::Final)?;
            kubectl.args(["apply", "--server-side", "--kubeconfig"]).arg(self.plan.layout.kubeconfig());
            // The API server is ready a moment before kube-system exists.
            let applied = process::run(kubectl.arg("-f").arg(&path), "apply the first objects").await;
            applied.map(drop).map_err(Failure::Passing)
        })
        .await
    }

    /// The promises of `up`, each looked at from outside.
    async fn verify(&self) -> Result<()> {
        let (options, progress) = (&self.plan.options, self.progress);
        let nodes = progress.stage("nodes Ready", within(PATIENCE, async || self.nodes_ready().await));
        let names = when(options.has(Part::Coredns), async {
            let answers = within(PATIENCE, async || dns::answers(&self.plan.layout).await.map_err(Failure::Passing));
            progress.stage("CoreDNS answers", answers).await
        });
        let targets = when(options.has(Part::Prometheus), async {
            let jobs = self.jobs();
            let up = within(PATIENCE, async || self.http.targets_up(&jobs).await.map_err(Failure::Passing));
            progress.stage("Prometheus targets up", up).await
        });
        futures::try_join!(nodes, names, targets).map(drop)
    }

    async fn nodes_ready(&self) -> Result<(), Failure> {
        let (plan, wanted) = (self.plan, usize::from(self.plan.layout.nodes));
        let mut kubelets = plan.layout.node_numbers().map(|number| node::kubelet(plan, number));
        if let Some(dead) = kubelets.find(|kubelet| kubelet.main_pid(self.cgroups).is_none()) {
            return Err(Failure::Final(dead.ended(&plan.layout)));
        }
        match self.http.ready_nodes().await.map_err(Failure::Passing)? {
            ready if ready.len() < wanted => {
                Err(Failure::Passing(anyhow!("of {wanted} nodes only {ready:?} are Ready")))
            }
            _ => Ok(()),
        }
    }

    /// Prometheus' jobs, each with the number of its targets.
    fn jobs(&self) -> Vec<(&'static str, usize)> {
        let options = &self.plan.options;
        let mut jobs =
            vec![("kubelet-cadvisor", usize::from(self.plan.layout.nodes)), ("kube-apiserver", 1), ("prometheus", 1)];
        jobs.extend(options.has(Part::KubeStateMetrics).then_some(("kube-state-metrics", 1)));
        jobs.extend(options.has(Part::Coredns).then_some(("coredns", 1)));
        jobs
    }
}

/// Waits until a server answers that it is ready.
///
/// # Errors
/// When it ends, or does not answer in time.
pub(crate) async fn server_ready(plan: &Plan, cgroups: &Cgroups, http: &Http, server: &Server) -> Result<()> {
    let Some(url) = &server.health else { return Ok(()) };
    within(PATIENCE, async || {
        if server.main_pid(cgroups).is_none() {
            return Err(Failure::Final(server.ended(&plan.layout)));
        }
        http.healthy(url).await.map_err(|error| {
            let log = plan.layout.log(&server.name);
            Failure::Passing(anyhow!("{} does not become ready ({error}): see {}", server.name, log.display()))
        })
    })
    .await
}

async fn when(wanted: bool, work: impl Future<Output = Result<()>>) -> Result<()> {
    if wanted { work.await } else { Ok(()) }
}

/// A try that may be made again, or not.
enum Failure {
    Passing(Error),
    Final(Error),
}

async fn within<F: Future<Output = Result<(), Failure>>>(
    limit: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt().await {
            Ok(()) => return Ok(()),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Passing(error)) if Instant::now() > deadline => return Err(error),
            Err(Failure::Passing(_)) => tokio::time::sleep(POLL).await,
        }
    }
}
