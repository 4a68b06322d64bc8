//! Checks the tests. It breaks each promise and each guardrail, one at a time, in a copy of
//! the checkout. The test that protects it must fail there. It is an error when the break no
//! longer fits the code, or when the test still passes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// The folder with the descriptions of the breaks.
const FOLDER: &str = "tests/break-it";
/// Folders that are not copied: build output and history.
const LEFT_OUT: [&str; 2] = ["target", ".git"];

/// One change that breaks something.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Break {
    /// What it breaks.
    breaks: String,
    /// The file, from the checkout on.
    file: PathBuf,
    /// The text to replace. The file must contain it exactly once.
    from: String,
    /// The text that replaces it.
    to: String,
    /// The package of the test.
    package: String,
    /// The name of the test, without its modules.
    test: String,
}

/// Tries every break whose description contains `only`.
pub(crate) fn all(checkout: &Path, only: &str) -> Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout.join("target"), PathBuf::from);
    let room = target.join("break-it");
    let copy = room.join("checkout");
    if copy.exists() {
        fs::remove_dir_all(&copy).with_context(|| format!("cannot remove {}", copy.display()))?;
    }
    copy_folder(checkout, &copy)?;
    let wanted: Vec<Break> = read(checkout)?.into_iter().filter(|one| one.breaks.contains(only)).collect();
    ensure!(!wanted.is_empty(), "no break in {FOLDER} has {only:?} in its description");
    let mut uncaught = Vec::new();
    for one in &wanted {
        let started = Instant::now();
        let result = match attempt(one, &copy, &room.join("target")) {
            Ok(()) => "caught",
            Err(error) => {
                uncaught.push(format!("{}: {error:#}", one.breaks));
                "NOT CAUGHT"
            }
        };
        println!("{result:<12} {:>3} s  {} ({})", started.elapsed().as_secs(), one.breaks, one.test);
    }
    ensure!(
        uncaught.is_empty(),
        "{} of {} breaks were not caught:\n{}",
        uncaught.len(),
        wanted.len(),
        uncaught.join("\n")
    );
    println!("all {} breaks were caught", wanted.len());
    Ok(())
}

fn read(checkout: &Path) -> Result<Vec<Break>> {
    let mut all = Vec::new();
    let mut files: Vec<PathBuf> =
        fs::read_dir(checkout.join(FOLDER))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort_unstable_by_key(|file| std::cmp::Reverse(file.clone()));
    for file in files {
        let text = fs::read_to_string(&file)?;
        let breaks: Vec<Break> =
            serde_yaml::from_str(&text).with_context(|| format!("{} is not a list of breaks", file.display()))?;
        all.extend(breaks);
    }
    Ok(all)
}

/// Applies the break, runs the test, and reverts the break.
fn attempt(one: &Break, copy: &Path, target: &Path) -> Result<()> {
    let path = copy.join(&one.file);
    let original = fs::read_to_string(&path).with_context(|| format!("cannot read {}", one.file.display()))?;
    let found = original.matches(&one.from).count();
    ensure!(found == 1, "{} contains this {found} times instead of once: {:?}", one.file.display(), one.from);
    fs::write(&path, original.replace(&one.from, &one.to))?;
    let outcome = catches(one, copy, target);
    fs::write(&path, original)?;
    outcome
}

/// Whether the test fails with the break applied.
fn catches(one: &Break, copy: &Path, target: &Path) -> Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["test", "--locked", "--package", &one.package])
        .args(binary_of(one, copy)?)
        .arg(&one.test)
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target)
        .env("RUST_BACKTRACE", "0")
        .output()
        .context("cannot run cargo")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let has_line = |end: &str| {
        let line = |line: &&str| line.starts_with("test ") && line.contains(&*one.test) && line.ends_with(end);
        printed.lines().any(|text| line(&text))
    };
    if has_line("... FAILED") {
        return Ok(());
    }
    if has_line("... ok") {
        bail!("{} still passes", one.test);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let error = errors.lines().find(|line| line.starts_with("error")).unwrap_or("the test did not run");
    bail!("{}: {error}", one.test)
}

/// The test binary that contains the test, so that only this one is built.
fn binary_of(one: &Break, copy: &Path) -> Result<Vec<String>> {
    let folder = one.package.strip_prefix("prunella-").unwrap_or(&one.package);
    let tests = copy.join("crates").join(folder).join("tests");
    let head = format!("fn {}(", one.test);
    for suite in fs::read_dir(&tests).into_iter().flatten() {
        let suite = suite?.path();
        for file in fs::read_dir(&suite).into_iter().flatten() {
            if fs::read_to_string(file?.path()).is_ok_and(|text| text.contains(&head)) {
                let name = suite.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                return Ok(vec!["--test".to_owned(), name]);
            }
        }
    }
    let library = copy.join("crates").join(folder).join("src").join("lib.rs").exists();
    Ok(vec![if library { "--lib" } else { "--bins" }.to_owned()])
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if LEFT_OUT.iter().any(|left_out| name == *left_out) {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        if entry.file_type()?.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Running all breaks takes minutes. Checking that each still fits the code does not.
    #[test]
    fn every_break_fits_the_code_and_names_a_test() -> Result<()> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let breaks = read(&checkout)?;
        assert!(breaks.len() >= 39, "only {} breaks are left", breaks.len());
        for one in breaks {
            let text = fs::read_to_string(checkout.join(&one.file))?;
            assert_eq!(text.matches(&one.from).count(), 1, "{}: {:?}", one.breaks, one.from);
            let folder = one.package.strip_prefix("prunella-").unwrap_or(&one.package);
            let head = format!("fn {}(", one.test);
            assert!(
                holds(&checkout.join("crates").join(folder), &head)?,
                "{}: there is no test {}",
                one.breaks,
                one.test
            );
        }
        Ok(())
    }

    fn holds(folder: &Path, head: &str) -> Result<bool> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let found = if path.is_dir() {
                holds(&path, head)?
            } else {
                fs::read_to_string(&path).is_ok_and(|text| text.contains(head))
            };
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
