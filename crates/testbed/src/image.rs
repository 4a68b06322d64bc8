//! Container images from one static binary each, without a container engine: a tar
//! that every tool loads. It is an OCI layout, as `ctr images import`, and with it kind
//! and minikube, `podman load` and a `docker load` with containerd's store read it; and
//! beside `index.json` lies the `manifest.json` that a `docker load` with its older store
//! asks for, which names the same blobs. Docker 25 and newer save images in this very
//! form. The same binary gives the same bytes.

use crate::elf::check_static;
use crate::plan::Plan;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// `nobody` of distroless images; what a restricted Pod Security profile allows.
const USER: &str = "65532:65532";

/// The full name a kubelet looks for: `web:1` in a pod means
/// `docker.io/library/web:1`.
///
/// # Errors
/// When there is no tag, or it is `latest`, which a kubelet would pull.
pub fn full_name(name_tag: &str) -> Result<String> {
    let (first, rest) = name_tag.split_once('/').map_or(("", name_tag), |(first, _)| (first, name_tag));
    let Some((name, tag)) = rest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) else {
        bail!("image {name_tag} has no tag: write NAME:TAG");
    };
    let fits = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
    };
    ensure!(
        fits(name, "._-/:") && fits(&tag.to_lowercase(), "._-"),
        "image {name_tag} is no image name: write NAME:TAG in small letters"
    );
    ensure!(tag != "latest", "image {name_tag}: a kubelet would try to pull the tag latest: use another tag");
    let has_host = first.contains(['.', ':']) || first == "localhost";
    Ok(match (has_host, first.is_empty()) {
        (true, _) => name_tag.to_owned(),
        (false, true) => format!("docker.io/library/{name_tag}"),
        (false, false) => format!("docker.io/{name_tag}"),
    })
}

/// The image's archive: the binary as `/NAME`, which it runs as user 65532. Nothing else
/// is in it, no certificates either.
///
/// # Errors
/// When the name does not fit, or the binary is missing or not static.
pub fn archive(name_tag: &str, binary: &Path) -> Result<Vec<u8>> {
    let name = full_name(name_tag)?;
    let bytes = fs::read(binary).with_context(|| format!("cannot read {}: build it first", binary.display()))?;
    if let Err(error) = check_static(&bytes) {
        bail!("{} {error}", binary.display());
    }
    let file = binary.file_name().context("the binary has no name")?.to_string_lossy().into_owned();

    let layer = tar(&[(file.clone(), bytes, 0o755)])?;
    let architecture = if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" };
    let config = blob(&json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": [format!("/{file}")], "User": USER, "WorkingDir": "/", "Env": ["PATH=/"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    }));
    let manifest = blob(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    }));
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["platform"] = json!({"architecture": architecture, "os": "linux"});
    entry["annotations"] = json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name});
    let index = blob(
        &json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}),
    );

    let of_docker = blob(&json!([{"Config": path(&config), "RepoTags": [name], "Layers": [path(&layer)]}]));

    let mut files = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(), 0o644),
        ("index.json".to_owned(), index, 0o644),
        ("manifest.json".to_owned(), of_docker, 0o644),
    ];
    files.extend([layer, config, manifest].map(|blob| (path(&blob), blob, 0o644)));
    tar(&files)
}

/// Writes the image's archive to a file, for whatever tool loads it.
///
/// # Errors
/// Those of [`archive`], or when it cannot be written.
pub fn save(name_tag: &str, binary: &Path, file: &Path) -> Result<()> {
    let bytes = archive(name_tag, binary)?;
    let cannot = || format!("cannot write {}", file.display());
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(cannot)?;
    }
    fs::write(file, bytes).with_context(cannot)
}

/// An archive on disk, removed when dropped.
#[derive(Debug)]
pub struct Archive(PathBuf);

impl Archive {
    /// Builds the archive in the testbed's data folder.
    ///
    /// # Errors
    /// Those of [`archive`], or when it cannot be written.
    pub fn write(plan: &Plan, name_tag: &str, binary: &Path) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = plan.layout.data.join(format!("image-{}-{number}.tar", std::process::id()));
        save(name_tag, binary, &path)?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn tar(files: &[(String, Vec<u8>, u32)]) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(bytes.len())?);
        header.set_mode(*mode);
        header.set_mtime(0);
        builder.append_data(&mut header, path, bytes.as_slice()).context("cannot build the image")?;
    }
    builder.into_inner().context("cannot build the image")
}

fn blob(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// Where a blob lies in the tar.
fn path(blob: &[u8]) -> String {
    format!("blobs/sha256/{}", hex(blob))
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
}

fn digest(blob: &[u8]) -> String {
    format!("sha256:{}", hex(blob))
}

fn hex(blob: &[u8]) -> String {
    Sha256::digest(blob).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Read as _;

    #[test]
    fn names_are_what_a_kubelet_looks_for() {
        for (given, full) in [
            ("web:1", Some("docker.io/library/web:1")),
            ("localhost/prunella:0.1.0", Some("localhost/prunella:0.1.0")),
            ("example.org:5000/a/b:v2", Some("example.org:5000/a/b:v2")),
            ("team/web:dev", Some("docker.io/team/web:dev")),
            ("web", None),
            ("localhost:5000/web", None),
            ("web:latest", None),
            ("We b:1", None),
            (":1", None),
        ] {
            assert_eq!(full_name(given).ok().as_deref(), full, "{given}");
        }
    }

    #[test]
    fn the_same_binary_gives_the_same_image() {
        // This test is static itself, as everything built here.
        let me = std::env::current_exe().unwrap();
        assert_eq!(archive("web:1", &me).unwrap(), archive("web:1", &me).unwrap());
    }

    /// The files of an archive of this test binary.
    fn files() -> BTreeMap<String, Vec<u8>> {
        let bytes = archive("web:1", &std::env::current_exe().unwrap()).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let read = |mut entry: tar::Entry<'_, &[u8]>| {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        };
        archive.entries().unwrap().map(|entry| read(entry.unwrap())).collect()
    }

    #[test]
    fn every_blob_is_under_its_digest() {
        let files = files();
        let blobs: Vec<_> = files.iter().filter(|(name, _)| name.starts_with("blobs/sha256/")).collect();
        assert_eq!(blobs.len(), 3);
        for (name, content) in blobs {
            assert_eq!(*name, path(content));
        }
    }

    #[test]
    fn both_indexes_lead_to_the_same_image() {
        let files = files();
        let json = |name: &str| -> Value { serde_json::from_slice(&files[name]).unwrap() };
        let blob = |digest: &Value| format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"));
        let (layout, index, docker) = (json("oci-layout"), json("index.json"), json("manifest.json"));
        assert_eq!(layout, json!({"imageLayoutVersion": "1.0.0"}));

        let entry = &index["manifests"][0];
        assert_eq!(entry["annotations"]["io.containerd.image.name"], "docker.io/library/web:1");
        let manifest = json(&blob(&entry["digest"]));
        let (config, layer) = (blob(&manifest["config"]["digest"]), blob(&manifest["layers"][0]["digest"]));
        assert_eq!(docker, json!([{"Config": config, "RepoTags": ["docker.io/library/web:1"], "Layers": [layer]}]));
        for described in [entry, &manifest["config"], &manifest["layers"][0]] {
            assert_eq!(described["size"], files[&blob(&described["digest"])].len());
        }

        let config = json(&config);
        let program = std::env::current_exe().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"], json!([format!("/{program}")]));
        // A layer that is not compressed is its own diff.
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        let mut layer = tar::Archive::new(files[&layer].as_slice());
        let paths: Vec<_> = layer.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
        assert_eq!(paths, [PathBuf::from(program)]);
    }
}
