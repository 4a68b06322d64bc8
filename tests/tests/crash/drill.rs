//! Many heals beside each other, each with a trouble of its own: the whole protocol has
//! to hold for all of them, whoever's trouble kills the controller.

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

/// For as many kills as there are troubles at most, with the machine shared.
const LIMIT: Duration = Duration::from_mins(8);

/// Takes the place of the API server: what comes by the clock is not counted.
pub(crate) async fn proxy(room: &Room<'_>) -> Result<Proxy> {
    let uncounted = ["leases", "events"].map(String::from).into();
    room.ground.testbed.proxy(ProxyOptions { uncounted, ..ProxyOptions::default() }).await
}

/// Names that are no part of each other.
fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number:03}")).collect()
}

/// Lets one lane for each trouble fall sick, and checks that each is healed once, that
/// it is told, and that none acts beyond its budget of one.
pub(crate) async fn drill(room: &Room<'_>, place: &Place<'_>, prefix: &str, troubles: &[Trouble]) -> Result<()> {
    let begun = Instant::now();
    let proxy = proxy(room).await?;
    let gun = Gun::new(prefix)?;
    let names = names(prefix, troubles.len());
    let lanes = Lane::lay(room, &names).await?;
    let armed: Vec<_> =
        troubles.iter().zip(&names).map(|(trouble, name)| proxy.arm(trouble.rule(name, &gun.command()))).collect();

    let laid = begun.elapsed();
    let mut controllers = Vec::new();
    let healing = async {
        Lane::govern(room, &names, 1).await?;
        try_join_all(lanes.iter().map(Lane::sicken)).await?;
        eventually(LIMIT, "all lanes to be healed", async || {
            for (trouble, rule) in troubles.iter().zip(&armed) {
                ensure!(proxy.hits(*rule) > 0 || !trouble.write.is_vital(), "{trouble:?} has not come about");
            }
            let looks = join_all(lanes.iter().map(async |lane| lane.healed(1).await)).await;
            looks
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
        "{prefix}: {} lanes laid in {laid:.1?}, healed after {:.1?}, with {} controllers; {} stages too short to tell: {missed:?}",
        lanes.len(),
        begun.elapsed(),
        controllers.len(),
        missed.len(),
    );
    let spent = match healed {
        Ok(()) => none_acts_again(room, &lanes, troubles).await.and_then(|()| none_missed(&proxy)),
        Err(error) => Err(error),
    };
    if spent.is_err() {
        tell(place, prefix, &proxy, &controllers).await?;
    }
    spent?;
    println!("{prefix}: {:.1?} in all", begun.elapsed());
    place.clear().await?;
    Lane::remove(room, &names).await
}

/// Starts a controller whenever there is none. Nothing of it is let through before the
/// gun is aimed at it: a trouble must not come about and miss.
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

/// Every shot hit, unless the controller had been killed for another of its requests in
/// the same instant.
fn none_missed(proxy: &Proxy) -> Result<()> {
    let log = proxy.log();
    let fallen = || log.iter().filter_map(|entry| Some((entry.peer, entry.fell.as_ref()?.not_killed.as_ref())));
    let killed: BTreeSet<_> = fallen().filter(|(_, missed)| missed.is_none()).map(|(peer, _)| peer).collect();
    for (peer, missed) in fallen() {
        ensure!(missed.is_none() || killed.contains(&peer), "the controller at {peer} was not killed: {missed:?}");
    }
    Ok(())
}

/// Each heal cost one eviction, of the pod that was sick; what had none was no charge on
/// the budget of one; and that is spent: whoever is sick again is left alone.
async fn none_acts_again(room: &Room<'_>, lanes: &[Lane<'_>], troubles: &[Trouble]) -> Result<()> {
    let second = try_join_all(lanes.iter().map(Lane::sicken)).await?;
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

/// What the proxy saw, and what the controllers said, in a folder for whoever looks.
pub(crate) async fn tell(place: &Place<'_>, name: &str, proxy: &Proxy, controllers: &[StandIn]) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("prunella-crash-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let lines: Vec<_> = proxy.log().iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    fs::write(folder.join(format!("{name}.jsonl")), lines.join("\n"))?;
    for controller in controllers {
        fs::write(folder.join(format!("{}.log", controller.pod)), place.said(controller).await)?;
    }
    println!("requests and logs are in {}", folder.display());
    Ok(())
}

/// Kills the newest controller, whichever it is, at the proxy's command.
struct Gun {
    target: PathBuf,
}

impl Gun {
    fn new(name: &str) -> Result<Self> {
        let target = std::env::temp_dir().join(format!("prunella-{name}-{}.pid", std::process::id()));
        let gun = Self { target };
        fs::write(&gun.target, "").context("cannot write down whom to kill")?;
        Ok(gun)
    }

    /// Aims at a controller, or at nobody: its number may soon be somebody else's.
    fn aim(&self, controller: Option<&StandIn>) {
        let pid = controller.map(|controller| controller.process.0.to_string()).unwrap_or_default();
        // A shot at nobody is told by the proxy, and by the trouble that does not come about.
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
