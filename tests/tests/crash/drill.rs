//! Many heals at the same time, each with its own fault of the API server. The write protocol
//! must hold for all of them, whichever fault kills the controller.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::{join_all, try_join_all};
use prunella_e2e::{Place, Room, StandIn, eventually, uid_of};
use testbed::{Proxy, ProxyOptions};

use crate::flow::Trouble;
use crate::lane::{Lane, evictions};

/// Enough for one kill per trouble, on a shared machine.
const LIMIT: Duration = Duration::from_mins(8);

/// A proxy in front of the API server. Periodic writes are not counted.
pub(crate) async fn proxy(room: &Room<'_>) -> Result<Proxy> {
    let uncounted = ["leases", "events"].map(String::from).into();
    room.ground.testbed.proxy(ProxyOptions { uncounted, ..ProxyOptions::default() }).await
}

/// Names of which none is a part of another.
fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number:03}")).collect()
}

/// Makes one lane per trouble unhealthy. Checks that each is healed once, that the policy reports
/// it, and that none acts beyond its budget of one.
pub(crate) async fn drill(room: &Room<'_>, place: &Place<'_>, prefix: &str, troubles: &[Trouble]) -> Result<()> {
    let started = Instant::now();
    let proxy = proxy(room).await?;
    let gun = Gun::new(prefix)?;
    let names = names(prefix, troubles.len());
    let lanes = Lane::create(room, &names).await?;
    let armed: Vec<_> =
        troubles.iter().zip(&names).map(|(trouble, name)| proxy.arm(trouble.rule(name, &gun.command()))).collect();

    let created = started.elapsed();
    let mut controllers = Vec::new();
    let healing = async {
        Lane::apply_policies(room, &names, 1).await?;
        try_join_all(lanes.iter().map(Lane::break_target)).await?;
        eventually(LIMIT, "all lanes to be healed", async || {
            for (trouble, rule) in troubles.iter().zip(&armed) {
                ensure!(proxy.hits(*rule) > 0 || !trouble.write.is_vital(), "{trouble:?} has not happened");
            }
            let checks = join_all(lanes.iter().map(async |lane| lane.healed(1).await)).await;
            checks
                .into_iter()
                .zip(troubles)
                .zip(&names)
                .try_for_each(|((healed, trouble), name)| healed.with_context(|| format!("{name}: {trouble:?}")))
        })
        .await
    };
    let healed = tokio::select! {
        healed = healing => healed,
        never = keep_one_alive(place, &proxy, &gun, &mut controllers) => never,
    };
    let missed: Vec<_> =
        armed.iter().zip(troubles).filter(|(rule, _)| proxy.hits(**rule) == 0).map(|(_, trouble)| trouble).collect();
    println!(
        "{prefix}: {} lanes created in {created:.1?}, healed after {:.1?}, with {} controllers; {} states too short to be reported: {missed:?}",
        lanes.len(),
        started.elapsed(),
        controllers.len(),
        missed.len(),
    );
    let spent = match healed {
        Ok(()) => none_acts_again(room, &lanes, troubles).await.and_then(|()| none_missed(&proxy)),
        Err(error) => Err(error),
    };
    if spent.is_err() {
        save(place, prefix, &proxy, &controllers).await?;
    }
    spent?;
    println!("{prefix}: {:.1?} in total", started.elapsed());
    place.clear().await?;
    Lane::remove(room, &names).await
}

/// Starts a controller whenever there is none. The proxy is paused until the gun is aimed at the
/// new controller, so that no trouble misses it.
async fn keep_one_alive(place: &Place<'_>, proxy: &Proxy, gun: &Gun, all: &mut Vec<StandIn>) -> Result<()> {
    loop {
        proxy.pause();
        let next = place.start(proxy).await?;
        gun.aim(Some(&next));
        proxy.resume();
        let process = next.process;
        all.push(next);
        process.until_dead().await;
        gun.aim(None);
    }
}

/// Checks that every shot hit, unless another request had killed the same controller at the same
/// time.
fn none_missed(proxy: &Proxy) -> Result<()> {
    let log = proxy.log();
    let killing = || log.iter().filter_map(|entry| Some((entry.peer, entry.fell.as_ref()?.not_killed.as_ref())));
    let killed: BTreeSet<_> = killing().filter(|(_, missed)| missed.is_none()).map(|(peer, _)| peer).collect();
    for (peer, missed) in killing() {
        ensure!(missed.is_none() || killed.contains(&peer), "the controller at {peer} was not killed: {missed:?}");
    }
    Ok(())
}

/// Checks that each heal cost one eviction, of the unhealthy pod; that actions without effect cost
/// no budget; and that the budget of one is used up: a pod that is unhealthy again is not healed.
async fn none_acts_again(room: &Room<'_>, lanes: &[Lane<'_>], troubles: &[Trouble]) -> Result<()> {
    let second = try_join_all(lanes.iter().map(Lane::break_target)).await?;
    try_join_all(lanes.iter().map(Lane::until_spent)).await?;
    let evicted = evictions(room)?;
    for ((lane, trouble), second) in lanes.iter().zip(troubles).zip(second) {
        let ends = lane.ends().await?;
        ensure!(!trouble.expires() || ends == ["Expired", "Succeeded"], "{}: {trouble:?}: {ends:?}", lane.name);
        let mut evicted = lane.among(&evicted);
        if trouble.comes_late() {
            evicted.dedup();
        }
        ensure!(evicted == [uid_of(&lane.first)], "{}: evicted {evicted:?}", lane.name);
        ensure!(uid_of(&lane.pod().await?) == uid_of(&second), "{}: the second pod is gone", lane.name);
    }
    Ok(())
}

/// Saves the proxy's log and the controllers' logs in a folder.
pub(crate) async fn save(place: &Place<'_>, name: &str, proxy: &Proxy, controllers: &[StandIn]) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("prunella-crash-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let lines: Vec<_> = proxy.log().iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    fs::write(folder.join(format!("{name}.jsonl")), lines.join("\n"))?;
    for controller in controllers {
        fs::write(folder.join(format!("{}.log", controller.pod)), place.log(controller).await)?;
    }
    println!("requests and logs are in {}", folder.display());
    Ok(())
}

/// Kills the newest controller when the proxy says so.
struct Gun {
    target: PathBuf,
}

impl Gun {
    fn new(name: &str) -> Result<Self> {
        let target = std::env::temp_dir().join(format!("prunella-{name}-{}.pid", std::process::id()));
        let gun = Self { target };
        fs::write(&gun.target, "").context("cannot write the file with the process id")?;
        Ok(gun)
    }

    /// Aims at a controller, or at nothing, because its process id may be reused.
    fn aim(&self, controller: Option<&StandIn>) {
        let pid = controller.map(|controller| controller.process.0.to_string()).unwrap_or_default();
        // If this fails, the proxy reports a shot that missed.
        let _ = fs::write(&self.target, pid);
    }

    fn command(&self) -> Vec<String> {
        const SHOOT: &str = r#"pid=$(cat "$1") && grep -qsx prunella "/proc/$pid/comm" && kill -9 "$pid" 2>&-"#;
        ["sh", "-c", SHOOT, "sh", &self.target.display().to_string()].map(String::from).into()
    }
}

impl Drop for Gun {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.target);
    }
}
