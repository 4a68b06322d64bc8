//! One name, one meaning: in the crates that are shipped, no two types have the same name.

use std::collections::BTreeMap;
use std::fs;

use super::{files, repository};

/// The crates that are shipped.
const CRATES: [&str; 5] = ["api", "core", "signals", "cluster", "controller"];

#[test]
fn no_two_types_have_the_same_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in CRATES.iter().flat_map(|one| files(&format!("crates/{one}/src"), "rs")) {
        let place = path.strip_prefix(repository()).unwrap().display().to_string();
        for line in fs::read_to_string(&path).unwrap().lines() {
            // An associated type, such as `type Err = …;`, is part of a trait and not a name of ours.
            let line = line.trim_start();
            let is_public = line.starts_with("pub");
            let rest =
                line.trim_start_matches("pub").trim_start_matches("(crate)").trim_start_matches("(super)").trim_start();
            let Some((keyword, rest)) = rest.split_once(' ') else { continue };
            let defines_type = matches!(keyword, "struct" | "enum" | "trait") || (keyword == "type" && is_public);
            if !defines_type {
                continue;
            }
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
            if name.starts_with(char::is_uppercase) {
                places.entry(name).or_default().push(place.clone());
            }
        }
    }
    let twice: Vec<_> = places.iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(twice.is_empty(), "{twice:#?}");
}
