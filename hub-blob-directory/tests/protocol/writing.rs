//! Put Blob, conditions, checksums.

use hub_core::blob::BlobStore as _;

use crate::client::{blob, served};

#[tokio::test]
async fn a_blob_is_written_whole_and_found() {
    let served = served().await;
    let path = served.upload("d1/a b/é.txt").await;
    assert_eq!(served.text("d1/a b/é.txt").await, None);
    let headers = [("content-type", "text/plain"), ("x-ms-client-request-id", "r-1")];
    let reply = served.put(&path, &headers, "hello").await.expect(201);
    assert_eq!(reply.header("content-md5"), "XUFAKrxLKna5cZ2REBfFkg==");
    assert_eq!(reply.header("x-ms-client-request-id"), "r-1");
    assert!(reply.header("etag").starts_with("\"0x") && reply.body.is_empty());
    assert!(reply.header("last-modified").ends_with(" GMT"));
    assert_eq!(served.text("d1/a b/é.txt").await.as_deref(), Some("hello"));
    let info = served.files.stat(&blob("d1/a b/é.txt")).await.unwrap().unwrap();
    assert_eq!(info.size, 5);
    assert_eq!(info.url, format!("http://{}/uploads/d1/a%20b/%C3%A9.txt", served.address));
    // The name with its slashes escaped is the same one: so C# writes it.
    let (name, query) = path.split_once('?').unwrap();
    let escaped = name.replacen("/uploads/", "", 1).replace('/', "%2F");
    let reply = served.get(&format!("/uploads/{escaped}?{query}"), &[]).await.expect(200);
    assert_eq!((reply.header("content-type"), &reply.body[..]), ("text/plain", &b"hello"[..]));
}

#[tokio::test]
async fn an_empty_blob_is_one() {
    let served = served().await;
    served.written("d1/empty", "").await;
    assert_eq!(served.text("d1/empty").await.as_deref(), Some(""));
}

#[tokio::test]
async fn a_blob_is_not_replaced_by_who_does_not_want_to() {
    let served = served().await;
    let path = served.upload("d1/a").await;
    let exclusive = [("if-none-match", "*")];
    let first = served.put(&path, &exclusive, "one").await.expect(201);
    served.put(&path, &exclusive, "two").await.refuses(409, "BlobAlreadyExists");
    assert_eq!(served.text("d1/a").await.as_deref(), Some("one"));
    let tag = first.header("etag").to_owned();
    let second = served.put(&path, &[("if-match", &tag)], "two").await.expect(201);
    served.put(&path, &[("if-match", &tag)], "three").await.refuses(412, "ConditionNotMet");
    let now = second.header("etag").to_owned();
    served.put(&path, &[("if-none-match", &now)], "three").await.refuses(412, "ConditionNotMet");
    let since = [("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT")];
    served.put(&path, &since, "three").await.refuses(412, "ConditionNotMet");
    assert_eq!(served.text("d1/a").await.as_deref(), Some("two"));
    let missing = served.upload("d1/b").await;
    served.put(&missing, &[("if-match", "*")], "x").await.refuses(412, "ConditionNotMet");
    served.put(&path, &[], "four").await.expect(201);
    assert_eq!(served.text("d1/a").await.as_deref(), Some("four"));
}

#[tokio::test]
async fn a_body_that_is_not_what_was_announced_is_refused() {
    let served = served().await;
    let path = served.upload("d1/a").await;
    let (md5, other) = ("XUFAKrxLKna5cZ2REBfFkg==", "CY9rzUYh03PK3k6DJie09g==");
    served.put(&path, &[("content-md5", other)], "hello").await.refuses(400, "Md5Mismatch");
    let header = [("x-ms-blob-content-md5", other)];
    served.put(&path, &header, "hello").await.refuses(400, "Md5Mismatch");
    served.put(&path, &[("content-md5", "x")], "hello").await.refuses(400, "InvalidMd5");
    let crc = [("x-ms-content-crc64", "AAAAAAAAAAA=")];
    served.put(&path, &crc, "hello").await.refuses(400, "Crc64Mismatch");
    let crc = [("x-ms-content-crc64", "AAAA")];
    served.put(&path, &crc, "hello").await.refuses(400, "InvalidHeaderValue");
    assert_eq!((served.text("d1/a").await, served.unfinished()), (None, 0));
    let good = served.put(&path, &[("content-md5", md5)], "hello").await.expect(201);
    let crc = good.header("x-ms-content-crc64").to_owned();
    served.put(&path, &[("x-ms-content-crc64", &crc)], "hello").await.expect(201);
}

#[tokio::test]
async fn properties_and_metadata_come_back() {
    let served = served().await;
    let path = served.upload("d1/a").await;
    let headers = [
        ("x-ms-blob-content-type", "image/png"),
        ("x-ms-blob-content-disposition", "attachment"),
        ("content-language", "de"),
        ("x-ms-meta-Site", "north"),
    ];
    served.put(&path, &headers, "x").await.expect(201);
    let reply = served.head(&path).await.expect(200);
    assert_eq!(reply.header("content-type"), "image/png");
    assert_eq!(reply.header("content-disposition"), "attachment");
    assert_eq!(reply.header("content-language"), "de");
    assert_eq!(reply.header("x-ms-meta-site"), "north");
    assert_eq!(reply.header("content-security-policy"), "default-src 'none'; sandbox");
    let large = "x".repeat(9000);
    let headers = [("x-ms-meta-a", large.as_str())];
    served.put(&path, &headers, "x").await.refuses(400, "MetadataTooLarge");
}

#[tokio::test]
async fn only_block_blobs_are_written() {
    let served = served().await;
    let path = served.upload("d1/a").await;
    let put =
        |headers: &'static [(&str, &str)]| served.send(http::Method::PUT, &path, headers, "x");
    put(&[]).await.refuses(400, "MissingRequiredHeader");
    put(&[("x-ms-blob-type", "PageBlob")]).await.refuses(400, "InvalidHeaderValue");
    for comp in ["metadata", "properties", "tier", "appendblock"] {
        let path = format!("{path}&comp={comp}");
        let reply = served.send(http::Method::PUT, &path, &[], "x").await;
        reply.refuses(400, "InvalidQueryParameterValue");
    }
    let reply = served.send(http::Method::POST, &path, &[], "x").await;
    assert_eq!(reply.refuses(405, "UnsupportedHttpVerb").header("allow"), "GET, HEAD, PUT, DELETE");
    assert_eq!(served.text("d1/a").await, None);
}
