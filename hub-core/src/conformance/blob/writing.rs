//! Blobs that the hub writes itself; deleting and sweeping.

use bytes::Bytes;

use super::{Fixture, name, read, write};
use crate::blob::BlobStore as _;
use crate::time::Timestamp;

/// However late the sweep.
pub async fn b5_a_sweep_takes_no_blob<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let blob = name("~service/a");
    write(&store, &blob, &[b"one"]).await;
    store.sweep(Timestamp::from_millis(4_000_000_000_000)).await.unwrap();
    assert_eq!(read(&store, &blob, None).await.unwrap(), b"one");
}

/// What was begun a moment ago is left alone.
pub async fn b5_a_sweep_leaves_what_was_touched_since<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let blob = name("~service/a");
    let mut writer = store.write(&blob).await.unwrap();
    writer.write(Bytes::from_static(b"one")).await.unwrap();
    assert_eq!(store.sweep(Timestamp::from_millis(1)).await.unwrap(), 0);
    writer.finish().await.unwrap();
    assert_eq!(read(&store, &blob, None).await.unwrap(), b"one");
}

/// Wherever the future of `finish` is dropped, there is the one or the other, whole.
pub async fn b6_a_dropped_finish_is_whole_or_none<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let blob = name("~service/a");
    let (old, new) = (vec![b'o'; 300_000], vec![b'n'; 200_000]);
    write(&store, &blob, &[&old]).await;
    for polls in 1..8_u32 {
        let mut writer = store.write(&blob).await.unwrap();
        writer.write(new.clone().into()).await.unwrap();
        let mut finish = writer.finish();
        for _ in 0..polls {
            if futures::poll!(&mut finish).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(finish);
        for _ in 0..3 {
            let found = read(&store, &blob, None).await.unwrap();
            assert!(found == old || found == new, "neither: {} bytes", found.len());
        }
    }
}

/// And no other.
pub async fn b7_delete_takes_one_blob_and_says_so<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let (one, two) = (name("~service/in/a"), name("~service/in/ab"));
    assert!(!store.delete(&one).await.unwrap());
    write(&store, &one, &[b"one"]).await;
    write(&store, &two, &[b"two"]).await;
    assert!(store.delete(&one).await.unwrap());
    assert!(!store.delete(&one).await.unwrap());
    assert_eq!(store.stat(&one).await.unwrap(), None);
    assert_eq!(read(&store, &two, None).await.unwrap(), b"two");
    write(&store, &one, &[b"again"]).await;
    assert_eq!(read(&store, &one, None).await.unwrap(), b"again");
}

/// Whatever was there before.
pub async fn b8_a_finished_blob_is_there<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    for blob in ["~service/a", "~service/in/a b", "d1/a"] {
        let blob = name(blob);
        for text in ["a longer text", "short"] {
            write(&store, &blob, &[text.as_bytes()]).await;
            assert_eq!(read(&store, &blob, None).await.unwrap(), text.as_bytes());
        }
    }
}

/// As if it had never begun.
pub async fn b8_a_dropped_writer_leaves_what_was_there<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let (there, fresh) = (name("~service/a"), name("~service/b"));
    write(&store, &there, &[b"one"]).await;
    for blob in [&there, &fresh] {
        let mut writer = store.write(blob).await.unwrap();
        writer.write(Bytes::from_static(b"lost")).await.unwrap();
        drop(writer);
        drop(store.write(blob).await.unwrap());
    }
    assert_eq!(read(&store, &there, None).await.unwrap(), b"one");
    assert_eq!(store.stat(&fresh).await.unwrap(), None);
}

/// Larger than what a store would send with one request.
pub async fn b8_a_large_blob_is_written_piece_by_piece<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let blob = name("~service/a");
    let mut writer = store.write(&blob).await.unwrap();
    let piece = |n: u8| vec![n; 1_000_000];
    for n in 0..18 {
        writer.write(piece(n).into()).await.unwrap();
        assert_eq!(store.stat(&blob).await.unwrap(), None);
    }
    writer.finish().await.unwrap();
    assert_eq!(store.stat(&blob).await.unwrap().unwrap().size, 18_000_000);
    for n in 0..18_u8 {
        let from = u64::from(n) * 1_000_000;
        let found = read(&store, &blob, Some(from..from + 1_000_000)).await.unwrap();
        assert!(found == piece(n), "the bytes from {from} on differ");
    }
}
