//! Builds the servers from pinned Go modules, once: each family of tools has
//! its own go.mod (their pins clash) and its own folder in a cache outside
//! the checkout, named by the hash of everything that decides the outcome.
//! The modules are compiled into this binary, so the cache is found and
//! filled the same way wherever the binary runs.

use crate::cgroup::Cgroups;
use crate::options::{Extra, Options};
use crate::process;
use crate::progress::Progress;
use crate::state::Lock;
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// One Go module and what is built from it.
struct Family {
    name: &'static str,
    sources: &'static [(&'static str, &'static str)],
    /// Output file and package.
    builds: &'static [(&'static str, &'static str)],
    version_flags: &'static str,
    /// Names under which the (only) output is started.
    links: &'static [&'static str],
    /// The part that this is built for, if that has to be asked for.
    only_for: Option<Extra>,
}

/// Without these the servers say v0.0.0, and kubectl and the API server
/// think each other too far apart.
const KUBERNETES_VERSION: &str = " -X k8s.io/component-base/version.gitVersion=v1.36.3 \
-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36 \
-X k8s.io/client-go/pkg/version.gitVersion=v1.36.3";

const FAMILIES: [Family; 5] = [
    Family {
        name: "kubernetes",
        sources: &[
            ("go.mod", include_str!("../tools/kubernetes/go.mod")),
            ("go.sum", include_str!("../tools/kubernetes/go.sum")),
            ("main.go", include_str!("../tools/kubernetes/main.go")),
        ],
        builds: &[("kubernetes", ".")],
        version_flags: KUBERNETES_VERSION,
        links: &[
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "kubectl",
        ],
        only_for: None,
    },
    Family {
        name: "coredns",
        sources: &[
            ("go.mod", include_str!("../tools/coredns/go.mod")),
            ("go.sum", include_str!("../tools/coredns/go.sum")),
            ("main.go", include_str!("../tools/coredns/main.go")),
        ],
        builds: &[("coredns", ".")],
        version_flags: "",
        links: &[],
        only_for: None,
    },
    Family {
        name: "prometheus",
        sources: &[
            ("go.mod", include_str!("../tools/prometheus/go.mod")),
            ("go.sum", include_str!("../tools/prometheus/go.sum")),
            ("tools.go", include_str!("../tools/prometheus/tools.go")),
        ],
        builds: &[
            ("prometheus", "github.com/prometheus/prometheus/cmd/prometheus"),
            ("promtool", "github.com/prometheus/prometheus/cmd/promtool"),
        ],
        version_flags: "",
        links: &[],
        only_for: None,
    },
    Family {
        name: "kube-state-metrics",
        sources: &[
            ("go.mod", include_str!("../tools/kube-state-metrics/go.mod")),
            ("go.sum", include_str!("../tools/kube-state-metrics/go.sum")),
            ("tools.go", include_str!("../tools/kube-state-metrics/tools.go")),
        ],
        builds: &[("kube-state-metrics", "k8s.io/kube-state-metrics/v2")],
        version_flags: "",
        links: &[],
        only_for: None,
    },
    Family {
        name: "alertmanager",
        sources: &[
            ("go.mod", include_str!("../tools/alertmanager/go.mod")),
            ("go.sum", include_str!("../tools/alertmanager/go.sum")),
            ("tools.go", include_str!("../tools/alertmanager/tools.go")),
        ],
        builds: &[("alertmanager", "github.com/prometheus/alertmanager/cmd/alertmanager")],
        version_flags: "",
        links: &[],
        only_for: Some(Extra::Alertmanager),
    },
];

/// Go's build cache and the modules, for all families.
const DISK_FOR_BUILDS: u64 = 8 << 30;
const STRIP: &str = "-s -w";

/// The built tools.
#[derive(Debug, Clone)]
pub struct Tools {
    cache: PathBuf,
}

impl Tools {
    /// The tools in this cache, built or not.
    #[must_use]
    pub fn in_cache(cache: &Path) -> Self {
        Self { cache: cache.join("tools") }
    }

    /// Path of a built program.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        let makes = |f: &&Family| f.links.contains(&name) || f.builds.iter().any(|(output, _)| *output == name);
        let family = FAMILIES.iter().find(makes).map_or_else(PathBuf::new, |family| self.folder(family));
        family.join(name)
    }

    fn folder(&self, family: &Family) -> PathBuf {
        self.cache.join(format!("{}-{}", family.name, family.hash()))
    }

    /// Builds what these options need and is missing, one family after another: Go
    /// uses every core for one. `cgroups` keeps the compilers where `down` finds them.
    ///
    /// # Errors
    /// When Go is missing, the disk is short or a build fails, with its log.
    pub async fn build(&self, options: &Options, cgroups: &Cgroups, progress: &Progress) -> Result<()> {
        let wanted = |family: &&Family| family.only_for.is_none_or(|extra| options.asks_for(extra));
        for family in FAMILIES.iter().filter(wanted).filter(|family| !self.folder(family).is_dir()) {
            let cache = self.cache.clone();
            let waiting_for = format!("another build of {}", family.name);
            let lock = tokio::task::spawn_blocking(move || Lock::take(&cache.join(".lock"), &waiting_for));
            let _lock = lock.await.context("waiting for the build lock failed")??;
            if !self.folder(family).is_dir() {
                crate::packages::require_go()?;
                crate::disk::require(&self.cache, DISK_FOR_BUILDS, "to build the servers")?;
                self.build_family(family, cgroups, progress).await?;
            }
        }
        Ok(())
    }

    async fn build_family(&self, family: &Family, cgroups: &Cgroups, progress: &Progress) -> Result<()> {
        let work = self.cache.join(format!(".{}-building", family.name));
        // What a killed build left; nobody else is here, we hold the lock.
        let _ = fs::remove_dir_all(&work);
        let (source, output) = (work.join("source"), work.join("output"));
        for folder in [&source, &output, &work.join("tmp")] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot write to the tools cache {}", folder.display()))?;
        }
        for (file, text) in family.sources {
            fs::write(source.join(file), text).context("cannot write to the tools cache")?;
        }
        let log = self.cache.join(format!("{}-{}.log", family.name, family.hash()));
        File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let _clean = Clean(&work);
        for (name, package) in family.builds {
            let build =
                GoBuild { source: &source, output: &output.join(name), package, ldflags: family.ldflags(), log: &log };
            build.run(name, cgroups, progress).await?;
        }
        for link in family.links {
            std::os::unix::fs::symlink(family.name, output.join(link)).context("cannot write to the tools cache")?;
        }
        fs::rename(&output, self.folder(family)).context("cannot move the built tools into place")?;
        let _ = fs::remove_file(&log);
        Ok(())
    }
}

impl Family {
    fn ldflags(&self) -> String {
        format!("{STRIP}{}", self.version_flags)
    }

    fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for (file, text) in self.sources {
            hash.update(format!("{file} {}\n", text.len()));
            hash.update(text);
        }
        for (output, package) in self.builds {
            hash.update(format!("{output} {package}\n"));
        }
        hash.update(self.ldflags());
        hash.finalize().iter().take(6).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    }
}

/// Removes the working folder, however the build ends.
struct Clean<'a>(&'a Path);

impl Drop for Clean<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0);
    }
}

/// One run of the Go compiler.
struct GoBuild<'a> {
    source: &'a Path,
    output: &'a Path,
    package: &'a str,
    ldflags: String,
    log: &'a Path,
}

impl GoBuild<'_> {
    async fn run(&self, name: &str, cgroups: &Cgroups, progress: &Progress) -> Result<()> {
        let start = Instant::now();
        progress.say(&format!("building {name} (minutes; log {})", self.log.display()));
        let log = File::options().append(true).open(self.log).context("cannot open the build log")?;
        let mut child = process::in_group(cgroups, "build", "go")?
            .args(["build", "-trimpath", "-ldflags", &self.ldflags, "-o"])
            .arg(self.output)
            .arg(self.package)
            .current_dir(self.source)
            .env("CGO_ENABLED", "0")
            .env("GOTOOLCHAIN", "local")
            // A killed compiler leaves its files where the next build removes them.
            .env("GOTMPDIR", self.source.with_file_name("tmp"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot open the build log")?)
            .stderr(log)
            .spawn()
            .context("cannot start the Go compiler")?;
        let status = loop {
            match tokio::time::timeout(Duration::from_secs(30), child.wait()).await {
                Ok(status) => break status.context("cannot wait for the Go compiler")?,
                Err(_) => progress.say(&format!("building {name}: {} s so far", start.elapsed().as_secs())),
            }
        };
        if !status.success() {
            let last = process::last_line(self.log);
            bail!("building {name} failed ({last}): see {}", self.log.display());
        }
        progress.say(&format!("built {name:<36} {:>6.1} s", start.elapsed().as_secs_f64()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_is_built_by_some_family() {
        let tools = Tools::in_cache(Path::new("/cache"));
        for name in
            ["etcd", "kubectl", "kubelet", "coredns", "prometheus", "promtool", "kube-state-metrics", "alertmanager"]
        {
            let path = tools.program(name);
            assert!(path.starts_with("/cache/tools"), "{name}: {}", path.display());
        }
    }

    #[test]
    fn families_have_folders_of_their_own() {
        let tools = Tools::in_cache(Path::new("/cache"));
        let folders: std::collections::BTreeSet<_> = FAMILIES.iter().map(|f| tools.folder(f)).collect();
        assert_eq!(folders.len(), FAMILIES.len());
    }
}
