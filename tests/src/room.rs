//! A test's namespace, with what can be done and seen in it.

use anyhow::{Context as _, Result};
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Resource};
use serde_json::Value;
use testbed::Namespace;

use crate::ground::Ground;
use crate::install;

/// A test's namespace, gone when it is over.
pub struct Room<'a> {
    /// What it stands on.
    pub ground: &'a Ground,
    namespace: Namespace,
}

/// Runs a test in a namespace of its own, beside other tests.
///
/// # Errors
/// The test's, after telling what the namespace looked like.
pub async fn in_room(test: &str, body: impl AsyncFnOnce(&Room<'_>) -> Result<()>) -> Result<()> {
    let ground = Ground::shared().await?;
    enter(&ground, test, body).await
}

/// Runs a test in a namespace of its own while no other test runs.
///
/// # Errors
/// Those of [`in_room`].
pub async fn alone(test: &str, body: impl AsyncFnOnce(&Room<'_>) -> Result<()>) -> Result<()> {
    let ground = Ground::alone().await?;
    enter(&ground, test, body).await
}

async fn enter(ground: &Ground, test: &str, body: impl AsyncFnOnce(&Room<'_>) -> Result<()>) -> Result<()> {
    let room = Room { ground, namespace: ground.testbed.namespace(test).await? };
    let outcome = body(&room).await;
    if outcome.is_err() {
        room.tell().await;
    }
    outcome
}

impl Room<'_> {
    /// The namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        self.namespace.name()
    }

    /// Runs kubectl in the namespace and gives its output.
    ///
    /// # Errors
    /// When kubectl fails, with what it said.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.namespace.kubectl(args).await
    }

    /// `kubectl apply` of one object, in the namespace.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        let mut object = object.clone();
        object["metadata"]["namespace"] = self.name().into();
        self.ground.testbed.apply(&object.to_string()).await
    }

    /// The objects of one kind in the namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.ground.client.clone(), self.name())
    }

    /// Tells what there is, when a test has failed: the namespace goes with it.
    async fn tell(&self) {
        let looks: [&[&str]; 3] = [
            &["get", "pods", "--output=wide"],
            &["get", "healingpolicies,healingactions", "--output=yaml"],
            &["get", "events"],
        ];
        for look in looks {
            let text = self.kubectl(look).await.unwrap_or_else(|error| format!("{error:#}"));
            eprintln!("--- {}: kubectl {}\n{text}", self.name(), look.join(" "));
        }
        match self.controller_log().await {
            Ok(log) => eprintln!("--- the controller on {}:\n{log}", self.name()),
            Err(error) => eprintln!("--- the controller's log: {error:#}"),
        }
    }

    /// What the controller said of the namespace.
    async fn controller_log(&self) -> Result<String> {
        let args = ["logs", "--namespace", install::NAMESPACE, install::DEPLOYMENT, "--tail=2000"];
        let log = self.ground.testbed.kubectl(&args).await.context("cannot read the controller's log")?;
        Ok(log.lines().filter(|line| line.contains(self.name())).collect::<Vec<_>>().join("\n"))
    }
}
