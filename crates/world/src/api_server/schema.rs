//! Defaults and pruning by the schema of a custom resource. Its validation is not simulated.

use serde_json::Value;

/// Removes fields that the schema does not have, and sets the defaults of those that are missing.
pub(super) fn complete(object: &mut Value, schema: &Value) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let Some(fields) = object.as_object_mut() else { return };
    // The API server itself knows the type and the metadata.
    fields
        .retain(|name, _| properties.contains_key(name) || matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
    for (name, schema) in properties.iter().filter(|(name, _)| *name != "metadata") {
        if let (None, Some(default)) = (fields.get(name), schema.get("default")) {
            fields.insert(name.clone(), default.clone());
        }
        if let Some(value) = fields.get_mut(name) {
            inside(value, schema);
        }
    }
}

fn inside(value: &mut Value, schema: &Value) {
    match value {
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    inside(item, schema);
                }
            }
        }
        Value::Object(fields) => {
            if schema.get("properties").is_some() {
                complete(value, schema);
            } else if let Some(schema) = schema.get("additionalProperties").filter(|schema| schema.is_object()) {
                for value in fields.values_mut() {
                    inside(value, schema);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_set_at_every_depth_and_unknown_fields_are_dropped() {
        let leaf = json!({"properties": {"mode": {"default": "DryRun"}, "name": {}}});
        let schema = json!({"properties": {"spec": {"properties": {
            "one": leaf, "many": {"items": leaf}, "by": {"additionalProperties": leaf}, "set": {"default": 3},
        }}}});
        let mut object = json!({
            "kind": "A", "metadata": {"name": "a"}, "other": 1,
            "spec": {"one": {"mode": "Enforce"}, "many": [{"name": "a", "nmae": "b"}], "by": {"x": {}}},
        });
        complete(&mut object, &schema);
        let expected = json!({
            "kind": "A", "metadata": {"name": "a"},
            "spec": {"one": {"mode": "Enforce"}, "many": [{"name": "a", "mode": "DryRun"}],
                     "by": {"x": {"mode": "DryRun"}}, "set": 3},
        });
        assert_eq!(object, expected);
    }
}
