//! The project's pages lead somewhere: every relative link, and every file that they name.
#![expect(clippy::expect_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member has a workspace").to_owned()
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// The pages at the root and below `docs`.
fn pages() -> Vec<PathBuf> {
    let mut folders = vec![root().join("docs")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("it can be read") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if is_page(&path) {
                found.push(path);
            }
        }
    }
    let top = fs::read_dir(root()).expect("it can be read").flatten().map(|entry| entry.path());
    found.extend(top.filter(|path| is_page(path)));
    found
}

/// What stands between two marks, each time they occur.
fn between<'t>(text: &'t str, open: &'t str, close: char) -> impl Iterator<Item = &'t str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split_once(close).map(|(found, _)| found))
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    let mut looked_at = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("it can be read");
        let folder = page.parent().expect("a page is in a folder");
        for link in between(&text, "](", ')').filter(|link| !link.contains("://")) {
            let file = link.split('#').next().unwrap_or_default();
            looked_at += 1;
            if !folder.join(file).exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(looked_at > 20, "only {looked_at} links were found");
}

/// A path in backquotes that begins with a folder of the workspace.
#[test]
fn files_that_are_named_exist() {
    let folders: Vec<String> = fs::read_dir(root())
        .expect("it can be read")
        .flatten()
        .filter(|entry| entry.path().is_dir() && entry.file_name() != "target")
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let mut missing = Vec::new();
    let mut looked_at = 0;
    for page in pages() {
        for line in fs::read_to_string(&page).expect("it can be read").lines() {
            // Every other piece is between backquotes.
            for name in line.split('`').skip(1).step_by(2) {
                let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
                let (first, rest) = name.split_once('/').unwrap_or((name, ""));
                if !plain || rest.is_empty() || !folders.iter().any(|folder| folder == first) {
                    continue;
                }
                looked_at += 1;
                if !root().join(name).exists() {
                    missing.push(format!("{}: {name}", page.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(looked_at > 20, "only {looked_at} names were found");
}
