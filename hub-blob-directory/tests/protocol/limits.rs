//! Sizes, and how much is served at once.

use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::client::{Served, served_with};

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_sent() {
    let served = served_with(|config| {
        config.blob_bytes_max = 10;
        config.block_bytes_max = 6;
    })
    .await;
    let path = served.upload("d1/a").await;
    served.put(&path, &[], "0123456789x").await.refuses(413, "RequestBodyTooLarge");
    served.put(&path, &[], "0123456789").await.expect(201);
    served.block(&path, "YQ==", "1234567").await.refuses(413, "RequestBodyTooLarge");
    served.block(&path, "YQ==", "123456").await.expect(201);
    // What waits for a list counts together.
    served.block(&path, "Yg==", "12345").await.refuses(413, "RequestBodyTooLarge");
    served.block(&path, "Yg==", "1234").await.expect(201);
    let list = [("Latest", "YQ=="), ("Latest", "YQ==")];
    served.commit(&path, &[], &list).await.refuses(413, "RequestBodyTooLarge");
    let list = [("Latest", "YQ=="), ("Latest", "Yg==")];
    served.commit(&path, &[], &list).await.expect(201);
    assert_eq!(served.text("d1/a").await.as_deref(), Some("1234561234"));
}

#[tokio::test]
async fn so_many_blocks_may_wait_and_no_more() {
    let served = served_with(|config| config.staged_blocks_max = 2).await;
    let path = served.upload("d1/a").await;
    served.block(&path, "YQ==", "1").await.expect(201);
    served.block(&path, "Yg==", "2").await.expect(201);
    served.block(&path, "Yw==", "3").await.refuses(409, "BlockCountExceedsLimit");
    served.commit(&path, &[], &[("Latest", "YQ==")]).await.expect(201);
    served.block(&path, "Yw==", "3").await.expect(201);
}

#[tokio::test]
async fn blocks_that_come_at_once_do_not_pass_what_a_blob_may_have() {
    let served = served_with(|config| config.blob_bytes_max = 1000).await;
    let path = served.upload("d1/a").await;
    let puts = (0..64).map(|n| {
        let (served, path) = (&served, &path);
        // Ids of one length, as the protocol has them.
        let id = format!("{}{}AA", char::from(b'A' + n / 16), char::from(b'A' + n % 16));
        async move { served.block(path, &id, vec![n; 100]).await.status.as_u16() }
    });
    let answers = futures::future::join_all(puts).await;
    assert!(answers.iter().all(|status| [201, 413].contains(status)), "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 201).count(), 10, "{answers:?}");
}

/// A Put Blob whose body is only begun. Gives what ends it.
async fn begun(
    served: &Served,
    path: &str,
) -> (tokio::sync::mpsc::Sender<&'static str>, tokio::task::JoinHandle<u16>) {
    let stream = TcpStream::connect(served.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (say, mut heard) = tokio::sync::mpsc::channel::<&'static str>(1);
    let frames = futures::stream::poll_fn(move |cx| {
        heard.poll_recv(cx).map(|text| {
            let frame = |text: &'static str| {
                Ok::<_, std::convert::Infallible>(http_body::Frame::data(bytes::Bytes::from(text)))
            };
            text.map(frame)
        })
    });
    let request = http::Request::put(path)
        .header("host", "x")
        .header("x-ms-blob-type", "BlockBlob")
        .header("content-length", "2")
        .body(http_body_util::StreamBody::new(frames).boxed())
        .unwrap();
    let answer =
        tokio::spawn(async move { sender.send_request(request).await.unwrap().status().as_u16() });
    say.send("a").await.unwrap();
    (say, answer)
}

#[tokio::test]
async fn writes_beyond_those_that_run_at_once_are_told_to_come_again() {
    let served = served_with(|config| config.writes_max = 2).await;
    let path = served.upload("d1/a").await;
    let (one, first) = begun(&served, &path).await;
    let (two, second) = begun(&served, &path).await;
    // Both have begun when their files are there.
    while served.unfinished() < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let busy = served.put(&path, &[], "x").await.refuses(503, "ServerBusy");
    assert_eq!(busy.header("retry-after"), "1");
    served.block(&path, "YQ==", "x").await.refuses(503, "ServerBusy");
    one.send("b").await.unwrap();
    two.send("c").await.unwrap();
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (201, 201));
    served.put(&path, &[], "x").await.expect(201);
    assert_eq!(served.unfinished(), 0);
}
