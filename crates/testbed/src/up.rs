//! `up`: from whatever there is to a running testbed, in stages. What is
//! independent starts at the same time; everything is polled with a deadline
//! and nothing sleeps for a fixed time.

use crate::cgroup::Cgroups;
use crate::layout::{Layout, Place, check_name, registry};
use crate::options::{Options, Part};
use crate::plan::Plan;
use crate::process::{self, Server, holder};
use crate::progress::Progress;
use crate::state::{Lock, Phase, State};
use crate::tools::Tools;
use crate::http::Http;
use crate::surroundings::Surroundings;
use crate::{certificates, disk, dns, down, image, manifests, network, node, packages};
use anyhow::{Context, Result, anyhow, bail};
use futures::future::{try_join, try_join_all};
use nix::sys::signal::Signal;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a cluster, its images and an hour of metrics take.
const DISK_FOR_DATA: u64 = 1 << 30;
/// On a machine that is busy with other builds everything takes longer.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// Brings a testbed up, or checks and mends the one that is.
///
/// # Errors
/// One line on what is wrong and what to do. What a failed `up` made is gone
/// then, unless the testbed was running before.
pub async fn up(name: &str, options: Options, around: &Surroundings) -> Result<Plan> {
    let progress = Progress::begin();
    check_name(name)?;
    let options = options.normal();
    if !nix::unistd::geteuid().is_root() {
        bail!("namespaces and cgroups need root: run with sudo");
    }
    let lock_name = name.to_owned();
    let lock = tokio::task::spawn_blocking(move || Lock::of(&lock_name));
    let _lock = lock.await.context("waiting for the lock failed")??;
    let cgroups = Cgroups::of(name)?;

    match State::load(name)? {
        Some(state) if state.phase == Phase::Running && holders_live(&state.layout, &cgroups) => {
            if state.options != options {
                bail!("{name} runs with other options ({}): use those, another --name, or testbed down --name {name} first", told(&state.options));
            }
            let plan = Plan { layout: state.layout, options, tools: Tools::in_cache(&around.cache) };
            mend(&plan, &cgroups, &progress).await?;
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

    let made = fresh(name, options, around, &cgroups, &progress).await;
    if made.is_err() && !around.keep {
        down::remove(name).await?;
    }
    made
}

/// Cleans up after an `up` that was interrupted before it was done. One that
/// only looked after a running testbed, or waited for its turn, made nothing.
///
/// # Errors
/// When something cannot be removed.
pub async fn interrupted(name: &str) -> Result<()> {
    let Some(_lock) = Lock::try_of(name)? else { return Ok(()) };
    match State::load(name)? {
        Some(state) if state.phase == Phase::Starting => down::remove(name).await.map(drop),
        _ => Ok(()),
    }
}

fn told(options: &Options) -> String {
    let mut words = vec![format!("--nodes {}", options.nodes), format!("--scrape-interval {}", options.scrape_interval)];
    words.extend(options.data.iter().map(|data| format!("--data {}", data.display())));
    words.extend(options.without.iter().filter_map(|part| serde_json::to_value(part).ok()?.as_str().map(|p| format!("--without {p}"))));
    words.join(" ")
}

fn holders_live(layout: &Layout, cgroups: &Cgroups) -> bool {
    std::iter::once(Place::Hub).chain(layout.node_numbers().map(Place::Node)).all(|place| holder(cgroups, place).is_ok())
}

async fn fresh(name: &str, options: Options, around: &Surroundings, cgroups: &Cgroups, progress: &Progress) -> Result<Plan> {
    let data = data_folder(name, options.data.as_deref())?;
    disk::require(&data, DISK_FOR_DATA, "for a testbed's data")?;
    let layout = reserve(name, &options, data).await?;
    let plan = Plan { layout, options, tools: Tools::in_cache(&around.cache) };

    progress.stage("packages", packages::require(progress)).await?;
    progress.stage("servers built", plan.tools.build(cgroups, progress)).await?;
    progress.stage("certificates and configuration", async { prepare(&plan, cgroups) }).await?;
    progress.stage("network and node namespaces", network::make(&plan.layout, cgroups)).await?;
    let http = Http::new(&plan.layout)?;

    try_join(start_control_plane(&plan, cgroups, &http, progress), start_runtimes(&plan, cgroups, around, progress)).await?;
    let rest: Vec<_> = plan.servers().into_iter().filter(|server| server.main_pid(cgroups).is_none()).collect();
    try_join_all(rest.iter().map(|server| start(&plan, cgroups, &http, progress, server))).await?;
    verify(&plan, cgroups, &http, progress).await?;

    let mut state = State::require(name)?;
    state.phase = Phase::Running;
    state.save()?;
    progress.say(&format!("{name} is up in {:.1} s: eval \"$(testbed env --name {name})\"", progress.seconds()));
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
    // A node mounts its own over these, and would lose sight of its data.
    if ["/run", "/var/run", "/var/log", "/var/lib/cni", "/var/lib/kubelet"].iter().any(|hidden| absolute.starts_with(hidden)) {
        bail!("--data {} is hidden from the nodes: choose a folder outside /run and /var/log", absolute.display());
    }
    Ok(absolute.join(format!("testbed-{name}")))
}

/// Writes the testbed down before anything of it is made.
async fn reserve(name: &str, options: &Options, data: PathBuf) -> Result<Layout> {
    let lock = tokio::task::spawn_blocking(Lock::of_addresses);
    let _lock = lock.await.context("waiting for the lock failed")??;
    let layout = Layout { name: name.into(), octet: network::choose_octet(name).await?, nodes: options.nodes, data };
    let parents = layout.data.ancestors().skip(1);
    let made_folders = parents.take_while(|dir| !dir.exists()).filter(|dir| !dir.starts_with(registry())).map(Path::to_owned).collect();
    State { phase: Phase::Starting, options: options.clone(), layout: layout.clone(), made_folders }.save()?;
    Ok(layout)
}

fn prepare(plan: &Plan, cgroups: &Cgroups) -> Result<()> {
    certificates::write(&plan.layout)?;
    plan.configure()?;
    plan.layout.node_numbers().try_for_each(|number| node::prepare(plan, cgroups, number))
}

/// etcd, then the API server, then what the cluster holds from the start.
async fn start_control_plane(plan: &Plan, cgroups: &Cgroups, http: &Http, progress: &Progress) -> Result<()> {
    for name in ["etcd", "kube-apiserver"] {
        start(plan, cgroups, http, progress, &plan.server(name)?).await?;
    }
    progress.stage("Services and rights", apply(plan, cgroups)).await
}

async fn start_runtimes(plan: &Plan, cgroups: &Cgroups, around: &Surroundings, progress: &Progress) -> Result<()> {
    let archive = image::Archive::write(plan, node::PAUSE_IMAGE, around.pause()?)?;
    let runtimes = plan.layout.node_numbers().map(async |number| {
        node::containerd(plan, number).start(&plan.layout, cgroups).await?;
        node::containerd_ready(plan, cgroups, number).await?;
        node::import(cgroups, number, archive.path()).await
    });
    progress.stage("containerd and the pause image", try_join_all(runtimes)).await.map(drop)
}

async fn start(plan: &Plan, cgroups: &Cgroups, http: &Http, progress: &Progress, server: &Server) -> Result<()> {
    progress
        .stage(&server.name, async {
            server.start(&plan.layout, cgroups).await?;
            server_ready(plan, cgroups, http, server).await
        })
        .await
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

/// A try that may be made again, or not.
enum Failure {
    Passing(anyhow::Error),
    Final(anyhow::Error),
}

async fn within<F: Future<Output = Result<(), Failure>>>(limit: Duration, mut attempt: impl FnMut() -> F) -> Result<()> {
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

async fn apply(plan: &Plan, cgroups: &Cgroups) -> Result<()> {
    let path = plan.layout.dir(Place::Hub).join("manifests.json");
    crate::plan::write_json(&path, &manifests::all(plan))?;
    let program = plan.tools.program("kubectl");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut kubectl = process::in_group(cgroups, "commands", &program.display().to_string())?;
        kubectl.args(["apply", "--server-side", "--kubeconfig"]).arg(plan.layout.kubeconfig()).arg("-f").arg(&path);
        // The API server is ready a moment before kube-system exists.
        match process::run(&mut kubectl, "apply the first objects").await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// The promises of `up`, each looked at from outside.
async fn verify(plan: &Plan, cgroups: &Cgroups, http: &Http, progress: &Progress) -> Result<()> {
    let nodes = progress.stage("nodes Ready", within(PATIENCE, async || {
        let ready = http.ready_nodes().await.map_err(Failure::Passing)?;
        let dead = plan.layout.node_numbers().map(|n| node::kubelet(plan, n)).find(|kubelet| kubelet.main_pid(cgroups).is_none());
        match dead {
            Some(kubelet) => Err(Failure::Final(kubelet.ended(&plan.layout))),
            None if ready.len() < usize::from(plan.layout.nodes) => Err(Failure::Passing(anyhow!("only {ready:?} are Ready"))),
            None => Ok(()),
        }
    }));
    let names = async {
        if plan.options.has(Part::Coredns) {
            let answers = within(PATIENCE, async || dns::answers(&plan.layout).await.map_err(Failure::Passing));
            progress.stage("CoreDNS answers", answers).await?;
        }
        Ok(())
    };
    let targets = async {
        if plan.options.has(Part::Prometheus) {
            let mut jobs = vec![("kubelet-cadvisor", usize::from(plan.layout.nodes)), ("kube-apiserver", 1), ("prometheus", 1)];
            jobs.extend(plan.options.has(Part::KubeStateMetrics).then_some(("kube-state-metrics", 1)));
            jobs.extend(plan.options.has(Part::Coredns).then_some(("coredns", 1)));
            let up = within(PATIENCE, async || http.targets_up(&jobs).await.map_err(Failure::Passing));
            progress.stage("Prometheus targets up", up).await?;
        }
        Ok(())
    };
    futures::try_join!(nodes, names, targets).map(drop)
}

/// A second `up`: wakes what was paused, starts what has died, checks all.
async fn mend(plan: &Plan, cgroups: &Cgroups, progress: &Progress) -> Result<()> {
    let http = Http::new(&plan.layout)?;
    for server in plan.servers() {
        cgroups.signal(&server.name, Signal::SIGCONT);
        if server.main_pid(cgroups).is_none() {
            start(plan, cgroups, &http, progress, &server).await?;
        }
    }
    verify(plan, cgroups, &http, progress).await
}
