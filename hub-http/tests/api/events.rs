//! Reading the event log.

use std::time::Duration;

use crate::client::{Client, Server, server};
use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt as _, Empty};
use hub_core::id::Address;
use hyper::body::Incoming;
use serde_json::{Value, json};

/// Registers a device and gives the path of its partition.
async fn partition(server: &Server) -> String {
    server.register("d1").await;
    let number = Address::parse("d1").unwrap().partition(server.hub.partitions());
    format!("/messages/events/ConsumerGroups/%24Default/Partitions/{number}")
}

async fn send(server: &Server, bodies: impl IntoIterator<Item = String>) {
    let device = server.device("d1").await;
    for body in bodies {
        device.post("/devices/d1/messages/events", body).await.expect(204);
    }
}

fn numbered(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    range.map(|number| format!("e{number}"))
}

fn sequences(page: &Value) -> Vec<u64> {
    let events = page["events"].as_array().unwrap().iter();
    events.map(|event| event["sequenceNumber"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn the_log_is_read_page_by_page() {
    let server = server().await;
    let path = partition(&server).await;
    let service = server.policy("service");
    let empty = service.get(&format!("{path}?from=earliest")).await.expect(200).json();
    assert_eq!(empty, json!({"events": [], "next": 1}));
    let before = server.hub.now();
    send(&server, numbered(0..5)).await;
    let page = service.get(&format!("{path}?from=earliest&max=2")).await.expect(200).json();
    assert_eq!((sequences(&page), &page["next"]), (vec![1, 2], &json!(3)));
    let event = &page["events"][0];
    assert_eq!((&event["body"], &event["offset"]), (&json!("ZTA="), &json!("1")));
    assert_eq!(event["systemProperties"]["iothub-connection-device-id"], "d1");
    assert_eq!(event["systemProperties"]["iothub-message-source"], "Telemetry");
    let page = service.get(&format!("{path}?from=sequence:3")).await.expect(200).json();
    assert_eq!((sequences(&page), &page["next"]), (vec![3, 4, 5], &json!(6)));
    let page = service.get(&format!("{path}?from=sequence%3A6")).await.expect(200).json();
    assert_eq!((sequences(&page), &page["next"]), (vec![], &json!(6)));
    let page = service.get(&format!("{path}?from=latest")).await.expect(200).json();
    assert_eq!(page, json!({"events": [], "next": 6}));
    let page = service.get(&format!("{path}?from=time:{before}")).await.expect(200).json();
    assert_eq!(sequences(&page), [1, 2, 3, 4, 5]);
    let later = server.in_an_hour();
    let page = service.get(&format!("{path}?from=time:{later}")).await.expect(200).json();
    assert!(sequences(&page).is_empty());
    let page = service.get(&format!("{path}?from=earliest&max=0")).await.expect(200).json();
    assert_eq!((sequences(&page), &page["next"]), (vec![], &json!(1)));

    let partitions = service.get("/messages/events/partitions").await.expect(200).json();
    assert_eq!(partitions.as_array().unwrap().len(), 4);
    let own = partitions
        .as_array()
        .unwrap()
        .iter()
        .find(|found| path.ends_with(&format!("/{}", found["partition"].as_str().unwrap())))
        .unwrap();
    assert_eq!((&own["first"], &own["next"]), (&json!(1), &json!(6)));
    assert!(own["lastEnqueuedTime"].is_string());
}

#[tokio::test]
async fn a_page_waits_for_its_first_event() {
    let server = server().await;
    let path = partition(&server).await;
    let service = server.policy("service");
    let none = service.get(&format!("{path}?from=latest&wait=1")).await.expect(200).json();
    assert_eq!(none, json!({"events": [], "next": 1}));
    let waiting = tokio::spawn(async move {
        service.get(&format!("{path}?from=sequence:1&wait=30")).await.expect(200).json()
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    send(&server, ["x".to_owned()]).await;
    assert_eq!(sequences(&waiting.await.unwrap()), [1]);
}

#[tokio::test]
async fn a_page_of_large_events_ends_early() {
    let server = server().await;
    let path = partition(&server).await;
    send(&server, (0..20).map(|_| "x".repeat(250_000))).await;
    let service = server.policy("service");
    let (mut seen, mut pages, mut next) = (Vec::new(), 0, 1);
    while seen.len() < 20 {
        let page = service.get(&format!("{path}?from=sequence:{next}&max=1000")).await.expect(200);
        assert!(page.body.len() < 5_000_000, "{}", page.body.len());
        seen.extend(sequences(&page.json()));
        next = page.json()["next"].as_u64().unwrap();
        pages += 1;
    }
    assert_eq!(seen, (1..=20).collect::<Vec<u64>>());
    assert!(pages > 1);
}

#[tokio::test]
async fn a_group_has_a_cursor() {
    let server = server().await;
    let path = partition(&server).await;
    let service = server.policy("service");
    send(&server, numbered(0..3)).await;
    let cursor = format!("{path}/cursor");
    assert_eq!(service.get(&cursor).await.expect(200).json(), json!({"next": null}));
    // Without a position the cursor is meant, and a group without one begins at the oldest event.
    assert_eq!(sequences(&service.get(&path).await.json()), [1, 2, 3]);
    let moved = service.put(&cursor, r#"{"next":3}"#).await.expect(200);
    assert_eq!((moved.json(), moved.header("etag")), (json!({"next": 3}), Some("\"3\"")));
    let page = service.get(&format!("{path}?from=cursor")).await.expect(200).json();
    assert_eq!(sequences(&page), [3]);
    let other = path.replace("%24Default", "others");
    assert_eq!(sequences(&service.get(&other).await.json()), [1, 2, 3]);
    let put_if = async |etag: &str| service.put_if(&cursor, etag, r#"{"next":4}"#).await;
    put_if("\"2\"").await.refuses(412, "PreconditionFailed");
    put_if("\"3\"").await.expect(200);
    put_if("*").await.expect(200);
    for body in ["", "{}", r#"{"next":-1}"#, r#"{"next":"4"}"#] {
        service.put(&cursor, body).await.refuses(400, "ArgumentInvalid");
    }
}

#[tokio::test]
async fn bad_places_are_refused() {
    let server = server().await;
    let path = partition(&server).await;
    let service = server.policy("service");
    for partition in ["4", "65536", "-1", "x"] {
        let path = format!("/messages/events/ConsumerGroups/g/Partitions/{partition}");
        service.get(&path).await.refuses(404, "GenericNotFound");
        service.get(&format!("{path}/cursor")).await.refuses(404, "GenericNotFound");
    }
    for group in ["a%20b", "%C3%A9", &"x".repeat(51)] {
        let path = format!("/messages/events/ConsumerGroups/{group}/Partitions/0");
        service.get(&path).await.refuses(400, "ArgumentInvalid");
    }
    for query in ["from=first", "from=sequence:x", "from=time:noon", "max=many", "wait=-1"] {
        service.get(&format!("{path}?{query}")).await.refuses(400, "ArgumentInvalid");
    }
}

/// A live stream, read piece by piece.
struct Live {
    body: Incoming,
    text: Vec<u8>,
}

impl Live {
    async fn open(client: &Client, path: &str, accept: &str, more: &[(&str, &str)]) -> Self {
        let headers: Vec<_> =
            [("accept", accept)].into_iter().chain(more.iter().copied()).collect();
        let response = client.start(Method::GET, path, &headers, Empty::<Bytes>::new()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], accept);
        Self { body: response.into_body(), text: Vec::new() }
    }

    /// The text up to a separator, or `None` at the end.
    async fn until(&mut self, separator: &[u8]) -> Option<String> {
        loop {
            let found = self.text.windows(separator.len()).position(|part| part == separator);
            if let Some(at) = found {
                let rest = self.text.split_off(at + separator.len());
                let piece = std::mem::replace(&mut self.text, rest);
                return Some(String::from_utf8(piece[..at].to_vec()).unwrap());
            }
            let frame = self.body.frame().await?.ok()?;
            self.text.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    async fn sequence(&mut self) -> Option<u64> {
        let event: Value = serde_json::from_str(&self.until(b"\n").await?).unwrap();
        event["sequenceNumber"].as_u64()
    }
}

#[tokio::test]
async fn a_stream_of_lines_goes_on_with_the_log() {
    let server = server().await;
    let path = partition(&server).await;
    send(&server, numbered(0..3)).await;
    let service = server.policy("service");
    let all = format!("{path}?from=earliest");
    let mut live = Live::open(&service, &all, "application/x-ndjson", &[]).await;
    for wanted in 1..=3 {
        assert_eq!(live.sequence().await, Some(wanted));
    }
    send(&server, numbered(3..5)).await;
    assert_eq!((live.sequence().await, live.sequence().await), (Some(4), Some(5)));
    let report = server.hub.shutdown(Duration::from_secs(5)).await;
    assert!(report.transports_ended, "the stream ends with the hub");
    assert_eq!(live.sequence().await, None);
}

#[tokio::test]
async fn server_sent_events_go_on_where_they_were_cut() {
    let server = server().await;
    let path = partition(&server).await;
    send(&server, numbered(0..3)).await;
    let service = server.policy("service");
    let last = [("last-event-id", "2")];
    let mut live = Live::open(&service, &path, "text/event-stream", &last).await;
    let event = live.until(b"\n\n").await.unwrap();
    let (id, data) = event.split_once('\n').unwrap();
    assert_eq!(id, "id: 3");
    let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(data["body"], "ZTI=");
}

#[tokio::test]
async fn a_slow_reader_loses_nothing() {
    let server = server().await;
    let path = partition(&server).await;
    let service = server.policy("service");
    let all = format!("{path}?from=earliest");
    let mut live = Live::open(&service, &all, "application/x-ndjson", &[]).await;
    // More than all buffers between the two hold.
    send(&server, (0..40).map(|_| "x".repeat(200_000))).await;
    for wanted in 1..=40 {
        assert_eq!(live.sequence().await, Some(wanted));
    }
}
