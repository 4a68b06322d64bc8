//! What cannot be done is said in one line, with a failing exit code, and
//! changes nothing.

mod host;

use host::{Bed, Host};
use nix::mount::{MsFlags, mount, umount};

#[test]
fn an_unknown_flag_is_refused() {
    let refusal = Bed::new("refusals").run(&["up", "--frobnicate"]);
    assert_eq!(refusal.code, Some(2));
    assert!(refusal.errors.contains("--frobnicate"), "{}", refusal.errors);
}

#[test]
fn options_out_of_range_are_refused() {
    for args in [
        ["up", "--nodes", "4"],
        ["up", "--scrape-interval", "0s"],
        ["up", "--without", "etcd"],
        ["down", "--name", "No/Name"],
    ] {
        let refusal = Bed::new("refusals").run(&args);
        assert!(matches!(refusal.code, Some(1 | 2)), "{args:?}: {}", refusal.errors);
    }
}

#[test]
fn a_testbed_that_is_not_up_is_said_to_be_so() {
    for args in [&["status"][..], &["env"], &["audit"], &["kubectl", "get", "pods"], &["node", "kill", "node-1"]] {
        let refusal = Bed::new("never-up").run(args);
        assert_eq!(refusal.code, Some(1), "{args:?}");
        assert!(refusal.last_line().contains("not up: run make cluster-up TESTBED_NAME="), "{}", refusal.errors);
    }
}

#[test]
#[ignore = "needs root"]
fn other_options_and_bad_images_are_refused() {
    let _alone = host::alone();
    let bed = Bed::new("refusals");
    let before = Host::look();
    bed.succeeds(&["up", "--nodes", "1", "--without", "prometheus"]);
    let running = Host::look();

    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), "#!/bin/sh\n").unwrap();
    for (args, says) in [
        (&["up", "--nodes", "2", "--without", "prometheus"][..], "other options: use --nodes 1"),
        (&["image", "load", "web:1", "/bin/ls"], "is not static"),
        (&["image", "load", "web:1", script.path().to_str().unwrap()], "is not an ELF binary"),
        (&["image", "load", "web", "/bin/ls"], "has no tag"),
        (&["server", "kill", "prometheus"], "choose one of etcd"),
        (&["node", "kill", "node-2"], "no node node-2"),
    ] {
        let refusal = bed.run(args);
        assert_eq!(refusal.code, Some(1), "{args:?}");
        assert!(refusal.last_line().contains(says), "{args:?}: {}", refusal.errors);
        running.assert_same();
    }
    bed.succeeds(&["up", "--nodes", "1", "--without", "prometheus"]);
    bed.succeeds(&["down"]);
    before.assert_same();
}

#[test]
#[ignore = "needs root"]
fn a_small_disk_is_refused() {
    let _alone = host::alone();
    let folder = tempfile::tempdir().unwrap();
    mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=300m")).unwrap();
    let before = Host::look();
    let refusal = Bed::new("refusals").run(&["up", "--data", folder.path().to_str().unwrap()]);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    before.assert_same();
    umount(folder.path()).unwrap();
    assert_eq!((refusal.code, left), (Some(1), 0));
    assert_eq!(refusal.errors.lines().count(), 1, "{}", refusal.errors);
    assert!(refusal.errors.contains("300 MB free, 1024 MB are needed"), "{}", refusal.errors);
}
