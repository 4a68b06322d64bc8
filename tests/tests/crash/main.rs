//! Crash safety. A proxy in front of the API server kills the controller before and after every
//! write of a heal, or answers with errors; and two controllers run at the same time. Each time
//! one pod is evicted once, the outcome is reported, the budget is right, and no action stays in
//! flight.
//!
//! Each test runs many heals at the same time. With `PRUNELLA_CRASH=full` each kill has its own
//! run, and every write gets every response. That takes half an hour instead of minutes.

mod drill;
mod flow;
mod lane;
mod silent_watch;
mod twins;

use anyhow::{Result, ensure};
use drill::{drill, proxy};
use flow::{Trouble, Write};
use lane::Lane;
use prunella_e2e::{PATIENCE, Place, Room, alone, eventually, in_its_place};
use silent_watch::silent_watch;
use twins::twins;

/// As many lanes as two slow cores can heal at the same time.
const AT_ONCE: usize = 21;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_heal_is_these_writes_and_no_others() -> Result<()> {
    alone("writes", async |room| {
        in_its_place(room, async |place| {
            let (proxy, names) = (proxy(room).await?, ["calm".to_owned()]);
            let lanes = Lane::create(room, &names).await?;
            place.start(&proxy).await?;
            Lane::apply_policies(room, &names, 1).await?;
            room.until_evaluated("calm").await?;
            for lane in &lanes {
                lane.break_target().await?;
                eventually(PATIENCE, "the heal", async || lane.healed(1).await).await?;
            }
            let mut seen = Vec::new();
            for entry in proxy.log().into_iter().filter(|entry| entry.asked.namespace == room.name()) {
                if entry.number.is_some() {
                    let write = Write::of(&entry, "calm");
                    ensure!(write.is_some(), "an unknown write: {}", serde_json::to_string(&entry)?);
                    seen.extend(write);
                }
            }
            println!("{seen:?}");
            let mut vital: Vec<_> = seen.iter().filter(|write| write.is_vital()).copied().collect();
            vital.dedup();
            ensure!(vital.into_iter().eq(Write::ALL.into_iter().filter(|write| write.is_vital())), "{seen:?}");
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn killed_at_any_write_it_acts_once() -> Result<()> {
    alone("kills", async |room| {
        let troubles = Trouble::kills();
        // One at a time, each kill meets a heal that is otherwise calm.
        let at_once = if is_full() { 1 } else { troubles.len() };
        in_its_place(room, async |place| in_turns(room, place, "kill", &troubles, at_once).await).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn whatever_the_response_it_acts_once() -> Result<()> {
    alone("answers", async |room| {
        let troubles = if is_full() { Trouble::every_answer() } else { Trouble::answers() };
        in_its_place(room, async |place| in_turns(room, place, "answer", &troubles, AT_ONCE).await).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn two_without_a_lease_act_as_one() -> Result<()> {
    alone("twins", async |room| in_its_place(room, async |place| twins(room, place).await).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_silent_watch_stops_new_actions() -> Result<()> {
    alone("silent-watch", async |room| in_its_place(room, async |place| silent_watch(room, place).await).await).await
}

async fn in_turns(room: &Room<'_>, place: &Place<'_>, what: &str, troubles: &[Trouble], at_once: usize) -> Result<()> {
    for (turn, troubles) in troubles.chunks(at_once).enumerate() {
        drill(room, place, &format!("{what}-{turn}"), troubles).await?;
    }
    Ok(())
}

fn is_full() -> bool {
    std::env::var("PRUNELLA_CRASH").is_ok_and(|value| value == "full")
}
