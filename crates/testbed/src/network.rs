//! The testbed's network, see the picture in [`crate::layout`]: a namespace
//! with a bridge for the control plane, one namespace a node, and one link
//! to the host. Bridging happens in the hub and routing in the nodes, so
//! neither the host's forwarding nor its iptables matter or change.

use crate::cgroup::Cgroups;
use crate::layout::{Layout, Place, registry};
use crate::process::{self, holder, holder_group, in_group, in_place};
use crate::state::State;
use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Hard-coded paths of containerd, the CNI plugins and the kubelet. A node
/// has its own of each. The last two need not exist on the host, and a mount
/// needs something to mount on.
pub(crate) const PRIVATE: [&str; 4] = ["/run", "/var/log", "/var/lib/cni", "/var/lib/kubelet"];

/// There is no way out of the testbed: a pod that calls an address of the
/// outer world is told at once instead of waiting for a time-out.
const NOWHERE: &str = "route add unreachable default";

/// A node's namespaces: what is mounted in them is seen nowhere else, but
/// may be shared between its own pods.
const NODE_INIT: &str = r#"set -e
mount --make-rshared /
for dir in run var/log var/lib/cni var/lib/kubelet; do
  mkdir -p "$1/$dir"
  mount --bind "$1/$dir" "/$dir"
done
mkdir -p /run/lock /run/netns
echo 1 >/proc/sys/net/ipv4/ip_forward
exec sleep infinity"#;

/// Chooses the second octet of the testbed's addresses: from its name, or
/// the next one that no other testbed and no route of the host uses.
///
/// # Errors
/// When none is free.
pub(crate) async fn choose_octet(name: &str) -> Result<u8> {
    let routes =
        process::run(Command::new("ip").args(["-4", "route", "show", "table", "all"]), "list the host's routes")
            .await?;
    let taken: Vec<u8> = State::all().iter().map(|state| state.layout.octet).collect();
    let first = name.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte)) % 100;
    let free = (0..100_u32)
        .filter_map(|step| u8::try_from(100 + (first + step) % 100).ok())
        .find(|octet| !taken.contains(octet) && !routes.contains(&format!("10.{octet}.")));
    match free {
        Some(octet) => Ok(octet),
        None => bail!("10.100.0.0 to 10.199.255.255 are all in use on this host: take a testbed down"),
    }
}

/// Makes every namespace, link, address and route.
///
/// # Errors
/// When one cannot be made.
pub(crate) async fn make(layout: &Layout, cgroups: &Cgroups) -> Result<()> {
    for dir in PRIVATE {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {dir}"))?;
    }
    let hub = hold(layout, cgroups, Place::Hub).await?;
    for number in layout.node_numbers() {
        hold(layout, cgroups, Place::Node(number)).await?;
    }

    // The link first: it comes to be on the host, the rest in the hub.
    let (link, name) = (layout.host_link(), &layout.name);
    let begin = [format!("link add {link} type veth peer name up0 netns {hub}")];
    batch(&mut in_group(cgroups, "commands", "ip")?, &begin).await?;
    // So that `ip link`, and `down`, can tell whose it is.
    let mut host = vec![
        format!("link set {link} alias prunella-{name}"),
        format!("link set {link} up"),
        format!("addr add {}/24 dev {link}", layout.host_ip()),
    ];
    host.extend(pod_routes(layout, None));
    batch(&mut in_group(cgroups, "commands", "ip")?, &host).await?;
    make_hub(layout, cgroups).await?;
    try_join_all(layout.node_numbers().map(|number| make_node(layout, cgroups, number))).await.map(drop)
}

async fn make_hub(layout: &Layout, cgroups: &Cgroups) -> Result<()> {
    let mut lines = vec![
        "link set lo up".into(),
        "link add br0 type bridge".into(),
        "link set up0 master br0".into(),
        "link set up0 up".into(),
        "link set br0 up".into(),
        format!("addr add {}/24 dev br0", layout.hub_ip()),
        NOWHERE.into(),
    ];
    for number in layout.node_numbers() {
        let pid = holder(cgroups, Place::Node(number))?;
        lines.push(format!("link add node{number} type veth peer name eth0 netns {pid}"));
        lines.push(format!("link set node{number} master br0"));
        lines.push(format!("link set node{number} up"));
    }
    lines.extend(pod_routes(layout, None));
    batch(&mut in_place(cgroups, Place::Hub, "ip")?, &lines).await
}

async fn make_node(layout: &Layout, cgroups: &Cgroups, number: u8) -> Result<()> {
    let mut lines = vec![
        "link set lo up".into(),
        "link set eth0 up".into(),
        format!("addr add {}/24 dev eth0", layout.node_ip(number)),
        NOWHERE.into(),
    ];
    lines.extend(pod_routes(layout, Some(number)));
    batch(&mut in_place(cgroups, Place::Node(number), "ip")?, &lines).await
}

/// Routes to the pods of every node but one.
fn pod_routes(layout: &Layout, except: Option<u8>) -> impl Iterator<Item = String> {
    layout
        .node_numbers()
        .filter(move |number| Some(*number) != except)
        .map(|number| format!("route add {} via {}", layout.pod_cidr(number), layout.node_ip(number)))
}

/// Starts the process whose namespaces are this place's.
async fn hold(layout: &Layout, cgroups: &Cgroups, place: Place) -> Result<i32> {
    let mut command = in_group(cgroups, &holder_group(place), "unshare")?;
    match place {
        Place::Hub => command.args(["--net", "--", "sleep", "infinity"]),
        Place::Node(_) => command.args(["--net", "--mount", "--", "sh", "-c", NODE_INIT, "sh"]).arg(layout.dir(place)),
    };
    let log = layout.log(&holder_group(place));
    let errors = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn().context("cannot start unshare")?;
    let deadline = Instant::now() + Duration::from_secs(10);
    // It becomes `sleep` when all is mounted.
    loop {
        let pid = cgroups.pids(&holder_group(place)).first().copied();
        if let Some(pid) =
            pid.filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n"))
        {
            return Ok(pid);
        }
        let ended = child.try_wait().context("cannot wait for unshare")?.is_some();
        if ended || Instant::now() > deadline {
            bail!(
                "cannot make the namespaces of {place} ({}): the kernel must allow network and mount namespaces",
                process::last_line(&log)
            );
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn batch(command: &mut Command, lines: &[String]) -> Result<()> {
    let mut child = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start ip")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(lines.join("\n").as_bytes()).await.context("cannot talk to ip")?;
    }
    let output = child.wait_with_output().await.context("cannot wait for ip")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("cannot set up the network ({}): run testbed down, then up", said.lines().next().unwrap_or("no message"));
    }
    Ok(())
}

/// Removes what outlives the namespaces' processes: the kernel takes a dead
/// namespace apart in its own time, so this waits for the host's link to go.
///
/// # Errors
/// When the link cannot be removed.
pub(crate) async fn remove(name: &str) -> Result<()> {
    let alias = format!("prunella-{name}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Some(link) = link_with_alias(&alias) {
        let _ = process::run(Command::new("ip").args(["link", "del", &link]), "remove the host's link").await;
        if Instant::now() > deadline {
            bail!("the link {link} does not go away: run ip link del {link}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Removes what testbeds share, when this was the last of them.
pub(crate) fn forget(name: &str) {
    if State::all().iter().any(|state| state.layout.name != name) {
        return;
    }
    // Empty ones only: they may be someone else's.
    for dir in PRIVATE[2..].iter().map(Path::new).chain([registry()]) {
        let _ = fs::remove_dir(dir);
    }
}

fn link_with_alias(alias: &str) -> Option<String> {
    let links = fs::read_dir("/sys/class/net").ok()?;
    links
        .flatten()
        .find(|link| fs::read_to_string(link.path().join("ifalias")).is_ok_and(|found| found.trim() == alias))
        .map(|link| link.file_name().to_string_lossy().into_owned())
}
