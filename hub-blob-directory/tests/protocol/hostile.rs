//! Names that lead elsewhere, requests that are none, bodies that end early.

use std::time::Duration;

use http::Method;
use hub_core::blob::BlobName;
use hub_core::id::DeviceId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Served, served, served_with};

/// Sends bytes as they are, closes that direction if told so, and gives what comes back.
async fn raw(served: &Served, bytes: &[u8], close: bool) -> String {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    if close {
        stream.shutdown().await.unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn names_that_leave_their_container_reach_nothing() {
    let served = served().await;
    std::fs::write(served.place.path().join("outside"), "secret").unwrap();
    std::fs::write(served.place.path().join("files/outside"), "secret").unwrap();
    let query = served.upload("d1/a").await;
    let query = query.split_once('?').unwrap().1;
    for name in [
        "d1/../outside",
        "d1/../../outside",
        "d1/%2e%2e/outside",
        "d1/%2E%2E%2Foutside",
        "d1%2F..%2F..%2Foutside",
        "../outside",
        "%2e%2e/key",
        "d1/..%5C..%5Ckey",
        "d1/a%00",
        "d1//a",
        "d1/",
        "d1/.",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "outside",
    ] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let path = format!("/uploads/{name}?{query}");
            let headers = [("x-ms-blob-type", "BlockBlob")];
            let reply = served.send(method.clone(), &path, &headers, "x").await;
            reply.refuses(400, "InvalidResourceName");
        }
    }
    // No such name can be given an address at all.
    for name in ["../d2/a", "..", "a/../../b", "/a", "a\\b"] {
        assert!(BlobName::new(&DeviceId::new("d1").unwrap(), name).is_err(), "{name}");
    }
    // Decoded once: what is escaped twice is a name with a percent sign.
    let twice = format!("/uploads/d1/%252e%252e/a?{query}");
    served.get(&twice, &[]).await.refuses(403, "AuthenticationFailed");
    let broken = format!("/uploads/d1/%ff?{query}");
    served.get(&broken, &[]).await.refuses(400, "InvalidUri");
    assert_eq!(std::fs::read(served.place.path().join("outside")).unwrap(), b"secret");
    assert_eq!(std::fs::read_dir(served.place.path().join("files")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_body_that_ends_early_leaves_nothing() {
    let served = served().await;
    served.written("d1/a", "old").await;
    let path = served.upload("d1/a").await;
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: x\r\nx-ms-blob-type: BlockBlob\r\ncontent-length: 1000000\r\n\r\n"
    );
    let mut bytes = head.into_bytes();
    bytes.extend(vec![b'x'; 700_000]);
    raw(&served, &bytes, true).await;
    let block = format!("{path}&comp=block&blockid=YQ%3D%3D");
    let head = format!("PUT {block} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nfive5");
    raw(&served, head.as_bytes(), true).await;
    for _ in 0..1000 {
        if served.unfinished() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(served.unfinished(), 0);
    assert_eq!(served.text("d1/a").await.as_deref(), Some("old"));
    served.commit(&path, &[], &[("Latest", "YQ==")]).await.refuses(400, "InvalidBlockList");
}

#[tokio::test]
async fn a_client_that_falls_silent_is_given_up() {
    let served = served_with(|config| config.idle_timeout = Duration::from_millis(50)).await;
    let path = served.upload("d1/a").await;
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-ms-blob-type: BlockBlob\r\n\
         content-length: 10\r\n\r\nfive5"
    );
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 64];
    // The direction stays open: the server has to notice by itself.
    let read = stream.read(&mut first).await.unwrap();
    let answer = String::from_utf8_lossy(&first[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(served.unfinished(), 0);
}

#[tokio::test]
async fn a_length_must_be_announced() {
    let served = served().await;
    let path = served.upload("d1/a").await;
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-ms-blob-type: BlockBlob\r\n\
         transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    );
    let answer = raw(&served, head.as_bytes(), false).await;
    assert!(answer.starts_with("HTTP/1.1 411 "), "{answer}");
    assert_eq!(served.text("d1/a").await, None);
}

#[tokio::test]
async fn other_containers_are_not_there() {
    let served = served().await;
    let path = served.upload("d1/a").await.replacen("/uploads/", "/Uploads/", 1);
    let reply = served.send(Method::GET, &path, &[], "").await;
    assert_eq!(reply.status, 404);
}

#[tokio::test]
async fn a_link_out_of_the_directory_is_the_operator_s_own() {
    // No request makes one: every file that a client writes is a plain one.
    let served = served().await;
    served.written("d1/a", "../../outside").await;
    let about = std::fs::symlink_metadata(served.place.path().join("files/d1/a")).unwrap();
    assert!(about.is_file());
}

#[tokio::test]
async fn a_copy_of_another_address_is_refused_and_leaves_what_is_there() {
    let served = served().await;
    served.written("d1/a", "before").await;
    let path = served.upload("d1/a").await;
    let from = [("x-ms-copy-source", "https://example.org/b")];
    served.put(&path, &from, "").await.refuses(400, "UnsupportedHeader");
    assert_eq!(served.text("d1/a").await.as_deref(), Some("before"));
}
