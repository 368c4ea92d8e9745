//! Put Block and Put Block List.

use hub_core::blob::BlobStore as _;
use hub_core::time::Timestamp;

use crate::client::{blob, served};

#[tokio::test]
async fn a_blob_is_made_of_its_blocks_in_the_order_of_the_list() {
    let served = served().await;
    let path = served.upload("d1/a").await;
    for (id, text) in [("Yg==", "two"), ("YQ==", "one"), ("+/+/", "three")] {
        let reply = served.block(&path, id, text).await.expect(201);
        assert_ne!(reply.header("x-ms-content-crc64"), "");
    }
    assert_eq!(served.text("d1/a").await, None);
    let list =
        [("Latest", "YQ=="), ("Uncommitted", "Yg=="), ("Latest", "+/+/"), ("Latest", "YQ==")];
    let headers = [("content-type", "application/xml"), ("x-ms-blob-content-type", "text/plain")];
    let reply = served.commit(&path, &headers, &list).await.expect(201);
    assert_ne!(reply.header("etag"), "");
    assert_eq!(served.text("d1/a").await.as_deref(), Some("onetwothreeone"));
    assert_eq!(served.head(&path).await.expect(200).header("content-type"), "text/plain");
}

#[tokio::test]
async fn a_list_sent_again_makes_the_same_blob() {
    let served = served().await;
    let path = served.upload("d1/a").await;
    served.block(&path, "YQ==", "one").await.expect(201);
    served.block(&path, "Yg==", "two").await.expect(201);
    let list = [("Latest", "YQ=="), ("Latest", "Yg==")];
    // The client did not hear the answer.
    served.commit(&path, &[], &list).await.expect(201);
    served.commit(&path, &[], &list).await.expect(201);
    assert_eq!(served.text("d1/a").await.as_deref(), Some("onetwo"));
    // Old and new blocks together, the new one going before an old one of the same id.
    served.block(&path, "YQ==", "ONE").await.expect(201);
    let list = [("Latest", "Yg=="), ("Latest", "YQ=="), ("Committed", "YQ==")];
    served.commit(&path, &[], &list).await.expect(201);
    assert_eq!(served.text("d1/a").await.as_deref(), Some("twoONEone"));
}

#[tokio::test]
async fn a_block_that_is_not_there_makes_no_blob() {
    let served = served().await;
    let path = served.upload("d1/a").await;
    served.block(&path, "YQ==", "one").await.expect(201);
    for missing in [("Latest", "Yg=="), ("Uncommitted", "Yg=="), ("Committed", "YQ==")] {
        let list = [("Latest", "YQ=="), missing];
        served.commit(&path, &[], &list).await.refuses(400, "InvalidBlockList");
    }
    assert_eq!((served.text("d1/a").await, served.unfinished()), (None, 0));
    // Blocks of one blob are no other's.
    let other = served.upload("d1/b").await;
    served.commit(&other, &[], &[("Latest", "YQ==")]).await.refuses(400, "InvalidBlockList");
    served.commit(&path, &[], &[("Latest", "YQ==")]).await.expect(201);
    // They are used up, and Put Blob drops them too.
    served.block(&path, "Yg==", "two").await.expect(201);
    served.put(&path, &[], "whole").await.expect(201);
    served.commit(&path, &[], &[("Latest", "Yg==")]).await.refuses(400, "InvalidBlockList");
}

#[tokio::test]
async fn a_list_may_not_replace_either() {
    let served = served().await;
    let path = served.upload("d1/a").await;
    served.written("d1/a", "there").await;
    served.block(&path, "YQ==", "one").await.expect(201);
    let exclusive = [("if-none-match", "*")];
    let list = [("Latest", "YQ==")];
    served.commit(&path, &exclusive, &list).await.refuses(409, "BlobAlreadyExists");
    assert_eq!(served.text("d1/a").await.as_deref(), Some("there"));
    served.commit(&path, &[], &list).await.expect(201);
    assert_eq!(served.text("d1/a").await.as_deref(), Some("one"));
}

#[tokio::test]
async fn ids_and_lists_that_are_none_are_refused() {
    let served = served().await;
    let path = served.upload("d1/a").await;
    for id in ["", "!", "a"] {
        served.block(&path, id, "x").await.refuses(400, "InvalidQueryParameterValue");
    }
    let nameless = format!("{path}&comp=block");
    let reply = served.send(http::Method::PUT, &nameless, &[], "x").await;
    reply.refuses(400, "MissingRequiredQueryParameter");
    let list = format!("{path}&comp=blocklist");
    let reply = served.send(http::Method::PUT, &list, &[], "no list").await;
    reply.refuses(400, "InvalidXmlDocument");
    let wrong = [("content-md5", "CY9rzUYh03PK3k6DJie09g==")];
    served.commit(&path, &wrong, &[]).await.refuses(400, "Md5Mismatch");
    served.commit(&path, &[], &[]).await.expect(201);
    assert_eq!(served.text("d1/a").await.as_deref(), Some(""));
}

#[tokio::test]
async fn a_sweep_takes_blocks_that_nobody_committed() {
    let served = served().await;
    let path = served.upload("d1/a").await;
    served.block(&path, "YQ==", "one").await.expect(201);
    served.written("d1/b", "there").await;
    assert_eq!(served.files.sweep(Timestamp::from_millis(1)).await.unwrap(), 0);
    assert_eq!(served.files.sweep(Timestamp::from_millis(4_000_000_000_000)).await.unwrap(), 1);
    served.commit(&path, &[], &[("Latest", "YQ==")]).await.refuses(400, "InvalidBlockList");
    assert!(served.files.stat(&blob("d1/b")).await.unwrap().is_some());
}
