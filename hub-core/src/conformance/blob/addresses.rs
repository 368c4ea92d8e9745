//! What the holder of an address can do, and what it cannot.

use std::time::Duration;

use bytes::Bytes;

use super::{Fixture, HOUR, name, read};
use crate::blob::{BlobAccess, BlobStore as _};

const ONE: Bytes = Bytes::from_static(b"one");
const TWO: Bytes = Bytes::from_static(b"two");

/// Whoever holds the address writes the blob, again too.
pub async fn b1_an_upload_address_writes_its_blob<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let blob = name("d1/a b/c+é%.txt");
    let address = store.address(&blob, BlobAccess::Upload, fixture.now(), HOUR).await.unwrap();
    for body in [ONE, TWO] {
        assert!(fixture.put(address.as_str(), body.clone()).await, "{address:?}");
        assert_eq!(read(&store, &blob, None).await.unwrap(), body);
    }
}

/// The right to one blob is none to another, of the same device or of another.
pub async fn b1_an_upload_address_is_for_no_other_blob<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let (mine, now) = (name("d1/mine"), fixture.now());
    let address = store.address(&mine, BlobAccess::Upload, now, HOUR).await.unwrap();
    for other in ["d1/other", "d2/mine", "d1/mine/more", "~service/mine"] {
        let (before, query) = address.as_str().split_once('?').unwrap();
        let before = before.strip_suffix("d1/mine").unwrap();
        assert!(!fixture.put(&format!("{before}{other}?{query}"), ONE).await, "{other}");
        assert_eq!(store.stat(&name(other)).await.unwrap(), None, "{other}");
    }
}

/// The right to read is none to write.
pub async fn b1_a_download_address_reads_and_writes_nothing<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let (blob, now) = (name("d1/a"), fixture.now());
    let upload = store.address(&blob, BlobAccess::Upload, now, HOUR).await.unwrap();
    assert!(fixture.put(upload.as_str(), ONE).await);
    let download = store.address(&blob, BlobAccess::Download, now, HOUR).await.unwrap();
    assert_eq!(fixture.get(download.as_str()).await, Some(ONE));
    assert!(!fixture.put(download.as_str(), TWO).await);
    assert_eq!(fixture.get(download.as_str()).await, Some(ONE));
}

/// From its expiry on an address is good for nothing. Asks nothing of a store whose service has a
/// clock of its own.
pub async fn b1_an_address_ends_with_its_expiry<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let (blob, now) = (name("d1/a"), fixture.now());
    let upload = store.address(&blob, BlobAccess::Upload, now, HOUR).await.unwrap();
    let download = store.address(&blob, BlobAccess::Download, now, HOUR).await.unwrap();
    assert!(fixture.put(upload.as_str(), ONE).await);
    if !fixture.pass(HOUR - Duration::from_secs(1)).await {
        return;
    }
    assert_eq!(fixture.get(download.as_str()).await, Some(ONE));
    assert!(fixture.pass(Duration::from_secs(1)).await);
    assert_eq!(fixture.get(download.as_str()).await, None);
    assert!(!fixture.put(upload.as_str(), TWO).await);
    assert_eq!(read(&store, &blob, None).await.unwrap(), ONE);
}
