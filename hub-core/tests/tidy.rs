//! The shape of the source: who may know whom, who may ask for the time, how long a file may be.
//!
//! The modules stand on floors, and an arrow may only go down:
//!
//! | floor | modules |
//! |---|---|
//! | 9 | `conformance` |
//! | 8 | `transport` |
//! | 7 | `engine` |
//! | 6 | the traits of `store` and `blob`, and what helps to implement them; `endpoint` |
//! | 5 | `node` |
//! | 4 | `device`, `job`, `bulk` |
//! | 3 | `configuration` |
//! | 2 | `delivery`, `twin`, `method`, `session`, `registry`, `upload`, `inbox`, `roster`, `route`, `quota` |
//! | 1 | `security`, `query` |
//! | 0 | the data of `store` and `blob`; `envelope`, `error`, `frame`, `hello`, `id`, `limits`, `time` |
//!
//! The modules of floor 0 may know each other: they are one body of plain data. Those of floor 2 may
//! not: what two of them share lies below. `engine` and `transport` know each other: a transport is
//! handed a hub, and a hub runs transports.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines beyond which a file has more than one subject.
const LINES_MAX: usize = 600;

/// The floor of a module. A new module has to be put on one.
fn floor(module: &str) -> Option<u8> {
    Some(match module {
        "conformance" => 9,
        "transport" => 8,
        "engine" => 7,
        // Its data; the traits are told apart by name.
        "store" | "blob" => 0,
        "endpoint" => 6,
        "node" => 5,
        "device" | "job" | "bulk" => 4,
        "configuration" => 3,
        "delivery" | "twin" | "method" | "session" | "registry" | "upload" | "inbox" | "roster"
        | "route" | "quota" => 2,
        "security" | "query" => 1,
        "envelope" | "error" | "frame" | "hello" | "id" | "limits" | "time" => 0,
        _ => return None,
    })
}

/// What stands on floor 6, and everybody above may know: the traits of stores and of files, and what
/// helps the authors of stores.
const STORE_TRAITS: [&str; 12] = [
    "Store",
    "Query",
    "Held",
    "Nudged",
    "Nudges",
    "OneLock",
    "Shapes",
    "QueueIndex",
    "ItemTimes",
    "BlobStore",
    "BlobReader",
    "BlobWriter",
];

/// The file of the second trait, which stands on floor 6 with all that it takes and gives.
const STORE_QUERY: &str = "store/query.rs";

fn may_know(from: &str, to: &str, item: Option<&str>) -> Result<(), String> {
    if from == to {
        return Ok(());
    }
    let known = |module: &str| match module {
        STORE_QUERY => Ok(6),
        module => floor(module).ok_or_else(|| format!("{module} is on no floor")),
    };
    let (above, below) = (known(from)?, known(to)?);
    let below = match (to, item) {
        ("store" | "blob", Some(item)) if STORE_TRAITS.contains(&item) => 6,
        _ => below,
    };
    let neighbours = matches!((from, to), ("engine", "transport"));
    if below < above || (above == 0 && below == 0) || neighbours {
        Ok(())
    } else {
        Err(format!("{from} (floor {above}) knows {to} (floor {below})"))
    }
}

/// All files of the crate, with their module: the first part of their path.
fn sources() -> Vec<(PathBuf, String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    let source = |path: PathBuf| {
        let inside = path.strip_prefix(&root).unwrap().to_path_buf();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&path).unwrap();
        (inside, module, text)
    };
    paths.into_iter().map(source).collect()
}

/// The text without comments, and without what is there for the documentation only.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut documentation = false;
    for line in text.lines() {
        let line = line.find("//").map_or(line, |comment| &line[..comment]);
        if line.trim() == "#[cfg(doc)]" {
            documentation = true;
        } else if documentation {
            documentation = !line.contains(';');
        } else {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// Every `crate::module` and the names that follow it: `crate::a::b`, `crate::a::{b, c}`, and
/// `crate::{a::b, c::d}`.
fn references(code: &str) -> BTreeSet<(String, Option<String>)> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        for path in paths(&code[at + "crate::".len()..]) {
            let mut parts = path.split("::");
            let module = parts.next().unwrap().to_owned();
            found.insert((module, parts.next().map(str::to_owned)));
        }
    }
    found
}

/// The paths that a use tree stands for, as far as two names deep.
fn paths(tree: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    if let Some(inner) = tree.strip_prefix('{') {
        return branches(inner).into_iter().flat_map(|branch| paths(&branch)).collect();
    }
    let first = name(tree);
    match tree[first.len()..].strip_prefix("::") {
        None => vec![first],
        Some(rest) => match rest.strip_prefix('{') {
            None => vec![format!("{first}::{}", name(rest))],
            Some(inner) => branches(inner)
                .into_iter()
                .map(|branch| format!("{first}::{}", name(&branch)))
                .collect(),
        },
    }
}

/// The parts of `a, b::{c, d}, e}` up to the brace that ends it.
fn branches(inner: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in inner.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => parts.push(String::new()),
            c => {
                depth += match c {
                    '{' => 1,
                    '}' => -1,
                    _ => 0,
                };
                parts.last_mut().unwrap().push(c);
            }
        }
    }
    let trimmed = parts.iter().map(|part| part.trim().to_owned());
    trimmed.filter(|part| !part.is_empty()).collect()
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn arrows_go_down() {
    let mut problems = Vec::new();
    let mut arrows = 0;
    for (path, module, text) in sources() {
        if module == "lib" {
            continue;
        }
        let module = if path == Path::new(STORE_QUERY) { STORE_QUERY.to_owned() } else { module };
        for (to, item) in references(&code(&text)) {
            arrows += 1;
            // Macros of the kit are at the root of the crate.
            if floor(&to).is_none() && to.starts_with(|c: char| c.is_lowercase()) {
                let root = text.contains("macro_rules!") || module == "conformance";
                if root {
                    continue;
                }
            }
            if let Err(problem) = may_know(&module, &to, item.as_deref()) {
                problems.push(format!("{}: {problem}", path.display()));
            }
        }
    }
    report(&problems);
    assert!(arrows > 200, "only {arrows} arrows were found");
}

#[test]
fn nothing_below_the_engine_asks_for_time_chance_or_a_runtime() {
    const FORBIDDEN: [&str; 9] = [
        "Instant::now",
        "SystemTime::now",
        "rand::",
        "getrandom",
        "tokio::",
        "std::thread",
        "std::fs",
        "TcpStream",
        ".await",
    ];
    let mut problems = Vec::new();
    for (path, module, text) in sources() {
        if module == "lib" || floor(&module).is_none_or(|floor| floor >= 7) {
            continue;
        }
        let code = code(&text);
        for word in FORBIDDEN.into_iter().filter(|word| code.contains(word)) {
            problems.push(format!("{}: {word}", path.display()));
        }
    }
    report(&problems);
}

#[test]
fn files_have_one_subject() {
    let long = |(path, _, text): (PathBuf, String, String)| {
        let lines = text.lines().count();
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines", path.display()))
    };
    report(&sources().into_iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn the_checks_see_what_they_are_to_see() {
    let text = "use crate::id::{Tag, Address};\n// crate::engine\n#[cfg(doc)]\nuse crate::node::X;\n\
                use crate::{error::HubError, store::{Store, Item}};\nlet x: crate::time::Timestamp;\n";
    let seen: Vec<String> = references(&code(text))
        .into_iter()
        .map(|(module, item)| format!("{module}::{}", item.unwrap_or_default()))
        .collect();
    let right = [
        "error::HubError",
        "id::Address",
        "id::Tag",
        "store::Item",
        "store::Store",
        "time::Timestamp",
    ];
    assert_eq!(seen, right);
    assert!(may_know("device", "node", None).is_err());
    assert!(may_know("delivery", "twin", None).is_err());
    assert!(may_know("device", "store", Some("Store")).is_err());
    assert!(may_know("device", "store", Some("Item")).is_ok());
    assert!(may_know("engine", "store", Some("Store")).is_ok());
    assert!(may_know("engine", "transport", None).is_ok());
    assert!(may_know("node", "nowhere", None).is_err());
}
