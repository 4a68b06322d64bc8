//! `down` leaves nothing, wherever `up` was ended. Needs root and some
//! minutes: `cargo test -p testbed -- --ignored`.

mod host;

use host::{Bed, Host};
use nix::sys::signal::Signal;
use std::time::Duration;

/// A line that `up` prints at the end of each stage.
const STAGES: [&str; 9] = [
    "packages",
    "servers built",
    "certificates",
    "network",
    "etcd",
    "containerd",
    "Services and rights",
    "kubelet-1",
    "nodes Ready",
];

#[test]
#[ignore = "needs root"]
fn down_leaves_nothing() {
    let _alone = host::alone();
    let bed = Bed::new("teardown");
    let before = Host::look();
    bed.succeeds(&["up"]);
    assert_ne!(Host::look(), before, "the test sees a testbed that is up");
    bed.succeeds(&["down"]);
    before.assert_same();
    bed.succeeds(&["down"]);
    before.assert_same();
}

#[test]
#[ignore = "needs root"]
fn down_with_pods_leaves_nothing() {
    let _alone = host::alone();
    let bed = Bed::new("teardown");
    let before = Host::look();
    bed.succeeds(&["up", "--nodes", "1"]);
    bed.succeeds(&["image", "load", "localhost/sleeper:1", env!("CARGO_BIN_EXE_testbed-pause")]);
    bed.succeeds(&["kubectl", "create", "deployment", "sleeper", "--image=localhost/sleeper:1", "--replicas=3"]);
    bed.succeeds(&["kubectl", "rollout", "status", "deployment/sleeper", "--timeout=60s"]);
    bed.succeeds(&["server", "kill", "containerd-1"]);
    bed.succeeds(&["server", "pause", "kubelet-1"]);
    bed.succeeds(&["down"]);
    before.assert_same();
}

#[test]
#[ignore = "needs root"]
fn a_killed_up_leaves_nothing_after_down() {
    let _alone = host::alone();
    let bed = Bed::new("teardown");
    let before = Host::look();
    for stage in STAGES {
        eprintln!("killing up after: {stage}");
        let mut up = bed.start(&["up", "--nodes", "1"]);
        up.wait_for(stage);
        up.end(Signal::SIGKILL);
        bed.succeeds(&["down"]);
        before.assert_same();
    }
}

#[test]
#[ignore = "needs root"]
fn an_interrupted_up_leaves_nothing_by_itself() {
    let _alone = host::alone();
    let bed = Bed::new("teardown");
    let before = Host::look();
    for stage in STAGES {
        eprintln!("interrupting up after: {stage}");
        let mut up = bed.start(&["up", "--nodes", "1"]);
        up.wait_for(stage);
        assert_eq!(up.end(Signal::SIGINT), Some(130));
        before.assert_same();
    }
}

#[test]
#[ignore = "needs root"]
fn an_up_after_a_killed_one_succeeds() {
    let _alone = host::alone();
    let bed = Bed::new("teardown");
    let before = Host::look();
    let mut up = bed.start(&["up", "--nodes", "1"]);
    up.wait_for("kube-apiserver");
    up.end(Signal::SIGKILL);
    bed.succeeds(&["up", "--nodes", "1"]);
    bed.succeeds(&["status"]);
    bed.succeeds(&["down"]);
    before.assert_same();
}

#[test]
#[ignore = "needs root and compiles for seconds"]
fn a_killed_build_leaves_no_compiler() {
    let _alone = host::alone();
    let cache = tempfile::tempdir().unwrap();
    let bed = Bed::new("teardown").with_cache(cache.path());
    let before = Host::look();
    let mut up = bed.start(&["up"]);
    up.wait_for("building kubernetes");
    std::thread::sleep(Duration::from_secs(2));
    assert_ne!(Host::look(), before, "the test sees a compiler");
    up.end(Signal::SIGKILL);
    bed.succeeds(&["down"]);
    before.assert_same();
}

#[test]
#[ignore = "needs root"]
fn two_testbeds_live_side_by_side() {
    let _alone = host::alone();
    let (one, two) = (Bed::new("side-one"), Bed::new("side-two"));
    let before = Host::look();
    one.succeeds(&["up", "--nodes", "1", "--without", "prometheus,kube-state-metrics"]);
    let alone = Host::look();
    two.succeeds(&["up", "--nodes", "1", "--without", "prometheus,kube-state-metrics"]);
    two.succeeds(&["down"]);
    alone.assert_same();
    one.succeeds(&["status"]);
    one.succeeds(&["down"]);
    before.assert_same();
}
