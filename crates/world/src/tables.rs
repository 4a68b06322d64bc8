//! The table that `kubectl get` prints of our kinds, from the columns of their definitions.

use jiff::Timestamp;
use kube::CustomResourceExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::world::World;

/// The objects of a kind as `kubectl get` prints them: a header, and a row for each object.
#[must_use]
pub fn table<K>(world: &World) -> Vec<Vec<String>>
where
    K: CustomResourceExt + kube::Resource<DynamicType = ()> + DeserializeOwned + Serialize,
{
    let version = K::crd().spec.versions.into_iter().next();
    let columns = version.and_then(|version| version.additional_printer_columns).unwrap_or_default();
    let columns: Vec<_> = columns.into_iter().filter(|column| column.priority.unwrap_or(0) == 0).collect();
    let mut rows =
        vec![["NAME".to_owned()].into_iter().chain(columns.iter().map(|one| one.name.to_uppercase())).collect()];
    let now = world.clock().now();
    for object in world.server().all::<K>() {
        let Ok(object) = serde_json::to_value(&object) else { continue };
        let cell = |path: &str, kind: &str| match (lookup(&object, path), kind) {
            (Some(Value::String(time)), "date") => age(time, now),
            (Some(Value::String(text)), _) => text.clone(),
            (Some(other), _) => other.to_string(),
            (None, _) => String::new(),
        };
        let name = cell(".metadata.name", "string");
        let cells = columns.iter().map(|column| cell(&column.json_path, &column.type_));
        rows.push([name].into_iter().chain(cells).collect());
    }
    rows
}

/// The value at a path of these forms: `.a.b`, `.a[0].b`, `.a[?(@.type=="X")].b`.
fn lookup<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut at = object;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(name) = rest.strip_prefix('.') {
            let end = name.find(['.', '[']).unwrap_or(name.len());
            at = at.get(name.get(..end)?)?;
            rest = name.get(end..)?;
        } else {
            let (inside, after) = rest.strip_prefix('[')?.split_once(']')?;
            at = match inside.strip_prefix("?(@.type==\"").and_then(|it| it.strip_suffix("\")")) {
                Some(wanted) => at.as_array()?.iter().find(|one| one["type"] == wanted)?,
                None => at.get(inside.parse::<usize>().ok()?)?,
            };
            rest = after;
        }
    }
    Some(at)
}

/// How long ago, as kubectl prints it.
fn age(time: &str, now: Timestamp) -> String {
    let Ok(then) = time.parse::<Timestamp>() else { return time.to_owned() };
    let seconds = now.duration_since(then).as_secs().max(0);
    match (seconds / 3600, seconds / 60, seconds % 60) {
        (0, 0 | 1, _) => format!("{seconds}s"),
        (0, minutes @ 2..=9, rest) if rest > 0 => format!("{minutes}m{rest}s"),
        (0..=2, minutes, _) => format!("{minutes}m"),
        (hours, ..) => format!("{hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_of_printer_columns_are_found() {
        let object = json!({"a": {"b": [{"type": "X", "status": "True"}, {"type": "Y", "status": "False"}]}});
        assert_eq!(lookup(&object, ".a.b[?(@.type==\"Y\")].status"), Some(&json!("False")));
        assert_eq!(lookup(&object, ".a.b[0].type"), Some(&json!("X")));
        assert_eq!(lookup(&object, ".a.c"), None);
    }

    #[test]
    fn ages_are_as_kubectl_prints_them() {
        let now: Timestamp = "2026-01-01T04:00:00Z".parse().unwrap();
        for (then, expected) in [
            ("2026-01-01T03:59:15Z", "45s"),
            ("2026-01-01T03:58:15Z", "105s"),
            ("2026-01-01T03:55:30Z", "4m30s"),
            ("2026-01-01T03:15:00Z", "45m"),
        ] {
            assert_eq!(age(then, now), expected);
        }
    }
}
