//! Peers that mean no good, or do not know better.

use std::time::{Duration, Instant};

use crate::client::{Server, VERSION, server, server_with};
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends bytes and reads until the hub closes the connection.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The hub may have closed already, having seen enough.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let server = server().await;
    let owner = server.owner();
    for path in ["/", "/nothing", "/devices/d1/nothing", "//devices", "/devices//modules", "/*"] {
        owner.get(path).await.refuses(404, "GenericNotFound");
    }
    owner.get(&"/x".repeat(1000)).await.refuses(404, "GenericNotFound");
    let refused = owner.patch("/devices/d1", "{}").await.refuses(405, "GenericMethodNotAllowed");
    assert_eq!(refused.header("allow"), Some("GET, PUT, DELETE"));
    let odd = Method::from_bytes(b"BREW").unwrap();
    owner.send(odd, "/twins/d1", &[], "").await.refuses(405, "GenericMethodNotAllowed");
    // Neither the operator's routes nor others are there unless asked for.
    owner.get("/metrics").await.refuses(404, "GenericNotFound");
}

#[tokio::test]
async fn what_is_not_http_is_closed() {
    let server = server().await;
    for bytes in [
        &b"\x10\x1c\x00\x04MQTT\x04\xc0\x00\x3c\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET /devices HTTP/9.9\r\n\r\n",
        b"GET /devices HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /devices HTTP/1.1\r\na: \x00\r\n\r\n",
        b"POST /devices HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /devices HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"POST /devices HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\nhello",
    ] {
        let answer = raw(&server, bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    server.owner().get("/devices").await.expect(200);
}

#[tokio::test]
async fn a_huge_head_is_refused() {
    let server = server().await;
    let mut bytes = b"GET /devices HTTP/1.1\r\nhost: h\r\n".to_vec();
    bytes.extend(format!("x-large: {}\r\n\r\n", "x".repeat(1_000_000)).bytes());
    let answer = raw(&server, &bytes).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let mut bytes = b"GET /devices HTTP/1.1\r\nhost: h\r\n".to_vec();
    for number in 0..1000 {
        bytes.extend(format!("x-{number}: 1\r\n").bytes());
    }
    bytes.extend(b"\r\n");
    let answer = raw(&server, &bytes).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_head_of_many_properties_passes() {
    let server = server().await;
    server.register("d1").await;
    let device = server.device("d1").await;
    let value = "x".repeat(500);
    let names: Vec<String> = (0..80).map(|number| format!("iothub-app-{number}")).collect();
    let headers: Vec<_> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
    let path = "/devices/d1/messages/events";
    device.send(Method::POST, path, &headers, "x").await.expect(204);
}

#[tokio::test]
async fn a_slow_head_and_a_slow_body_are_not_waited_for() {
    let mut limits = hub_core::Limits::default();
    limits.handshake_timeout = Duration::from_millis(200);
    let server = server_with(
        |hub| hub.limits(limits),
        |http| {
            http.body_timeout(Duration::from_millis(200)).idle_timeout(Duration::from_millis(500))
        },
    )
    .await;
    server.register("d1").await;
    let begun = Instant::now();
    assert_eq!(raw(&server, b"").await, "");
    assert_eq!(raw(&server, b"GET /devices HTTP/1.1\r\nhost").await, "");
    let token = server.device("d1").await.token.unwrap();
    for length in ["content-length: 100", "transfer-encoding: chunked"] {
        let head = format!(
            "POST /devices/d1/messages/events?{VERSION} HTTP/1.1\r\nhost: hub.test\r\n\
             authorization: {token}\r\n{length}\r\n\r\n5\r\nhello"
        );
        let answer = raw(&server, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("iothub-errorcode: RequestTimedOut"), "{answer}");
    }
    // Idle after a request: closed, without a word, which a client may not mistake for an answer.
    let answer = raw(&server, b"GET /nothing HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_refused_upload_is_answered_and_not_reset() {
    let server = server().await;
    server.register("d1").await;
    let path = "/devices/d1/messages/events";
    for _ in 0..5 {
        let body = vec![0; 3_000_000];
        server.device("d1").await.post(path, body.clone()).await.refuses(413, "MessageTooLarge");
        server.anonymous().post(path, body).await.refuses(401, "IotHubUnauthorizedAccess");
    }
}

#[tokio::test]
async fn headers_that_are_no_text_are_refused() {
    let server = server().await;
    server.register("d1").await;
    let token = server.device("d1").await.token.unwrap();
    let request = |header: &[u8], token: &str| {
        let head = format!(
            "POST /devices/d1/messages/events?{VERSION} HTTP/1.1\r\nhost: hub.test\r\n\
             connection: close\r\ncontent-length: 0\r\nauthorization: {token}\r\n"
        );
        [head.as_bytes(), header, b"\r\n\r\n"].concat()
    };
    let answer = raw(&server, &request(b"iothub-app-k: \xff\xfe", &token)).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = raw(&server, &request(b"iothub-app-k: \xc3\xa9", &token)).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    let answer = raw(&server, &request(b"x-other: \xff\xfe", &token)).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    let answer = raw(&server, &request(b"x: y", "\u{e9}")).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_their_order() {
    let server = server().await;
    let requests = "GET /a HTTP/1.1\r\nhost: h\r\n\r\n".repeat(2)
        + "GET /openapi.json HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let answer = raw(&server, requests.as_bytes()).await;
    let first = answer.find("HTTP/1.1 200").unwrap();
    assert_eq!(answer[..first].matches("HTTP/1.1 404").count(), 2);
}

#[tokio::test]
async fn connections_beyond_the_bound_wait() {
    let server = server_with(|hub| hub, |http| http.connections_max(2)).await;
    let one = TcpStream::connect(server.address).await.unwrap();
    let two = TcpStream::connect(server.address).await.unwrap();
    let owner = server.owner();
    let third = tokio::spawn(async move { owner.get("/devices").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!third.is_finished());
    drop(one);
    third.await.unwrap().expect(200);
    drop(two);
}

#[tokio::test]
async fn a_peer_that_takes_nothing_loses_its_place() {
    let mut limits = hub_core::Limits::default();
    limits.silence_max = Duration::from_millis(300);
    let server = server_with(|hub| hub.limits(limits), |http| http.connections_max(1)).await;
    let d1 = server.register("d1").await;
    let mut device = server.hub.device(&d1).await.unwrap();
    for _ in 0..60 {
        device.send(&vec![0; 250_000], &[]).await.unwrap();
    }
    let token = server.owner().token.unwrap();
    let partition = d1.partition(server.hub.partitions());
    let request = format!(
        "GET /messages/events/ConsumerGroups/g/Partitions/{partition}?from=earliest HTTP/1.1\r\n\
         host: h\r\nauthorization: {token}\r\naccept: application/x-ndjson\r\n\r\n"
    );
    let mut stuck = TcpStream::connect(server.address).await.unwrap();
    stuck.write_all(request.as_bytes()).await.unwrap();
    // Only once the stuck peer is given up is there a place for another.
    server.owner().get("/devices").await.expect(200);
    drop(stuck);
}
