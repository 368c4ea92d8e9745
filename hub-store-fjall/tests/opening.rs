//! Bad luck on a real disk: each gets one clear line, and nothing is damaged.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it should be"
)]

mod scratch;

use std::fs;
use std::io::{BufRead, BufReader};
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use hub_core::id::{Partition, SequenceNumber};
use hub_core::store::{
    Ask, Batch, BatchId, Change, Entries, Key, Kind, Push, QueueId, QueueKind, Record, Seek, Store,
};
use hub_core::time::Timestamp;
use hub_store_fjall::{FileStore, FileStoreConfig, OpenError};
use scratch::Scratch;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

const LOG: Partition = Partition(0);

fn config() -> FileStoreConfig {
    FileStoreConfig::new().segment_bytes(64 << 10).dirty_bytes(64 << 10).cache_bytes(0)
}

fn open(path: &Path) -> Result<FileStore, OpenError> {
    FileStore::open(path, config())
}

fn said(result: Result<FileStore, OpenError>) -> String {
    let said = result.expect_err("it is refused").to_string();
    assert!(!said.contains('\n'), "{said}");
    said
}

/// A document, an item and an entry with the same number in their bodies.
fn change(number: u64) -> Change {
    let body = Bytes::from(format!("{number:0200}"));
    let queue = QueueId { kind: QueueKind::Mailbox, id: "d".into() };
    let (visible, deadline) = (Timestamp::ZERO, Timestamp::MAX);
    Change::new()
        .create(Key::new(Kind::Twin, &number.to_string()), body.clone())
        .push(Push { queue, capacity: u32::MAX, visible, deadline, body: body.clone() })
        .append(LOG, Timestamp::from_millis(number), Entries::one(body))
}

fn commit(store: &FileStore, number: u64) {
    let batch = Batch { id: BatchId(number.into()), changes: vec![change(number)], nudges: vec![] };
    let outcomes = block_on(store.commit(&batch)).unwrap();
    assert!(matches!(outcomes[..], [hub_core::store::Outcome::Committed(_)]), "{outcomes:?}");
}

/// How many numbers are there, everywhere the same ones.
fn numbers(store: &FileStore) -> Result<u64, hub_core::store::StoreError> {
    let limit = NonZeroU32::MAX;
    let entries = block_on(store.tail(LOG, SequenceNumber(1), limit))?;
    let documents = block_on(store.scan(Kind::Twin, None, limit))?;
    let queue = QueueId { kind: QueueKind::Mailbox, id: "d".into() };
    let read = block_on(store.read(&[Ask::Items(queue, SequenceNumber(0), u32::MAX)]))?;
    let [Some(Record::Items(items))] = &read[..] else { panic!("{read:?}") };
    assert_eq!((entries.len(), items.len()), (documents.len(), documents.len()));
    for (number, (entry, item)) in (1..).zip(entries.iter().zip(items)) {
        let right = format!("{number:0200}");
        assert_eq!((&entry.body[..], &item.body[..]), (right.as_bytes(), right.as_bytes()));
        let key = Key::new(Kind::Twin, &number.to_string());
        let document = documents.iter().find(|document| *document.at.key() == key);
        assert_eq!(&document.expect("it is there").body[..], right.as_bytes());
    }
    Ok(entries.len() as u64)
}

#[test]
fn a_second_process_is_refused_and_harms_nothing() {
    let scratch = Scratch::new();
    let store = open(scratch.path()).unwrap();
    commit(&store, 1);
    let said = said(open(scratch.path()));
    assert!(said.contains("another process has this store open"), "{said}");
    commit(&store, 2);
    block_on(store.close());
    assert_eq!(numbers(&open(scratch.path()).unwrap()).unwrap(), 2);
}

#[test]
fn a_closed_store_opens_at_once_and_has_everything() {
    let scratch = Scratch::new();
    for round in 0..3 {
        let store = open(scratch.path()).unwrap();
        (round * 100 + 1..=round * 100 + 100).for_each(|number| commit(&store, number));
        block_on(store.close());
    }
    assert_eq!(numbers(&open(scratch.path()).unwrap()).unwrap(), 300);
}

#[test]
fn a_later_format_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    block_on(open(scratch.path()).unwrap().close());
    let file = scratch.path().join("format");
    let before = fs::read_to_string(&file).unwrap();
    let later = before.replace("format 1", "format 2");
    fs::write(&file, &later).unwrap();
    let said = said(open(scratch.path()));
    assert!(said.contains("format 2") && said.contains("this program knows format 1"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), later);
    fs::write(&file, before).unwrap();
    open(scratch.path()).unwrap();
}

#[test]
fn a_directory_of_something_else_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    fs::write(scratch.path().join("letter.txt"), "dear").unwrap();
    let said = said(open(scratch.path()));
    assert!(said.contains("not empty, and not a store"), "{said}");
    assert_eq!(fs::read_to_string(scratch.path().join("letter.txt")).unwrap(), "dear");
    assert!(!scratch.path().join("state").exists());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let scratch = Scratch::new();
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    let said = said(open(&file.join("store")));
    assert!(said.contains("file/store") && said.contains("can read and write"), "{said}");
}

#[test]
fn a_missing_segment_is_named() {
    let scratch = Scratch::new();
    let store = open(scratch.path()).unwrap();
    (1..=10).for_each(|number| commit(&store, number));
    drop(store);
    // The lock tells when the store has ended.
    drop(open(scratch.path()).unwrap());
    for name in ["0000000000000001.seg", "0000000000000002.seg"] {
        drop(fs::rename(scratch.path().join(name), scratch.path().join(format!("{name}.away"))));
    }
    let said = said(open(scratch.path()));
    assert!(said.contains("0000000000000001.seg: damaged (missing"), "{said}");
}

/// What `docs/durability.md` says to do about a damaged segment that the state does not need.
#[test]
fn a_damaged_old_segment_can_be_given_up_with_those_before_it() {
    let scratch = Scratch::new();
    let store = open(scratch.path()).unwrap();
    (1..=1500).for_each(|number| commit(&store, number));
    block_on(store.close());
    let file = |number: u32, kind: &str| scratch.path().join(format!("{number:016x}.{kind}"));
    let mut bytes = fs::read(file(3, "seg")).unwrap();
    bytes[2000] ^= 1;
    fs::write(file(3, "seg"), bytes).unwrap();
    // It is read when the store opens only if its index is missing too.
    fs::remove_file(file(3, "idx")).unwrap();
    let said = said(open(scratch.path()));
    assert!(said.contains("0000000000000003.seg: damaged (at byte"), "{said}");
    for number in 1..=3 {
        fs::remove_file(file(number, "seg")).unwrap();
        drop(fs::remove_file(file(number, "idx")));
    }
    let store = open(scratch.path()).unwrap();
    let oldest = block_on(store.seek(LOG, Seek::Oldest)).unwrap();
    let kept = block_on(store.tail(LOG, SequenceNumber(1), NonZeroU32::MAX)).unwrap();
    assert!(oldest.0 > 1 && oldest.0 < 1500, "{oldest}");
    let numbers: Vec<u64> = kept.iter().map(|entry| entry.sequence.0).collect();
    assert_eq!(numbers, (oldest.0..=1500).collect::<Vec<_>>());
    assert_eq!(block_on(store.scan(Kind::Twin, None, NonZeroU32::MAX)).unwrap().len(), 1500);
    assert_eq!(block_on(store.seek(LOG, Seek::Next)).unwrap().0, 1501);
}

/// A gap is not taken for the end of the log: what lies before it would go without a word.
#[test]
fn a_segment_that_is_missing_between_others_is_named_and_nothing_is_removed() {
    let scratch = Scratch::new();
    let store = open(scratch.path()).unwrap();
    (1..=1500).for_each(|number| commit(&store, number));
    block_on(store.close());
    let (third, away) = (segment(&scratch, 3), scratch.path().join("away"));
    fs::rename(&third, &away).unwrap();
    let said = said(open(scratch.path()));
    let gap = "0000000000000003.seg: damaged (missing, and older segments are there: 2)";
    assert!(said.contains(gap), "{said}");
    fs::rename(&away, &third).unwrap();
    assert_eq!(numbers(&open(scratch.path()).unwrap()).unwrap(), 1500);
}

/// The file of a segment that has expired may be there or not, whatever became of its neighbours: a
/// crash leaves some of them.
#[test]
fn a_segment_that_has_expired_is_not_missed() {
    let scratch = Scratch::new();
    let store = open(scratch.path()).unwrap();
    (1..=1500).for_each(|number| commit(&store, number));
    block_on(store.close());
    let kept = fs::read(segment(&scratch, 1)).unwrap();
    let store = open(scratch.path()).unwrap();
    block_on(store.trim(LOG, SequenceNumber(1400))).unwrap();
    block_on(store.close());
    drop(open(scratch.path()).unwrap());
    assert!(!segment(&scratch, 1).exists() && !segment(&scratch, 2).exists());
    fs::write(segment(&scratch, 1), kept).unwrap();
    let store = open(scratch.path()).unwrap();
    let left = block_on(store.tail(LOG, SequenceNumber(1), NonZeroU32::MAX)).unwrap();
    let left: Vec<u64> = left.iter().map(|entry| entry.sequence.0).collect();
    assert_eq!(left, (1400..=1500).collect::<Vec<_>>());
    assert!(!segment(&scratch, 1).exists(), "it is removed, as it would have been");
}

fn segment(scratch: &Scratch, number: u32) -> std::path::PathBuf {
    scratch.path().join(format!("{number:016x}.seg"))
}

/// Bits flipped in fjall's files: what is read afterwards is right, or there is an error, or fjall
/// gives up. Each is tried in a process of its own, because fjall may end the process over a damaged
/// manifest.
#[test]
fn a_damaged_state_is_never_served() {
    if let Ok(path) = std::env::var(CHILD) {
        match open(Path::new(&path)).map(|store| numbers(&store)) {
            Ok(Ok(count)) => println!("\nserved {count}"),
            Ok(Err(error)) => println!("\nrefused {error}"),
            Err(error) => println!("\nrefused {error}"),
        }
        return;
    }
    let scratch = Scratch::new();
    let store = open(scratch.path()).unwrap();
    (1..=400).for_each(|number| commit(&store, number));
    block_on(store.close());
    let kept = Scratch::new();
    copy(scratch.path(), kept.path());
    let mut files = Vec::new();
    find(&scratch.path().join("state"), &mut files);
    let (mut served, mut refused, mut gave_up) = (0, 0, 0);
    for round in 0..40_usize {
        let file = &files[round % files.len()];
        let mut bytes = fs::read(file).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let at = round.wrapping_mul(2_654_435_761) % bytes.len();
        bytes[at] ^= 1 << (round % 8);
        fs::write(file, &bytes).unwrap();
        let output = child("a_damaged_state_is_never_served", scratch.path()).output().unwrap();
        let (out, error) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let place = format!("byte {at} of {}: {out} {error}", file.display());
        match out
            .lines()
            .find_map(|line| line.split_once(' ').filter(|(word, _)| *word == "served"))
        {
            Some((_, count)) => {
                assert_eq!(count, "400", "{place}");
                served += 1;
            }
            None if out.contains("\nrefused ") => refused += 1,
            None => {
                assert!(!error.contains("panicked at hub-store-fjall"), "{place}");
                gave_up += 1;
            }
        }
        fs::remove_dir_all(scratch.path()).unwrap();
        copy(kept.path(), scratch.path());
    }
    println!("{served} served, {refused} refused, {gave_up} ended by fjall");
    assert!(refused + gave_up > 0);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

fn find(directory: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { find(&path, files) } else { files.push(path) }
    }
    files.sort();
}

const CHILD: &str = "HUB_STORE_FJALL_TEST_CHILD";

/// This test again, in a process of its own.
fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD, path);
    command
}

/// The process is killed in the middle of its work, again and again; it is itself the child.
#[test]
fn a_killed_process_has_lost_nothing_it_acknowledged() {
    if let Ok(path) = std::env::var(CHILD) {
        let store = open(Path::new(&path)).unwrap();
        let mut number = numbers(&store).unwrap();
        loop {
            number += 1;
            commit(&store, number);
            println!("\nacknowledged {number}");
        }
    }
    let scratch = Scratch::new();
    let mut acknowledged = 0;
    for round in 0..8 {
        let mut child = child("a_killed_process_has_lost_nothing_it_acknowledged", scratch.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let wanted = acknowledged + 20 + round * 37;
        for line in lines {
            if let Some(number) = line.strip_prefix("acknowledged ") {
                acknowledged = number.parse().unwrap();
            }
            if acknowledged >= wanted {
                // Somewhere in the middle of what comes next.
                std::thread::sleep(Duration::from_micros(700 * round));
                child.kill().unwrap();
                break;
            }
        }
        child.wait().unwrap();
        let store = open(scratch.path()).unwrap();
        let there = numbers(&store).unwrap();
        assert!(there >= acknowledged, "{there} of {acknowledged} are there");
        acknowledged = there;
        drop(store);
    }
    assert!(acknowledged > 8 * 20);
}
