//! A test's namespace, and the operations in it.

use anyhow::{Context as _, Result};
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Resource};
use serde_json::Value;
use testbed::Namespace;

use crate::ground::Ground;
use crate::install;

/// A test's namespace. It is deleted when the test ends.
pub struct Room<'a> {
    /// The testbed.
    pub ground: &'a Ground,
    namespace: Namespace,
}

/// Runs a test in its own namespace, together with other tests.
///
/// # Errors
/// The test's error. Before that, the state of the namespace is printed.
pub async fn in_room(test: &str, body: impl AsyncFnOnce(&Room<'_>) -> Result<()>) -> Result<()> {
    let ground = Ground::shared().await?;
    enter(&ground, test, body).await
}

/// Runs a test in its own namespace while no other test runs.
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
        room.print_state().await;
    }
    outcome
}

impl Room<'_> {
    /// The namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        self.namespace.name()
    }

    /// Runs kubectl in the namespace and returns its output.
    ///
    /// # Errors
    /// When kubectl fails, with its error output.
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

    /// Prints the state of the namespace after a failure, because it is deleted afterwards.
    async fn print_state(&self) {
        let commands: [&[&str]; 3] = [
            &["get", "pods", "--output=wide"],
            &["get", "healingpolicies,healingactions", "--output=yaml"],
            &["get", "events"],
        ];
        for command in commands {
            let text = self.kubectl(command).await.unwrap_or_else(|error| format!("{error:#}"));
            eprintln!("--- {}: kubectl {}\n{text}", self.name(), command.join(" "));
        }
        match self.controller_log().await {
            Ok(log) => eprintln!("--- the controller on {}:\n{log}", self.name()),
            Err(error) => eprintln!("--- the controller's log: {error:#}"),
        }
    }

    /// The lines of the controller's log about the namespace.
    async fn controller_log(&self) -> Result<String> {
        let args = ["logs", "--namespace", install::NAMESPACE, install::DEPLOYMENT, "--tail=2000"];
        let log = self.ground.testbed.kubectl(&args).await.context("cannot read the controller's log")?;
        Ok(log.lines().filter(|line| line.contains(self.name())).collect::<Vec<_>>().join("\n"))
    }
}
