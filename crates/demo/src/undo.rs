//! What the demo made and how it is removed. It is noted *before* it is made, so
//! that nothing is left by a demo that was interrupted in between.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;

use crate::console::Console;
use crate::kubectl::Kubectl;

/// A namespace waits for its pods to end; nothing else takes long.
const LONGEST: Duration = Duration::from_mins(3);

/// How one thing is removed.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Takes a testbed down, and with it all that is on it.
    Testbed(String),
    /// Runs `kubectl` with these words.
    Kubectl(Kubectl, String),
}

/// What was made, in the order it was made.
#[derive(Debug, Default)]
pub(crate) struct Undo {
    steps: Mutex<Vec<Step>>,
}

impl Undo {
    /// Notes what is about to be made.
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

    /// Removes everything, the newest first; goes on when something fails.
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
                        .context("the testbed did not come down in time")
                        .flatten()
                        .map(drop)
                }
                Step::Kubectl(kubectl, words) => {
                    console.command(&format!("kubectl {words}"));
                    timeout(LONGEST, kubectl.run(&words))
                        .await
                        .context("kubectl did not end in time")
                        .flatten()
                        .map(drop)
                }
            };
            ended = ended.and(removed);
        }
        ended
    }

    /// The newest first. A testbed takes all that is on it along.
    fn needed(&self) -> Vec<Step> {
        let steps = self.steps();
        match steps.iter().find(|step| matches!(step, Step::Testbed(_))) {
            Some(testbed) => vec![testbed.clone()],
            None => steps.iter().rev().cloned().collect(),
        }
    }

    // Nothing can be half done in a push.
    fn steps(&self) -> MutexGuard<'_, Vec<Step>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
