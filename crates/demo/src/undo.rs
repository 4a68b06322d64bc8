//! What the demo created and how to remove it. Each entry is noted *before* the object is
//! created, so that an interrupted demo leaves nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;

use crate::console::Console;
use crate::kubectl::Kubectl;

/// A namespace waits until its pods have ended. Nothing else takes long.
const LONGEST: Duration = Duration::from_mins(3);

/// How to remove one thing.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Removes a testbed with everything on it.
    Testbed(String),
    /// Runs `kubectl` with these arguments.
    Kubectl(Kubectl, String),
}

/// What was created, in order.
#[derive(Debug, Default)]
pub(crate) struct Undo {
    steps: Mutex<Vec<Step>>,
}

impl Undo {
    /// Notes what is about to be created.
    pub(crate) fn note(&self, step: Step) {
        self.steps().push(step);
    }

    /// The commands that remove everything.
    pub(crate) fn list(&self) -> Vec<String> {
        let command = |step: &Step| match step {
            Step::Testbed(name) => format!("make cluster-down TESTBED_NAME={name}"),
            Step::Kubectl(_, words) => format!("kubectl {words}"),
        };
        self.needed().iter().map(command).collect()
    }

    /// Removes everything, the newest first. Continues after a failure.
    ///
    /// # Errors
    /// The first failure.
    pub(crate) async fn all(&self, console: &Console) -> Result<()> {
        let needed = self.needed();
        if !needed.is_empty() {
            console.stage("Cleaning up");
        }
        let mut ended = Ok(());
        for step in needed {
            let removed = match step {
                Step::Testbed(name) => {
                    console.command(&format!("make cluster-down TESTBED_NAME={name}"));
                    timeout(LONGEST, testbed::down(&name))
                        .await
                        .context("removing the testbed took too long")
                        .flatten()
                        .map(drop)
                }
                Step::Kubectl(kubectl, words) => {
                    console.command(&format!("kubectl {words}"));
                    timeout(LONGEST, kubectl.run(&words)).await.context("kubectl took too long").flatten().map(drop)
                }
            };
            ended = ended.and(removed);
        }
        ended
    }

    /// The newest first. Removing a testbed removes everything on it.
    fn needed(&self) -> Vec<Step> {
        let steps = self.steps();
        match steps.iter().find(|step| matches!(step, Step::Testbed(_))) {
            Some(testbed) => vec![testbed.clone()],
            None => steps.iter().rev().cloned().collect(),
        }
    }

    // A panic cannot leave the list half changed, so a poisoned lock is fine.
    fn steps(&self) -> MutexGuard<'_, Vec<Step>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
