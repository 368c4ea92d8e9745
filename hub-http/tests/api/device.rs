//! Telemetry over HTTP, and who may send it.

use crate::client::{Server, server};
use bytes::Bytes;
use http::Method;
use http_body_util::StreamBody;
use hub_core::engine::Position;
use hub_core::envelope::{Event, SystemProperty};
use hub_core::id::Address;
use hub_core::security::{KeyForm, sign};
use hub_core::time::Timestamp;

const EVENTS: &str = "/devices/d1/messages/events";
const BATCH: (&str, &str) = ("content-type", "application/vnd.microsoft.iothub.json");

async fn events(server: &Server) -> Vec<Event> {
    let partition = Address::parse("d1").unwrap().partition(server.hub.partitions());
    let mut reader = server.hub.reader(partition, Position::Earliest).await.unwrap();
    reader.try_read(1000).await.unwrap()
}

#[tokio::test]
async fn a_message_is_its_body_and_its_headers() {
    let server = server().await;
    server.register("d1").await;
    let device = server.device("d1").await;
    let headers = [
        ("IoTHub-MessageId", "m1"),
        ("iothub-to", "/devices/d1/messages/events"),
        ("iothub-contenttype", "application/json"),
        ("dt-subject", "thermostat1"),
        ("iothub-app-key", "a & = / + %41 é"),
        ("content-type", "text/plain"),
    ];
    let sent = device.send(Method::POST, EVENTS, &headers, "{\"t\":1}").await.expect(204);
    assert!(sent.body.is_empty() && sent.headers.contains_key("x-ms-request-id"));
    device.post("/Devices/d1/Messages/Events/?api-version=2016-11-14", "").await.expect(204);
    let events = events(&server).await;
    assert_eq!(events.len(), 2);
    let event = &events[0];
    assert_eq!((&event.body[..], event.sender.as_str()), (&b"{\"t\":1}"[..], "d1"));
    assert_eq!(event.system(SystemProperty::MessageId), Some("m1"));
    assert_eq!(event.system(SystemProperty::ContentType), Some("application/json"));
    assert_eq!(event.system(SystemProperty::Subject), Some("thermostat1"));
    assert_eq!(event.properties.application(), [("key", Some("a & = / + %41 é"))]);
    let auth = event.auth.unwrap().to_json();
    assert!(auth.contains(r#""scope":"device""#), "{auth}");
    assert!(events[1].body.is_empty() && events[1].properties.is_empty());
}

#[tokio::test]
async fn a_batch_is_many_messages() {
    let server = server().await;
    server.register("d1").await;
    let device = server.device("d1").await;
    let body = r#"[{"body":"YTE="},
        {"body":"YjI=","properties":{"iothub-app-Prop":"q","iothub-messageid":"m2"}},
        {"body":"plain text","base64Encoded":false}]"#;
    device.send(Method::POST, EVENTS, &[BATCH], body).await.expect(204);
    let events = events(&server).await;
    let bodies: Vec<&[u8]> = events.iter().map(|event| &event.body[..]).collect();
    assert_eq!(bodies, [&b"a1"[..], b"b2", b"plain text"]);
    assert_eq!(events[1].properties.application(), [("Prop", Some("q"))]);
    assert_eq!(events[1].system(SystemProperty::MessageId), Some("m2"));
    device.send(Method::POST, EVENTS, &[BATCH], "[]").await.expect(204);
}

#[tokio::test]
async fn a_bad_batch_is_refused_whole() {
    let server = server().await;
    server.register("d1").await;
    let device = server.device("d1").await;
    let many = format!("[{}{{}}]", "{},".repeat(500));
    for body in ["", "{", "{}", r#"[{"body":"YTE="},{"body":"!"}]"#, r#"[{"body":7}]"#, &many] {
        let refused = device.send(Method::POST, EVENTS, &[BATCH], body.to_owned()).await;
        refused.refuses(400, "ArgumentInvalid");
    }
    assert_eq!(events(&server).await, []);
}

#[tokio::test]
async fn a_body_may_come_in_chunks() {
    let server = server().await;
    server.register("d1").await;
    let device = server.device("d1").await;
    let part = |text: &'static str| {
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from_static(
            text.as_bytes(),
        )))
    };
    let body = StreamBody::new(futures::stream::iter([part("a"), part("bc"), part("def")]));
    let response = device.start(Method::POST, EVENTS, &[], body).await;
    assert_eq!(response.status(), 204);
    assert_eq!(&events(&server).await[0].body[..], b"abcdef");
    // Over the limit only in sum, and without a length that would tell.
    let chunk = Bytes::from(vec![0; 100_000]);
    let chunks = (0..3)
        .map(move |_| Ok::<_, std::convert::Infallible>(http_body::Frame::data(chunk.clone())));
    let body = StreamBody::new(futures::stream::iter(chunks));
    let response = device.start(Method::POST, EVENTS, &[], body).await;
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn a_message_has_at_most_256_kib() {
    let server = server().await;
    server.register("d1").await;
    let device = server.device("d1").await;
    device.post(EVENTS, vec![7; 262_144]).await.expect(204);
    device.post(EVENTS, vec![7; 262_145]).await.refuses(413, "MessageTooLarge");
    let headers = [("iothub-app-k", "v")];
    let body = vec![7; 262_143];
    let counted = device.send(Method::POST, EVENTS, &headers, body).await;
    counted.refuses(413, "MessageTooLarge");
    assert_eq!(events(&server).await.len(), 1);
}

#[tokio::test]
async fn modules_send_too() {
    let server = server().await;
    server.register("d1").await;
    server.register("d1/m1").await;
    let path = "/devices/d1/modules/m1/messages/events";
    server.device("d1/m1").await.post(path, "x").await.expect(204);
    // The device's token does not open its modules: they sign with keys of their own.
    server.device("d1").await.post(path, "x").await.refuses(401, "IotHubUnauthorizedAccess");
    let events = events(&server).await;
    assert_eq!(events[0].sender.as_str(), "d1/m1");
    assert!(events[0].auth.unwrap().to_json().contains(r#""scope":"module""#));
}

#[tokio::test]
async fn who_may_send_is_decided_by_the_token() {
    let server = server().await;
    server.register("d1").await;
    server.register("d2").await;
    let key = server.key("d1").await;
    let ago = Timestamp::from_millis(server.hub.now().as_millis() - 600_000);
    let own = "hub.test/devices/d1";
    for (resource, key, expiry, policy) in [
        (own, &server.key("d2").await, server.in_an_hour(), None),
        (own, &key, ago, None),
        ("hub.test/devices/d2", &key, server.in_an_hour(), None),
        ("other.test/devices/d1", &key, server.in_an_hour(), None),
        ("hub.test", &key, server.in_an_hour(), Some("nobody")),
    ] {
        let token = sign(resource, key, KeyForm::Decoded, expiry, policy);
        let refused = server.with_token(&token).post(EVENTS, "x").await;
        refused.refuses(401, "IotHubUnauthorizedAccess");
    }
    let missing = server.anonymous().post(EVENTS, "x").await;
    let missing = missing.refuses(401, "IotHubUnauthorizedAccess");
    assert!(missing.json()["Message"].as_str().unwrap().ends_with("Authorization header missing"));
    for nonsense in ["", "Bearer x", "SharedAccessSignature", "SharedAccessSignature sr=%&sig=&se="]
    {
        let refused = server.with_token(nonsense).post(EVENTS, "x").await;
        refused.refuses(401, "IotHubUnauthorizedAccess");
    }
    // A policy with the right may speak for a device, one without may not.
    server.policy("device").post(EVENTS, "x").await.expect(204);
    server.policy("service").post(EVENTS, "x").await.refuses(401, "IotHubUnauthorizedAccess");
    let unknown = sign("hub.test/devices/d9", &key, KeyForm::Decoded, server.in_an_hour(), None);
    let refused = server.with_token(&unknown).post("/devices/d9/messages/events", "x").await;
    refused.refuses(404, "DeviceNotFound");
    let device = server.device("d1").await;
    server.owner().put_if("/devices/d1", "*", r#"{"status":"disabled"}"#).await.expect(200);
    device.post(EVENTS, "x").await.refuses(403, "DeviceDisabled");
    device.get("/devices/d1/messages/deviceBound").await.refuses(403, "DeviceDisabled");
}

#[tokio::test]
async fn devices_must_name_a_version() {
    let server = server().await;
    server.register("d1").await;
    let device = server.device("d1").await;
    for query in ["?x=1", "?api-version=", "?api-version=latest", "?api-version=2021"] {
        let refused = device.post(&format!("{EVENTS}{query}"), "x").await;
        refused.refuses(400, "InvalidProtocolVersion");
    }
    device.post(&format!("{EVENTS}?api-version=2017-11-08-preview"), "x").await.expect(204);
}

#[tokio::test]
async fn names_of_application_properties_keep_their_case() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = server().await;
    server.register("d1").await;
    let token = server.device("d1").await.token.unwrap();
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    // Two requests on one connection: what was recorded of the first must not show in the second.
    for (name, end) in [("Colour", ""), ("coLour", "connection: close\r\n")] {
        let request = format!(
            "POST {EVENTS}?api-version=2021-04-12 HTTP/1.1\r\nHost: h\r\nAuthorization: {token}\r\n\
             IoTHub-App-{name}: red\r\niothub-app-Second: 2\r\n{end}Content-Length: 4\r\n\r\nbody"
        );
        // In small pieces, as a slow network has them.
        for piece in request.as_bytes().chunks(50) {
            stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        if end.is_empty() {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
        }
    }
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    let events = events(&server).await;
    let second = ("Second", Some("2"));
    assert_eq!(events[0].properties.application(), [("Colour", Some("red")), second]);
    assert_eq!(events[1].properties.application(), [("coLour", Some("red")), second]);
}
