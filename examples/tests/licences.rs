//! Every dependency has a licence that `deny.toml` allows and comes from the public registry.
//!
//! Needs no network and no tool but cargo: it asks cargo what was downloaded for the build.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::process::Command;

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn metadata(more: &[&str]) -> Result<Value, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--offline", "--locked", "--all-features"])
        .args(more)
        .current_dir(ROOT)
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}

/// All packages for all platforms if they are there, else those of this platform, which are.
fn packages() -> Vec<Value> {
    let found = metadata(&[]).or_else(|_| metadata(&["--filter-platform", &host()]));
    let found = found.expect("`cargo fetch` has run");
    found["packages"].as_array().expect("there are packages").clone()
}

/// The platform this was built on, as rustc names it.
fn host() -> String {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("-vV").output().expect("rustc is there");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.expect("it names its host").to_owned()
}

/// The list under `[licenses]`.
fn allowed() -> Vec<String> {
    let text = std::fs::read_to_string(format!("{ROOT}/deny.toml")).expect("deny.toml is there");
    let section = text.split_once("\n[licenses]\n").expect("it has a section for licences").1;
    let list = section.split_once("\nallow = [\n").expect("which has a list").1;
    let list = list.split_once("\n]").expect("which ends").0;
    list.lines().map(|line| line.trim().trim_matches([',', '"']).to_owned()).collect()
}

/// Whether an SPDX expression can be met with these licences. `/` is an old way to write `OR`.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = text.split_whitespace().peekable();
    let met = any(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    if words.next_if_eq(&"(").is_some() {
        return any(words, allowed) & words.next_if_eq(&")").is_some();
    }
    let mut name = words.next().unwrap_or_default().to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        name = format!("{name} WITH {}", words.next().unwrap_or_default());
    }
    allowed.contains(&name)
}

#[test]
fn licences_are_allowed() {
    let allowed = allowed();
    let mut bad = Vec::new();
    for package in packages() {
        let licence = package["license"].as_str().unwrap_or("none stated");
        if !is_met(licence, &allowed) {
            bad.push(format!("{} {}: {licence}", package["name"], package["version"]));
        }
    }
    assert!(bad.is_empty(), "not allowed by deny.toml:\n{}", bad.join("\n"));
}

#[test]
fn dependencies_come_from_the_public_registry() {
    let packages = packages();
    let foreign: Vec<_> = packages
        .iter()
        .filter(|package| match package["source"].as_str() {
            Some(source) => source != "registry+https://github.com/rust-lang/crates.io-index",
            // A path: one of our own.
            None => package["license"] != "MIT OR Apache-2.0",
        })
        .map(|package| package["name"].to_string())
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    assert!(packages.len() > 50, "only {} packages were looked at", packages.len());
}

#[test]
fn expressions_are_understood() {
    let allowed = ["MIT".to_owned(), "A WITH X".to_owned(), "Z".to_owned()];
    for met in ["MIT", "GPL/MIT", "(GPL OR MIT) AND Z", "A WITH X OR A", "GPL AND B OR MIT"] {
        assert!(is_met(met, &allowed), "{met}");
    }
    for not in ["", "GPL", "MIT AND GPL", "A", "(MIT OR GPL) AND GPL", "MIT GPL", "(MIT"] {
        assert!(!is_met(not, &allowed), "{not}");
    }
}
