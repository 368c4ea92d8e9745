//! Get Blob, Get Blob Properties, Delete Blob; and reading in process.

use http::Method;
use hub_core::blob::{BlobErrorKind, BlobStore as _};

use crate::client::{blob, served};

#[tokio::test]
async fn ranges_are_read() {
    let served = served().await;
    served.written("d1/a", "0123456789").await;
    let path = served.download("d1/a").await;
    for (name, range, text, content_range) in [
        ("range", "bytes=2-4", "234", "bytes 2-4/10"),
        ("x-ms-range", "bytes=8-", "89", "bytes 8-9/10"),
        ("x-ms-range", "bytes=0-33554431", "0123456789", "bytes 0-9/10"),
    ] {
        let reply = served.get(&path, &[(name, range)]).await.expect(206);
        assert_eq!(
            (&reply.body[..], reply.header("content-range")),
            (text.as_bytes(), content_range)
        );
        assert_eq!(reply.header("content-length"), text.len().to_string());
        // Of the whole blob.
        assert_eq!(reply.header("x-ms-blob-content-md5"), "eB5eJF1ptWaXm4bijSPyxw==");
    }
    let both = [("range", "bytes=0-0"), ("x-ms-range", "bytes=1-1")];
    assert_eq!(&served.get(&path, &both).await.expect(206).body[..], b"1");
    let behind = served.get(&path, &[("range", "bytes=10-")]).await.refuses(416, "InvalidRange");
    assert_eq!(behind.header("content-range"), "bytes */10");
    let two = served.get(&path, &[("range", "bytes=0-1,3-4")]).await;
    two.refuses(400, "InvalidHeaderValue");
    let summed = [("x-ms-range", "bytes=0-4"), ("x-ms-range-get-content-md5", "true")];
    let reply = served.get(&path, &summed).await.expect(206);
    assert_eq!(reply.header("content-md5"), "QQDE1E2pF3JH5EpfwVRneA==");
    served.written("d1/empty", "").await;
    let empty = served.get(&served.download("d1/empty").await, &[("range", "bytes=0-99")]).await;
    empty.refuses(416, "InvalidRange");
}

#[tokio::test]
async fn a_head_has_what_a_get_has_but_the_bytes() {
    let served = served().await;
    served.written("d1/a", "0123456789").await;
    let path = served.download("d1/a").await;
    let (get, head) = (served.get(&path, &[]).await.expect(200), served.head(&path).await);
    let head = head.expect(200);
    assert!(head.body.is_empty());
    for name in ["content-length", "etag", "last-modified", "content-md5", "x-ms-blob-type"] {
        assert_ne!(get.header(name), "", "{name}");
        assert_eq!(get.header(name), head.header(name), "{name}");
    }
    let missing = served.head(&served.download("d1/b").await).await.expect(404);
    assert_eq!(missing.header("x-ms-error-code"), "BlobNotFound");
}

#[tokio::test]
async fn conditions_of_a_read_hold() {
    let served = served().await;
    served.written("d1/a", "one").await;
    let path = served.download("d1/a").await;
    let tag = served.head(&path).await.header("etag").to_owned();
    let same = served.get(&path, &[("if-none-match", &tag)]).await.expect(304);
    assert!(same.body.is_empty());
    served.get(&path, &[("if-match", &tag)]).await.expect(200);
    let since = "Wed, 01 Jan 2200 00:00:00 GMT";
    served.get(&path, &[("if-modified-since", since)]).await.expect(304);
    served.written("d1/a", "two").await;
    served.get(&path, &[("if-match", &tag)]).await.refuses(412, "ConditionNotMet");
    served.get(&path, &[("if-none-match", &tag)]).await.expect(200);
    let bad = served.get(&path, &[("if-modified-since", "yesterday")]).await;
    bad.refuses(400, "InvalidHeaderValue");
}

#[tokio::test]
async fn a_large_blob_is_read_as_it_was_written() {
    let served = served().await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7 % 251) as u8).collect();
    served.written("d1/a", bytes.clone()).await;
    let reply = served.get(&served.download("d1/a").await, &[]).await.expect(200);
    assert!(reply.body == bytes, "the bytes differ");
    let mut reader = served.files.read(&blob("d1/a"), Some(1_000_000..9_000_000)).await.unwrap();
    let mut read = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        assert!(!piece.is_empty() && piece.len() <= 512 * 1024, "{}", piece.len());
        read.extend_from_slice(&piece);
    }
    assert!(read == bytes[1_000_000..], "the bytes differ");
    let missing = served.files.read(&blob("d1/b"), None).await.err().unwrap();
    assert_eq!(missing.kind(), BlobErrorKind::NotFound);
    let mut beyond = served.files.read(&blob("d1/a"), Some(5_000_000..6_000_000)).await.unwrap();
    assert_eq!(beyond.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_blob_is_deleted_in_process_and_not_by_an_address() {
    let served = served().await;
    served.written("d1/a", "one").await;
    let path = served.upload("d1/a").await;
    let reply = served.send(Method::DELETE, &path, &[], "").await;
    reply.refuses(403, "AuthorizationPermissionMismatch");
    assert!(served.files.delete(&blob("d1/a")).await.unwrap());
    assert!(!served.files.delete(&blob("d1/a")).await.unwrap());
    assert_eq!(served.text("d1/a").await, None);
}
