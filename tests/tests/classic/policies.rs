//! What a reader may apply says what it should: strict validation finds a field that is
//! misspelt, and the policy itself a metric or label that is.

use anyhow::{Result, ensure};
use prunella_e2e::{in_room, repository};

use crate::app::{CLASSIC, governed};
use crate::rules;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn every_classic_policy_is_valid_and_finds_what_it_asks_for() -> Result<()> {
    in_room("policies", async |room| {
        for folder in ["examples/policies", "examples/policies/demo"] {
            let folder = repository(folder);
            let found = std::fs::read_dir(&folder)?.filter_map(Result::ok);
            let policies = found.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "yaml"));
            ensure!(policies.count() == rules::ALL.len(), "{} has other policies", folder.display());
            let strictly = ["apply", "--dry-run=server", "--validate=strict", "--filename"];
            room.kubectl(&[&strictly[..], &[&folder.display().to_string()]].concat()).await?;
        }
        // The variants in a hurry are seen at work elsewhere.
        governed(room, CLASSIC).await.map(drop)
    })
    .await
}
