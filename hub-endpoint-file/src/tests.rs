//! Writing batches, and what is found afterwards.

use bytes::Bytes;
use hub_core::engine::Hub;
use hub_core::envelope::{Event, EventSource, Properties};
use hub_core::id::{Address, Partition, SequenceNumber};
use hub_core::registry::IdentitySpec;
use hub_core::route::RouteSpec;
use hub_core::time::Timestamp;
use hub_store_memory::MemoryStore;
use serde_json::Value;

use super::*;

const NOON: &str = "2026-01-05T12:00:30Z";

fn event(sequence: u64, at: &str) -> Event {
    Event {
        partition: Partition(2),
        sequence: SequenceNumber(sequence),
        enqueued: Timestamp::parse(at).unwrap(),
        source: EventSource::Telemetry,
        sender: Address::parse("d1").unwrap(),
        generation: "1".into(),
        auth: None,
        model: None,
        properties: Properties::default(),
        body: Bytes::from_static(b"x"),
    }
}

fn batch(events: Vec<Event>) -> Outgoing {
    Outgoing::new("my-hub", "files", Partition(2), events)
}

fn sequences(directory: &Path, minute: &str) -> Vec<u64> {
    let path = directory.join(format!("my-hub/02/2026/01/05/12/{minute}.json"));
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'));
    let number = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["SequenceNumber"].as_u64().unwrap()
    };
    text.lines().map(number).collect()
}

#[tokio::test]
async fn events_are_lines_in_the_file_of_their_minute() {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = FileEndpoint::new(directory.path(), Pattern::default());
    let events = [(1, NOON), (2, NOON), (3, "2026-01-05T12:01:00Z"), (4, "2026-01-05T12:01:59Z")];
    let events = events.map(|(sequence, at)| event(sequence, at)).to_vec();
    endpoint.deliver(&batch(events)).await.unwrap();
    endpoint.deliver(&batch(vec![event(5, "2026-01-05T12:01:59Z")])).await.unwrap();
    assert_eq!(sequences(directory.path(), "00"), [1, 2]);
    assert_eq!(sequences(directory.path(), "01"), [3, 4, 5]);
}

#[tokio::test]
async fn half_a_line_is_cut_off_before_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = FileEndpoint::new(directory.path(), Pattern::default());
    endpoint.deliver(&batch(vec![event(1, NOON)])).await.unwrap();
    let path = directory.path().join("my-hub/02/2026/01/05/12/00.json");
    for (left, next) in [("{\"half".to_owned(), 2), ("x".repeat(10_000), 3)] {
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(left.as_bytes()).unwrap();
        endpoint.deliver(&batch(vec![event(next, NOON)])).await.unwrap();
    }
    assert_eq!(sequences(directory.path(), "00"), [1, 2, 3]);
    // A file that is nothing but half a line.
    fs::write(&path, "{").unwrap();
    endpoint.deliver(&batch(vec![event(4, NOON)])).await.unwrap();
    assert_eq!(sequences(directory.path(), "00"), [4]);
}

#[tokio::test]
async fn what_was_written_before_a_failure_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = FileEndpoint::new(directory.path(), Pattern::default());
    // In place of the second file there is a directory.
    let second = directory.path().join("my-hub/02/2026/01/05/12/01.json");
    fs::create_dir_all(&second).unwrap();
    let events = vec![event(1, NOON), event(2, NOON), event(3, "2026-01-05T12:01:00Z")];
    let failure = endpoint.deliver(&batch(events)).await.unwrap_err();
    assert_eq!((failure.kind, failure.taken), (FailureKind::Transient, 2));
    assert_eq!(sequences(directory.path(), "00"), [1, 2]);
}

#[tokio::test]
async fn a_hub_writes_what_a_route_sends_there() {
    let directory = tempfile::tempdir().unwrap();
    let hub = Hub::builder(MemoryStore::new())
        .host_name("my-hub.example.net")
        .endpoint("files", FileEndpoint::new(directory.path(), Pattern::default()))
        .routes([RouteSpec::new("all", EventSource::Telemetry, "true", "files")])
        .start()
        .unwrap();
    let d1 = Address::parse("d1").unwrap();
    hub.registry().put(&IdentitySpec::new(d1.clone()), None).await.unwrap();
    let mut device = hub.device(&d1).await.unwrap();
    for _ in 0..20 {
        device.send(b"x", &[]).await.unwrap();
    }
    hub.registry().get(&d1).await.unwrap();
    let delivered = async {
        while hub.endpoint_health().await.unwrap()[0].delivered < 20 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), delivered).await.unwrap();
    let mut lines = 0;
    let mut folders = vec![directory.path().join("my-hub")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => lines += fs::read_to_string(path).unwrap().lines().count(),
            }
        }
    }
    assert_eq!(lines, 20);
}
