//! What the comparison with the real API server has once found wrong in this one. The comparison is
//! `tests/tests/api_server`, and needs root. This does not.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ACTIONS, DEPLOYMENTS, LEASES, PODS, POLICIES, WEB, action, ask, check, deployment, policy, server};

#[tokio::test(start_paused = true)]
async fn what_was_compared_with_the_real_server_stays_right() {
    let server = server().await;
    ask(&server, "POST", DEPLOYMENTS, "json", &deployment("web")).await;
    ask(&server, "POST", ACTIONS, "json", &action("web-1")).await;
    let merge = "merge-patch+json";
    let lease = format!("{LEASES}/prunella");
    let immutable = "the spec of a HealingAction never changes: it records a decision";
    let named = |uid: &str| json!({"metadata": {"name": "web", "uid": uid}, "spec": {"selector": {}, "template": {}}});
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": []}});
    check(
        &server,
        &[
            // A replacement of another object is a conflict, a patch of another one is not valid.
            ("PUT", WEB, "json", named("other"), 409, &[("/reason", json!("Conflict"))]),
            (
                "PATCH",
                WEB,
                merge,
                json!({"metadata": {"uid": "other"}}),
                422,
                &[("/details/causes/0/field", json!("metadata.uid"))],
            ),
            // Annotations of a Deployment count as a change of its spec, those of others do not.
            (
                "PATCH",
                WEB,
                merge,
                json!({"metadata": {"annotations": {"note": "1"}}}),
                200,
                &[("/metadata/generation", json!(2))],
            ),
            (
                "PATCH",
                WEB,
                merge,
                json!({"metadata": {"annotations": null}}),
                200,
                &[("/metadata/annotations", Value::Null)],
            ),
            // A record cannot be changed.
            (
                "PATCH",
                &format!("{ACTIONS}/web-1"),
                merge,
                json!({"spec": {"attempt": 2}}),
                422,
                &[("/details/causes/0/message", json!(format!("Invalid value: {immutable}")))],
            ),
            // A Lease that was deleted is created by its replacement, whatever version that names.
            (
                "PUT",
                &lease,
                "json",
                json!({"metadata": {"name": "prunella", "resourceVersion": "1"}}),
                201,
                &[("/spec", json!({}))],
            ),
            // It has no status.
            ("PATCH", &format!("{lease}/status"), merge, json!({"status": {}}), 404, &[("/details", json!({}))]),
            ("POST", PODS, "json", pod.clone(), 201, &[("/status/phase", json!("Pending"))]),
            ("POST", PODS, "json", json!({"metadata": {"name": "Not A Name"}}), 422, &[]),
            (
                "POST",
                PODS,
                "json",
                json!({"metadata": {"name": "b", "resourceVersion": "1"}}),
                500,
                &[("/reason", Value::Null)],
            ),
            // A JSON patch replaces a field that is missing, if its parent is there.
            (
                "PATCH",
                WEB,
                "json-patch+json",
                json!([{"op": "replace", "path": "/metadata/labels/new", "value": "1"}]),
                200,
                &[("/metadata/labels/new", json!("1"))],
            ),
            ("PATCH", WEB, "json-patch+json", json!([{"op": "replace", "path": "/a/b", "value": "1"}]), 422, &[]),
            ("GET", &format!("{PODS}?resourceVersionMatch=Exact"), "json", Value::Null, 422, &[]),
            // A pod that is deleted at once is shown as it was then.
            (
                "DELETE",
                &format!("{PODS}/web"),
                "json",
                json!({}),
                200,
                &[("/kind", json!("Pod")), ("/metadata/deletionGracePeriodSeconds", json!(0))],
            ),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_eviction_of_another_pod_is_refused_after_ten_seconds() {
    let server = server().await;
    let pod = json!({"metadata": {"name": "web"}, "spec": {"nodeName": "n", "containers": []}});
    ask(&server, "POST", PODS, "json", &pod).await;
    let began = tokio::time::Instant::now();
    let eviction = json!({"deleteOptions": {"preconditions": {"uid": "other"}}});
    let (code, refused) = ask(&server, "POST", &format!("{PODS}/web/eviction"), "json", &eviction).await;
    assert_eq!((code, &refused["details"]["kind"]), (409, &json!("Pod")));
    assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
    ask(&server, "POST", &format!("{PODS}/web/eviction"), "json", &json!({})).await;
    let (_, evicted) = ask(&server, "GET", &format!("{PODS}/web"), "json", &Value::Null).await;
    assert_eq!(evicted["status"]["conditions"][0]["reason"], "EvictionByEvictionAPI");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_does_not_fit_its_schema_is_refused_with_every_cause() {
    let server = server().await;
    for (path, value, reason, field) in [
        ("/spec/mode", json!("Force"), "FieldValueNotSupported", "spec.mode"),
        ("/spec/mode", json!(1), "FieldValueTypeInvalid", "spec.mode"),
        ("/spec/interval", json!(30), "FieldValueTypeInvalid", "spec.interval"),
        ("/spec/steps", json!([]), "FieldValueInvalid", "spec.steps"),
        ("/spec/steps/0/name", json!("e".repeat(33)), "FieldValueTooLong", "spec.steps[0].name"),
        ("/spec/limits", json!({"maxActions": {"count": 0}}), "FieldValueInvalid", "spec.limits.maxActions.count"),
        ("/spec/steps/0/action", json!({"scale": {"by": 1}}), "FieldValueRequired", "spec.steps[0].action.scale.max"),
    ] {
        let mut policy = policy();
        let (parent, last) = path.rsplit_once('/').unwrap();
        policy.pointer_mut(parent).unwrap()[last] = value;
        let (code, refused) = ask(&server, "POST", POLICIES, "json", &policy).await;
        let cause = &refused["details"]["causes"][0];
        assert_eq!((code, &cause["reason"], &cause["field"]), (422, &json!(reason), &json!(field)), "{refused}");
    }
}
