//! The example policies are correct: strict validation finds a misspelt field, and the policy
//! itself reports a misspelt metric or label.

use anyhow::{Result, ensure};
use prunella_e2e::{in_room, repository};

use crate::app::{CLASSIC, governed};
use crate::rules;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn every_classic_policy_is_valid_and_its_query_finds_series() -> Result<()> {
    in_room("policies", async |room| {
        for folder in ["examples/policies", "examples/policies/demo"] {
            let folder = repository(folder);
            let found = std::fs::read_dir(&folder)?.filter_map(Result::ok);
            let policies = found.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "yaml"));
            ensure!(policies.count() == rules::ALL.len(), "{} does not have the five policies", folder.display());
            let strictly = ["apply", "--dry-run=server", "--validate=strict", "--filename"];
            room.kubectl(&[&strictly[..], &[&folder.display().to_string()]].concat()).await?;
        }
        // The versions of `make demo` have their own tests.
        governed(room, CLASSIC).await.map(drop)
    })
    .await
}
