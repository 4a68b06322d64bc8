//! The documents agree with the checkout: links, commands and file names resolve, and the
//! README stays short.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{files, packages, repository};

/// People read the README in three minutes. Details belong in docs/.
const README_LINES_AT_MOST: usize = 200;
/// The files beside the rooms' folders.
const ROOMS: [&str; 4] = ["observe.rs", "judge.rs", "act.rs", "report.rs"];

#[test]
fn the_readme_is_short() {
    let lines = fs::read_to_string(repository().join("README.md")).unwrap().lines().count();
    assert!(lines <= README_LINES_AT_MOST, "README.md has {lines} lines: move details to docs/");
}

/// Both ways: a file that was moved or added is missing in the tables, and a row without its
/// file is wrong.
#[test]
fn the_architecture_names_the_files_of_the_controller_as_they_are() {
    let text = fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    let is_rust = |name: &str| Path::new(name).extension().is_some_and(|extension| extension == "rs");
    let start = text.find("### Inside the controller").unwrap();
    let (_, tables) = text.split_at(start);
    let tables = tables.split("\n## ").next().unwrap();
    let named: BTreeSet<&str> = tables.split('`').filter(|word| is_rust(word)).collect();
    let source = repository().join("crates/controller/src");
    let in_room = |room: &str| {
        let folder = fs::read_dir(source.join(room)).unwrap();
        folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).filter(|name| is_rust(name))
    };
    let files: BTreeSet<String> = ["", "observe", "judge", "act", "report"].into_iter().flat_map(in_room).collect();
    // The folder of a room says what these are.
    let files: BTreeSet<&str> = files.iter().map(String::as_str).filter(|name| !ROOMS.contains(name)).collect();
    let named: BTreeSet<&str> = named.into_iter().filter(|name| !ROOMS.contains(name)).collect();
    assert_eq!(named, files, "left: ARCHITECTURE.md, right: crates/controller/src");
}

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
fn every_relative_link_resolves() {
    let mut broken = Vec::new();
    for document in documents() {
        for target in links(&fs::read_to_string(&document).unwrap()) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let linked = if file.is_empty() { document.clone() } else { document.with_file_name(file) };
            let found = linked.exists()
                && (anchor.is_empty() || anchors(&fs::read_to_string(&linked).unwrap()).contains(anchor));
            if !found {
                broken.push(format!("{} links to {target}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "no such file or heading:\n{}", broken.join("\n"));
}

#[test]
fn every_document_below_docs_is_linked() {
    let mut linked = BTreeSet::new();
    for document in documents() {
        for target in links(&fs::read_to_string(&document).unwrap()) {
            let file = target.split('#').next().unwrap();
            if let Ok(path) = document.with_file_name(file).canonicalize() {
                linked.insert(path);
            }
        }
    }
    for document in files("docs", "md") {
        // Alerts link to the runbooks: see alerts.rs.
        let is_runbook = document.parent().is_some_and(|folder| folder.ends_with("runbooks"));
        let found = linked.contains(&document.canonicalize().unwrap());
        assert!(is_runbook || found, "no document links to {}", document.display());
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
fn every_file_that_the_documents_name_exists() {
    let mut missing = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let words =
            text.split(|c: char| c.is_whitespace() || "`()|,:;#'\"".contains(c)).map(|word| word.trim_end_matches('.'));
        let ours = |word: &&str| {
            ["crates/", "crds/", "deploy/", "docs/", "examples/"].iter().any(|root| word.starts_with(root))
        };
        // The test of ARCHITECTURE.md above checks a crate's own folder.
        for path in words.filter(ours).filter(|path| !path.starts_with("crates/") || path.matches('/').count() > 1) {
            if !repository().join(path).exists() {
                missing.push(format!("{} names {path}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "no such file:\n{}", missing.join("\n"));
}

/// Every Markdown file of the checkout that a reader finds.
pub(crate) fn documents() -> Vec<PathBuf> {
    let top = repository().read_dir().unwrap().map(|entry| entry.unwrap().path());
    let top = top.filter(|path| path.extension().is_some_and(|one| one == "md"));
    top.chain(files("examples", "md")).chain(files("docs", "md")).collect()
}

/// Text that is set as code: between backticks, or the lines of a fence.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().flat_map(move |line| {
        let mark = line.trim_start().starts_with("```");
        fenced ^= mark;
        let whole = (fenced && !mark).then(|| line.trim_start_matches([' ', '$']));
        whole.into_iter().chain(line.split('`').skip(1).step_by(2).filter(move |_| !mark))
    })
}

/// The relative targets of `[text](target)`. Code may look like a link and is left out.
fn links(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        let mark = line.trim_start().starts_with("```");
        fenced ^= mark;
        if !fenced && !mark {
            prose.extend(line.split('`').step_by(2));
            prose.push('\n');
        }
    }
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

/// The anchors that GitHub makes of headings: lower case, hyphens for spaces, without
/// punctuation.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let headings = text.lines().filter(move |line| {
        fenced ^= line.starts_with("```");
        !fenced && line.starts_with('#')
    });
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let anchor = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        heading.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_test_that_the_design_pages_name_exists() {
    let sources = files("crates", "rs").into_iter().chain(files("tests", "rs"));
    let source: String = sources.map(|path| fs::read_to_string(path).unwrap()).collect();
    let functions: BTreeSet<&str> =
        source.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next()).collect();
    let pages = files("docs/design", "md").into_iter().chain([repository().join("ARCHITECTURE.md")]);
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        // A test is named after a behaviour, so its name has at least four words.
        let is_test = |word: &&str| {
            word.matches('_').count() >= 3
                && word.chars().all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        for name in code(&text).filter(is_test) {
            assert!(functions.contains(name), "{} names the test {name}, which does not exist", page.display());
        }
    }
}
