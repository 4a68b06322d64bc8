//! The alerts about Prunella itself, checked with promtool.

use anyhow::{Result, ensure};
use prunella_e2e::{Ground, repository};
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn the_alerts_fire_for_their_cause_and_for_nothing_else() -> Result<()> {
    let ground = Ground::shared().await?;
    let promtool = ground.testbed.tool("promtool").await?;
    for (task, file) in [("check", "alerts.yaml"), ("test", "alerts-test.yaml")] {
        let file = repository("deploy/monitoring").join(file);
        let output = Command::new(&promtool).args([task, "rules"]).arg(&file).output().await?;
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "promtool {task} rules {}: {said}", file.display());
    }
    Ok(())
}
