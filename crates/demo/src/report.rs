//! The summary: times in a table, what kubectl shows, and further commands.

use anyhow::Result;

use crate::console::Console;
use crate::ground::{Ground, NAMESPACE};
use crate::heal::Healed;
use crate::scenario::Scenario;
use crate::story::Moment::{Acted, Firing, Settled, Verified, Visible};

/// The columns.
pub(crate) const HEADER: [&str; 9] =
    ["FAULT", "POLICY", "ACTION", "VISIBLE", "DETECT", "ACT", "SETTLE", "VERIFY", "OUTCOME"];

/// A row of the table.
pub(crate) type Row = [String; 9];

/// The times from the fault until Prometheus shows it, then until the target is firing
/// (includes `for`), then until the change, then until the workload is ready, then until the
/// action is verified (includes `clearFor`).
pub(crate) fn row(scenario: &Scenario, healed: &Healed) -> Row {
    let story = &healed.story;
    [
        scenario.fault_name.to_owned(),
        scenario.policy.to_owned(),
        healed.action.clone(),
        story.seconds(None, Visible),
        story.seconds(story.has(Visible).then_some(Visible), Firing),
        story.seconds(Some(Firing), Acted),
        story.seconds(Some(Acted), Settled),
        story.seconds(Some(Settled), Verified),
        healed.outcome.clone(),
    ]
}

/// Prints what kubectl shows, and further commands.
///
/// # Errors
/// When kubectl fails.
pub(crate) async fn further_commands(ground: &Ground, console: &Console) -> Result<()> {
    console.stage("What kubectl shows");
    for words in ["get healingpolicies", "get healingactions"] {
        let words = format!("{words} -n {NAMESPACE}");
        console.command(&format!("kubectl {words}"));
        console.quote(&ground.kubectl.run(&words).await?);
    }
    console.say("To look around, run make demo ARGS=--keep, then:");
    if let Some(testbed) = &ground.testbed {
        console.command(&format!("eval \"$(make -s env TESTBED_NAME={})\"", testbed.layout().name));
    }
    for words in
        ["describe healingpolicies", "describe healingactions", "get events --sort-by=.metadata.creationTimestamp"]
    {
        console.command(&format!("kubectl {words} -n {NAMESPACE}"));
    }
    Ok(())
}
