//! The conformance kit for stores of files.
//!
//! - [`addresses`]: what the holder of an address can do, and what it cannot.
//! - [`bytes`]: what is seen of a blob, and when.
//! - [`writing`]: blobs that the hub writes itself; deleting and sweeping.
//! - [`folders`]: the addresses of back ends' folders.
//!
//! A store's tests need a [`Fixture`], which opens fresh stores and does what clients do, and one line:
//!
//! ```
//! use hub_core::conformance::blob::Modelled;
//!
//! hub_core::blob_tests!(Modelled::default()); // Your fixture instead of the kit's own.
//! ```
//!
//! [`Model`] is the contract as a program: a sorted map. It serves other tests as well.

pub mod addresses;
pub mod bytes;
pub mod folders;
mod model;
pub mod writing;

use std::time::Duration;

use ::bytes::Bytes;
use async_trait::async_trait;

pub use self::model::{Model, Modelled};
use crate::blob::{BlobError, BlobName, BlobStore};
use crate::time::Timestamp;

/// Where the kit gets its stores from, and what clients do. Cleans up what it made when it is dropped.
#[async_trait]
pub trait Fixture: Send {
    /// What it opens.
    type Store: BlobStore;

    /// A store, fresh and empty. Called once.
    async fn open(&mut self) -> Self::Store;

    /// The same store after a restart. `None` for a store that keeps nothing, or is no process of its
    /// own.
    async fn reopen(&mut self, store: Self::Store) -> Option<Self::Store>;

    /// The time by which addresses expire.
    fn now(&self) -> Timestamp;

    /// Lets that time pass. Whether it could.
    async fn pass(&mut self, time: Duration) -> bool;

    /// Writes a blob whole to an address, as a client does that has nothing but the address. Whether
    /// it was told that it is written.
    async fn put(&mut self, address: &str, body: Bytes) -> bool;

    /// Begins to write a blob to an address, and goes away after half of the body.
    async fn put_half(&mut self, address: &str, body: Bytes);

    /// Reads a blob at an address. `None` if it was refused.
    async fn get(&mut self, address: &str) -> Option<Bytes>;
}

/// How long the kit's addresses are good.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn name(text: &str) -> BlobName {
    BlobName::parse(text).expect("the kit's own name")
}

/// All of a blob, or what there is of a range.
pub(crate) async fn read(
    store: &impl BlobStore,
    blob: &BlobName,
    range: Option<std::ops::Range<u64>>,
) -> Result<Vec<u8>, BlobError> {
    let mut reader = store.read(blob, range).await?;
    let mut all = Vec::new();
    while let Some(piece) = reader.next().await? {
        assert!(!piece.is_empty(), "a piece is empty");
        assert!(piece.len() <= 512 * 1024, "a piece has {} bytes", piece.len());
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// Writes a blob in the hub's own process.
pub(crate) async fn write(store: &impl BlobStore, blob: &BlobName, pieces: &[&[u8]]) {
    let mut writer = store.write(blob).await.expect("write");
    for piece in pieces {
        writer.write(Bytes::copy_from_slice(piece)).await.expect("a piece");
    }
    writer.finish().await.expect("finish");
}

/// Expands to one test per case of the kit for stores of files.
///
/// The argument is an expression that gives a [`Fixture`](crate::conformance::blob::Fixture); it is
/// evaluated at the beginning of every test, inside an `async fn` without a result.
#[macro_export]
macro_rules! blob_tests {
    ($fixture:expr) => {
        $crate::__blob_tests! { $fixture;
            addresses {
                b1_an_upload_address_writes_its_blob
                b1_an_upload_address_is_for_no_other_blob
                b1_a_download_address_reads_and_writes_nothing
                b1_an_address_ends_with_its_expiry
            }
            bytes {
                b2_what_was_cut_off_is_not_seen
                b2_what_is_being_written_is_not_seen
                b2_what_is_replaced_is_there_until_then
                b3_what_was_written_is_seen_at_once
                b3_what_was_written_is_seen_after_a_restart
                b4_a_blob_comes_back_byte_for_byte
                b4_a_range_is_a_part_of_it
                b4_an_empty_blob_is_one
            }
            writing {
                b5_a_sweep_takes_no_blob
                b5_a_sweep_leaves_what_was_touched_since
                b6_a_dropped_finish_is_whole_or_none
                b7_delete_takes_one_blob_and_says_so
                b8_a_finished_blob_is_there
                b8_a_dropped_writer_leaves_what_was_there
                b8_a_large_blob_is_written_piece_by_piece
            }
            folders {
                b9_a_folder_is_found_by_its_address
                b9_a_right_is_for_what_is_in_the_folder
                b9_no_other_address_is_found
                b9_a_folder_s_address_ends_with_its_expiry
            }
        }
    };
}

/// What [`blob_tests`] expands with.
#[doc(hidden)]
#[macro_export]
macro_rules! __blob_tests {
    ($fixture:expr; $($subject:ident { $($case:ident)+ })+) => {$($(
        #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let mut fixture = $fixture;
            let case = $crate::conformance::blob::$subject::$case(&mut fixture);
            $crate::conformance::store::run(stringify!($case), case).await;
        }
    )+)+};
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    const KIT: &str = include_str!("mod.rs");
    const CONTRACT: &str = include_str!("../../blob/mod.rs");
    const SUBJECTS: [&str; 4] = [
        include_str!("addresses.rs"),
        include_str!("bytes.rs"),
        include_str!("folders.rs"),
        include_str!("writing.rs"),
    ];

    fn cases_written() -> BTreeSet<&'static str> {
        let lines = SUBJECTS.iter().flat_map(|subject| subject.lines());
        let names = lines.filter_map(|line| {
            let (name, rest) = line.strip_prefix("pub async fn ")?.split_once("<F: Fixture>")?;
            rest.starts_with("(fixture: &mut F) {").then_some(name)
        });
        names.collect()
    }

    fn cases_run() -> BTreeSet<&'static str> {
        let (_, list) = KIT.split_once("macro_rules! blob_tests").unwrap();
        let (list, _) = list.split_once("macro_rules! __blob_tests").unwrap();
        let names = list.lines().map(str::trim);
        names.filter(|name| name.starts_with('b') && name.contains('_')).collect()
    }

    #[test]
    fn every_case_written_is_run() {
        assert_eq!(cases_written(), cases_run());
    }

    #[test]
    fn every_sentence_has_a_case_and_every_case_a_sentence() {
        let sentences = CONTRACT.lines().filter_map(|line| {
            let (sentence, _) = line.strip_prefix("//! - **B")?.split_once("**")?;
            Some(format!("b{sentence}"))
        });
        let named = cases_run().into_iter().filter_map(|case| case.split_once('_'));
        let named: BTreeSet<_> = named.map(|(sentence, _)| sentence.to_owned()).collect();
        assert_eq!(named, sentences.collect());
    }

    crate::blob_tests!(super::Modelled::default());
}
