//! Two controllers for the same policies, without leader election. Only the writes themselves
//! keep them from acting twice.

use anyhow::{Context as _, Result, ensure};
use futures::future::{join_all, try_join_all};
use prunella_e2e::{PATIENCE, Place, Room, eventually, uid_of};
use testbed::proxy::{Fate, Rule};

use crate::drill::{proxy, save};
use crate::flow::Write;
use crate::lane::{Lane, evictions};

/// How many actions a policy may start. That many rounds are healed, and the next is not.
const BUDGET: usize = 3;
/// The delay of one controller at one write, in milliseconds. Longer than any write takes.
const LAG: u64 = 700;

/// The write at which one controller is late. Each has its own lane.
const LATE_AT: [Option<Write>; 8] = [
    None,
    Some(Write::Reserve),
    Some(Write::Begin),
    Some(Write::Evict),
    Some(Write::Executed),
    Some(Write::Settled),
    Some(Write::Finish),
    Some(Write::Release),
];

/// Makes pods unhealthy with two controllers, until the budget of each policy is used.
pub(crate) async fn twins(room: &Room<'_>, place: &Place<'_>) -> Result<()> {
    let (prompt, late) = (proxy(room).await?, proxy(room).await?);
    let names: Vec<_> = (0..LATE_AT.len()).map(|number| format!("twin-{number}")).collect();
    let lanes = Lane::create(room, &names).await?;
    for (name, write) in names.iter().zip(LATE_AT) {
        if let Some(write) = write {
            let late_each_time =
                Rule { times: u32::MAX - 1, ..Rule::new(write.on(name), Fate::Stall { millis: Some(LAG) }) };
            late.arm(late_each_time);
        }
    }
    let controllers = [place.start(&prompt).await?, place.start(&late).await?];
    let outcome = rounds(room, &lanes, &names).await;
    if outcome.is_err() {
        save(place, "prompt", &prompt, &controllers).await?;
        save(place, "late", &late, &[]).await?;
    }
    let [by_prompt, by_late] = [&prompt, &late].map(|proxy| {
        let granted = |entry: &&testbed::proxy::Entry| entry.asked.resource == "pods/eviction" && entry.took_effect();
        proxy.log().iter().filter(granted).count()
    });
    println!("successful evictions of the prompt controller: {by_prompt}, of the late one: {by_late}");
    outcome
}

async fn rounds(room: &Room<'_>, lanes: &[Lane<'_>], names: &[String]) -> Result<()> {
    Lane::apply_policies(room, names, u32::try_from(BUDGET)?).await?;
    let mut unhealthy: Vec<Vec<String>> = vec![Vec::new(); lanes.len()];
    for round in 1..=BUDGET {
        let pods = try_join_all(lanes.iter().map(Lane::break_target)).await?;
        unhealthy.iter_mut().zip(&pods).for_each(|(unhealthy, pod)| unhealthy.push(uid_of(pod)));
        eventually(PATIENCE, &format!("round {round} to be healed"), async || {
            let checks = join_all(lanes.iter().map(|lane| lane.healed(round))).await;
            checks.into_iter().zip(names).try_for_each(|(healed, name)| healed.with_context(|| name.clone()))
        })
        .await?;
    }
    try_join_all(lanes.iter().map(Lane::break_target)).await?;
    try_join_all(lanes.iter().map(Lane::until_spent)).await?;
    let evicted = evictions(room)?;
    for (lane, unhealthy) in lanes.iter().zip(unhealthy) {
        // Both may evict the same pod at the same time. It is removed once.
        let mut evicted = lane.among(&evicted);
        evicted.dedup();
        ensure!(evicted == unhealthy, "{}: evicted {evicted:?}, unhealthy were {unhealthy:?}", lane.name);
    }
    Ok(())
}
