//! The addresses of back ends' folders.

use std::time::Duration;

use bytes::Bytes;

use super::{Fixture, HOUR, name, read};
use crate::blob::{BlobAccess, BlobFolder, BlobStore as _, FolderAddress, FolderProof, SERVICE};

fn folder(text: &str) -> BlobFolder {
    BlobFolder::new(text).expect("the kit's own folder")
}

/// The address of a file in a folder, with the folder's right.
fn inside(address: &FolderAddress, file: &str) -> Option<String> {
    let (url, right) = address.as_str().split_once('?')?;
    Some(format!("{url}/{file}?{right}"))
}

/// With the proof that it has, and with none for the hub itself.
pub async fn b9_a_folder_is_found_by_its_address<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let now = fixture.now();
    for wanted in [BlobFolder::root(), folder("in"), folder("in/2026-11.x_y")] {
        let address = store.folder_address(&wanted, now, HOUR).await.unwrap();
        let url = address.without_right();
        let right = address.as_str().strip_prefix(url).unwrap();
        for (given, proof) in [
            (address.as_str().to_owned(), FolderProof::Signature),
            (format!("{url}/{right}"), FolderProof::Signature),
            (url.to_owned(), FolderProof::Hub),
            (format!("{url}/"), FolderProof::Hub),
        ] {
            let found = store.folder(&given, proof, now).await.unwrap();
            assert_eq!(found.as_ref(), Some(&wanted), "{url} {proof:?}");
        }
    }
}

/// Where a store signs a right into the address, it is for that folder and nothing else.
pub async fn b9_a_right_is_for_what_is_in_the_folder<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let (mine, now, body) = (folder("mine"), fixture.now(), Bytes::from_static(b"one"));
    let address = store.folder_address(&mine, now, HOUR).await.unwrap();
    let Some(file) = inside(&address, "a.txt") else { return };
    assert!(fixture.put(&file, body.clone()).await);
    assert_eq!(fixture.get(&file).await, Some(body.clone()));
    assert_eq!(read(&store, &mine.blob("a.txt").unwrap(), None).await.unwrap(), body);
    for other in ["~service/a.txt", "~service/other/a.txt", "~service/mine2/a.txt", "d1/a.txt"] {
        let given = file.replace("~service/mine/a.txt", other);
        assert_ne!(given, file);
        assert!(!fixture.put(&given, body.clone()).await, "{other}");
        assert_eq!(store.stat(&name(other)).await.unwrap(), None, "{other}");
    }
}

/// Neither what is elsewhere, nor what was changed.
pub async fn b9_no_other_address_is_found<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let now = fixture.now();
    let address = store.folder_address(&folder("mine"), now, HOUR).await.unwrap();
    let url = address.without_right();
    let root = url.strip_suffix(&format!("{SERVICE}/mine")).unwrap();
    let blob = store.address(&name("d1/a"), BlobAccess::Upload, now, HOUR).await.unwrap();
    for given in [
        String::new(),
        "?".to_owned(),
        "https://elsewhere.example/uploads/~service/mine".to_owned(),
        root.to_owned(),
        format!("{root}d1"),
        format!("{root}{SERVICE}x"),
        format!("{root}{SERVICE}/.."),
        format!("{root}{SERVICE}/mine/../other"),
        format!("{root}{SERVICE}//mine"),
        format!("{root}{SERVICE}/mi%6Ee"),
        blob.as_str().to_owned(),
    ] {
        for proof in [FolderProof::Signature, FolderProof::Hub] {
            assert_eq!(store.folder(&given, proof, now).await.unwrap(), None, "{given} {proof:?}");
        }
    }
    let Some((_, right)) = address.as_str().split_once('?') else { return };
    for given in [
        url.to_owned(),
        format!("{url}?"),
        format!("{url}2?{right}"),
        format!("{root}{SERVICE}?{right}"),
        format!("{root}{SERVICE}/other?{right}"),
        format!("{url}?{}", blob.query().trim_start_matches('?')),
    ] {
        let found = store.folder(&given, FolderProof::Signature, now).await.unwrap();
        assert_eq!(found, None, "{given}");
    }
}

/// From its expiry on an address that is signed proves nothing.
pub async fn b9_a_folder_s_address_ends_with_its_expiry<F: Fixture>(fixture: &mut F) {
    let store = fixture.open().await;
    let (mine, now) = (folder("mine"), fixture.now());
    let address = store.folder_address(&mine, now, HOUR).await.unwrap();
    let Some(file) = inside(&address, "a.txt") else { return };
    let found = |at| store.folder(address.as_str(), FolderProof::Signature, at);
    assert_eq!(found(now.after(HOUR - Duration::from_secs(1))).await.unwrap(), Some(mine));
    assert_eq!(found(now.after(HOUR)).await.unwrap(), None);
    if fixture.pass(HOUR).await {
        assert!(!fixture.put(&file, Bytes::from_static(b"one")).await);
    }
}
