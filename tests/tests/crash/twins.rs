//! Two controllers over the same policies with nothing between them: what keeps them
//! from acting twice is in the writes themselves.

use anyhow::{Context as _, Result, ensure};
use futures::future::{join_all, try_join_all};
use prunella_e2e::{PATIENCE, Place, Room, eventually, uid_of};
use testbed::proxy::{Fate, Rule};

use crate::drill::{proxy, tell};
use crate::flow::Write;
use crate::lane::{Lane, evictions};

/// How many actions a policy may begin: so many rounds are healed, and one more is not.
const BUDGET: usize = 3;
/// How far one of them lags behind the other at one write: longer than any write takes.
const LAG: u64 = 700;

/// The write at which one of them is late, a lane each.
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

/// Lets pods fall sick before two controllers, until the budget of each policy is spent.
pub(crate) async fn twins(room: &Room<'_>, place: &Place<'_>) -> Result<()> {
    let (prompt, late) = (proxy(room).await?, proxy(room).await?);
    let names: Vec<_> = (0..LATE_AT.len()).map(|number| format!("twin-{number}")).collect();
    let lanes = Lane::lay(room, &names).await?;
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
        tell(place, "prompt", &prompt, &controllers).await?;
        tell(place, "late", &late, &[]).await?;
    }
    let [by_prompt, by_late] = [&prompt, &late].map(|proxy| {
        let granted = |entry: &&testbed::proxy::Entry| entry.asked.resource == "pods/eviction" && entry.took_effect();
        proxy.log().iter().filter(granted).count()
    });
    println!("evictions granted to the prompt one: {by_prompt}, to the late one: {by_late}");
    outcome
}

async fn rounds(room: &Room<'_>, lanes: &[Lane<'_>], names: &[String]) -> Result<()> {
    Lane::govern(room, names, u32::try_from(BUDGET)?).await?;
    let mut sick: Vec<Vec<String>> = vec![Vec::new(); lanes.len()];
    for round in 1..=BUDGET {
        let pods = try_join_all(lanes.iter().map(Lane::sicken)).await?;
        sick.iter_mut().zip(&pods).for_each(|(sick, pod)| sick.push(uid_of(pod)));
        eventually(PATIENCE, &format!("round {round} to be healed"), async || {
            let looks = join_all(lanes.iter().map(|lane| lane.healed(round))).await;
            looks.into_iter().zip(names).try_for_each(|(healed, name)| healed.with_context(|| name.clone()))
        })
        .await?;
    }
    try_join_all(lanes.iter().map(Lane::sicken)).await?;
    try_join_all(lanes.iter().map(Lane::until_spent)).await?;
    let evicted = evictions(room)?;
    for (lane, sick) in lanes.iter().zip(sick) {
        // Both may ask for the same pod at once; it goes but once.
        let mut evicted = lane.among(&evicted);
        evicted.dedup();
        ensure!(evicted == sick, "{}: evicted {evicted:?}, these were sick: {sick:?}", lane.name);
    }
    Ok(())
}
