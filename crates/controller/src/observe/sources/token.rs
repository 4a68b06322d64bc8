//! The token of a source. It is read from a Secret in the controller's own namespace, and only if the
//! source names one. Every pass reads it, so that a renewed token is used within 30 seconds.

use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use prunella_api::{ClusterPrometheusSource, SecretKey};
use prunella_cluster::{ClusterError, REQUEST_DEADLINE, within};

use super::{SourceContext, Unusable};

/// The reason of the condition `Ready` if the token cannot be read.
const NO_TOKEN: &str = "NoToken";

/// A token. Logs never show it.
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

/// The token of the source, if it names one. If the API server does not answer, the `earlier` token is
/// kept.
pub(super) async fn read(
    source: &ClusterPrometheusSource,
    earlier: Option<Token>,
    context: &SourceContext,
) -> Result<Option<Token>, Unusable> {
    let Some(SecretKey { name, key }) = &source.spec.bearer_token_secret else { return Ok(None) };
    let namespace = &context.authority.namespace;
    let api: Api<Secret> = Api::namespaced(context.clients.reads.clone(), namespace);
    let secret = match within(REQUEST_DEADLINE, api.get(name)).await {
        Ok(secret) => secret,
        Err(error) if earlier.is_some() && !is_final(&error) => return Ok(earlier),
        Err(error) => return Err(missing(namespace, name, &error)),
    };
    let value = secret.data.and_then(|mut data| data.remove(key)).map(|bytes| String::from_utf8(bytes.0));
    match value {
        Some(Ok(token)) if !token.trim().is_empty() => Ok(Some(Token(token))),
        Some(Ok(_)) => Err(unusable(format!("the key {key} of Secret {namespace}/{name} is empty"))),
        Some(Err(_)) => Err(unusable(format!("the key {key} of Secret {namespace}/{name} is not text"))),
        None => Err(unusable(format!(
            "Secret {namespace}/{name} has no key {key}: set bearerTokenSecret.key to a key of this Secret"
        ))),
    }
}

/// Whether a retry cannot help.
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
