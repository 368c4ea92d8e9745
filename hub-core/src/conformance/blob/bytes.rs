//! What is seen of a blob, and when.

use ::bytes::Bytes;

use super::{Fixture, HOUR, name, read, write};
use crate::blob::{BlobAccess, BlobErrorKind, BlobStore as _};

const ONE: Bytes = Bytes::from_static(b"one");
const LONG: Bytes = Bytes::from_static(b"as long as it has to be, to be cut in the middle");

/// Of a body that did not come to its end nothing is seen.
pub async fn b2_what_was_cut_off_is_not_seen<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let (blob, now) = (name("d1/a"), fixture.now());
    let address = store.address(&blob, BlobAccess::Upload, now, HOUR).await.unwrap();
    fixture.put_half(address.as_str(), LONG).await;
    assert_eq!(store.stat(&blob).await.unwrap(), None);
    let missing = read(&store, &blob, None).await.unwrap_err();
    assert_eq!(missing.kind(), BlobErrorKind::NotFound);
    assert!(fixture.put(address.as_str(), ONE).await);
    fixture.put_half(address.as_str(), LONG).await;
    assert_eq!(read(&store, &blob, None).await.unwrap(), ONE);
}

/// Before `finish` there is nothing.
pub async fn b2_what_is_being_written_is_not_seen<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let blob = name("~service/a");
    let mut writer = store.write(&blob).await.unwrap();
    writer.write(LONG).await.unwrap();
    assert_eq!(store.stat(&blob).await.unwrap(), None);
    assert_eq!(read(&store, &blob, None).await.unwrap_err().kind(), BlobErrorKind::NotFound);
    writer.finish().await.unwrap();
    assert_eq!(read(&store, &blob, None).await.unwrap(), LONG);
}

/// What is overwritten is read until the new is whole, also by whoever has begun to read.
pub async fn b2_what_is_replaced_is_there_until_then<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let blob = name("~service/a");
    write(&store, &blob, &[b"old"]).await;
    let mut writer = store.write(&blob).await.unwrap();
    writer.write(LONG).await.unwrap();
    assert_eq!(read(&store, &blob, None).await.unwrap(), b"old");
    assert_eq!(store.stat(&blob).await.unwrap().unwrap().size, 3);
    writer.finish().await.unwrap();
    assert_eq!(read(&store, &blob, None).await.unwrap(), LONG);
}

/// Whoever was told that a blob is written finds it.
pub async fn b3_what_was_written_is_seen_at_once<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let (theirs, ours, now) = (name("d1/a"), name("~service/a"), fixture.now());
    let address = store.address(&theirs, BlobAccess::Upload, now, HOUR).await.unwrap();
    assert!(fixture.put(address.as_str(), LONG).await);
    write(&store, &ours, &[&LONG]).await;
    for blob in [theirs, ours] {
        let info = store.stat(&blob).await.unwrap().unwrap();
        assert_eq!(info.size, LONG.len() as u64);
        assert!(!info.url.contains('?'), "the URL has a right in it: {}", info.url);
        assert_eq!(read(&store, &blob, None).await.unwrap(), LONG);
    }
}

/// The same after a restart.
pub async fn b3_what_was_written_is_seen_after_a_restart<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let blob = name("~service/deep/er/a");
    write(&store, &blob, &[b"one", b"two"]).await;
    let Some(store) = fixture.reopen(store).await else { return };
    assert_eq!(read(&store, &blob, None).await.unwrap(), b"onetwo");
}

/// Whatever the bytes are, and however many.
pub async fn b4_a_blob_comes_back_byte_for_byte<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let all: Vec<u8> =
        (0..1_500_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (theirs, ours, now) = (name("d1/a"), name("~service/a"), fixture.now());
    let address = store.address(&theirs, BlobAccess::Upload, now, HOUR).await.unwrap();
    assert!(fixture.put(address.as_str(), all.clone().into()).await);
    let (first, second) = all.split_at(700_001);
    write(&store, &ours, &[first, b"", second]).await;
    for blob in [theirs, ours] {
        assert!(read(&store, &blob, None).await.unwrap() == all, "the bytes of {blob} differ");
    }
}

/// A range may reach beyond the end, and begin there.
pub async fn b4_a_range_is_a_part_of_it<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let blob = name("~service/a");
    write(&store, &blob, &[b"0123456789"]).await;
    for (range, want) in [
        (0..10, "0123456789"),
        (2..5, "234"),
        (8..99, "89"),
        (10..99, ""),
        (50..99, ""),
        (3..3, ""),
    ] {
        let found = read(&store, &blob, Some(range.clone())).await.unwrap();
        assert_eq!(found, want.as_bytes(), "{range:?}");
    }
}

/// A blob may have no bytes.
pub async fn b4_an_empty_blob_is_one<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let blob = name("~service/a");
    write(&store, &blob, &[]).await;
    assert_eq!(store.stat(&blob).await.unwrap().unwrap().size, 0);
    assert_eq!(read(&store, &blob, None).await.unwrap(), b"");
}
