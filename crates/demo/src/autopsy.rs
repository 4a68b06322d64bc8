//! After a failure: prints the state of the cluster before it is cleaned up.

use kube::api::ListParams;
use kube::{Api, ResourceExt};
use prunella_api::HealingPolicy;

use crate::console::Console;
use crate::ground::{Ground, NAMESPACE, SYSTEM};

/// Prints pods, policies with their conditions, actions, and the end of the controller's
/// log. Anything that cannot be read is skipped.
pub(crate) async fn print(ground: &Ground, console: &Console) {
    console.stage("State of the cluster");
    let commands = [
        format!("get pods -n {NAMESPACE} -o wide"),
        format!("get healingpolicies,healingactions -n {NAMESPACE}"),
        format!("get deployments,pods -n {SYSTEM}"),
        format!("logs deployment/prunella -n {SYSTEM} --tail=20 --pod-running-timeout=1s"),
    ];
    for words in commands {
        console.command(&format!("kubectl {words}"));
        console.quote(&ground.kubectl.run(&words).await.unwrap_or_else(|error| format!("{error:#}")));
    }
    let api: Api<HealingPolicy> = Api::namespaced(ground.client.clone(), NAMESPACE);
    let policies = api.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
    for policy in policies {
        console.say(&format!("HealingPolicy {}", policy.name_any()));
        for condition in policy.status.map(|status| status.conditions).unwrap_or_default() {
            console.quote(&format!(
                "{}={} {}: {}",
                condition.type_, condition.status, condition.reason, condition.message
            ));
        }
    }
}
