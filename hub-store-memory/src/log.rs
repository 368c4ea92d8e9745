//! The log: partitions of segments, bounded in bytes over all of them.

use std::collections::{BTreeMap, VecDeque};

use hub_core::id::{Partition, SequenceNumber};
use hub_core::store::{Entries, Entry, Seek};
use hub_core::time::Timestamp;

/// What an append costs beside its bodies: its place in the partition and the allocator's share.
/// Counted so that many small or empty entries are bounded too.
const SEGMENT_BYTES: usize = 160;
/// What an entry costs beside its body.
const ENTRY_BYTES: usize = 4;

/// The entries of one append. They share a time, and their numbers are contiguous.
#[derive(Debug)]
pub(crate) struct Segment {
    first: u64,
    at: Timestamp,
    /// Counts appends over all partitions, so that the oldest of all can be told.
    order: u64,
    entries: Entries,
}

impl Segment {
    fn end(&self) -> u64 {
        self.first.saturating_add(count(self.entries.len()))
    }

    fn bytes(&self) -> u64 {
        count(self.entries.bytes() + ENTRY_BYTES * self.entries.len() + SEGMENT_BYTES)
    }
}

#[derive(Debug)]
struct Track {
    /// The number of the next entry to come.
    next: u64,
    /// The number of the oldest entry kept. May lie inside the first segment.
    oldest: u64,
    /// The time of the last entry, also when that is no longer kept.
    last_at: Timestamp,
    segments: VecDeque<Segment>,
}

impl Default for Track {
    fn default() -> Self {
        Self { next: 1, oldest: 1, last_at: Timestamp::ZERO, segments: VecDeque::new() }
    }
}

#[derive(Debug)]
pub(crate) struct Log {
    bytes_max: u64,
    bytes: u64,
    order: u64,
    dropped: u64,
    tracks: BTreeMap<Partition, Track>,
    /// The first segment of every partition that has one, by the order of their appends.
    fronts: BTreeMap<u64, Partition>,
}

impl Log {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            order: 0,
            dropped: 0,
            tracks: BTreeMap::new(),
            fronts: BTreeMap::new(),
        }
    }

    /// How many entries the bound on bytes has cost so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn append(
        &mut self,
        partition: Partition,
        at: Timestamp,
        entries: &Entries,
    ) -> SequenceNumber {
        let track = self.tracks.entry(partition).or_default();
        let first = track.next;
        if entries.is_empty() {
            return SequenceNumber(first);
        }
        self.order += 1;
        if track.segments.is_empty() {
            self.fronts.insert(self.order, partition);
        }
        track.last_at = track.last_at.max(at);
        let segment =
            Segment { first, at: track.last_at, order: self.order, entries: entries.clone() };
        track.next = segment.end();
        self.bytes = self.bytes.saturating_add(segment.bytes());
        track.segments.push_back(segment);
        self.shed();
        SequenceNumber(first)
    }

    /// Drops the oldest appends until the rest fits. The newest stays, whatever its size, so that
    /// an acknowledged entry is never gone before anybody could read it.
    fn shed(&mut self) {
        while self.bytes > self.bytes_max {
            let Some((&order, &partition)) = self.fronts.first_key_value() else { return };
            if order == self.order {
                return;
            }
            self.fronts.remove(&order);
            let Some(track) = self.tracks.get_mut(&partition) else { return };
            if let Some(segment) = track.segments.pop_front() {
                self.bytes = self.bytes.saturating_sub(segment.bytes());
                self.dropped += segment.end() - track.oldest;
                track.oldest = segment.end();
            }
            if let Some(front) = track.segments.front() {
                self.fronts.insert(front.order, partition);
            }
        }
    }

    pub(crate) fn tail(
        &self,
        partition: Partition,
        from: SequenceNumber,
        limit: usize,
    ) -> Vec<Entry> {
        let Some(track) = self.tracks.get(&partition) else { return Vec::new() };
        let from = from.0.max(track.oldest);
        let there = usize::try_from(track.next.saturating_sub(from)).unwrap_or(usize::MAX);
        let limit = limit.min(there);
        let mut entries = Vec::with_capacity(limit);
        let start = track.segments.partition_point(|segment| segment.end() <= from);
        for segment in track.segments.iter().skip(start) {
            let skip = usize::try_from(from.saturating_sub(segment.first)).unwrap_or(usize::MAX);
            for index in skip..segment.entries.len() {
                if entries.len() == limit {
                    return entries;
                }
                let Some(body) = segment.entries.get(index) else { break };
                let sequence = SequenceNumber(segment.first.saturating_add(count(index)));
                entries.push(Entry { sequence, at: segment.at, body });
            }
        }
        entries
    }

    pub(crate) fn seek(&self, partition: Partition, to: Seek) -> SequenceNumber {
        let Some(track) = self.tracks.get(&partition) else { return SequenceNumber(1) };
        SequenceNumber(match to {
            Seek::Oldest => track.oldest,
            Seek::Next => track.next,
            Seek::Time(time) => {
                let index = track.segments.partition_point(|segment| segment.at < time);
                // The first segment may begin below the oldest entry kept.
                track.segments.get(index).map_or(track.next, |s| s.first.max(track.oldest))
            }
        })
    }

    /// Forgets the entries below a number. Returns the memory, to be freed where no lock is held.
    pub(crate) fn trim(&mut self, partition: Partition, below: SequenceNumber) -> Vec<Segment> {
        let Some(track) = self.tracks.get_mut(&partition) else { return Vec::new() };
        track.oldest = below.0.clamp(track.oldest, track.next);
        let oldest = track.oldest;
        let gone = track.segments.partition_point(|segment| segment.end() <= oldest);
        if gone == 0 {
            return Vec::new();
        }
        if let Some(front) = track.segments.front() {
            self.fronts.remove(&front.order);
        }
        let gone: Vec<_> = track.segments.drain(..gone).collect();
        if let Some(front) = track.segments.front() {
            self.fronts.insert(front.order, partition);
        }
        let bytes = gone.iter().map(Segment::bytes).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        gone
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const P: Partition = Partition(0);
    const Q: Partition = Partition(7);
    const NOW: Timestamp = Timestamp::from_millis(1000);

    fn of(count: usize, bytes: usize) -> Entries {
        let ends = (1..=count).map(|n| (n * bytes) as u32).collect();
        Entries::from_parts(Bytes::from(vec![7; count * bytes]), ends).unwrap()
    }

    fn numbers(log: &Log, partition: Partition, from: u64, limit: u32) -> Vec<u64> {
        let entries = log.tail(partition, SequenceNumber(from), limit as usize);
        entries.into_iter().map(|entry| entry.sequence.0).collect()
    }

    /// What the bookkeeping says, against what is there.
    fn check(log: &Log) {
        let segments = || log.tracks.values().flat_map(|track| &track.segments);
        assert_eq!(log.bytes, segments().map(Segment::bytes).sum::<u64>());
        let fronts: BTreeMap<_, _> = log
            .tracks
            .iter()
            .filter_map(|(partition, track)| Some((track.segments.front()?.order, *partition)))
            .collect();
        assert_eq!(log.fronts, fronts);
    }

    #[test]
    fn the_oldest_appends_of_all_partitions_make_room() {
        let mut log = Log::new(4 * of_bytes(2, 100));
        for partition in [P, Q, P, Q] {
            log.append(partition, NOW, &of(2, 100));
            check(&log);
        }
        assert_eq!(log.dropped(), 0);
        log.append(P, NOW, &of(2, 100));
        assert_eq!(
            (numbers(&log, P, 0, 9), numbers(&log, Q, 0, 9)),
            (vec![3, 4, 5, 6], vec![1, 2, 3, 4])
        );
        log.append(P, NOW, &of(2, 100));
        check(&log);
        assert_eq!(
            (numbers(&log, P, 0, 9), numbers(&log, Q, 0, 9)),
            (vec![3, 4, 5, 6, 7, 8], vec![3, 4])
        );
        assert_eq!(log.seek(Q, Seek::Oldest), SequenceNumber(3));
        assert_eq!(log.dropped(), 4);
    }

    #[test]
    fn the_newest_append_stays_whatever_its_size() {
        let mut log = Log::new(10);
        log.append(P, NOW, &of(3, 1000));
        assert_eq!(numbers(&log, P, 0, 9), [1, 2, 3]);
        log.append(Q, NOW, &of(1, 0));
        check(&log);
        assert_eq!((numbers(&log, P, 0, 9), numbers(&log, Q, 0, 9)), (vec![], vec![1]));
        assert_eq!(log.seek(P, Seek::Oldest), SequenceNumber(4));
    }

    #[test]
    fn a_trim_inside_an_append_hides_its_beginning_and_counts_as_kept_memory() {
        let mut log = Log::new(u64::MAX);
        log.append(P, NOW, &of(5, 10));
        log.append(P, NOW, &of(5, 10));
        assert!(log.trim(P, SequenceNumber(3)).is_empty());
        check(&log);
        assert_eq!(numbers(&log, P, 0, 4), [3, 4, 5, 6]);
        assert_eq!(log.seek(P, Seek::Time(Timestamp::ZERO)), SequenceNumber(3));
        assert_eq!(log.trim(P, SequenceNumber(8)).len(), 1);
        check(&log);
        assert_eq!(numbers(&log, P, 2, 9), [8, 9, 10]);
        assert_eq!(log.trim(P, SequenceNumber(u64::MAX)).len(), 1);
        check(&log);
        assert_eq!((log.bytes, log.seek(P, Seek::Oldest)), (0, SequenceNumber(11)));
        assert_eq!(log.append(P, NOW, &of(1, 1)), SequenceNumber(11));
    }

    #[test]
    fn a_bound_reached_after_a_partial_trim_counts_only_what_readers_lost() {
        let mut log = Log::new(2 * of_bytes(5, 10));
        log.append(P, NOW, &of(5, 10));
        log.append(Q, NOW, &of(5, 10));
        log.trim(P, SequenceNumber(4));
        log.append(Q, NOW, &of(5, 10));
        check(&log);
        assert_eq!(log.dropped(), 2);
    }

    fn of_bytes(count: usize, bytes: usize) -> u64 {
        (count * bytes + ENTRY_BYTES * count + SEGMENT_BYTES) as u64
    }
}
