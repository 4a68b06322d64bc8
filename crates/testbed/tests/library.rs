//! What the end-to-end tests rely on. Needs root.

use std::path::Path;
use std::time::{Duration, Instant};
use testbed::audit::Event;
use testbed::{Fault, Options, Part, Testbed};

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root"]
async fn a_test_gets_a_cluster_a_namespace_and_an_oracle() {
    let options = Options { nodes: 1, without: vec![Part::Prometheus, Part::KubeStateMetrics], ..Options::default() };
    let testbed = Testbed::up("library", options.clone()).await.unwrap();

    let namespace = testbed.namespace("lib").await.unwrap();
    testbed.load_image("localhost/sleeper:1", Path::new(env!("CARGO_BIN_EXE_testbed-pause"))).await.unwrap();
    namespace.kubectl(&["run", "sleeper", "--image=localhost/sleeper:1"]).await.unwrap();
    namespace.kubectl(&["wait", "pod/sleeper", "--for=condition=Ready", "--timeout=60s"]).await.unwrap();

    let name = namespace.name().to_owned();
    let created = |event: &Event| {
        let object = &event.object_ref;
        event.verb == "create" && object.resource == "pods" && object.subresource.is_empty() && object.namespace == name
    };
    let event = testbed.audit().unwrap().find(created).unwrap();
    assert!(event.succeeded() && event.user.username == "testbed-admin");
    assert_eq!(event.request_object["spec"]["containers"][0]["image"], "localhost/sleeper:1");

    testbed.node_kill("node-1").await.unwrap();
    until("node-1 is not ready", async || testbed.http().unwrap().ready_nodes().await.unwrap().is_empty()).await;
    testbed.node_start("node-1").await.unwrap();
    until("node-1 is ready", async || testbed.http().unwrap().ready_nodes().await.unwrap().len() == 1).await;

    testbed.fault("kube-apiserver", Fault::Pause).await.unwrap();
    testbed.kubectl(&["get", "pods", "--request-timeout=1s"]).await.unwrap_err();
    testbed.fault("kube-apiserver", Fault::Resume).await.unwrap();
    until("the API server answers", async || testbed.kubectl(&["get", "pods"]).await.is_ok()).await;
    testbed.fault("etcd", Fault::Kill).await.unwrap();
    testbed.start("etcd").await.unwrap();
    until("the API server answers", async || testbed.kubectl(&["get", "pods"]).await.is_ok()).await;

    drop(namespace);
    until("the namespace is gone", async || testbed.kubectl(&["get", "namespace", &name]).await.is_err()).await;
    assert!(testbed.node_exec("1", &["ip", "link"]).await.unwrap().contains("cni0"));
    Testbed::up("library", options).await.unwrap().down().await.unwrap();
    Testbed::open("library").unwrap_err();
}
