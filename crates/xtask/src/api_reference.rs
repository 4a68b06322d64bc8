//! docs/reference/api.md: the custom resource definitions as tables, one per object. It is
//! made from the schemas and not from the Rust types, because the schemas are what the API
//! server enforces.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde_json::Value;

const HEAD: &str = "\
# API reference

The kinds of `prunella.dev/v1alpha1`. `kubectl explain healingpolicies.spec` prints the same descriptions.

- A field is *required*, has the default that is shown, or is optional.
- A *duration* is a string such as `90s`, `1m30s` or `500ms`: whole numbers with `h`, `m`, `s` and `ms`, in this order.
- A *list by key* is a map list: server-side apply merges its items by that key.

";

/// The list that all kinds share. It gets one table at the end of the page.
const CONDITIONS: &str = "status.conditions[]";

/// The page, in Markdown.
pub(crate) fn page() -> Result<String> {
    let mut page = HEAD.to_owned();
    let mut conditions = None;
    for (_, crd) in prunella_api::crds() {
        let crd = serde_json::to_value(crd).context("a custom resource definition is not JSON")?;
        kind(&mut page, &crd, &mut conditions)?;
    }
    if let Some(schema) = conditions {
        page.push_str("## Conditions\n\nAll kinds use the same conditions in `status.conditions[]`.\n\n");
        table(&mut page, &schema)?;
    }
    Ok(format!("{}\n", page.trim_end()))
}

/// One kind: what it is, how `kubectl get` shows it, and its objects.
fn kind(page: &mut String, crd: &Value, conditions: &mut Option<Value>) -> Result<()> {
    let spec = &crd["spec"];
    let names = &spec["names"];
    let version = spec["versions"].get(0).context("a custom resource definition has no version")?;
    let schema = &version["schema"]["openAPIV3Schema"];
    writeln!(page, "## {}\n\n{}\n", text(&names["kind"]), text(&schema["description"]))?;
    let scope = if text(&spec["scope"]) == "Namespaced" { "namespace" } else { "cluster" };
    writeln!(page, "- Scope: {scope}. Names for kubectl: {}.", code(&[text(&names["plural"])], &names["shortNames"]))?;
    let columns = |wide: bool| {
        let all = version["additionalPrinterColumns"].as_array().into_iter().flatten();
        let these = all.filter(|column| (column["priority"].as_i64().unwrap_or(0) > 0) == wide);
        these.map(|column| format!("`{}`", text(&column["name"]).to_uppercase())).collect::<Vec<_>>().join(", ")
    };
    writeln!(page, "- Columns of `kubectl get`: {}.", columns(false))?;
    if !columns(true).is_empty() {
        writeln!(page, "- More columns with `-o wide`: {}.", columns(true))?;
    }
    let fields = version["selectableFields"].as_array().into_iter().flatten();
    let fields: Vec<String> =
        fields.map(|field| format!("`{}`", text(&field["jsonPath"]).trim_start_matches('.'))).collect();
    if !fields.is_empty() {
        writeln!(page, "- Fields for `--field-selector`: {}.", fields.join(", "))?;
    }
    for rule in rules(schema) {
        writeln!(page, "- Rule: {rule}.")?;
    }
    page.push('\n');
    for (part, below) in properties(schema).into_iter().filter(|(name, _)| matches!(*name, "spec" | "status")) {
        object(page, text(&names["kind"]), part, below, conditions)?;
    }
    Ok(())
}

/// One object and all objects below it.
fn object(page: &mut String, kind: &str, path: &str, schema: &Value, conditions: &mut Option<Value>) -> Result<()> {
    if path == CONDITIONS {
        conditions.get_or_insert_with(|| schema.clone());
        return Ok(());
    }
    if !properties(schema).is_empty() {
        writeln!(page, "### {kind} {path}\n")?;
        table(page, schema)?;
        for rule in rules(schema) {
            writeln!(page, "- Rule: {rule}.")?;
        }
        if rules(schema).next().is_some() {
            page.push('\n');
        }
    }
    for (name, below) in properties(schema) {
        object(page, kind, &format!("{path}.{name}"), below, conditions)?;
        object(page, kind, &format!("{path}.{name}[]"), &below["items"], conditions)?;
    }
    Ok(())
}

fn table(page: &mut String, schema: &Value) -> Result<()> {
    page.push_str("| field | type | default | bounds | description |\n|---|---|---|---|---|\n");
    for (name, property) in properties(schema) {
        let default = if is_required(schema, name) { "*required*".to_owned() } else { default(property) };
        let (kind, bounds) = (type_of(property), bounds(property));
        let description = text(&property["description"]).replace('\n', " ");
        writeln!(page, "| `{name}` | {kind} | {default} | {bounds} | {} |", escaped(&description))?;
    }
    page.push('\n');
    Ok(())
}

/// The properties of an object, the required ones first.
fn properties(schema: &Value) -> Vec<(&str, &Value)> {
    let mut all: Vec<(&str, &Value)> =
        schema["properties"].as_object().into_iter().flatten().map(|(name, below)| (name.as_str(), below)).collect();
    all.sort_by_key(|(name, _)| (!is_required(schema, name), *name));
    all
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name))
}

fn type_of(property: &Value) -> String {
    if let Some(values) = property["enum"].as_array() {
        return values.iter().map(|value| format!("`{}`", text(value))).collect::<Vec<_>>().join(", ");
    }
    if property["x-kubernetes-int-or-string"] == true {
        return "integer or percentage".to_owned();
    }
    match (text(&property["type"]), text(&property["format"])) {
        ("array", _) => match property["x-kubernetes-list-map-keys"].as_array() {
            Some(keys) => format!("list by {}", code(&[], &Value::Array(keys.clone()))),
            None => format!("list of {}s", type_of(&property["items"])),
        },
        ("object", _) if property["additionalProperties"].is_object() => "map of strings".to_owned(),
        ("string", "date-time") => "time".to_owned(),
        ("string", _) if is_duration(property) => "duration".to_owned(),
        ("string", _) => "string".to_owned(),
        (other, _) => other.to_owned(),
    }
}

fn is_duration(property: &Value) -> bool {
    text(&property["x-kubernetes-validations"][0]["rule"]).contains("ms)")
}

fn default(property: &Value) -> String {
    match &property["default"] {
        // The defaults inside an object are in its own table.
        Value::Null | Value::Object(_) | Value::Array(_) => String::new(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

fn bounds(property: &Value) -> String {
    let mut all = Vec::new();
    if is_duration(property) {
        all.extend(duration_bounds(property));
    } else {
        all.extend(span(property, "minimum", "maximum", ""));
        all.extend(span(property, "minLength", "maxLength", " characters"));
        if let Some(pattern) = property["pattern"].as_str() {
            all.push(format!("`{}`", escaped(pattern)));
        }
    }
    all.extend(span(property, "minItems", "maxItems", " items"));
    all.extend(span(property, "minProperties", "maxProperties", " entries"));
    all.join("; ")
}

fn span(property: &Value, least: &str, most: &str, unit: &str) -> Option<String> {
    let number = |word: &str| property[word].as_f64();
    match (number(least), number(most)) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}")),
        (Some(least), None) => Some(format!("at least {least}{unit}")),
        (None, Some(most)) => Some(format!("at most {most}{unit}")),
        (None, None) => None,
    }
}

/// The bounds of a duration are in its rules.
fn duration_bounds(property: &Value) -> Option<String> {
    let all: Vec<&str> =
        property["x-kubernetes-validations"].as_array().into_iter().flatten().map(|rule| text(&rule["rule"])).collect();
    let bound = |comparison: &str| {
        let begin = format!("duration(self) {comparison} duration('");
        all.iter().find_map(|rule| rule.split(&begin).nth(1)?.split('\'').next())
    };
    match (bound(">="), bound("<=")) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (Some(least), None) => Some(format!("at least {least}")),
        (None, Some(most)) => Some(format!("at most {most}")),
        (None, None) => None,
    }
}

/// What the API server answers when an object breaks one of its rules.
fn rules(schema: &Value) -> impl Iterator<Item = String> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    rules.map(|rule| escaped(text(&rule["message"])))
}

/// Names as code, separated by commas.
fn code(first: &[&str], more: &Value) -> String {
    let more = more.as_array().into_iter().flatten().map(text);
    first.iter().copied().chain(more).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Keeps a text inside one cell of a table.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bounds_of_a_duration_come_from_its_rules() {
        let bounds =
            |rule: &str| duration_bounds(&json!({"x-kubernetes-validations": [{"rule": "a"}, {"rule": rule}]}));
        assert_eq!(bounds("b || duration(self) <= duration('24h')").as_deref(), Some("at most 24h"));
        let both = "duration(self) >= duration('1s') && duration(self) <= duration('1h')";
        assert_eq!(bounds(both).as_deref(), Some("1s to 1h"));
        assert_eq!(bounds("self != ''"), None);
    }

    #[test]
    fn every_cell_stays_in_its_row() {
        let page = page().unwrap();
        for row in page.lines().filter(|line| line.starts_with('|')) {
            let bars = row.replace("\\|", "").matches('|').count();
            assert_eq!(bars, 6, "{row}");
        }
    }
}
