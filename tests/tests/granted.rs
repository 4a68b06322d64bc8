//! Least privilege, proved: what the manifests grant to the controller is what it has
//! asked for over all suites that ran on this testbed, by the API server's request log.
//! What was granted and never used is too much; what was used and not granted is missing.
//! Runs last, in `make test-e2e`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{CONTROLLER, NAMESPACE, repository};
use serde::Deserialize as _;
use serde_json::Value;
use testbed::Testbed;
use testbed::audit::Event;

/// All that deploy/kustomize can grant.
const MANIFESTS: [&str; 2] = ["deploy/kustomize/base", "deploy/kustomize/prometheus-token"];
const ACCOUNT: &str = "prunella";

/// API group, resource with its subresource, verb.
type Right = (String, String, String);

#[tokio::test]
#[ignore = "needs root"]
async fn what_is_granted_is_what_was_used() -> Result<()> {
    let name = std::env::var("TESTBED_NAME").unwrap_or_else(|_| "e2e".into());
    let testbed = Testbed::open(&name).context("run the other suites first, and keep their testbed")?;
    let mut objects = Vec::new();
    for folder in MANIFESTS {
        let rendered = testbed.kubectl(&["kustomize", &repository(folder).display().to_string()]).await?;
        for document in serde_yaml::Deserializer::from_str(&rendered) {
            objects.push(Value::deserialize(document)?);
        }
    }
    let granted = granted(&objects)?;
    let [used, denied] = asked_for(&testbed)?;
    ensure!(!used.is_empty(), "the controller has asked for nothing");

    let never_used: Vec<_> = granted.difference(&used).collect();
    let not_granted: Vec<_> = used.union(&denied).filter(|right| !granted.contains(*right)).collect();
    println!("{} rights are granted, {} were used", granted.len(), used.len());
    ensure!(
        never_used.is_empty() && not_granted.is_empty(),
        "granted and never used: {never_used:#?}\nused or asked for and not granted: {not_granted:#?}"
    );
    Ok(())
}

/// What the roles say that are bound to the controller's account.
fn granted(objects: &[Value]) -> Result<BTreeSet<Right>> {
    let identity = |object: &Value| (text(&object["kind"]), text(&object["metadata"]["name"]));
    let roles: BTreeMap<_, _> = objects.iter().map(|object| (identity(object), &object["rules"])).collect();
    let bindings = objects.iter().filter(|object| text(&object["kind"]).ends_with("RoleBinding"));
    let mut rights = BTreeSet::new();
    for binding in bindings.filter(|binding| is_bound_to_it(binding)) {
        let role = (text(&binding["roleRef"]["kind"]), text(&binding["roleRef"]["name"]));
        let bound = roles.get(&role).with_context(|| format!("there is no {role:?}"))?;
        for rule in list(bound) {
            for group in list(&rule["apiGroups"]) {
                for resource in list(&rule["resources"]) {
                    for verb in list(&rule["verbs"]) {
                        rights.insert((text(group), text(resource), text(verb)));
                    }
                }
            }
        }
    }
    let all = |right: &&Right| [&right.0, &right.1, &right.2].contains(&&"*".to_owned());
    ensure!(!rights.iter().any(|right| all(&right)), "everything is granted: {:?}", rights.iter().find(all));
    Ok(rights)
}

fn is_bound_to_it(binding: &Value) -> bool {
    list(&binding["subjects"]).iter().any(|subject| subject["name"] == ACCOUNT && subject["namespace"] == NAMESPACE)
}

/// What it has asked for and had the right to, and what it had not.
fn asked_for(testbed: &Testbed) -> Result<[BTreeSet<Right>; 2]> {
    let path = testbed.layout().audit_log();
    let log = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut used, mut denied) = (BTreeSet::new(), BTreeSet::new());
    // Few lines of a long log are meant, and parsing is slow.
    for line in BufReader::new(log).lines().map_while(Result::ok).filter(|line| line.contains(CONTROLLER)) {
        let Ok(event) = serde_json::from_str::<Event>(&line) else { continue };
        let object = &event.object_ref;
        // Paths that are no objects, such as /version, are open to everybody.
        if event.user.username != CONTROLLER || object.resource.is_empty() {
            continue;
        }
        let slash = if object.subresource.is_empty() { "" } else { "/" };
        let resource = format!("{}{slash}{}", object.resource, object.subresource);
        let right = (object.api_group.clone(), resource, event.verb.clone());
        match event.permitted() {
            Some(true) => used.insert(right),
            Some(false) => denied.insert(right),
            None => false,
        };
    }
    Ok([used, denied])
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
