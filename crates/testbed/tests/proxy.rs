//! Each fate of a request on its way to a real API server. Needs root.
#![allow(clippy::unwrap_used, reason = "what a test cannot do has failed")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testbed::proxy::{Entry, Fate, On, Rule};
use testbed::{Options, Part, Proxy, ProxyOptions, Testbed};

/// A client as a pod is one: with a token, and with trust in the authority.
struct Client {
    http: reqwest::Client,
    token: String,
    url: String,
}

impl Client {
    /// A client of the API server, through a proxy or not.
    async fn new(testbed: &Testbed, url: String) -> Self {
        let authority = std::fs::read(testbed.layout().pki("ca.crt")).unwrap();
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()])
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        let token = testbed.kubectl(&["create", "token", "tester", "--namespace", "default"]).await.unwrap();
        Self { http, token: token.trim().into(), url }
    }

    fn ask(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method.parse().unwrap(), format!("{}/api/v1/namespaces/{path}", self.url));
        request.bearer_auth(&self.token)
    }

    /// Creates a `ConfigMap`; the status, or `None` if the connection was closed.
    async fn create(&self, namespace: &str, name: &str) -> Option<u16> {
        let map = serde_json::json!({"metadata": {"name": name}, "data": {"made": "by a test"}});
        let request = self.ask("POST", &format!("{namespace}/configmaps")).json(&map);
        Some(request.send().await.ok()?.status().as_u16())
    }
}

async fn testbed() -> Testbed {
    let options = Options {
        nodes: 1,
        without: vec![Part::Prometheus, Part::KubeStateMetrics, Part::Coredns],
        ..Options::default()
    };
    let testbed = Testbed::up("proxy", options).await.unwrap();
    let tester = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tester", "namespace": "default"}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "tester"},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
         "subjects": [{"kind": "ServiceAccount", "name": "tester", "namespace": "default"}]},
    ]});
    testbed.apply(&tester.to_string()).await.unwrap();
    testbed
}

/// Somebody to be killed.
fn victim() -> Child {
    Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap()
}

fn pid(child: &Child) -> i32 {
    child.id().try_into().unwrap()
}

fn entry(proxy: &Proxy, number: u64) -> Entry {
    proxy.log().into_iter().find(|entry| entry.number == Some(number)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root"]
async fn a_proxy_does_to_requests_what_a_network_may_do() {
    let testbed = testbed().await;
    requests_meet_their_fates(&testbed).await;
    what_is_stalled_arrives_late_even_if_its_client_has_gone(&testbed).await;
    watches_are_streamed_paused_and_cut(&testbed).await;
    testbed.down().await.unwrap();
}

async fn requests_meet_their_fates(testbed: &Testbed) {
    let namespace = testbed.namespace("fates").await.unwrap();
    let namespace = namespace.name();
    let proxy =
        testbed.proxy(ProxyOptions { uncounted: vec!["events".into()], ..ProxyOptions::default() }).await.unwrap();
    let (client, direct) = (Client::new(testbed, proxy.url()).await, Client::new(testbed, testbed.api_url()).await);
    let exists = async |name: &str| {
        let path = format!("{namespace}/configmaps/{name}");
        direct.ask("GET", &path).send().await.unwrap().status().is_success()
    };

    // What no rule is meant for is passed on, and told.
    assert_eq!(client.create(namespace, "first").await, Some(201));
    let first = entry(&proxy, 1);
    assert_eq!((first.status, first.answered, first.fell.as_ref()), (Some(201), Some(201), None));
    assert_eq!((&*first.asked.resource, &*first.asked.namespace), ("configmaps", namespace));
    assert!(first.took_effect() && first.body["data"]["made"] == "by a test");
    let event = client.ask("POST", &format!("{namespace}/events")).json(&()).send().await.unwrap();
    assert!(event.status().is_client_error());
    assert_eq!(proxy.log().last().unwrap().number, None);

    // Each fate: what the client saw, whether it took effect, whether at once.
    for (number, (fate, seen, applied)) in (2..).zip([
        (Fate::Swallow, None, false),
        (Fate::ApplyThenDrop, None, true),
        (Fate::Answer(409), Some(409), false),
        (Fate::Answer(429), Some(429), false),
        (Fate::Answer(500), Some(500), false),
        (Fate::Answer(503), Some(503), false),
        (Fate::ApplyThenAnswer(504), Some(504), true),
        (Fate::Cut, None, false),
        (Fate::Stall { millis: Some(300) }, Some(201), true),
        (Fate::ApplyThenStall { millis: Some(300) }, Some(201), true),
    ]) {
        let mut victim = victim();
        let on = On { resource: Some("configmaps".into()), ..On::default() };
        let rule = proxy.arm(Rule::new(on, fate).killing(pid(&victim)));
        let (name, begun) = (format!("map-{number}"), Instant::now());
        assert_eq!(client.create(namespace, &name).await, seen, "{fate:?}");
        assert_eq!(exists(&name).await, applied, "{fate:?}");
        let stalled = matches!(fate, Fate::Stall { .. } | Fate::ApplyThenStall { .. });
        assert_eq!(begun.elapsed() >= Duration::from_millis(300), stalled, "{fate:?}");
        assert_eq!(proxy.hits(rule), 1);
        assert!(!victim.wait().unwrap().success(), "{fate:?} killed nobody");
        let entry = entry(&proxy, number);
        assert_eq!((entry.took_effect(), entry.answered), (applied, seen), "{fate:?}");
        assert!(entry.fell.is_some_and(|fell| fell.fate == fate && fell.not_killed.is_none()));
    }
    assert_eq!(client.create(namespace, "last").await, Some(201), "a rule came about more than once");
}

async fn what_is_stalled_arrives_late_even_if_its_client_has_gone(testbed: &Testbed) {
    let namespace = testbed.namespace("late").await.unwrap();
    let proxy = testbed.proxy(ProxyOptions::default()).await.unwrap();
    let client = Client::new(testbed, proxy.url()).await;
    let rule = proxy.arm(Rule::new(On { method: Some("POST".into()), ..On::default() }, Fate::Stall { millis: None }));

    tokio::select! {
        answer = client.create(namespace.name(), "late") => panic!("answered {answer:?}"),
        () = proxy.until_hit(rule) => {}
    }
    let path = format!("{}/configmaps/late", namespace.name());
    assert_eq!(client.ask("GET", &path).send().await.unwrap().status(), 404);
    proxy.release();
    while !proxy.log().iter().any(|entry| entry.number == Some(1)) {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.ask("GET", &path).send().await.unwrap().status(), 200);
}

async fn watches_are_streamed_paused_and_cut(testbed: &Testbed) {
    let namespace = testbed.namespace("watch").await.unwrap();
    let proxy = testbed.proxy(ProxyOptions::default()).await.unwrap();
    let client = Client::new(testbed, proxy.url()).await;
    let direct = Client::new(testbed, testbed.api_url()).await;
    let selected = "configmaps?watch=true&fieldSelector=metadata.name%21%3Dkube-root-ca.crt";
    let path = format!("{}/{selected}", namespace.name());
    let mut watch = client.ask("GET", &path).timeout(Duration::from_mins(1)).send().await.unwrap();

    direct.create(namespace.name(), "one").await.unwrap();
    let piece = watch.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&piece).contains("by a test"), "not streamed: {piece:?}");

    proxy.pause();
    direct.create(namespace.name(), "two").await.unwrap();
    let hung = tokio::time::timeout(Duration::from_millis(500), watch.chunk()).await;
    assert!(hung.is_err(), "came through a pause: {hung:?}");
    let asked = client.ask("GET", namespace.name()).timeout(Duration::from_millis(500)).send().await;
    assert!(asked.unwrap_err().is_timeout());
    proxy.resume();
    assert!(watch.chunk().await.unwrap().is_some());

    proxy.cut();
    watch.chunk().await.unwrap_err();
    assert_eq!(client.ask("GET", namespace.name()).send().await.unwrap().status(), 200);
    drop(proxy);
    client.ask("GET", namespace.name()).send().await.unwrap_err();
}
