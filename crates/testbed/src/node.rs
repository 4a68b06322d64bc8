//! A node: containerd, kubelet and kube-proxy in namespaces of their own,
//! where each has the paths and ports it has on any node.

use crate::cgroup::Cgroups;
use crate::layout::{DNS_SERVICE, Layout, Place};
use crate::plan::{Plan, flags, write, write_json};
use crate::process::{self, Server};
use anyhow::{Context, Result};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The image of every pod's sandbox.
pub(crate) const PAUSE_IMAGE: &str = "localhost/pause:1";
const SOCKET: &str = "/run/containerd/containerd.sock";

/// The node's servers, in starting order.
#[must_use]
pub(crate) fn servers(plan: &Plan, number: u8) -> Vec<Server> {
    vec![containerd(plan, number), kubelet(plan, number), kube_proxy(plan, number)]
}

/// Runs the node's containers.
#[must_use]
pub(crate) fn containerd(plan: &Plan, number: u8) -> Server {
    let args = vec!["--config".into(), file(&plan.layout, number, "containerd.toml").display().to_string()];
    server("containerd", number, "containerd".into(), args, None)
}

/// The node itself, as the cluster sees it.
#[must_use]
pub(crate) fn kubelet(plan: &Plan, number: u8) -> Server {
    let node = Place::Node(number).to_string();
    let ip = plan.layout.node_ip(number);
    let args = flags([
        ("config", file(&plan.layout, number, "kubelet.json").display().to_string()),
        ("kubeconfig", plan.kubeconfig(&node)),
        ("hostname-override", node),
        ("node-ip", ip.clone()),
        // Else cAdvisor's metrics have no pod and container labels.
        ("containerd", SOCKET.into()),
        // Memory is looked at this often; the default, 10 s, is slower than a scrape.
        ("housekeeping-interval", "5s".into()),
    ]);
    let health = format!("http://{ip}:10248/healthz");
    server("kubelet", number, plan.tools.program("kubelet"), args, Some(health))
}

fn kube_proxy(plan: &Plan, number: u8) -> Server {
    let args = flags([("config", file(&plan.layout, number, "kube-proxy.json").display().to_string())]);
    let health = format!("http://{}:10256/livez", plan.layout.node_ip(number));
    server("kube-proxy", number, plan.tools.program("kube-proxy"), args, Some(health))
}

fn server(name: &str, number: u8, program: PathBuf, args: Vec<String>, health: Option<String>) -> Server {
    Server { name: format!("{name}-{number}"), place: Place::Node(number), program, args, health }
}

fn file(layout: &Layout, number: u8, name: &str) -> PathBuf {
    layout.dir(Place::Node(number)).join(name)
}

/// The cgroup below which the kubelet puts its pods.
#[must_use]
pub(crate) fn pods_group(number: u8) -> String {
    format!("pods-{number}")
}

/// Writes the configuration of all three.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn configure(plan: &Plan, number: u8) -> Result<()> {
    let layout = &plan.layout;
    let cni = file(layout, number, "cni");
    write(&file(layout, number, "containerd.toml"), &containerd_config(&layout.dir(Place::Node(number)), &cni))?;
    write_json(&cni.join("10-bridge.conflist"), &cni_config(layout, number))?;
    // Pods with dnsPolicy Default ask the hub too: it is all they can reach.
    write(&file(layout, number, "resolv.conf"), &format!("nameserver {}\n", layout.hub_ip()))?;
    write_json(&file(layout, number, "kubelet.json"), &kubelet_config(plan, number))?;
    write_json(&file(layout, number, "kube-proxy.json"), &kube_proxy_config(plan, number))
}

/// `restrict_oom_score_adj`: without it every sandbox fails on a machine that
/// lacks `CAP_SYS_RESOURCE`. The disabled plugins need devices or write
/// outside the data folder.
fn containerd_config(dir: &Path, cni: &Path) -> String {
    format!(
        r#"version = 2
root = "{root}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{cni}"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
"#,
        root = dir.join("containerd").display(),
        cni = cni.display(),
    )
}

/// Pods keep their addresses across nodes: routes lead everywhere in the
/// testbed, so nothing is masqueraded.
fn cni_config(layout: &Layout, number: u8) -> serde_json::Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "testbed",
        "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": layout.pod_cidr(number)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

fn kubelet_config(plan: &Plan, number: u8) -> serde_json::Value {
    let layout = &plan.layout;
    let ip = layout.node_ip(number);
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ip,
        "healthzBindAddress": ip,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": plan.pki("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": plan.pki(&format!("node-{number}.crt")),
        "tlsPrivateKeyFile": plan.pki(&format!("node-{number}.key")),
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}/{}", layout.cgroup(), pods_group(number)),
        "failCgroupV1": false,
        "failSwapOn": false,
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": file(layout, number, "resolv.conf"),
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        // A kubelet of a testbed is no more worth than the user's editor.
        "oomScoreAdj": 0,
        "serializeImagePulls": false,
        // Images come by hand and must stay.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%"},
        // Renewed every quarter of it: a dead node is noticed within 20 s.
        "nodeLeaseDurationSeconds": 20,
        "nodeStatusUpdateFrequency": "5s",
    })
}

fn kube_proxy_config(plan: &Plan, number: u8) -> serde_json::Value {
    let ip = plan.layout.node_ip(number);
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": format!("node-{number}"),
        "clientConnection": {"kubeconfig": plan.kubeconfig("kube-proxy")},
        "healthzBindAddress": format!("{ip}:10256"),
        "metricsBindAddress": format!("{ip}:10249"),
        // Not writable in a network namespace.
        "conntrack": {"maxPerCore": 0},
        "oomScoreAdj": 0,
    })
}

/// Waits until containerd answers.
///
/// # Errors
/// When it does not within 20 s.
pub(crate) async fn containerd_ready(plan: &Plan, cgroups: &Cgroups, number: u8) -> Result<()> {
    let socket = plan.layout.dir(Place::Node(number)).join(SOCKET.trim_start_matches('/'));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !socket.exists() {
        let server = containerd(plan, number);
        if Instant::now() > deadline || server.main_pid(cgroups).is_none() {
            return Err(server.ended(&plan.layout));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Imports an image archive into the node.
///
/// # Errors
/// When containerd refuses it.
pub(crate) async fn import(cgroups: &Cgroups, number: u8, archive: &Path) -> Result<()> {
    let mut command = process::in_place(cgroups, Place::Node(number), "ctr")?;
    command.args(["--address", SOCKET, "--namespace", "k8s.io", "images", "import"]).arg(archive);
    process::run(&mut command, &format!("import the image into node-{number}")).await.map(drop)
}

/// Makes the folders and the cgroup that a node's servers expect.
///
/// # Errors
/// When one cannot be made.
pub(crate) fn prepare(plan: &Plan, cgroups: &Cgroups, number: u8) -> Result<()> {
    fs::create_dir_all(plan.layout.dir(Place::Node(number))).context("cannot write to the data folder")?;
    cgroups.make(&pods_group(number))
}
