//! Validation by the schema of a custom resource. Of the rules in CEL, only `self == oldSelf` is
//! evaluated: it protects the records. The others are for people who write policies.

use regex::Regex;
use serde_json::Value;

use super::refusal::Cause;

/// All fields that do not fit the schema. `before`: the object that is replaced.
pub(super) fn validate(object: &Value, schema: &Value, before: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    check("", object, schema, &mut causes);
    if let Some(before) = before.filter(|_| causes.is_empty()) {
        for field in ["spec", "status"] {
            let rules = schema.pointer(&format!("/properties/{field}/x-kubernetes-validations"));
            for rule in rules.and_then(Value::as_array).into_iter().flatten() {
                if rule["rule"] == "self == oldSelf" && object.get(field) != before.get(field) {
                    let message = rule["message"].as_str().unwrap_or_default();
                    causes.push(Cause::invalid(field, format!("Invalid value: {message}")));
                }
            }
        }
    }
    causes
}

fn check(at: &str, value: &Value, schema: &Value, causes: &mut Vec<Cause>) {
    let number = |name: &str| schema.get(name).and_then(Value::as_f64);
    let count = |name: &str| schema.get(name).and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
    let mut invalid = |message: String| causes.push(Cause::invalid(at, message));
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    if !has_type(value, schema) {
        let (is, must) = (name_of(value), schema["type"].as_str().unwrap_or_default());
        let message = format!("Invalid value: {is:?}: {at} in body must be of type {must}: {is:?}");
        causes.push(Cause { reason: "FieldValueTypeInvalid", ..Cause::invalid(at, message) });
        check_enum(at, value, schema, causes);
        return;
    }
    match value {
        Value::Number(found) => {
            let found = found.as_f64().unwrap_or_default();
            if number("minimum").is_some_and(|minimum| found < minimum) {
                invalid(format!(
                    "Invalid value: {value}: {at} in body should be greater than or equal to {}",
                    number("minimum").unwrap_or_default()
                ));
            }
            if number("maximum").is_some_and(|maximum| found > maximum) {
                invalid(format!(
                    "Invalid value: {value}: {at} in body should be less than or equal to {}",
                    number("maximum").unwrap_or_default()
                ));
            }
        }
        Value::String(text) => check_text(at, text, schema, causes),
        Value::Array(items) => {
            if count("minItems").is_some_and(|least| items.len() < least) {
                invalid(format!(
                    "Invalid value: {}: {at} in body should have at least {} items",
                    items.len(),
                    schema["minItems"]
                ));
            }
            if count("maxItems").is_some_and(|most| items.len() > most) {
                let message = format!("Too many: {}: must have at most {} items", items.len(), schema["maxItems"]);
                causes.push(Cause { reason: "FieldValueTooMany", ..Cause::invalid(at, message) });
            }
            check_keys(at, items, schema, causes);
            for (number, item) in items.iter().enumerate() {
                check(&format!("{at}[{number}]"), item, &schema["items"], causes);
            }
        }
        Value::Object(fields) => {
            if count("maxProperties").is_some_and(|most| fields.len() > most) {
                let message =
                    format!("Too many: {}: must have at most {} items", fields.len(), schema["maxProperties"]);
                causes.push(Cause { reason: "FieldValueTooMany", ..Cause::invalid(at, message) });
            }
            let required = schema.get("required").and_then(Value::as_array);
            for name in required.into_iter().flatten().filter_map(Value::as_str) {
                if !fields.contains_key(name) {
                    let message = "Required value".to_owned();
                    causes.push(Cause { reason: "FieldValueRequired", ..Cause::invalid(&inside(at, name), message) });
                }
            }
            for (name, value) in fields {
                let schema = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
                if schema.is_object() && !(at.is_empty() && name == "metadata") {
                    check(&inside(at, name), value, schema, causes);
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn check_enum(at: &str, value: &Value, schema: &Value, causes: &mut Vec<Cause>) {
    let values = schema.get("enum").and_then(Value::as_array);
    if let Some(values) = values.filter(|values| !values.contains(value)) {
        let values: Vec<String> = values.iter().filter(|value| !value.is_null()).map(Value::to_string).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", values.join(", "));
        causes.push(Cause { reason: "FieldValueNotSupported", ..Cause::invalid(at, message) });
    }
}

fn check_text(at: &str, text: &str, schema: &Value, causes: &mut Vec<Cause>) {
    let length = text.chars().count() as u64;
    check_enum(at, &Value::from(text), schema, causes);
    if schema["minLength"].as_u64().is_some_and(|least| length < least) {
        let message =
            format!("Invalid value: {text:?}: {at} in body should be at least {} chars long", schema["minLength"]);
        causes.push(Cause::invalid(at, message));
    }
    if schema["maxLength"].as_u64().is_some_and(|most| length > most) {
        let message = format!("Too long: may not be more than {} bytes", schema["maxLength"]);
        causes.push(Cause { reason: "FieldValueTooLong", ..Cause::invalid(at, message) });
    }
    let pattern = schema.get("pattern").and_then(Value::as_str);
    if let Some(pattern) = pattern.filter(|pattern| Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text))) {
        causes.push(Cause::invalid(at, format!("Invalid value: {text:?}: {at} in body should match '{pattern}'")));
    }
}

/// In a list that is a map, no two items have the same keys.
fn check_keys(at: &str, items: &[Value], schema: &Value, causes: &mut Vec<Cause>) {
    let Some(names) = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array) else { return };
    let key = |item: &Value| -> Vec<Value> {
        names.iter().filter_map(Value::as_str).map(|name| item[name].clone()).collect()
    };
    for (number, item) in items.iter().enumerate() {
        if items.iter().take(number).any(|earlier| key(earlier) == key(item)) {
            let names = names.iter().filter_map(Value::as_str);
            let keys: serde_json::Map<String, Value> =
                names.map(|name| (name.to_owned(), item[name].clone())).collect();
            let message = format!("Duplicate value: {}", Value::Object(keys));
            let place = format!("{at}[{number}]");
            causes.push(Cause { reason: "FieldValueDuplicate", ..Cause::invalid(&place, message) });
        }
    }
}

fn has_type(value: &Value, schema: &Value) -> bool {
    if schema["x-kubernetes-int-or-string"] == true {
        return value.is_string() || value.is_i64() || value.is_u64();
    }
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => true,
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn inside(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}
