//! The end of the classic path, as small as it can be: Alertmanager's webhook in, the
//! patch of `kubectl rollout restart` out.

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

/// The part of Alertmanager's message that is of use.
#[derive(Debug, Deserialize)]
struct Message {
    alerts: Vec<Alert>,
}

#[derive(Debug, Deserialize)]
struct Alert {
    labels: Labels,
}

#[derive(Debug, Deserialize)]
struct Labels {
    namespace: String,
    deployment: String,
}

/// Where Alertmanager is to send to.
pub(crate) const PATH: &str = "/alert";

pub(crate) fn routes(client: Client) -> Router {
    Router::new().route(PATH, post(receive)).with_state(client)
}

/// Restarts what each alert names, with the same kind of patch as the controller's.
async fn receive(State(client): State<Client>, Json(message): Json<Message>) -> StatusCode {
    for Alert { labels } in message.alerts {
        let api: Api<Deployment> = Api::namespaced(client.clone(), &labels.namespace);
        let mark = json!({"bench.prunella.dev/restarted-at": Timestamp::now().to_string()});
        let patch = Patch::Merge(json!({"spec": {"template": {"metadata": {"annotations": mark}}}}));
        if let Err(error) = api.patch(&labels.deployment, &PatchParams::default(), &patch).await {
            eprintln!("bench: the webhook cannot patch {}: {error}", labels.deployment);
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
    }
    StatusCode::OK
}
