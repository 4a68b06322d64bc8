//! The image as a file: made like `make image` does, imported like kind, k3d and minikube do,
//! and run under the restricted pod security standard.

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{PATIENCE, eventually, in_room, program};
use serde_json::json;
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn a_pod_runs_from_an_archive_that_was_written_to_a_file() -> Result<()> {
    in_room("image", async |room| {
        let testbed = room.ground.testbed;
        // A name that no other test has imported.
        let image = format!("localhost/{}:1", room.name());
        let archive = testbed.layout().data.join(format!("{}.tar", room.name()));
        let saved = Command::new(program("testbed")?)
            .args(["image", "save", &image])
            .args([&program("prunella")?, &archive])
            .output()
            .await
            .context("cannot run testbed")?;
        let said = String::from_utf8_lossy(&saved.stdout);
        ensure!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
        for way in ["kind load image-archive", "k3d image import", "minikube image load", "docker load --input"] {
            let line = format!("{way} {}", archive.display());
            ensure!(said.contains(&line), "{line} is missing in the output: {said}");
        }
        testbed.import_image(&archive).await?;

        let label = "pod-security.kubernetes.io/enforce=restricted";
        testbed.kubectl(&["label", "namespace", room.name(), label]).await?;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "once"},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "prunella", "image": image, "imagePullPolicy": "Never", "args": ["--version"],
                    "securityContext": {
                        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }],
            },
        });
        room.apply(&pod).await?;
        eventually(PATIENCE, "the pod to have run", async || {
            let phase = room.kubectl(&["get", "pod", "once", "--output=jsonpath={.status}"]).await?;
            ensure!(phase.contains(r#""phase":"Succeeded""#), "{phase}");
            Ok(())
        })
        .await?;
        let log = room.kubectl(&["logs", "once"]).await?;
        ensure!(log.starts_with("prunella "), "the log is {log:?}");
        Ok(())
    })
    .await
}
