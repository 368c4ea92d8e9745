//! What needs a PostgreSQL: the example with a transaction, and hubd on a database.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

mod common;
#[path = "../../hub-store-postgres/tests/server/mod.rs"]
mod server;

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::binary;

fn run(name: &str, args: &[&str], url: Option<&str>) -> Output {
    let mut command = Command::new(binary(name));
    command.args(args).stdin(Stdio::null());
    if let Some(url) = url {
        command.env("HUB_POSTGRES_URL", url);
    }
    command.output().expect("it can be started")
}

#[test]
fn transaction() {
    let output = run("transaction", &[], Some(server::url()));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "order     1 and message 1 are durable together",
        "ordered   coffee; messages waiting: 1",
        "ordered   gold: refused true; messages waiting: 1",
        "received  hand out one coffee",
        r#"twin      {"desired":{"last":"coffee","$version":2}"#,
    ] {
        assert!(said.contains(line), "it does not say {line:?}:\n{said}");
    }
}

/// Runs hubd with a store that it cannot use: exit code 2, one line, soon.
fn refused(store: &str) -> String {
    let data = std::env::temp_dir().join(format!("hubd-refused-{}", std::process::id()));
    let data = data.to_str().unwrap();
    let began = Instant::now();
    let mut args = vec!["--store", store, "--data-dir", data, "--mqtts", "off", "--https", "off"];
    args.extend(["--amqps", "off", "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    let output = run("hubd", &args, None);
    // Far beyond its time to connect, but no hang.
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    std::fs::remove_dir_all(data).ok();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{complaint}");
    let lines: Vec<_> = complaint.lines().filter(|line| line.starts_with("hubd: ")).collect();
    assert_eq!(lines.len(), 1, "{complaint}");
    assert!(output.stdout.is_empty());
    lines[0].to_owned()
}

#[test]
fn hubd_says_in_one_line_why_it_has_no_store() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = nobody.local_addr().unwrap();
    drop(nobody);
    // Takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().map(|addr| (silent, addr)).unwrap();
    for (store, says) in [
        (format!("postgres://hub@{free}/postgres"), "no PostgreSQL at 127.0.0.1"),
        (format!("postgres://hub@{}/postgres", silent.1), "no PostgreSQL at 127.0.0.1"),
        (
            format!("{}/missing", server::url().rsplit_once('/').unwrap().0),
            "has no database missing",
        ),
        ("postgres://h/db?schema=public".to_owned(), "not the hub's to fill"),
        ("postgres://hub@h/db?sslmode=odd".to_owned(), "sslmode odd"),
        ("mysql://h/db".to_owned(), "memory, file:DIR or postgres://"),
    ] {
        let line = refused(&store);
        assert!(line.contains(says), "{store}: {line}");
    }
}
