//! Label and field selectors of a request.

use serde_json::Value;

use super::kinds::Kind;
use super::refusal::Refusal;

/// Which objects a list or a watch is about.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Selection {
    labels: Vec<(String, LabelRule)>,
    /// JSON pointer, whether it must be equal, value.
    fields: Vec<(String, bool, String)>,
}

#[derive(Debug, Clone, PartialEq)]
enum LabelRule {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Selection {
    /// Reads the two selectors of a request for `kind`.
    ///
    /// # Errors
    /// 400: a selector does not parse, or names a field that cannot be selected.
    pub(super) fn read(kind: &Kind, labels: &str, fields: &str) -> Result<Self, Refusal> {
        let labels = split(labels).into_iter().map(label_rule).collect::<Result<_, _>>()?;
        let fields = split(fields).into_iter().map(|rule| field_rule(kind, rule)).collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// Whether the object is selected. A field that is absent equals the empty text.
    pub(super) fn matches(&self, object: &Value) -> bool {
        let label = |name: &str| object.get("metadata")?.get("labels")?.get(name)?.as_str();
        let by_labels = self.labels.iter().all(|(name, rule)| match (rule, label(name)) {
            (LabelRule::In(values), Some(value)) => values.iter().any(|one| one == value),
            (LabelRule::NotIn(values), Some(value)) => values.iter().all(|one| one != value),
            (LabelRule::In(_) | LabelRule::Exists, None) | (LabelRule::Absent, Some(_)) => false,
            (LabelRule::NotIn(_) | LabelRule::Absent, None) | (LabelRule::Exists, Some(_)) => true,
        });
        let field = |pointer: &str| match object.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        };
        by_labels && self.fields.iter().all(|(pointer, equal, value)| (field(pointer) == *value) == *equal)
    }
}

/// Splits at commas that are not in parentheses.
fn split(selector: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_usize, 0, Vec::new());
    for (at, c) in selector.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.extend(selector.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(selector.get(start..));
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn label_rule(rule: &str) -> Result<(String, LabelRule), Refusal> {
    let named = |name: &str, rule| Ok((name.trim().to_owned(), rule));
    let values = |text: &str| {
        let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|value| value.trim().to_owned()).collect::<Vec<_>>())
    };
    let refused = || Refusal::bad_request(format!("unable to parse requirement: {rule}"));
    if let Some((name, text)) = rule.split_once(" notin ") {
        return named(name, LabelRule::NotIn(values(text).ok_or_else(refused)?));
    }
    if let Some((name, text)) = rule.split_once(" in ") {
        return named(name, LabelRule::In(values(text).ok_or_else(refused)?));
    }
    if let Some((name, value)) = rule.split_once("!=") {
        return named(name, LabelRule::NotIn(vec![value.trim().to_owned()]));
    }
    if let Some((name, value)) = rule.split_once("==").or_else(|| rule.split_once('=')) {
        return named(name, LabelRule::In(vec![value.trim().to_owned()]));
    }
    match rule.strip_prefix('!') {
        Some(name) => named(name, LabelRule::Absent),
        None if rule.contains(char::is_whitespace) => Err(refused()),
        None => named(rule, LabelRule::Exists),
    }
}

fn field_rule(kind: &Kind, rule: &str) -> Result<(String, bool, String), Refusal> {
    let (field, equal, value) = if let Some((field, value)) = rule.split_once("!=") {
        (field, false, value)
    } else if let Some((field, value)) = rule.split_once("==").or_else(|| rule.split_once('=')) {
        (field, true, value)
    } else {
        return Err(Refusal::bad_request(format!("invalid field selector: {rule}")));
    };
    Ok((kind.pointer(field)?, equal, value.to_owned()))
}
