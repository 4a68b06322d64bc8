//! Evictions that the API server refuses for other reasons than a disruption budget that allows
//! none now. Each ends in its own way, with the server's words.

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{PATIENCE, eventually, in_room};
use serde_json::json;

use crate::app::{self, APP, deploy, done, nothing_more};

const POLICY: &str = "gauge";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn two_disruption_budgets_on_one_pod_end_the_action_at_once() -> Result<()> {
    in_room("two-budgets", async |room| {
        let pods = deploy(room, APP, 2).await?;
        for name in ["one", "two"] {
            room.apply(&json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
                "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": APP}}},
            }))
            .await?;
        }
        room.apply(&app::policy(room, POLICY, &room.gauge_over(5))).await?;
        room.until_evaluated(POLICY).await?;
        room.simulate(&pods[0], "gauge?value=9").await?;
        let action = room.until_outcome(POLICY, 1, "Expired").await?;
        let status = action.status.unwrap_or_default();
        ensure!(status.outcome_reason.as_deref() == Some("SeveralDisruptionBudgets"), "{status:?}");
        let message = status.message.unwrap_or_default();
        ensure!(message.contains("more than one PodDisruptionBudget"), "{message}");
        ensure!(status.executed_at.is_none() && status.writes.is_empty(), "it was not executed");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn an_eviction_that_an_admission_policy_denies_is_sent_once() -> Result<()> {
    in_room("denied", async |room| {
        let pods = deploy(room, APP, 2).await?;
        let name = format!("{}-no-evictions", room.name());
        let here = json!({"matchLabels": {"kubernetes.io/metadata.name": room.name()}});
        let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/eviction"]}]);
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": rules},
                "validations": [{"expression": "false", "message": "not at night"}],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here}},
        });
        for object in [policy, binding] {
            room.ground.testbed.apply(&object.to_string()).await?;
        }
        let tested = async {
            room.apply(&app::policy(room, POLICY, &room.gauge_over(5))).await?;
            room.until_evaluated(POLICY).await?;
            // An admission policy takes effect some seconds after it was created.
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            room.simulate(&pods[0], "gauge?value=9").await?;
            eventually(PATIENCE, "the denial to be recorded", async || {
                let action = room.actions(POLICY).await?.into_iter().next().context("no action")?;
                let status = action.status.unwrap_or_default();
                ensure!(status.blocked_by.as_deref() == Some("Denied"), "{status:?}");
                let message = status.message.unwrap_or_default();
                ensure!(message.contains("not at night") && message.contains("not sent again"), "{message}");
                Ok(())
            })
            .await?;
            nothing_more(room, 1).await?;
            // Somebody else removes the pod: the record does not claim it.
            room.kubectl(&["delete", "pod", pods[0].metadata.name.as_deref().unwrap_or_default()]).await?;
            let action = room.until_outcome(POLICY, 1, "Inconclusive").await?;
            let status = action.status.unwrap_or_default();
            ensure!(status.outcome_reason.as_deref() == Some("Denied"), "{status:?}");
            ensure!(status.executed_at.is_none() && status.writes.is_empty(), "{status:?}");
            ensure!(done(room)?.len() == 1, "{:#?}", done(room)?);
            Ok(())
        }
        .await;
        room.kubectl(&["delete", "validatingadmissionpolicybinding", &name]).await?;
        room.kubectl(&["delete", "validatingadmissionpolicy", &name]).await?;
        tested
    })
    .await
}
