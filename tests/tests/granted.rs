//! Least privilege: the rights that the manifests grant to the controller are exactly those that it
//! used in all suites on this testbed, by the API server's request log. A right that was never used
//! is too much, and a right that was used but not granted is missing. Runs last in `make test-e2e`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use anyhow::{Context as _, Result, ensure};
use prunella_e2e::{CONTROLLER, NAMESPACE, repository};
use serde::Deserialize as _;
use serde_json::Value;
use testbed::Testbed;
use testbed::audit::Event;

/// All manifests that grant rights.
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
    let [used, denied] = requested(&testbed)?;
    ensure!(!used.is_empty(), "the controller has sent no request");

    let never_used: Vec<_> = granted.difference(&used).filter(|right| !is_checked_by_admission(right)).collect();
    let not_granted: Vec<_> = used.union(&denied).filter(|right| !granted.contains(*right)).collect();
    println!("{} rights are granted, {} were used", granted.len(), used.len());
    ensure!(
        never_used.is_empty() && not_granted.is_empty(),
        "granted but never used: {never_used:#?}\nused but not granted: {not_granted:#?}"
    );
    Ok(())
}

/// Whether the admission policy asks for this right. The controller never sends such a request.
fn is_checked_by_admission((group, resource, verb): &Right) -> bool {
    (group.as_str(), resource.as_str(), verb.as_str()) == ("controller.prunella.dev", "healingactions", "record")
}

/// The rights of all roles that are bound to the controller's account.
fn granted(objects: &[Value]) -> Result<BTreeSet<Right>> {
    let identity = |object: &Value| (text(&object["kind"]), text(&object["metadata"]["name"]));
    let roles: BTreeMap<_, _> = objects.iter().map(|object| (identity(object), &object["rules"])).collect();
    let bindings = objects.iter().filter(|object| text(&object["kind"]).ends_with("RoleBinding"));
    let mut rights = BTreeSet::new();
    for binding in bindings.filter(|binding| is_bound_to_controller(binding)) {
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
    let wildcard = |right: &&Right| [&right.0, &right.1, &right.2].contains(&&"*".to_owned());
    ensure!(!rights.iter().any(|right| wildcard(&right)), "a wildcard is granted: {:?}", rights.iter().find(wildcard));
    Ok(rights)
}

fn is_bound_to_controller(binding: &Value) -> bool {
    list(&binding["subjects"]).iter().any(|subject| subject["name"] == ACCOUNT && subject["namespace"] == NAMESPACE)
}

/// The rights that it used, and those that it was refused.
fn requested(testbed: &Testbed) -> Result<[BTreeSet<Right>; 2]> {
    let path = testbed.layout().audit_log();
    let log = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut used, mut denied) = (BTreeSet::new(), BTreeSet::new());
    // Filtered before parsing: parsing is slow, and few lines of the long log match.
    for line in BufReader::new(log).lines().map_while(Result::ok).filter(|line| line.contains(CONTROLLER)) {
        let Ok(event) = serde_json::from_str::<Event>(&line) else { continue };
        let object = &event.object_ref;
        // Paths without objects, for example /version, need no right.
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
