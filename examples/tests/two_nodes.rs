//! Runs `two-nodes-one-postgres` on a server of its own, or on the one that `HUB_POSTGRES_URL` names.
#![expect(clippy::expect_used, reason = "tests fail by panicking")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use common::binary;

#[test]
fn two_nodes_one_postgres() {
    let mut server = None;
    let url = std::env::var("HUB_POSTGRES_URL").unwrap_or_else(|_| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/postgres");
        // It ends with its input, which this test holds.
        let mut started = Command::new(script)
            .arg("run")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script can be started");
        let out = started.stdout.take().expect("it is piped");
        server = Some(started);
        let mut url = String::new();
        BufReader::new(out).read_line(&mut url).expect("it says where the server is");
        url.trim().to_owned()
    });
    let output = Command::new(binary("two-nodes-one-postgres"))
        .arg(&url)
        .stdin(Stdio::null())
        .output()
        .expect("it can be started");
    if let Some(mut server) = server {
        drop(server.stdin.take());
        server.wait().expect("the server stops");
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}{complaints}", output.status);
    for line in [
        "pump at north: b\"open the valve\"",
        "back end at south: b\"\\\"restart done at north\\\"\"",
        "pump at north: closed, taken over by a new connection",
        "back end at north: b\"\\\"restart done at south\\\"\"",
        "south stopped, everything accepted was written: true",
        "pump at south: closed, shutdown",
        "pump at north: b\"close the valve\"",
    ] {
        assert!(said.lines().any(|found| found == line), "it does not say {line}:\n{said}");
    }
}
