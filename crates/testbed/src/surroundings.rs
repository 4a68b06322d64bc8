//! What a testbed takes from the process that makes it. The environment is
//! read here and nowhere else.

use anyhow::{Context, Result, bail};
use std::env;
use std::path::{Path, PathBuf};

/// What `up` needs to know.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The folder in which built tools are kept.
    pub cache: PathBuf,
    /// The program of the pause image, when it is where it is built.
    pause: Option<PathBuf>,
    /// Leave everything as it is when `up` fails, to look at it.
    pub keep: bool,
}

impl Surroundings {
    /// Of this process: the cache is `PRUNELLA_CACHE`, else `prunella` below
    /// `XDG_CACHE_HOME` or `~/.cache`; the pause program lies beside this
    /// one, or one folder up if this is a test.
    ///
    /// # Errors
    /// When there is neither a cache folder nor a home.
    pub fn of_process(keep: bool) -> Result<Self> {
        let me = env::current_exe().context("cannot find this program")?;
        let pause = me.ancestors().skip(1).take(2).map(|dir| dir.join("testbed-pause")).find(|p| p.is_file());
        Ok(Self { cache: cache()?, pause, keep })
    }

    /// The program of the pause image.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn pause(&self) -> Result<&Path> {
        match &self.pause {
            Some(path) => Ok(path),
            None => bail!("testbed-pause is not beside this program: run cargo build -p testbed"),
        }
    }
}

fn cache() -> Result<PathBuf> {
    let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let prunella = |dir: PathBuf| dir.join("prunella");
    folder("PRUNELLA_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(prunella))
        .or_else(|| folder("HOME").map(|home| prunella(home.join(".cache"))))
        .context("no folder for built tools: set PRUNELLA_CACHE")
}
