//! Documents: reading, guards, versions, bodies, scanning.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::Fixture;
use super::probe::{NEVER, Probe, committed, is_committed, item, mailbox, text, twin};
use crate::id::SequenceNumber;
use crate::store::{Ask, Change, DocumentRef, Key, Kind, Outcome, QueueKind, Record, Version};

/// Answers stand in the order of the asks, one for each, also for the same ask twice.
pub async fn s1_answers_come_in_the_order_asked<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let (one, two) = (probe.create(&twin("1"), "a").await, probe.create(&twin("2"), "b").await);
    let number = probe.push(item(&mailbox("1"), "c")).await;
    let records = probe
        .read(&[
            Ask::Document(two.key().clone()),
            Ask::Depth(mailbox("1")),
            Ask::Document(twin("none")),
            Ask::Item(mailbox("1"), number),
            Ask::Document(one.key().clone()),
            Ask::Document(two.key().clone()),
            Ask::Items(mailbox("1"), SequenceNumber(0), 5),
        ])
        .await;
    let bodies: Vec<_> = records
        .iter()
        .map(|record| match record {
            None => "nothing".to_owned(),
            Some(Record::Depth(depth)) => format!("depth {depth}"),
            Some(Record::Document(document)) => {
                format!("{} {}", document.at.key().id, text(&document.body))
            }
            Some(Record::Item(item)) => format!("item {}", text(&item.body)),
            Some(Record::Items(items)) => format!("{} items", items.len()),
        })
        .collect();
    assert_eq!(bodies, ["2 b", "depth 1", "nothing", "item c", "1 a", "2 b", "1 items"]);
    assert_eq!(probe.read(&[]).await, []);
}

/// An absent document or item is `None`; a queue that never was holds none.
pub async fn s1_what_does_not_exist_is_none<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let number = probe.push(item(&mailbox("d"), "a")).await;
    // Each differs from the item that exists in just one part of its name.
    let other_kind = super::probe::queue(QueueKind::Inbox, "d");
    let asks = [
        Ask::Document(twin("d")),
        Ask::Item(mailbox("e"), number),
        Ask::Item(other_kind.clone(), number),
        Ask::Item(mailbox("d"), number.next()),
        Ask::Item(mailbox("d"), SequenceNumber(0)),
        Ask::Item(mailbox("d"), SequenceNumber(u64::MAX)),
        Ask::Depth(mailbox("e")),
        Ask::Depth(other_kind),
    ];
    let mut expected = vec![None; 6];
    expected.extend([Some(Record::Depth(0)), Some(Record::Depth(0))]);
    assert_eq!(probe.read(&asks).await, expected);
}

/// A document that exists cannot be created; after its removal it can.
pub async fn s5_create_needs_absence<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let document = probe.create(&twin("d"), "a").await;
    let again = Change::new().create(twin("d"), "b".into());
    assert_eq!(probe.one(again.clone()).await, Outcome::Conflict);
    assert_eq!(probe.body(&twin("d")).await, "a");
    probe.done(Change::new().remove(&document)).await;
    probe.done(again).await;
    assert_eq!(probe.body(&twin("d")).await, "b");
}

/// A document is replaced only as it was read.
pub async fn s5_replace_needs_the_version_read<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let first = probe.create(&twin("d"), "a").await;
    let issued = probe.done(Change::new().replace(&first, "b".into())).await;
    assert_eq!(probe.one(Change::new().replace(&first, "c".into())).await, Outcome::Conflict);
    let read = probe.document(&twin("d")).await.unwrap();
    assert_eq!((text(&read.body).as_str(), read.at.version()), ("b", issued.version));
    probe.done(Change::new().replace(&read.at, "d".into())).await;
    assert_eq!(probe.body(&twin("d")).await, "d");
    // The version of another document, however young, is not this one's.
    let other = probe.create(&twin("e"), "e").await;
    let foreign = DocumentRef::new(twin("d"), other.version());
    assert_eq!(probe.one(Change::new().replace(&foreign, "f".into())).await, Outcome::Conflict);
}

/// A document is removed only as it was read, and only once.
pub async fn s5_remove_needs_the_version_read<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let first = probe.create(&twin("d"), "a").await;
    let issued = probe.done(Change::new().replace(&first, "b".into())).await;
    assert_eq!(probe.one(Change::new().remove(&first)).await, Outcome::Conflict);
    assert_eq!(probe.body(&twin("d")).await, "b");
    let second = DocumentRef::new(twin("d"), issued.version);
    probe.done(Change::new().remove(&second)).await;
    assert_eq!(probe.document(&twin("d")).await, None);
    assert_eq!(probe.one(Change::new().remove(&second)).await, Outcome::Conflict);
}

/// A required version or absence decides over the change, and leaves its document as it is.
pub async fn s5_require_holds_without_a_write<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let session = probe.create(&twin("s"), "a").await;
    let write = |id: &str| Change::new().create(twin(id), "x".into());
    let absent = twin("absent");
    probe.done(write("1").require(&session).require_absent(absent.clone())).await;
    // A write would have given it another version.
    let read = probe.document(&twin("s")).await.unwrap();
    assert_eq!(read.at, session);
    assert_eq!(probe.document(&absent).await, None);
    assert_eq!(
        probe.one(write("2").require_absent(session.key().clone())).await,
        Outcome::Conflict
    );
    probe.done(Change::new().replace(&session, "b".into())).await;
    assert_eq!(probe.one(write("3").require(&session)).await, Outcome::Conflict);
    let gone = DocumentRef::new(absent, session.version());
    assert_eq!(probe.one(write("4").require(&gone)).await, Outcome::Conflict);
    for id in ["2", "3", "4"] {
        assert_eq!(probe.document(&twin(id)).await, None);
    }
}

/// Versions nobody issued (a client may send any number back) are a conflict, not an error.
pub async fn s5_a_version_never_issued_does_not_hold<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let known = probe.create(&twin("d"), "a").await;
    let made_up = [0, known.version().0 + 1, 1 << 62, 1 << 63, NEVER.0];
    for (id, version) in made_up.iter().flat_map(|v| [("d", *v), ("absent", *v)]) {
        let made_up = DocumentRef::new(twin(id), Version(version));
        for change in [
            Change::new().require(&made_up),
            Change::new().replace(&made_up, "b".into()),
            Change::new().remove(&made_up),
        ] {
            assert_eq!(probe.one(change.clone()).await, Outcome::Conflict, "{change:?}");
        }
    }
    assert_eq!(probe.document(&twin("d")).await.unwrap().at, known);
    assert_eq!(probe.document(&twin("absent")).await, None);
}

/// No write of a document gets a version that the document had before, whether it was replaced or
/// removed and made anew in between.
pub async fn s6_a_document_never_has_a_version_twice<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let mut seen = BTreeSet::new();
    for _ in 0..10 {
        let mut document = probe.create(&twin("d"), "a").await;
        assert!(seen.insert(document.version()), "{document:?} in {seen:?}");
        for _ in 0..3 {
            // The same body each time: it is the write that counts, not the content.
            let issued = probe.done(Change::new().replace(&document, "a".into())).await;
            document = DocumentRef::new(twin("d"), issued.version);
            assert!(seen.insert(document.version()), "{document:?} in {seen:?}");
        }
        probe.done(Change::new().remove(&document)).await;
    }
}

/// Whoever read a document before it was removed cannot touch the one made after.
pub async fn s6_a_document_made_anew_refuses_the_old_version<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let old = probe.create(&twin("d"), "a").await;
    probe.done(Change::new().remove(&old)).await;
    probe.create(&twin("d"), "b").await;
    let replace = Change::new().replace(&old, "c".into());
    for change in [replace, Change::new().remove(&old), Change::new().require(&old)] {
        assert_eq!(probe.one(change).await, Outcome::Conflict);
    }
    assert_eq!(probe.body(&twin("d")).await, "b");
}

/// All documents and items that a change writes have the version in its `Issued`.
pub async fn s6_what_one_change_writes_shares_its_version<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let old = probe.create(&twin("old"), "a").await;
    let kept = probe.push(item(&mailbox("d"), "kept")).await;
    let kept = probe.item(&mailbox("d"), kept).await.unwrap();
    let changes = vec![
        Change::new().create(twin("other"), "o".into()),
        Change::new()
            .create(twin("new"), "n".into())
            .push(item(&mailbox("d"), "pushed"))
            .replace(&old, "b".into())
            .retime(&kept.at, kept.visible, kept.marks),
    ];
    let mut outcomes = probe.commit(changes).await;
    let issued = committed(outcomes.remove(1));
    for id in ["new", "old"] {
        assert_eq!(probe.document(&twin(id)).await.unwrap().at.version(), issued.version, "{id}");
    }
    for sequence in [issued.sequences[0], kept.at.sequence()] {
        let item = probe.item(&mailbox("d"), sequence).await.unwrap();
        assert_eq!(item.at.version(), issued.version, "{item:?}");
    }
    let other = committed(outcomes.remove(0)).version;
    assert_eq!(probe.document(&twin("other")).await.unwrap().at.version(), other);
}

/// Bodies of every size up to 1 MiB and of every byte come back as they were.
pub async fn s16_documents_come_back_byte_for_byte<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    for (index, body) in bodies(1024 * 1024).into_iter().enumerate() {
        let key = twin(&index.to_string());
        probe.done(Change::new().create(key.clone(), body.clone())).await;
        assert!(probe.body(&key).await == body, "{} bytes have changed", body.len());
        let read = probe.document(&key).await.unwrap();
        assert!(is_committed(&probe.one(Change::new().replace(&read.at, "".into())).await));
        assert_eq!(probe.body(&key).await, "");
    }
}

/// Nothing, every byte there is, and the largest that must be kept.
pub(super) fn bodies(largest: usize) -> Vec<Bytes> {
    let all: Vec<u8> = (0..=255).collect();
    let large = all.iter().copied().cycle().skip(3).take(largest).collect();
    vec![Bytes::new(), vec![0].into(), all.into(), "{\"ö\":\"\u{0}\"}".into(), large]
}

/// Ids are ordered by their bytes, whatever their length and script.
pub async fn s19_scan_is_in_byte_order<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let long = "z".repeat(300);
    let mut ids = [
        "a",
        "B",
        "b",
        "A",
        "a/m",
        "a-",
        "a!",
        "aa",
        "10",
        "9",
        "é",
        "e",
        "ä",
        "日本",
        "\u{10ffff}",
        "\u{ffff}",
        "~",
        " ",
        "",
        "%",
        "_",
        "'",
        &long,
    ];
    for id in ids {
        probe.create(&twin(id), "x").await;
    }
    ids.sort_unstable_by_key(|id| id.as_bytes());
    let documents = probe.scan(Kind::Twin, None, 1000).await;
    let found: Vec<_> = documents.iter().map(|document| &*document.at.key().id).collect();
    assert_eq!(found, ids);
    for document in &documents {
        let read = probe.document(document.at.key()).await;
        assert_eq!(read.as_ref(), Some(document), "as `read` shows it");
    }
}

/// A scan begins behind `after`, which need not exist.
pub async fn s19_scan_starts_strictly_after<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    for id in ["b", "d", "d/m", "f"] {
        probe.create(&twin(id), "x").await;
    }
    for (after, expected) in [
        ("", "b d d/m f"),
        ("a", "b d d/m f"),
        ("b", "d d/m f"),
        ("c", "d d/m f"),
        ("d", "d/m f"),
        ("d/z", "f"),
        ("f", ""),
        ("g", ""),
    ] {
        let found = probe.scan(Kind::Twin, Some(after), 10).await;
        let found: Vec<_> = found.iter().map(|document| &*document.at.key().id).collect();
        assert_eq!(found.join(" "), expected, "after {after:?}");
    }
}

/// Pages that begin where the one before ended show every document once.
pub async fn s19_scan_pages_meet<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    let ids: Vec<_> = (10..35).map(|n| format!("d{n}")).collect();
    let create = |id: &String| Change::new().create(twin(id), id.clone().into());
    probe.commit(ids.iter().rev().map(create).collect()).await;
    for limit in [1, 4, 25, 26] {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = probe.scan(Kind::Twin, after.as_deref(), limit).await;
            assert!(page.len() <= limit as usize, "{} of at most {limit}", page.len());
            let Some(last) = page.last() else { break };
            after = Some(last.at.key().id.as_ref().to_owned());
            found.extend(page.iter().map(|document| text(&document.body)));
            assert!(found.len() <= ids.len(), "in pages of {limit}: {found:?}");
        }
        assert_eq!(found, ids, "in pages of {limit}");
    }
}

/// The same id in another kind is another document.
pub async fn s19_scan_keeps_kinds_apart<F: Fixture>(fixture: &mut F) {
    let probe = Probe::open(fixture).await;
    for kind in Kind::ALL {
        let body = format!("{kind:?}");
        probe.done(Change::new().create(Key::new(kind, "d"), body.into())).await;
    }
    let twin = probe.document(&twin("d")).await.unwrap();
    probe.done(Change::new().remove(&twin.at)).await;
    for kind in Kind::ALL {
        let found = probe.scan(kind, None, 10).await;
        let found: Vec<_> = found.iter().map(|document| text(&document.body)).collect();
        let expected = if kind == Kind::Twin { vec![] } else { vec![format!("{kind:?}")] };
        assert_eq!(found, expected, "{kind:?}");
    }
}
