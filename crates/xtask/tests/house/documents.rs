//! The documents keep up with what they tell about.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{files, packages, repository};

#[test]
fn every_crate_is_named_in_the_architecture() {
    let text = fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    let root = repository().canonicalize().unwrap();
    for package in packages() {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap()).canonicalize().unwrap();
        let folder = manifest.parent().unwrap().strip_prefix(&root).unwrap().display().to_string();
        assert!(text.contains(&format!("`{folder}`")), "ARCHITECTURE.md does not name `{folder}`");
    }
}

#[test]
fn every_link_into_the_checkout_leads_somewhere() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in links(&text).filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap();
            assert!(document.with_file_name(file).exists(), "{} links to {target}", document.display());
        }
    }
}

#[test]
fn every_make_command_in_the_documents_is_on_the_menu() {
    let menu = fs::read_to_string(repository().join("Makefile")).unwrap();
    let targets: BTreeSet<&str> = menu.lines().filter_map(|line| line.split(':').next()).collect();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for command in code(&text).filter_map(|code| code.strip_prefix("make ")) {
            let target = command.split_whitespace().find(|word| !word.contains('=')).unwrap();
            assert!(targets.contains(target), "{}: there is no `make {target}`", document.display());
        }
    }
}

#[test]
fn every_file_that_the_documents_name_is_there() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let words =
            text.split(|c: char| c.is_whitespace() || "`()|,:;".contains(c)).map(|word| word.trim_end_matches('.'));
        let ours = |word: &&str| {
            ["crates/", "crds/", "deploy/", "docs/", "examples/"].iter().any(|root| word.starts_with(root))
        };
        // A crate's own folder is for the test above.
        for path in words.filter(ours).filter(|path| !path.starts_with("crates/") || path.matches('/').count() > 1) {
            assert!(repository().join(path).exists(), "{} names {path}, which is not there", document.display());
        }
    }
}

/// Every Markdown file of the checkout.
fn documents() -> Vec<PathBuf> {
    let top = repository().read_dir().unwrap().map(|entry| entry.unwrap().path());
    let top = top.filter(|path| path.extension().is_some_and(|one| one == "md"));
    top.chain(files("examples", "md")).chain(files("docs", "md")).collect()
}

/// What is set as code: between backticks, or on lines of their own within a fence.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().flat_map(move |line| {
        let mark = line.trim_start().starts_with("```");
        fenced ^= mark;
        let whole = (fenced && !mark).then(|| line.trim_start_matches([' ', '$']));
        whole.into_iter().chain(line.split('`').skip(1).step_by(2).filter(move |_| !mark))
    })
}

/// The targets of `[text](target)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}
