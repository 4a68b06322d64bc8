//! The fields in which two answers differ, and which of these differences are explained.
//!
//! Before that, `side.rs` makes both answers comparable:
//!
//! | what | how | why |
//! |---|---|---|
//! | uids and versions of objects | numbered in the order in which they appear | opaque. That a write made a new version, and the order of versions, is compared |
//! | versions of lists | left out | other clients write at the same time |
//! | times that a server sets | as distance from now, in tens of seconds | the servers are asked one after the other |
//! | `managedFields` | left out | not kept in process. Who changed a field last is tested on a real cluster |
//! | bookmarks | left out, after the order of versions was checked | when they come depends on time |
//! | causes from rules in CEL | left out | not evaluated in process, except that a record never changes |

use serde_json::{Value, json};

use crate::side::Answer;

/// A field that differs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Difference {
    /// A JSON pointer.
    pub(crate) field: String,
    /// `null`: it is absent.
    pub(crate) in_process: Value,
    pub(crate) real: Value,
}

/// All fields in which the answers differ.
pub(crate) fn differences(in_process: &Answer, real: &Answer) -> Vec<Difference> {
    if in_process.code != real.code {
        // One object and one refusal have no field in common.
        let words = |answer: &Answer| {
            let Answer { code, body } = answer;
            json!(format!("{code} {} {}", text(&body["reason"]), text(&body["message"])))
        };
        return vec![Difference { field: "/code".to_owned(), in_process: words(in_process), real: words(real) }];
    }
    let mut found = Vec::new();
    compare("", &in_process.body, &real.body, &mut found);
    found
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn compare(at: &str, in_process: &Value, real: &Value, found: &mut Vec<Difference>) {
    match (in_process, real) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let mut names: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let field = |of: &serde_json::Map<String, Value>| of.get(name).cloned().unwrap_or_default();
                compare(&format!("{at}/{name}"), &field(ours), &field(theirs), found);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            for number in 0..ours.len().max(theirs.len()) {
                let item = |of: &Vec<Value>| of.get(number).cloned().unwrap_or_default();
                compare(&format!("{at}/{number}"), &item(ours), &item(theirs), found);
            }
        }
        _ if in_process == real => {}
        _ => found.push(Difference { field: at.to_owned(), in_process: in_process.clone(), real: real.clone() }),
    }
}

/// Why a difference is none, in the eyes of the controller.
pub(crate) fn explained(difference: &Difference) -> Option<&'static str> {
    let Difference { field, .. } = difference;
    if field.contains("deprecated.daemonset") || difference.real.to_string().contains("deprecated.daemonset") {
        return Some("the annotation of DaemonSets for an API version that is gone: nobody reads it");
    }
    if field == "/message" && difference.real.to_string().contains("is invalid: ") {
        return Some("the words of a 422: its causes are compared, one by one");
    }
    if field == "/message" && difference.real.to_string().contains("invalid continue token") {
        return Some("the words about a token that was never given");
    }
    if field == "/message" && difference.real.to_string().contains("not a known field selector") {
        return Some("the words about a field that cannot be selected: they depend on the kind");
    }
    if field.ends_with("/status/qosClass") {
        return Some("the class of a pod's resources: nobody reads it");
    }
    None
}
