//! The token of a source: read from a Secret in the controller's own namespace, and
//! only where a source names one. Read at every pass, so that a token that is renewed is
//! taken over within half a minute.

use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use prunella_api::{ClusterPrometheusSource, SecretKey};
use prunella_cluster::{ClusterError, REQUEST_DEADLINE, within};

use super::Unusable;
use crate::context::Context;

/// The reason of a source whose token cannot be had.
const NO_TOKEN: &str = "NoToken";

/// A token, which no log shows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(String);

impl Token {
    /// The token itself.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The token that the source names, if it names one. An API server that does not answer
/// is no reason to forget the `earlier` one.
pub(super) async fn read(
    source: &ClusterPrometheusSource,
    earlier: Option<Token>,
    context: &Context,
) -> Result<Option<Token>, Unusable> {
    let Some(SecretKey { name, key }) = &source.spec.bearer_token_secret else { return Ok(None) };
    let namespace = &context.namespace;
    let api: Api<Secret> = Api::namespaced(context.reads.clone(), namespace);
    let secret = match within(REQUEST_DEADLINE, api.get(name)).await {
        Ok(secret) => secret,
        Err(error) if earlier.is_some() && !is_final(&error) => return Ok(earlier),
        Err(error) => return Err(missing(namespace, name, &error)),
    };
    let value = secret.data.and_then(|mut data| data.remove(key)).map(|bytes| String::from_utf8(bytes.0));
    match value {
        Some(Ok(token)) if !token.trim().is_empty() => Ok(Some(Token(token))),
        Some(Ok(_)) => Err(unusable(format!("the key {key} of Secret {namespace}/{name} is empty"))),
        Some(Err(_)) => Err(unusable(format!("the key {key} of Secret {namespace}/{name} is no text"))),
        None => {
            Err(unusable(format!("Secret {namespace}/{name} has no key {key}: name another in bearerTokenSecret.key")))
        }
    }
}

fn is_final(error: &ClusterError) -> bool {
    matches!(error, ClusterError::Kube(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_forbidden())
}

fn missing(namespace: &str, name: &str, error: &ClusterError) -> Unusable {
    unusable(match error {
        ClusterError::Kube(kube::Error::Api(answer)) if answer.is_not_found() => {
            format!("there is no Secret {namespace}/{name}: create it with the token")
        }
        ClusterError::Kube(kube::Error::Api(answer)) if answer.is_forbidden() => format!(
            "the controller may not read Secret {namespace}/{name}: name it prunella-prometheus and apply \
             deploy/kustomize/prometheus-token, or write a Role for this name"
        ),
        error => format!("cannot read Secret {namespace}/{name}: {error}"),
    })
}

fn unusable(message: String) -> Unusable {
    Unusable::new(NO_TOKEN, message)
}
