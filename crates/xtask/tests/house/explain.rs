//! `kubectl explain` reads as a manual: every property of every kind has a sentence of its
//! own, with its bounds and its default.

use std::collections::BTreeMap;

use serde_json::Value;

/// How a text says what an absent property means.
const WHEN_ABSENT: [&str; 5] = ["Default: ", "Give exactly one", "Use this instead of", "Required with", "Absent for"];

/// A property and the schema of the object around it.
struct Property<'a> {
    /// For example `HealingPolicy.spec.limits.cooldown`.
    path: String,
    name: &'a str,
    schema: &'a Value,
    parent: &'a Value,
}

impl Property<'_> {
    fn description(&self) -> &str {
        self.schema["description"].as_str().unwrap_or_default()
    }

    fn is_of_a_spec(&self) -> bool {
        self.path.contains(".spec.")
    }

    fn is_one_value(&self) -> bool {
        !matches!(self.schema["type"].as_str(), Some("object" | "array"))
    }

    fn is_duration(&self) -> bool {
        self.schema["type"] == "string" && self.rules().any(|rule| rule.contains("ms)"))
    }

    fn is_required(&self) -> bool {
        self.parent["required"].as_array().is_some_and(|names| names.iter().any(|name| name == self.name))
    }

    /// Bounds and default of the schema, which the text must repeat.
    fn must_say(&self) -> Vec<String> {
        let counts = ["minimum", "maximum", "maxItems", "maxProperties"].map(|word| &self.schema[word]);
        let counts = counts.into_iter().filter_map(Value::as_f64).map(|count| count.to_string());
        // A rule bounds every duration. The length of its text does not matter.
        let length = self.schema["maxLength"].as_u64().filter(|_| !self.is_duration()).map(|length| length.to_string());
        let default = match &self.schema["default"] {
            Value::Null | Value::Object(_) | Value::Array(_) => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        counts.chain(length).chain(default).chain(self.rules().flat_map(durations)).collect()
    }

    /// The rules about this property.
    fn rules(&self) -> impl Iterator<Item = &str> {
        let rules = self.schema["x-kubernetes-validations"].as_array().into_iter().flatten();
        rules.filter_map(|rule| rule["rule"].as_str())
    }
}

/// The bounds in a rule: `24h` of `duration('24h')`.
fn durations(rule: &str) -> impl Iterator<Item = String> {
    rule.split("duration('").skip(1).filter_map(|rest| rest.split('\'').next()).map(str::to_owned)
}

#[test]
fn every_property_is_described_in_a_sentence() {
    let mut bad = Vec::new();
    check(|property| {
        let text = property.description();
        let begins = text.chars().next().is_some_and(char::is_uppercase);
        if !begins || !text.ends_with('.') || text.split_whitespace().count() < 4 {
            bad.push(format!("{}: {text:?}", property.path));
        }
    });
    assert!(bad.is_empty(), "no sentences (Capital, four words, full stop):\n{}", bad.join("\n"));
}

#[test]
fn no_two_properties_of_a_kind_have_the_same_description() {
    let mut seen: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    check(|property| {
        let kind = property.path.split('.').next().unwrap().to_owned();
        seen.entry((kind, property.description().to_owned())).or_default().push(property.path.clone());
    });
    let alike: Vec<_> = seen.into_iter().filter(|(_, paths)| paths.len() > 1).collect();
    assert!(alike.is_empty(), "the same description for different properties: {alike:#?}");
}

#[test]
fn a_description_gives_bounds_and_default() {
    let mut bad = Vec::new();
    check(|property| {
        if !property.is_of_a_spec() {
            return;
        }
        let text = property.description();
        let said = |number: &String| {
            text.split(|c: char| !c.is_alphanumeric() && !"%-".contains(c)).any(|word| word == number)
        };
        for missing in property.must_say().iter().filter(|number| !said(number)) {
            bad.push(format!("{} does not say {missing}: {text:?}", property.path));
        }
        if property.is_one_value() && !property.is_required() && !WHEN_ABSENT.iter().any(|words| text.contains(words)) {
            bad.push(format!("{} does not say what its absence means: {text:?}", property.path));
        }
    });
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn every_duration_that_users_write_is_bounded() {
    // The controller writes HealingActions and copies the duration from a policy.
    check(|property| {
        if property.is_duration() && property.is_of_a_spec() && !property.path.starts_with("HealingAction.") {
            let bounds = property.rules().flat_map(durations).count();
            assert!(bounds > 0, "{} has no rule that bounds it", property.path);
        }
    });
}

/// The API server would answer with the expression, which tells nobody what to write.
#[test]
fn a_wrong_duration_is_answered_without_a_regular_expression() {
    check(|property| {
        if property.is_duration() {
            let first = &property.schema["x-kubernetes-validations"][0];
            assert_eq!(property.schema["pattern"], Value::Null, "{}", property.path);
            assert_eq!(first["message"], "use a duration such as 90s, 5m or 1h30m", "{}", property.path);
        }
        for rule in property.rules() {
            assert_eq!(read_unmatched(rule), Vec::<&str>::new(), "{}: {rule}", property.path);
        }
    });
}

#[test]
fn a_rule_reads_a_duration_only_after_it_has_matched_its_form() {
    for (rule, unmatched) in [
        ("!self.matches('^[0-9]+s$') || duration(self) > duration('1s')", vec![]),
        ("duration(self) > duration('1s') || self.matches('^[0-9]+s$')", vec!["self"]),
        ("!self.a.matches('s$') || duration(self.a) > duration(self.b)", vec!["self.b"]),
        ("!other.self.matches('s$') || duration(self) > duration( step.within )", vec!["self", "step.within"]),
    ] {
        assert_eq!(read_unmatched(rule), unmatched, "{rule}");
    }
}

/// What `rule` reads with `duration()` without having matched its form before. A text between quotes has
/// the right form.
fn read_unmatched(rule: &str) -> Vec<&str> {
    let reads = rule.match_indices("duration(").filter_map(|(at, name)| {
        let field = rule[at + name.len()..].split(')').next()?.trim();
        (!field.starts_with('\'') && !matches_form(&rule[..at], field)).then_some(field)
    });
    reads.collect()
}

fn matches_form(rule: &str, field: &str) -> bool {
    let is_whole = |at: usize| !rule[..at].ends_with(|c: char| c == '.' || c == '_' || c.is_alphanumeric());
    rule.match_indices(&format!("{field}.matches(")).any(|(at, _)| is_whole(at))
}

/// Applies `check` to every property of every kind.
fn check(mut check: impl FnMut(&Property<'_>)) {
    let mut count = 0;
    for (_, crd) in prunella_api::crds() {
        let crd = serde_json::to_value(crd).unwrap();
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let schema = &version["schema"]["openAPIV3Schema"];
            assert!(
                schema["description"].as_str().is_some_and(|text| text.ends_with('.')),
                "{kind} has no description"
            );
            walk(kind, schema, &mut |property| {
                count += 1;
                check(property);
            });
        }
    }
    assert!(count > 100, "only {count} properties");
}

fn walk(path: &str, parent: &Value, check: &mut impl FnMut(&Property<'_>)) {
    for (name, schema) in parent["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        check(&Property { path: path.clone(), name, schema, parent });
        walk(&path, schema, check);
        walk(&format!("{path}[]"), &schema["items"], check);
        walk(&format!("{path}{{}}"), &schema["additionalProperties"], check);
    }
}
