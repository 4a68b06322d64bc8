//! The end of the classic path, as small as possible: it receives Alertmanager's webhook
//! and sends the patch of `kubectl rollout restart`.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::routing::post;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::json;

/// The used part of Alertmanager's message.
#[derive(Debug, Deserialize)]
struct Message {
    alerts: Vec<Alert>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    labels: Labels,
    /// The evaluation time of the rule. With `for: 0s` it is the first evaluation that
    /// returned the series.
    starts_at: Timestamp,
}

#[derive(Debug, Deserialize)]
struct Labels {
    namespace: String,
    deployment: String,
}

/// The path that Alertmanager sends to.
pub(crate) const PATH: &str = "/alert";

/// One alert that Alertmanager delivered.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    deployment: String,
    /// When Prometheus evaluated the rule.
    pub(crate) evaluated: Timestamp,
    /// When the webhook received the alert.
    pub(crate) received: Timestamp,
}

/// The webhook and its deliveries so far.
#[derive(Clone)]
pub(crate) struct Webhook {
    client: Client,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
}

impl Webhook {
    pub(super) fn new(client: Client) -> Self {
        Self { client, deliveries: Arc::default() }
    }

    pub(super) fn routes(&self) -> Router {
        Router::new().route(PATH, post(receive)).with_state(self.clone())
    }

    /// The first delivery for a Deployment after a time.
    pub(crate) fn first_delivery(&self, deployment: &str, after: Timestamp) -> Option<Delivery> {
        let deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        deliveries.iter().find(|one| one.deployment == deployment && one.received > after).cloned()
    }
}

/// Restarts the Deployment of each alert, with the same kind of patch as the controller.
async fn receive(State(webhook): State<Webhook>, Json(message): Json<Message>) -> StatusCode {
    let received = Timestamp::now();
    for Alert { labels, starts_at } in message.alerts {
        let delivery = Delivery { deployment: labels.deployment.clone(), evaluated: starts_at, received };
        webhook.deliveries.lock().unwrap_or_else(PoisonError::into_inner).push(delivery);
        let api: Api<Deployment> = Api::namespaced(webhook.client.clone(), &labels.namespace);
        let mark = json!({"bench.prunella.dev/restarted-at": Timestamp::now().to_string()});
        let patch = Patch::Merge(json!({"spec": {"template": {"metadata": {"annotations": mark}}}}));
        if let Err(error) = api.patch(&labels.deployment, &PatchParams::default(), &patch).await {
            eprintln!("bench: the webhook cannot patch the Deployment {}: {error}", labels.deployment);
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
    }
    StatusCode::OK
}
