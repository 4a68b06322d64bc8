//! What a request asks for, told from its method and path.

use serde::Serialize;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Asked {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Empty for the core group.
    pub group: String,
    /// Empty for what is in none.
    pub namespace: String,
    /// Plural, and after a `/` the subresource: `pods/eviction`. Empty for
    /// paths that are no objects.
    pub resource: String,
    /// Empty for lists, and for creations.
    pub name: String,
}

impl Asked {
    pub(super) fn new(method: &str, path: &str) -> Self {
        let mut asked = Self {
            method: method.into(),
            path: path.into(),
            group: String::new(),
            namespace: String::new(),
            resource: String::new(),
            name: String::new(),
        };
        let plain = path.split('?').next().unwrap_or_default();
        let words: Vec<_> = plain.split('/').filter(|word| !word.is_empty()).collect();
        let rest = match words.as_slice() {
            ["api", _, rest @ ..] => rest,
            ["apis", group, _, rest @ ..] => {
                (*group).clone_into(&mut asked.group);
                rest
            }
            _ => return asked,
        };
        let rest = match rest {
            // A namespace's own subresources have no further name.
            ["namespaces", namespace, rest @ ..] if !matches!(rest, [] | ["status" | "finalize"]) => {
                (*namespace).clone_into(&mut asked.namespace);
                rest
            }
            other => other,
        };
        if let [resource, rest @ ..] = rest {
            (*resource).clone_into(&mut asked.resource);
            if let [name, rest @ ..] = rest {
                (*name).clone_into(&mut asked.name);
                for word in rest {
                    asked.resource = format!("{}/{word}", asked.resource);
                }
            }
        }
        asked
    }

    /// Whether it asks for a change.
    #[must_use]
    pub fn is_change(&self) -> bool {
        matches!(self.method.as_str(), "POST" | "PUT" | "PATCH" | "DELETE")
    }

    /// The resource, without a subresource.
    #[must_use]
    pub fn plural(&self) -> &str {
        self.resource.split('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_what_is_asked_for() {
        for (path, group, namespace, resource, name) in [
            ("/api/v1/namespaces/a/pods/b/eviction?x=/y", "", "a", "pods/eviction", "b"),
            ("/apis/prunella.dev/v1alpha1/namespaces/a/healingactions", "prunella.dev", "a", "healingactions", ""),
            ("/apis/apps/v1/deployments", "apps", "", "deployments", ""),
            ("/api/v1/namespaces/a", "", "", "namespaces", "a"),
            ("/api/v1/namespaces/a/finalize", "", "", "namespaces/finalize", "a"),
            ("/api/v1/nodes/n/proxy/metrics/cadvisor", "", "", "nodes/proxy/metrics/cadvisor", "n"),
            ("/readyz", "", "", "", ""),
            ("/apis", "", "", "", ""),
        ] {
            let asked = Asked::new("GET", path);
            let found = (&*asked.group, &*asked.namespace, &*asked.resource, &*asked.name);
            assert_eq!(found, (group, namespace, resource, name), "{path}");
        }
    }
}
