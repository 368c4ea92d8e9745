//! Log entries in rows: as many in one as fit a page of the database.
//!
//! A row for each entry would spend as much on rows and index entries as on what devices send.

use bytes::{Bytes, BytesMut};
use hub_core::id::SequenceNumber;
use hub_core::store::{Entries, Entry};
use hub_core::time::Timestamp;

use crate::values::{count, millis, stored, time};

/// Most bytes of places and bodies in a row. With its header the row then just fits a page of 8 KiB.
const BYTES_MAX: usize = 8000;
/// Bytes of an entry's place: where its body ends, and its time after the row's.
const PLACE: usize = 8;

/// One row to be. Its first number is known when the row is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// How many entries of the batch's in this partition come before.
    pub(crate) offset: i64,
    /// How many it has.
    pub(crate) count: i64,
    /// The time of its first entry, and that of its last.
    pub(crate) at: i64,
    pub(crate) until: i64,
    pub(crate) places: Bytes,
    pub(crate) body: Bytes,
}

/// What a batch appends to one partition.
#[derive(Debug, Default)]
pub(crate) struct Appending {
    chunks: Vec<Chunk>,
    places: BytesMut,
    body: BytesMut,
    /// Entries in finished chunks, and in the one that is filled.
    before: i64,
    filled: i64,
    at: i64,
    until: i64,
}

impl Appending {
    /// Adds entries; gives how many came before them.
    pub(crate) fn append(&mut self, at: Timestamp, entries: &Entries) -> i64 {
        let first = self.before + self.filled;
        // Times do not fall, within a batch as between them.
        let at = millis(at).max(self.until);
        for body in entries.iter() {
            self.push(at, &body);
        }
        first
    }

    fn push(&mut self, at: i64, body: &[u8]) {
        let bytes = self.places.len() + self.body.len() + PLACE + body.len();
        let mut after = u32::try_from(at.saturating_sub(self.at)).ok();
        if self.filled > 0 && (bytes > BYTES_MAX || after.is_none()) {
            self.finish();
        }
        if self.filled == 0 {
            self.at = at;
            after = Some(0);
        }
        self.until = at;
        self.filled += 1;
        self.body.extend_from_slice(body);
        // An entry has at most half a mebibyte, and a chunk of several is far smaller.
        let end = u32::try_from(self.body.len()).unwrap_or(u32::MAX);
        self.places.extend_from_slice(&end.to_be_bytes());
        self.places.extend_from_slice(&after.unwrap_or(0).to_be_bytes());
    }

    fn finish(&mut self) {
        if self.filled == 0 {
            return;
        }
        self.chunks.push(Chunk {
            offset: self.before,
            count: self.filled,
            at: self.at,
            until: self.until,
            places: self.places.split().freeze(),
            body: self.body.split().freeze(),
        });
        self.before += std::mem::take(&mut self.filled);
    }

    /// All rows, how many entries they have, and the time of the last one.
    pub(crate) fn finished(mut self) -> (Vec<Chunk>, i64, i64) {
        self.finish();
        (self.chunks, self.before, self.until)
    }
}

/// A row as it was read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) first: i64,
    pub(crate) floor: i64,
    pub(crate) at: i64,
    pub(crate) places: Vec<u8>,
    pub(crate) body: Bytes,
}

impl Found {
    /// Its entries in order. What does not fit its places is left out: the reader finds a gap.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let mut begin = 0;
        self.places().enumerate().map_while(move |(index, (end, at))| {
            let body =
                (begin <= end && end <= self.body.len()).then(|| self.body.slice(begin..end));
            begin = end;
            let sequence = SequenceNumber(stored(self.first.saturating_add(count(index))));
            Some(Entry { sequence, at: time(at), body: body? })
        })
    }

    /// The numbers and times of its entries.
    pub(crate) fn times(&self) -> impl Iterator<Item = (i64, Timestamp)> + '_ {
        let places = self.places().enumerate();
        places.map(|(index, (_, at))| (self.first.saturating_add(count(index)), time(at)))
    }

    fn places(&self) -> impl Iterator<Item = (usize, i64)> + '_ {
        self.places.chunks_exact(PLACE).filter_map(|place| {
            let (end, after) = place.split_first_chunk::<4>()?;
            let end = usize::try_from(u32::from_be_bytes(*end)).ok()?;
            let after = u32::from_be_bytes(after.try_into().ok()?);
            Some((end, self.at.saturating_add(i64::from(after)).max(self.floor)))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn read(chunks: Vec<Chunk>, first: i64, floor: i64) -> Vec<(u64, u64, usize)> {
        let found = chunks.into_iter().map(|chunk| Found {
            first: first + chunk.offset,
            floor,
            at: chunk.at,
            places: chunk.places.to_vec(),
            body: chunk.body,
        });
        let found: Vec<_> = found.collect();
        let entries = found.iter().flat_map(Found::entries);
        entries.map(|entry| (entry.sequence.0, entry.at.as_millis(), entry.body.len())).collect()
    }

    #[test]
    fn entries_come_back_with_their_numbers_and_times() {
        let mut appending = Appending::default();
        let two = Entries::from_parts(Bytes::from_static(b"aabbb"), vec![2, 5]).unwrap();
        assert_eq!(appending.append(at(10), &two), 0);
        assert_eq!(appending.append(at(5), &Entries::one(Bytes::new())), 2);
        assert_eq!(appending.append(at(30), &Entries::one(Bytes::from_static(b"c"))), 3);
        let (chunks, count, until) = appending.finished();
        assert_eq!((chunks.len(), count, until), (1, 4, 30));
        let read = read(chunks, 7, 20);
        assert_eq!(read, [(7, 20, 2), (8, 20, 3), (9, 20, 0), (10, 30, 1)]);
    }

    #[test]
    fn a_row_fits_a_page_unless_one_entry_does_not() {
        let mut appending = Appending::default();
        for size in [3000, 3000, 3000, 9000, 0, 1] {
            appending.append(at(1), &Entries::one(vec![7; size].into()));
        }
        let (chunks, count, _) = appending.finished();
        let counts: Vec<_> = chunks.iter().map(|chunk| (chunk.offset, chunk.count)).collect();
        assert_eq!((counts, count), (vec![(0, 2), (2, 1), (3, 1), (4, 2)], 6));
        let sizes: Vec<_> = read(chunks, 1, 0).into_iter().map(|(_, _, size)| size).collect();
        assert_eq!(sizes, [3000, 3000, 3000, 9000, 0, 1]);
    }

    #[test]
    fn times_far_apart_are_in_rows_of_their_own() {
        let mut appending = Appending::default();
        for time in [at(0), at(1 << 40), Timestamp::MAX, at(3)] {
            appending.append(time, &Entries::one(Bytes::new()));
        }
        let (chunks, ..) = appending.finished();
        assert_eq!(chunks.len(), 3);
        let times: Vec<_> = read(chunks, 1, 0).into_iter().map(|(_, at, _)| at).collect();
        assert_eq!(times, [0, 1 << 40, u64::MAX, u64::MAX]);
    }
}
