//! Requests and their answers, as the real API server gives them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod compared;

use std::time::Duration;

use futures::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;
use prunella_world::api_server::ApiServer;
use prunella_world::{Chance, WorldClock};
use serde_json::{Value, json};
use tower::Service;

/// A server with the namespace `shop`.
async fn server() -> ApiServer {
    let definitions = prunella_api::crds().into_iter().map(|(_, definition)| definition);
    let clock = WorldClock::starting_at("2026-01-01T03:00:00Z".parse().unwrap());
    let server = ApiServer::new(definitions, clock, Chance::new(1));
    let namespace = json!({"metadata": {"name": "shop"}});
    assert_eq!(ask(&server, "POST", "/api/v1/namespaces", "", &namespace).await.0, 201);
    server
}

async fn send(
    server: &ApiServer,
    method: &str,
    path: &str,
    kind: &str,
    body: &Value,
) -> http::Response<prunella_world::api_server::AnswerBody> {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let (header, value) = if kind.starts_with("as=") {
        ("accept", format!("application/json;{kind};g=meta.k8s.io;v=v1"))
    } else {
        ("content-type", format!("application/{kind}"))
    };
    let request = Request::builder().method(method).uri(path).header(header, value).body(Body::from(body)).unwrap();
    server.clone().call(request).await.unwrap()
}

/// Status code and body of an answer. `kind`: the rest of a content type, or `as=…` of `Accept`.
async fn ask(server: &ApiServer, method: &str, path: &str, kind: &str, body: &Value) -> (u16, Value) {
    let response = send(server, method, path, kind, body).await;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes))))
}

/// One request of a table, and what is expected of its answer: a code, and what some pointers show.
type Row<'a> = (&'a str, &'a str, &'a str, Value, u16, &'a [(&'a str, Value)]);

async fn check(server: &ApiServer, rows: &[Row<'_>]) {
    for (method, path, kind, body, code, shown) in rows {
        let (answered, answer) = ask(server, method, path, kind, body).await;
        assert_eq!(answered, *code, "{method} {path} {body}: {answer}");
        for (pointer, expected) in *shown {
            let found = answer.pointer(pointer).cloned().unwrap_or_default();
            assert_eq!(found, *expected, "{method} {path}: {pointer} in {answer}");
        }
    }
}

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/shop/deployments";
const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const PODS: &str = "/api/v1/namespaces/shop/pods";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/shop/leases";
const POLICIES: &str = "/apis/prunella.dev/v1alpha1/namespaces/shop/healingpolicies";
const ACTIONS: &str = "/apis/prunella.dev/v1alpha1/namespaces/shop/healingactions";

fn deployment(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": {"replicas": 3, "selector": {}, "template": {}}})
}

fn policy() -> Value {
    json!({
        "apiVersion": "prunella.dev/v1alpha1", "kind": "HealingPolicy", "metadata": {"name": "web"},
        "spec": {
            "condition": {"promql": {"query": "up == 0"}}, "target": {"kind": "Pod", "selector": {"matchLabels": {"app": "web"}}},
            "steps": [{"name": "evict", "action": {"deletePod": {}}}], "unheard": 1,
        },
    })
}

fn action(name: &str) -> Value {
    let web = json!({"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "web", "uid": "uid-web"});
    json!({
        "metadata": {"name": name, "finalizers": ["prunella.dev/in-flight"]},
        "spec": {
            "policy": {"name": "web", "uid": "uid", "generation": 1, "digest": "digest"},
            "mode": "Enforce", "sequence": 1, "step": "evict", "stepNumber": 1, "attempt": 1,
            "action": {"deletePod": {}}, "actionName": "DeletePod", "target": web, "subject": web,
            "startBy": "2026-11-21T10:01:00Z", "settleWithin": "1m", "verifyWithin": "1m",
            "evidence": {"promql": {"query": "up == 0", "value": "0", "labels": {}},
                         "since": "2026-11-21T10:00:00Z", "observedAt": "2026-11-21T10:00:00Z"},
        },
    })
}

#[tokio::test(start_paused = true)]
async fn objects_are_created_read_and_deleted() {
    let server = server().await;
    let nothing = Value::Null;
    let partial = "as=PartialObjectMetadata";
    check(
        &server,
        &[
            (
                "GET",
                WEB,
                "json",
                nothing.clone(),
                404,
                &[("/reason", json!("NotFound")), ("/message", json!("deployments.apps \"web\" not found"))],
            ),
            (
                "POST",
                DEPLOYMENTS,
                "json",
                deployment("web"),
                201,
                &[
                    ("/kind", json!("Deployment")),
                    ("/metadata/generation", json!(1)),
                    ("/metadata/namespace", json!("shop")),
                    ("/metadata/creationTimestamp", json!("2026-01-01T03:00:00Z")),
                ],
            ),
            ("POST", DEPLOYMENTS, "json", deployment("web"), 409, &[("/reason", json!("AlreadyExists"))]),
            (
                "POST",
                "/apis/apps/v1/namespaces/none/deployments",
                "json",
                deployment("web"),
                404,
                &[("/message", json!("namespaces \"none\" not found"))],
            ),
            ("GET", WEB, "json", nothing.clone(), 200, &[("/spec/replicas", json!(3))]),
            (
                "GET",
                WEB,
                partial,
                nothing.clone(),
                200,
                &[
                    ("/kind", json!("PartialObjectMetadata")),
                    ("/spec", Value::Null),
                    ("/metadata/labels/app", json!("web")),
                ],
            ),
            (
                "GET",
                DEPLOYMENTS,
                partial,
                nothing.clone(),
                200,
                &[("/kind", json!("PartialObjectMetadataList")), ("/items/0/kind", json!("PartialObjectMetadata"))],
            ),
            // Built-in kinds leave out in a list what the list says.
            (
                "GET",
                DEPLOYMENTS,
                "json",
                nothing.clone(),
                200,
                &[("/kind", json!("DeploymentList")), ("/items/0/kind", Value::Null)],
            ),
            ("DELETE", WEB, "json", json!({"preconditions": {"uid": "other"}}), 409, &[("/reason", json!("Conflict"))]),
            ("DELETE", WEB, "json", json!({}), 200, &[("/status", json!("Success"))]),
            ("DELETE", WEB, "json", json!({}), 404, &[]),
            ("GET", "/apis/example.org/v1/things", "json", nothing.clone(), 404, &[]),
            ("PUT", DEPLOYMENTS, "json", json!({}), 405, &[]),
        ],
    )
    .await;
    let response = send(&server, "GET", DEPLOYMENTS, "json", &nothing).await;
    assert_eq!(response.headers()["date"], "Thu, 01 Jan 2026 03:00:00 GMT");
}

#[tokio::test(start_paused = true)]
async fn a_write_is_bound_to_the_version_that_it_names() {
    let server = server().await;
    let lease = json!({"metadata": {"name": "prunella"}, "spec": {"holderIdentity": "a"}});
    let (_, mut held) = ask(&server, "POST", LEASES, "json", &lease).await;
    let path = format!("{LEASES}/prunella");
    held["spec"]["holderIdentity"] = json!("b");
    let (code, next) = ask(&server, "PUT", &path, "json", &held).await;
    assert_eq!((code, &next["spec"]["holderIdentity"]), (200, &json!("b")));
    let merge = "merge-patch+json";
    let stale = held["metadata"]["resourceVersion"].clone();
    check(
        &server,
        &[
            ("PUT", &path, "json", held.clone(), 409, &[("/reason", json!("Conflict"))]),
            (
                "PATCH",
                &path,
                merge,
                json!({"metadata": {"resourceVersion": stale}, "spec": {"holderIdentity": "c"}}),
                409,
                &[],
            ),
            (
                "PATCH",
                &path,
                merge,
                json!({"spec": {"holderIdentity": "b"}}),
                200,
                &[("/metadata/resourceVersion", next["metadata"]["resourceVersion"].clone())],
            ),
            (
                "PATCH",
                &path,
                merge,
                json!({"spec": {"holderIdentity": null}}),
                200,
                &[("/spec/holderIdentity", Value::Null)],
            ),
            ("PATCH", &path, "strategic-merge-patch+json", json!({}), 415, &[]),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn status_and_scale_are_parts_of_their_own() {
    let server = server().await;
    let (_, web) = ask(&server, "POST", DEPLOYMENTS, "json", &deployment("web")).await;
    let (scale, status) = (format!("{WEB}/scale"), format!("{WEB}/status"));
    let patch = |from: i32, uid: &Value| {
        json!([{"op": "test", "path": "/metadata/uid", "value": uid}, {"op": "test", "path": "/spec/replicas", "value": from},
               {"op": "replace", "path": "/spec/replicas", "value": 4}])
    };
    let uid = &web["metadata"]["uid"];
    check(
        &server,
        &[
            ("PATCH", &scale, "json-patch+json", patch(2, uid), 422, &[("/reason", json!("Invalid"))]),
            ("PATCH", &scale, "json-patch+json", patch(3, &json!("other")), 422, &[]),
            (
                "PATCH",
                &scale,
                "json-patch+json",
                patch(3, uid),
                200,
                &[("/kind", json!("Scale")), ("/spec/replicas", json!(4))],
            ),
            ("GET", WEB, "json", Value::Null, 200, &[("/spec/replicas", json!(4)), ("/metadata/generation", json!(2))]),
            (
                "PATCH",
                &status,
                "merge-patch+json",
                json!({"status": {"replicas": 1}, "spec": {"replicas": 9}}),
                200,
                &[("/status/replicas", json!(1)), ("/spec/replicas", json!(4)), ("/metadata/generation", json!(2))],
            ),
            (
                "PATCH",
                WEB,
                "merge-patch+json",
                json!({"status": {"replicas": 7}, "spec": {"paused": true}}),
                200,
                &[("/status/replicas", json!(1)), ("/metadata/generation", json!(3))],
            ),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_custom_resource_has_the_defaults_of_its_schema_and_an_applied_status_is_the_whole() {
    let server = server().await;
    let status = format!("{POLICIES}/web/status?fieldManager=prunella&force=true");
    let applied =
        |status: Value| json!({"apiVersion": "prunella.dev/v1alpha1", "kind": "HealingPolicy", "status": status});
    check(
        &server,
        &[
            (
                "POST",
                POLICIES,
                "json",
                json!({"metadata": {"name": "web"}, "spec": {}}),
                422,
                &[("/reason", json!("Invalid"))],
            ),
            (
                "POST",
                POLICIES,
                "json",
                policy(),
                201,
                &[("/spec/mode", json!("DryRun")), ("/spec/unheard", Value::Null)],
            ),
            (
                "PATCH",
                &status,
                "apply-patch+yaml",
                applied(json!({"observedGeneration": 1, "digest": "a"})),
                200,
                &[("/status/digest", json!("a"))],
            ),
            (
                "PATCH",
                &status,
                "apply-patch+yaml",
                applied(json!({"observedGeneration": 2})),
                200,
                &[
                    ("/status/observedGeneration", json!(2)),
                    ("/status/digest", Value::Null),
                    ("/metadata/generation", json!(1)),
                ],
            ),
            ("PATCH", &format!("{POLICIES}/web/status"), "apply-patch+yaml", applied(json!({})), 422, &[]),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_finalizer_holds_a_deleted_object_until_it_is_removed() {
    let server = server().await;
    let path = format!("{ACTIONS}/web-1");
    check(
        &server,
        &[
            ("POST", ACTIONS, "json", action("web-1"), 201, &[]),
            (
                "DELETE",
                &path,
                "json",
                json!({}),
                200,
                &[("/kind", json!("HealingAction")), ("/metadata/deletionTimestamp", json!("2026-01-01T03:00:00Z"))],
            ),
            ("GET", &path, "json", Value::Null, 200, &[]),
            ("PATCH", &path, "merge-patch+json", json!({"metadata": {"finalizers": []}}), 200, &[]),
            ("GET", &path, "json", Value::Null, 404, &[]),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn selectors_select() {
    let server = server().await;
    for name in ["web-1", "web-2"] {
        ask(&server, "POST", ACTIONS, "json", &action(name)).await;
    }
    let finished = json!({"status": {"outcome": "Succeeded"}});
    ask(&server, "PATCH", &format!("{ACTIONS}/web-1/status"), "merge-patch+json", &finished).await;
    for name in ["a", "b"] {
        ask(&server, "POST", DEPLOYMENTS, "json", &deployment(name)).await;
    }
    for (path, query, expected) in [
        (ACTIONS, "fieldSelector=status.outcome%3D", "web-2"),
        (ACTIONS, "fieldSelector=status.outcome%3DSucceeded", "web-1"),
        (ACTIONS, "fieldSelector=spec.policy.name%3Dweb,metadata.name!%3Dweb-1", "web-2"),
        (DEPLOYMENTS, "labelSelector=app%3Da", "a"),
        (DEPLOYMENTS, "labelSelector=app!%3Da", "b"),
        (DEPLOYMENTS, "labelSelector=app%20in%20(a,c)", "a"),
        (DEPLOYMENTS, "labelSelector=app%20notin%20(a,c),app", "b"),
        (DEPLOYMENTS, "labelSelector=!app", ""),
    ] {
        let (code, list) = ask(&server, "GET", &format!("{path}?{query}"), "json", &Value::Null).await;
        let names: Vec<_> =
            list["items"].as_array().unwrap().iter().map(|one| one["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!((code, names.join(" ").as_str()), (200, expected), "{query}");
    }
    let refused = format!("{ACTIONS}?fieldSelector=spec.mode%3DEnforce");
    check(&server, &[("GET", &refused, "json", Value::Null, 400, &[("/reason", json!("BadRequest"))])]).await;
}

#[tokio::test(start_paused = true)]
async fn all_pages_of_a_list_are_of_one_version() {
    let server = server().await;
    for name in ["a", "b", "c"] {
        ask(&server, "POST", DEPLOYMENTS, "json", &deployment(name)).await;
    }
    let (_, first) = ask(&server, "GET", &format!("{DEPLOYMENTS}?limit=2"), "json", &Value::Null).await;
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let token = first["metadata"]["continue"].as_str().unwrap();
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    ask(&server, "DELETE", &format!("{DEPLOYMENTS}/c"), "json", &json!({})).await;
    ask(&server, "POST", DEPLOYMENTS, "json", &deployment("d")).await;
    let second = format!("{DEPLOYMENTS}?limit=2&continue={token}");
    let exact = format!("{DEPLOYMENTS}?resourceVersion={version}&resourceVersionMatch=Exact");
    let newer = format!("{DEPLOYMENTS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    check(
        &server,
        &[
            (
                "GET",
                &second,
                "json",
                Value::Null,
                200,
                &[
                    ("/items/0/metadata/name", json!("c")),
                    ("/items/1", Value::Null),
                    ("/metadata/continue", Value::Null),
                    ("/metadata/resourceVersion", json!(version)),
                ],
            ),
            ("GET", &exact, "json", Value::Null, 200, &[("/items/2/metadata/name", json!("c"))]),
            ("GET", &newer, "json", Value::Null, 200, &[("/items/2/metadata/name", json!("d"))]),
            (
                "GET",
                &format!("{DEPLOYMENTS}?resourceVersion=999"),
                "json",
                Value::Null,
                504,
                &[("/reason", json!("Timeout"))],
            ),
        ],
    )
    .await;
    server.compact();
    check(&server, &[("GET", &second, "json", Value::Null, 410, &[("/reason", json!("Expired"))])]).await;
}

#[tokio::test(start_paused = true)]
async fn an_eviction_respects_its_budget_and_the_uid() {
    let server = server().await;
    let pod = |name: &str| json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 20, "containers": []}});
    for name in ["web-1", "web-2"] {
        ask(&server, "POST", PODS, "json", &pod(name)).await;
        let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        ask(&server, "PATCH", &format!("{PODS}/{name}/status"), "merge-patch+json", &ready).await;
    }
    let budgets = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}});
    let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}});
    let evict = |name: &str| format!("{PODS}/{name}/eviction");
    check(
        &server,
        &[
            ("POST", budgets, "json", budget, 201, &[]),
            (
                "POST",
                &evict("web-1"),
                "json",
                json!({"metadata": {"name": "web-1"}}),
                429,
                &[("/details/causes/0/reason", json!("DisruptionBudget"))],
            ),
            ("PATCH", &format!("{budgets}/web/status"), "merge-patch+json", status, 200, &[]),
            // The server takes ten seconds for this answer.
            ("POST", &evict("web-1"), "json", json!({"deleteOptions": {"preconditions": {"uid": "other"}}}), 409, &[]),
            (
                "POST",
                &evict("web-1"),
                "json",
                json!({"metadata": {"name": "web-1"}}),
                201,
                &[("/status", json!("Success"))],
            ),
            (
                "GET",
                &format!("{PODS}/web-1"),
                "json",
                Value::Null,
                200,
                &[
                    ("/metadata/deletionGracePeriodSeconds", json!(20)),
                    ("/metadata/deletionTimestamp", json!("2026-01-01T03:00:30Z")),
                ],
            ),
            ("GET", &format!("{budgets}/web"), "json", Value::Null, 200, &[("/status/disruptionsAllowed", json!(0))]),
            (
                "POST",
                &evict("web-2"),
                "json",
                json!({"metadata": {"name": "web-2"}}),
                429,
                &[(
                    "/details/causes/0/message",
                    json!("The disruption budget web needs 1 healthy pods and has 2 currently"),
                )],
            ),
            ("DELETE", &format!("{PODS}/web-1"), "json", json!({"gracePeriodSeconds": 0}), 200, &[]),
            ("GET", &format!("{PODS}/web-1"), "json", Value::Null, 404, &[]),
        ],
    )
    .await;
}

/// Opens a watch.
async fn watch(server: &ApiServer, query: &str) -> impl futures::Stream<Item = Value> + Unpin + use<> {
    let response = send(server, "GET", &format!("{DEPLOYMENTS}?watch=true&{query}"), "json", &Value::Null).await;
    assert_eq!(response.status(), 200);
    let frames = response.into_body().into_data_stream();
    Box::pin(frames.map(|frame| serde_json::from_slice(&frame.unwrap()).unwrap()))
}

fn event(event: &Value) -> String {
    let name = event["object"]["metadata"]["name"].as_str().unwrap_or("-");
    format!("{} {name}", event["type"].as_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_watch_shows_each_change_once_in_order_and_ends_with_a_bookmark() {
    let server = server().await;
    let (_, a) = ask(&server, "POST", DEPLOYMENTS, "json", &deployment("a")).await;
    let version = a["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let began = tokio::time::Instant::now();
    let events = watch(&server, &format!("resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds=50")).await;
    let selected = watch(&server, &format!("resourceVersion={version}&labelSelector=app%3Da&timeoutSeconds=50")).await;
    let existing = watch(&server, "timeoutSeconds=1").await;
    ask(&server, "POST", DEPLOYMENTS, "json", &deployment("b")).await;
    ask(
        &server,
        "PATCH",
        &format!("{DEPLOYMENTS}/a"),
        "merge-patch+json",
        &json!({"metadata": {"labels": {"app": "z"}}}),
    )
    .await;
    ask(&server, "DELETE", &format!("{DEPLOYMENTS}/b"), "json", &json!({})).await;
    let seen: Vec<_> = events.collect().await;
    assert_eq!(seen.iter().map(event).collect::<Vec<_>>(), ["ADDED b", "MODIFIED a", "DELETED b", "BOOKMARK -"]);
    let versions: Vec<u64> = seen
        .iter()
        .map(|one| one["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(versions.is_sorted(), "{versions:?}");
    assert!((50..52).contains(&began.elapsed().as_secs()));
    // An object that is not selected any more is deleted for this watch.
    assert_eq!(selected.map(|one| event(&one)).collect::<Vec<_>>().await, ["DELETED a"]);
    assert_eq!(
        existing.map(|one| event(&one)).collect::<Vec<_>>().await,
        ["ADDED a", "ADDED b", "MODIFIED a", "DELETED b"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_a_forgotten_version_says_410() {
    let server = server().await;
    ask(&server, "POST", DEPLOYMENTS, "json", &deployment("a")).await;
    ask(&server, "POST", DEPLOYMENTS, "json", &deployment("b")).await;
    server.compact();
    let events: Vec<_> = watch(&server, "resourceVersion=2").await.collect().await;
    assert_eq!((events.len(), &events[0]["type"], &events[0]["object"]["code"]), (1, &json!("ERROR"), &json!(410)));
}

#[tokio::test(start_paused = true)]
async fn a_request_takes_time_and_a_watch_none_after_a_change() {
    let server = server().await;
    let mut events = watch(&server, "timeoutSeconds=100").await;
    let began = tokio::time::Instant::now();
    let new = deployment("a");
    let (created, seen) = tokio::join!(ask(&server, "POST", DEPLOYMENTS, "json", &new), events.next());
    assert_eq!((created.0, event(&seen.unwrap())), (201, "ADDED a".to_owned()));
    assert!((Duration::from_millis(1)..Duration::from_millis(10)).contains(&began.elapsed()));
}
