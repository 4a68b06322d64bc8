//! Locks for the cluster: many tests share it, or one test has it alone, across all processes.
//! They are file locks, so that a killed test holds none.

use std::fs::File;

use anyhow::{Context as _, Result};

/// A test holds this as long as it uses the cluster.
#[derive(Debug)]
pub(crate) struct Hold {
    _file: File,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Use {
    /// Together with others.
    Shared,
    /// Alone.
    Alone,
}

/// Waits until the testbed can be used this way.
pub(crate) async fn hold(testbed: &str, how: Use) -> Result<Hold> {
    let (turn, cluster) = (path(testbed, "turn"), path(testbed, "cluster"));
    locking(move || {
        // A waiting test holds the turn, so that tests that share the cluster cannot overtake
        // a test that needs it alone.
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

/// Waits until no other process installs anything on the testbed.
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
