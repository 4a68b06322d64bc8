//! The end: times in a table, what kubectl shows, and where to look further.

use anyhow::Result;

use crate::console::Console;
use crate::ground::{Ground, NAMESPACE};
use crate::heal::Healed;
use crate::scenario::Scenario;
use crate::story::Moment::{Acted, Firing, Settled, Verified, Visible};

/// The columns.
pub(crate) const HEADER: [&str; 9] =
    ["SICKNESS", "POLICY", "ACTION", "VISIBLE", "DETECT", "ACT", "SETTLE", "VERIFY", "OUTCOME"];

/// A line of the table.
pub(crate) type Row = [String; 9];

/// Times between the moments: from the fault to being seen in Prometheus, to firing
/// (which includes `for`), to the change, to the workload being whole, to the verdict
/// (which includes `clearFor`).
pub(crate) fn row(scenario: &Scenario, healed: &Healed) -> Row {
    let story = &healed.story;
    [
        scenario.sickness.to_owned(),
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

/// What kubectl shows now, and what else could be asked.
///
/// # Errors
/// When kubectl fails.
pub(crate) async fn look_further(ground: &Ground, console: &Console) -> Result<()> {
    console.stage("What kubectl shows");
    for words in ["get healingpolicies", "get healingactions"] {
        let words = format!("{words} -n {NAMESPACE}");
        console.command(&format!("kubectl {words}"));
        console.quote(&ground.kubectl.run(&words).await?);
    }
    console.say("To look further, after make demo ARGS=--keep:");
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
