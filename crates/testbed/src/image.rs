//! Container images from one static binary each, without a container engine:
//! an OCI layout in a tar, as `ctr images import` and `podman load` read it.
//! The same binary gives the same bytes.

use crate::elf::check_static;
use crate::plan::Plan;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

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

/// The image's archive: the binary as `/NAME`, which it runs as user 65532.
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

    let mut files = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(), 0o644),
        ("index.json".to_owned(), index, 0o644),
    ];
    files.extend([layer, config, manifest].map(|blob| (format!("blobs/sha256/{}", hex(&blob)), blob, 0o644)));
    tar(&files)
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
        let bytes = archive(name_tag, binary)?;
        let path = plan.layout.data.join(format!("image-{}-{}.tar", std::process::id(), hex(&bytes)));
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
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

    #[test]
    fn every_blob_is_under_its_digest() {
        let bytes = archive("web:1", &std::env::current_exe().unwrap()).unwrap();
        let mut blobs = 0;
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            if let Some(name) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(name, hex(&content));
                blobs += 1;
            }
        }
        assert_eq!(blobs, 3);
    }
}
