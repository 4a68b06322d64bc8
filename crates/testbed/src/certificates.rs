//! The testbed's own certificate authority, one certificate for each server
//! and client, their kubeconfigs, and the key pair that signs service-account
//! tokens. Made anew with each testbed; worth nothing outside it.

use crate::layout::{KUBERNETES_SERVICE, Layout};
use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Who may ask the API server, and in which group: file name, user, group.
const CLIENTS: [(&str, &str, &str); 7] = [
    ("admin", "testbed-admin", "system:masters"),
    ("kube-controller-manager", "system:kube-controller-manager", ""),
    ("kube-scheduler", "system:kube-scheduler", ""),
    ("kube-proxy", "system:kube-proxy", ""),
    ("prometheus", "prometheus", ""),
    ("kube-state-metrics", "kube-state-metrics", ""),
    ("coredns", "coredns", ""),
];

/// Writes them all below `pki/`.
///
/// # Errors
/// When a certificate cannot be made or written.
pub(crate) fn write(layout: &Layout) -> Result<()> {
    fs::create_dir_all(layout.pki("")).context("cannot make the folder for certificates")?;
    let key = KeyPair::generate()?;
    let params = authority();
    keep(&layout.pki("ca.crt"), &params.self_signed(&key)?.pem())?;
    let authority = Issuer::new(params, key);

    let hub = layout.hub_ip();
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    ];
    let mut addresses: Vec<_> = names.map(String::from).into();
    addresses.extend(["127.0.0.1".into(), KUBERNETES_SERVICE.into(), hub]);
    // One serving certificate for everything in the hub.
    issue(layout, &authority, "server", "testbed", "system:masters", addresses)?;

    // For whoever stands between a pod and the API server, on the host.
    issue(layout, &authority, "proxy", "testbed-proxy", "", vec![layout.host_ip()])?;

    for (file, user, group) in CLIENTS {
        issue(layout, &authority, file, user, group, Vec::new())?;
        kubeconfig(layout, file)?;
    }
    for number in layout.node_numbers() {
        let node = format!("node-{number}");
        let addresses = vec![node.clone(), layout.node_ip(number)];
        issue(layout, &authority, &node, &format!("system:node:{node}"), "system:nodes", addresses)?;
        kubeconfig(layout, &node)?;
    }
    let tokens = KeyPair::generate()?;
    keep(&layout.pki("service-accounts.key"), &tokens.serialize_pem())?;
    keep(&layout.pki("service-accounts.pub"), &tokens.public_key_pem())
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "testbed-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    valid_long(&mut params);
    params
}

fn issue(
    layout: &Layout,
    authority: &Issuer<'_, KeyPair>,
    file: &str,
    user: &str,
    group: &str,
    addresses: Vec<String>,
) -> Result<()> {
    let mut params = CertificateParams::new(addresses)?;
    params.distinguished_name.push(DnType::CommonName, user);
    if !group.is_empty() {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid_long(&mut params);
    let key = KeyPair::generate()?;
    keep(&layout.pki(&format!("{file}.crt")), &params.signed_by(&key, authority)?.pem())?;
    keep(&layout.pki(&format!("{file}.key")), &key.serialize_pem())
}

/// Tests move the clock; these must not expire under them.
fn valid_long(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
}

/// kubectl reads JSON too: it is YAML.
fn kubeconfig(layout: &Layout, user: &str) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": layout.name,
        "clusters": [{"name": layout.name, "cluster": {"server": layout.api_url(), "certificate-authority": layout.pki("ca.crt")}}],
        "users": [{"name": user, "user": {
            "client-certificate": layout.pki(&format!("{user}.crt")),
            "client-key": layout.pki(&format!("{user}.key")),
        }}],
        "contexts": [{"name": layout.name, "context": {"cluster": layout.name, "user": user}}],
    });
    keep(&layout.pki(&format!("{user}.kubeconfig")), &format!("{config:#}\n"))
}

fn keep(path: &Path, text: &str) -> Result<()> {
    fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
