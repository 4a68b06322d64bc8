//! Who may use the cluster: many tests beside each other, or one alone, over all
//! processes of a run. File locks, so that a killed test holds nothing.

use std::fs::File;

use anyhow::{Context as _, Result};

/// Held by a test as long as it uses the cluster.
#[derive(Debug)]
pub(crate) struct Hold {
    _file: File,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Use {
    /// Others may too.
    Shared,
    /// Nobody else.
    Alone,
}

/// Waits until the testbed may be used so.
pub(crate) async fn hold(testbed: &str, how: Use) -> Result<Hold> {
    let (turn, cluster) = (path(testbed, "turn"), path(testbed, "cluster"));
    locking(move || {
        // Whoever waits holds the turn: a test that wants to be alone is not
        // overtaken forever by those that come after it and share.
        let turn = File::create(turn)?;
        turn.lock()?;
        let file = File::create(cluster)?;
        match how {
            Use::Shared => file.lock_shared()?,
            Use::Alone => file.lock()?,
        }
        Ok(Hold { _file: file })
    })
    .await
}

/// Waits until nobody else installs anything on the testbed.
pub(crate) async fn installing(testbed: &str) -> Result<Hold> {
    let path = path(testbed, "install");
    locking(move || {
        let file = File::create(path)?;
        file.lock()?;
        Ok(Hold { _file: file })
    })
    .await
}

fn path(testbed: &str, what: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("prunella-e2e-{testbed}.{what}"))
}

async fn locking(lock: impl FnOnce() -> std::io::Result<Hold> + Send + 'static) -> Result<Hold> {
    tokio::task::spawn_blocking(lock).await.context("waiting for a lock failed")?.context("cannot lock the testbed")
}
