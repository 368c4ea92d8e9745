//! Runs every example, as a newcomer would, and looks for the lines that it is there to show.
//!
//! `cargo test` builds the examples before it runs this.
#![expect(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::binary;

/// Longest an example may take. They take seconds at most; a machine under load takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn finish(name: &str) -> Output {
    let mut child = Command::new(binary(name))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let began = Instant::now();
    while child.try_wait().expect("it can be waited for").is_none() {
        if began.elapsed() > PATIENCE {
            child.kill().expect("it can be stopped");
            let output = child.wait_with_output().expect("it has ended");
            panic!("{name} has not ended by itself: {output:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("it has ended")
}

#[track_caller]
fn check(name: &str, lines: &[&str]) {
    let output = finish(name);
    let said = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{said}{complaints}", output.status);
    for line in lines {
        assert!(said.lines().any(|l| l.contains(line)), "{name} does not say {line:?}:\n{said}");
    }
}

#[test]
fn quickstart() {
    check(
        "quickstart",
        &[
            "telemetry pump sent {\"bar\":2.5}, number 1",
            "message   the device heard \"open the valve\"",
            "message   its life ended: Completed",
            "feedback  m-1: Success",
            "twin      reported: {\"firmware\":\"1.4\"}",
            r#"twin      the device heard "{\"interval\":5,\"$version\":2}""#,
            "method    status 200: \"done\"",
            "hub       stopped; everything accepted was written: true",
        ],
    );
}

#[test]
fn embed_in_axum() {
    check(
        "embed-in-axum",
        &[
            "application: 200 nothing yet",
            "without a token: 401",
            "with its token: 204",
            "application: 200 21.5",
            "stopped",
        ],
    );
}

#[test]
fn file_upload() {
    check(
        "file-upload",
        &[
            "device    asks: 200, it may write cam/door/1.jpg",
            "device    writes: 201",
            "device    tells: 204",
            "back end  hears of cam/door/1.jpg with 20 bytes",
            "back end  reads \"not really a picture\"",
        ],
    );
}

#[test]
fn custom_auth() {
    check(
        "custom-auth",
        &[
            "pump with the guest's ticket: not authorized: no such ticket",
            "pump is let in; registered: true",
            "pump: telemetry is accepted",
            "pump: its twin is written",
            "guest: telemetry is accepted",
            "guest: its twin is not written: denied by the application",
        ],
    );
}

#[test]
fn consume_log() {
    check(
        "consume-log",
        &[
            "first run: 3 kWh of meter, number 3",
            "first run: billing stands at 4 now",
            "second run: 4 kWh of meter, number 4",
            "second run: billing stands at 6 now",
            "second worker: another reader of the group has moved the cursor",
            "audit: 6 events",
        ],
    );
}

#[test]
fn own_transport() {
    check(
        "own-transport",
        &[
            "device: HELLO, hub: OK 1",
            "device: SEND, hub: OK 2",
            "device: got \"open the valve\"",
            "device: DONE, hub: OK 4",
            "back end: the message is Completed",
            "all connections ended: true",
        ],
    );
}

#[test]
fn own_store() {
    check("own-store", &["waiting messages: 1"]);
}

#[test]
fn graceful_shutdown() {
    check(
        "graceful-shutdown",
        &[
            "connections closed: 1",
            "transports ended in time: true",
            "everything accepted was written: true",
            "the device was told: shutdown",
            "nothing acknowledged was lost: true",
            "a latecomer hears: try again later: the hub shuts down",
        ],
    );
}
