//! Builds the servers from pinned Go modules, once. All families of tools share
//! one go.mod: what two of them import has one version, and Go compiles it once.
//! Each family has a folder of its own in a cache outside the checkout, named by
//! the hash of everything that decides the outcome. The module's files are
//! compiled into this binary, so the cache is found and filled the same way
//! wherever the binary runs.

mod forecast;

use crate::cgroup::Cgroups;
use crate::options::{Extra, Options, Part};
use crate::process;
use crate::progress::Progress;
use crate::state::Lock;
use crate::surroundings::Surroundings;
use crate::testbed::Testbed;
use anyhow::{Context, Result, bail};
use forecast::Forecast;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// Programs that are built together.
struct Family {
    name: &'static str,
    /// As people write it.
    title: &'static str,
    /// Its own `main` package, if it needs one.
    source: Option<(&'static str, &'static str)>,
    /// What Go compiles.
    package: &'static str,
    version_flags: &'static str,
    /// Names under which the output is started, where that is not the family's.
    links: &'static [&'static str],
    needed: Needed,
    /// How long it takes on two cores, after the families before it.
    seconds: u32,
}

/// By whom a family is needed.
#[derive(Clone, Copy)]
enum Needed {
    ByAll,
    /// By a testbed that has this part.
    With(Part),
    /// By a testbed that was made with this extra.
    Extra(Extra),
    /// By a caller of [`Testbed::tool`].
    WhenAsked,
}

const MODULE: [(&str, &str); 2] =
    [("go.mod", include_str!("../tools/go.mod")), ("go.sum", include_str!("../tools/go.sum"))];

/// Without these the servers say v0.0.0, and kubectl and the API server
/// think each other too far apart.
const KUBERNETES_VERSION: &str = " -X k8s.io/component-base/version.gitVersion=v1.36.3 \
-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36 \
-X k8s.io/client-go/pkg/version.gitVersion=v1.36.3";

/// In the order in which they are built: the later ones find most of what they
/// import compiled by the first.
const FAMILIES: [Family; 6] = [
    Family {
        name: "kubernetes",
        title: "Kubernetes",
        source: Some(("kubernetes/main.go", include_str!("../tools/kubernetes/main.go"))),
        package: "./kubernetes",
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
        needed: Needed::ByAll,
        seconds: 280,
    },
    Family {
        name: "prometheus",
        title: "Prometheus",
        source: None,
        package: "github.com/prometheus/prometheus/cmd/prometheus",
        version_flags: "",
        links: &[],
        needed: Needed::With(Part::Prometheus),
        seconds: 60,
    },
    Family {
        name: "kube-state-metrics",
        title: "kube-state-metrics",
        source: None,
        package: "k8s.io/kube-state-metrics/v2",
        version_flags: "",
        links: &[],
        needed: Needed::With(Part::KubeStateMetrics),
        seconds: 10,
    },
    Family {
        name: "coredns",
        title: "CoreDNS",
        source: Some(("coredns/main.go", include_str!("../tools/coredns/main.go"))),
        package: "./coredns",
        version_flags: "",
        links: &[],
        needed: Needed::With(Part::Coredns),
        seconds: 10,
    },
    Family {
        name: "alertmanager",
        title: "Alertmanager",
        source: None,
        package: "github.com/prometheus/alertmanager/cmd/alertmanager",
        version_flags: "",
        links: &[],
        needed: Needed::Extra(Extra::Alertmanager),
        seconds: 10,
    },
    Family {
        name: "promtool",
        title: "promtool",
        source: None,
        package: "github.com/prometheus/prometheus/cmd/promtool",
        version_flags: "",
        links: &[],
        needed: Needed::WhenAsked,
        seconds: 5,
    },
];

/// Prometheus finds targets in Kubernetes, and in static lists, files and over
/// HTTP, which it always can. Its other discoveries need the SDK of every cloud.
const TAGS: &str = "remove_all_sd,enable_kubernetes_sd";
/// No debugger looks at the servers. Without its tables Go needs a sixth less time.
const COMPILER: &str = "-gcflags=all=-dwarf=false";
const STRIP: &str = "-s -w";
/// The compiler collects garbage less often, which saves a tenth of its time. It
/// takes 430 MB at most then; the linker, which comes after it, takes more anyway.
const GARBAGE: (&str, &str) = ("GOGC", "400");

/// All families take 3.2 GB in Go's build cache, 1.4 GB in modules and 0.4 GB here.
const DISK_FOR_BUILDS: u64 = 6 << 30;
/// How often a build says that it goes on.
const REPORT: Duration = Duration::from_secs(30);

/// The built tools.
#[derive(Debug, Clone)]
pub struct Tools {
    cache: PathBuf,
}

impl Testbed {
    /// A tool that no testbed runs, such as promtool; builds it if it is missing.
    ///
    /// # Errors
    /// When there is no such tool, or building it fails.
    pub async fn tool(&self, name: &str) -> Result<PathBuf> {
        let tools = Tools::in_cache(&Surroundings::of_process(false)?.cache);
        let Some(family) = Family::that_makes(name) else { bail!("no family of tools makes {name}") };
        tools.build_missing(&[family], self.cgroups(), &Progress::begin()).await?;
        Ok(tools.program(name))
    }
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
        Family::that_makes(name).map_or_else(PathBuf::new, |family| self.folder(family)).join(name)
    }

    fn folder(&self, family: &Family) -> PathBuf {
        self.cache.join(format!("{}-{}", family.name, family.hash()))
    }

    /// Builds what these options need and is missing.
    ///
    /// # Errors
    /// When Go is missing, the disk is short or a build fails, with its log.
    pub async fn build(&self, options: &Options, cgroups: &Cgroups, progress: &Progress) -> Result<()> {
        let needed: Vec<_> = FAMILIES.iter().filter(|family| family.is_needed_by(options)).collect();
        self.build_missing(&needed, cgroups, progress).await
    }

    /// Builds one family after another: Go uses every core for one. `cgroups`
    /// keeps the compilers where `down` finds them.
    async fn build_missing(&self, families: &[&Family], cgroups: &Cgroups, progress: &Progress) -> Result<()> {
        let missing =
            || -> Vec<&Family> { families.iter().copied().filter(|family| !self.folder(family).is_dir()).collect() };
        if missing().is_empty() {
            return Ok(());
        }
        let path = self.cache.join(".lock");
        let lock = tokio::task::spawn_blocking(move || Lock::take(&path, "another build of the servers"));
        let _lock = lock.await.context("waiting for the build lock failed")??;
        // What another process has built while we waited is there now.
        let missing = missing();
        if missing.is_empty() {
            return Ok(());
        }
        crate::packages::require_go()?;
        crate::disk::require(&self.cache, DISK_FOR_BUILDS, "to build the servers")?;
        let workshop = Workshop::open(&self.cache, cgroups)?;
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let mut forecast = Forecast::of(missing.iter().map(|family| family.seconds), cores);
        let titles: Vec<_> = missing.iter().map(|family| family.title).collect();
        progress.say(&format!(
            "building {} from source: {} on {cores} cores, once; later runs use the result in {}",
            forecast::listed(&titles),
            forecast::about(forecast.left(Duration::ZERO)),
            self.cache.display()
        ));
        let _ahead = workshop.download_ahead(&missing[1..])?;
        for (number, family) in missing.iter().enumerate() {
            let who = format!("{} of {}", number + 1, missing.len());
            let took = self.build_family(family, &Step { who, progress, forecast: &forecast }, &workshop).await?;
            forecast.done(took);
        }
        Ok(())
    }

    async fn build_family(&self, family: &Family, step: &Step<'_>, workshop: &Workshop<'_>) -> Result<Duration> {
        let log = self.cache.join(format!("{}-{}.log", family.name, family.hash()));
        let output = workshop.output();
        let _ = fs::remove_dir_all(&output);
        fs::create_dir_all(&output).context("cannot write to the tools cache")?;
        let took = workshop.build(family, step, &log).await?;
        for link in family.links {
            std::os::unix::fs::symlink(family.name, output.join(link)).context("cannot write to the tools cache")?;
        }
        fs::rename(&output, self.folder(family)).context("cannot move the built tools into place")?;
        let _ = fs::remove_file(&log);
        Ok(took)
    }
}

impl Family {
    fn that_makes(program: &str) -> Option<&'static Self> {
        FAMILIES.iter().find(|family| family.name == program || family.links.contains(&program))
    }

    fn is_needed_by(&self, options: &Options) -> bool {
        match self.needed {
            Needed::ByAll => true,
            Needed::With(part) => options.has(part),
            Needed::Extra(extra) => options.asks_for(extra),
            Needed::WhenAsked => false,
        }
    }

    fn sources(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        MODULE.into_iter().chain(self.source)
    }

    /// What decides how Go compiles and links it.
    fn flags(&self) -> [String; 6] {
        let ldflags = format!("{STRIP}{}", self.version_flags);
        ["-trimpath", "-tags", TAGS, COMPILER, "-ldflags", &ldflags].map(String::from)
    }

    fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for (file, text) in self.sources() {
            hash.update(format!("{file} {}\n", text.len()));
            hash.update(text);
        }
        for flag in self.flags().iter().map(String::as_str).chain([self.package]) {
            hash.update(format!("{flag}\n"));
        }
        hash.finalize().iter().take(6).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    }
}

/// Where building one family stands among all that are built.
struct Step<'a> {
    /// "2 of 4".
    who: String,
    progress: &'a Progress,
    forecast: &'a Forecast,
}

/// The folder in which the module is laid out and compiled; it is removed, however
/// the build ends.
struct Workshop<'a> {
    folder: PathBuf,
    cgroups: &'a Cgroups,
}

impl Drop for Workshop<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl<'a> Workshop<'a> {
    fn open(cache: &Path, cgroups: &'a Cgroups) -> Result<Self> {
        let workshop = Self { folder: cache.join(".building"), cgroups };
        // A killed build may have left the folder. The lock shows that no other build runs.
        let _ = fs::remove_dir_all(&workshop.folder);
        let sources = MODULE.into_iter().chain(FAMILIES.iter().filter_map(|family| family.source));
        for (file, text) in sources {
            let file = workshop.source().join(file);
            file.parent()
                .map_or(Ok(()), fs::create_dir_all)
                .and_then(|()| fs::write(&file, text))
                .with_context(|| format!("cannot write to the tools cache {}", file.display()))?;
        }
        fs::create_dir_all(workshop.tmp()).context("cannot write to the tools cache")?;
        Ok(workshop)
    }

    fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    fn output(&self) -> PathBuf {
        self.folder.join("output")
    }

    fn tmp(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    fn go(&self) -> Result<Command> {
        let mut command = process::in_group(self.cgroups, "build", "go")?;
        command
            .current_dir(self.source())
            .env("CGO_ENABLED", "0")
            .env("GOTOOLCHAIN", "local")
            // A killed compiler leaves its files where the next build removes them.
            .env("GOTMPDIR", self.tmp())
            .env(GARBAGE.0, GARBAGE.1)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Downloads what these families need while another is compiled, until it is
    /// dropped. What it misses, their builds download; what fails, they tell.
    fn download_ahead(&self, families: &[&Family]) -> Result<Option<Child>> {
        if families.is_empty() {
            return Ok(None);
        }
        let mut list = self.go()?;
        list.args(["list", "-deps", "-tags", TAGS])
            .args(families.iter().map(|family| family.package))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        list.spawn().map(Some).context("cannot start Go")
    }

    /// Compiles and links one family, and says how long that took.
    async fn build(&self, family: &Family, step: &Step<'_>, log: &Path) -> Result<Duration> {
        let (start, name, Step { who, progress, forecast }) = (Instant::now(), family.name, step);
        progress.say(&format!("{who}: building {name} (log {})", log.display()));
        let out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = self
            .go()?
            .arg("build")
            .args(family.flags())
            .arg("-o")
            .arg(self.output().join(name))
            .arg(family.package)
            .stdout(out.try_clone().context("cannot open the build log")?)
            .stderr(out)
            .spawn()
            .context("cannot start the Go compiler")?;
        let status = loop {
            if let Ok(status) = tokio::time::timeout(REPORT, child.wait()).await {
                break status.context("cannot wait for the Go compiler")?;
            }
            let so_far = start.elapsed();
            let left = forecast::about(forecast.left(so_far));
            progress.say(&format!("{who}: {name}, {} s so far, {left} left in all", so_far.as_secs()));
        };
        if !status.success() {
            bail!("building {name} failed ({}): see {}", process::last_line(log), log.display());
        }
        let took = start.elapsed();
        progress.say(&format!("{:<42} {:>6.1} s", format!("{who}: built {name}"), took.as_secs_f64()));
        Ok(took)
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

    #[test]
    fn a_testbed_builds_what_it_runs_and_no_more() {
        let built = |options: &Options| -> Vec<_> {
            FAMILIES.iter().filter(|family| family.is_needed_by(options)).map(|family| family.name).collect()
        };
        assert_eq!(built(&Options::default()), ["kubernetes", "prometheus", "kube-state-metrics", "coredns"]);
        let alone = [Part::Prometheus, Part::KubeStateMetrics, Part::Coredns].to_vec();
        assert_eq!(built(&Options { without: alone, ..Options::default() }), ["kubernetes"]);
        let more = Options { with: vec![Extra::Alertmanager], ..Options::default() };
        assert_eq!(built(&more).last(), Some(&"alertmanager"));
    }

    #[test]
    fn what_go_is_told_decides_where_the_output_is_kept() {
        let [kubernetes, prometheus, ..] = &FAMILIES;
        let told = kubernetes.flags().join(" ");
        for part in [TAGS, COMPILER, STRIP, "gitVersion=v1.36.3"] {
            assert!(told.contains(part), "{part} is missing in {told}");
        }
        let other = Family { version_flags: " -X some.version=1", ..*prometheus };
        assert_ne!(other.hash(), prometheus.hash());
    }
}
