//! The log's numbers and its index: which entry lies where in the journal.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use hub_core::id::{Partition, SequenceNumber};
use hub_core::store::Seek;
use hub_core::time::Timestamp;

use super::recent::Recent;
use crate::journal::Position;
use crate::journal::op::Appended;
use crate::journal::segment::Segment;
use crate::journal::summary::{Point, Span, Summary};

/// Bytes of journal between two places that the index knows of one partition.
const STRIDE: u64 = 32 * 1024;
/// Most places of one plan. A reader that wants more comes again.
const PLAN: usize = 4096;

/// A partition.
#[derive(Debug)]
struct Track {
    /// The number of the next entry to come, and the time of the last, as the writer sees it.
    next: u64,
    last_at: Timestamp,
    /// The same as readers may see it.
    published: (u64, Timestamp),
    /// The number of the oldest entry kept.
    oldest: u64,
    points: VecDeque<(u64, Point)>,
}

impl Default for Track {
    fn default() -> Self {
        let at = Timestamp::ZERO;
        Self { next: 1, last_at: at, published: (1, at), oldest: 1, points: VecDeque::new() }
    }
}

/// A segment that is kept.
#[derive(Debug)]
struct Held {
    segment: Arc<Segment>,
    /// Of every partition that has entries in it: the number after the last of them.
    ends: BTreeMap<u16, (u64, Timestamp)>,
}

/// An append of the group that is not durable yet.
#[derive(Debug)]
struct Pending {
    appended: Appended,
    /// Where its record begins in the group.
    place: usize,
}

#[derive(Debug)]
pub(crate) struct Log {
    bytes_max: u64,
    dropped: u64,
    tracks: BTreeMap<u16, Track>,
    held: BTreeMap<u64, Held>,
    pending: Vec<Pending>,
    trims: Vec<(u16, u64)>,
    /// Where the pending group is in the journal.
    written: Option<(Position, Bytes)>,
    recent: Recent,
}

/// Where to read, and how far.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) partition: Partition,
    /// The first number wanted.
    pub(crate) from: u64,
    /// Nothing from here on.
    pub(crate) until: u64,
    /// Places in order; the entries up to the next place's first lie between the two.
    pub(crate) points: Vec<(u64, Point)>,
    pub(crate) segments: BTreeMap<u64, Arc<Segment>>,
    /// The groups from the first place on, if they are in memory.
    pub(crate) recent: Vec<(Position, Bytes)>,
}

/// The numbers of a partition, for checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) partition: u16,
    pub(crate) next: u64,
    pub(crate) last_at: Timestamp,
    pub(crate) oldest: u64,
}

impl Log {
    pub(crate) fn new(bytes_max: u64, recent_bytes: usize) -> Self {
        Self {
            bytes_max,
            dropped: 0,
            tracks: BTreeMap::new(),
            held: BTreeMap::new(),
            pending: Vec::new(),
            trims: Vec::new(),
            written: None,
            recent: Recent::new(recent_bytes),
        }
    }

    /// How many entries the bound on bytes has cost since the store was opened.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Gives entries their numbers and time.
    pub(crate) fn number(
        &mut self,
        partition: Partition,
        at: Timestamp,
        count: u32,
    ) -> (u64, Timestamp) {
        let track = self.tracks.entry(partition.0).or_default();
        let first = track.next;
        track.next += u64::from(count);
        track.last_at = track.last_at.max(at);
        (first, track.last_at)
    }

    /// The number of the next entry, as the writer sees it.
    pub(crate) fn next(&self, partition: Partition) -> SequenceNumber {
        SequenceNumber(self.tracks.get(&partition.0).map_or(1, |track| track.next))
    }

    /// Remembers where in the group the entries just numbered are.
    pub(crate) fn append(&mut self, appended: Appended, place: usize) {
        self.pending.push(Pending { appended, place });
    }

    /// Forgets entries once the group is durable.
    pub(crate) fn trim(&mut self, partition: Partition, below: SequenceNumber) {
        self.trims.push((partition.0, below.0));
    }

    /// The group is written here.
    pub(crate) fn written(&mut self, at: Position, group: Bytes) {
        self.written = Some((at, group));
    }

    pub(crate) fn publish(&mut self) {
        if let Some((at, group)) = self.written.take() {
            for Pending { appended, place } in std::mem::take(&mut self.pending) {
                let offset = at.offset + crate::codec::long(place);
                self.settle(&appended, Position { offset, ..at });
            }
            self.recent.push(at, group);
        }
        for (partition, below) in std::mem::take(&mut self.trims) {
            self.forget(partition, below);
        }
    }

    /// An append that is durable, at its place.
    pub(crate) fn settle(&mut self, appended: &Appended, at: Position) {
        let partition = appended.partition.0;
        let track = self.tracks.entry(partition).or_default();
        let (end, time) = (appended.end(), appended.at);
        track.published = (track.published.0.max(end), track.published.1.max(time));
        track.next = track.next.max(end);
        track.last_at = track.last_at.max(time);
        let far = track.points.back().is_none_or(|(segment, last)| {
            *segment != at.segment || at.offset >= u64::from(last.offset) + STRIDE
        });
        if far {
            let offset = u32::try_from(at.offset).unwrap_or(u32::MAX);
            track.points.push_back((at.segment, Point { first: appended.first, at: time, offset }));
        }
        if let Some(held) = self.held.get_mut(&at.segment) {
            held.ends.insert(partition, (end, time));
        }
    }

    /// A trim that is durable.
    pub(crate) fn forget(&mut self, partition: u16, below: u64) {
        let Some(track) = self.tracks.get_mut(&partition) else { return };
        track.oldest = track.oldest.max(below.min(track.published.0));
        while track.points.get(1).is_some_and(|(_, second)| second.first <= track.oldest) {
            track.points.pop_front();
        }
    }

    pub(crate) fn roll_back(&mut self) {
        for Pending { appended, .. } in std::mem::take(&mut self.pending) {
            if let Some(track) = self.tracks.get_mut(&appended.partition.0) {
                (track.next, track.last_at) = track.published;
            }
        }
        self.trims.clear();
        self.written = None;
    }

    /// Adds a segment that groups will be written to, or that was found.
    pub(crate) fn hold(&mut self, segment: Arc<Segment>) {
        self.held.insert(segment.number, Held { segment, ends: BTreeMap::new() });
    }

    /// Takes a segment without entries back.
    pub(crate) fn release(&mut self, segment: u64) {
        self.held.remove(&segment);
    }

    /// The number of the oldest segment.
    pub(crate) fn first_segment(&self) -> Option<u64> {
        self.held.first_key_value().map(|(number, _)| *number)
    }

    /// Adds what a sealed segment holds.
    pub(crate) fn restore(&mut self, summary: &Summary) {
        for (partition, span) in &summary.spans {
            let track = self.tracks.entry(*partition).or_default();
            track.points.extend(span.points.iter().map(|point| (summary.segment, *point)));
            if let Some(held) = self.held.get_mut(&summary.segment) {
                held.ends.insert(*partition, (span.end, span.last_at));
            }
            track.next = track.next.max(span.end);
            track.last_at = track.last_at.max(span.last_at);
            track.published = (track.next, track.last_at);
        }
    }

    /// Takes the numbers of a checkpoint.
    pub(crate) fn restore_numbers(&mut self, numbers: &Numbers) {
        let track = self.tracks.entry(numbers.partition).or_default();
        track.next = track.next.max(numbers.next);
        track.last_at = track.last_at.max(numbers.last_at);
        track.oldest = track.oldest.max(numbers.oldest);
        track.published = (track.next, track.last_at);
    }

    /// After everything was found: no entry is kept that lies in no segment. How many should.
    pub(crate) fn found(&mut self) -> u64 {
        let mut lost = 0_u64;
        for track in self.tracks.values_mut() {
            let first = track.points.front().map_or(track.published.0, |(_, point)| point.first);
            let oldest = track.oldest.max(first).min(track.published.0);
            lost += oldest.saturating_sub(track.oldest);
            track.oldest = oldest;
        }
        let oldest: Vec<_> = self.tracks.iter().map(|(p, track)| (*p, track.oldest)).collect();
        oldest.into_iter().for_each(|(partition, below)| self.forget(partition, below));
        lost
    }

    pub(crate) fn numbers(&self) -> Vec<Numbers> {
        let of = |(partition, track): (&u16, &Track)| {
            let (next, last_at) = track.published;
            Numbers { partition: *partition, next, last_at, oldest: track.oldest }
        };
        self.tracks.iter().map(of).collect()
    }

    /// What is in a segment, for its index file.
    pub(crate) fn summary(&self, segment: u64, end: u64, next_group: u64) -> Option<Summary> {
        let held = self.held.get(&segment)?;
        let mut spans = BTreeMap::new();
        for (partition, (number, last_at)) in &held.ends {
            let points = self.tracks.get(partition).map(|track| {
                let from = track.points.partition_point(|(of, _)| *of < segment);
                let points = track.points.range(from..);
                points.take_while(|(of, _)| *of == segment).map(|(_, point)| *point).collect()
            });
            let points = points.unwrap_or_default();
            spans.insert(*partition, Span { end: *number, last_at: *last_at, points });
        }
        Some(Summary { segment, salt: held.segment.salt, end, next_group, spans })
    }

    /// Segments nobody needs: all their entries are forgotten, or there are too many bytes. Only the
    /// oldest can go, and none from `keep` on. No longer held.
    pub(crate) fn expire(&mut self, keep: u64) -> Vec<Arc<Segment>> {
        let mut gone = Vec::new();
        let mut bytes: u64 = self.held.values().map(|held| held.segment.capacity).sum();
        while let Some(entry) = self.held.first_entry()
            && *entry.key() < keep
        {
            let forgotten = entry.get().ends.iter().all(|(partition, (end, _))| {
                self.tracks.get(partition).is_some_and(|track| track.oldest >= *end)
            });
            if !forgotten && bytes <= self.bytes_max {
                break;
            }
            let held = entry.remove();
            bytes = bytes.saturating_sub(held.segment.capacity);
            for (partition, (end, _)) in &held.ends {
                let Some(track) = self.tracks.get_mut(partition) else { continue };
                self.dropped += end.saturating_sub(track.oldest);
                track.oldest = track.oldest.max(*end);
                while track.points.front().is_some_and(|(of, _)| *of <= held.segment.number) {
                    track.points.pop_front();
                }
            }
            gone.push(held.segment);
        }
        gone
    }

    /// How to read from a number on.
    pub(crate) fn plan(&self, partition: Partition, from: u64, limit: u64) -> Option<Plan> {
        let track = self.tracks.get(&partition.0)?;
        let from = from.max(track.oldest);
        let until = track.published.0.min(from.saturating_add(limit));
        let first = track.points.partition_point(|(_, point)| point.first <= from);
        self.plan_at(track, partition, from, until, first.saturating_sub(1))
    }

    fn plan_at(
        &self,
        track: &Track,
        partition: Partition,
        from: u64,
        mut until: u64,
        first: usize,
    ) -> Option<Plan> {
        if from >= until || track.points.is_empty() {
            return None;
        }
        let points: Vec<_> = track
            .points
            .range(first..)
            .take_while(|(_, point)| point.first < until)
            .take(PLAN + 1)
            .copied()
            .collect();
        let mut points = points;
        if points.len() > PLAN
            && let Some((_, beyond)) = points.pop()
        {
            until = until.min(beyond.first);
        }
        let (low, point) = *points.first()?;
        let (high, _) = *points.last()?;
        let segments = self.held.range(low..=high);
        let segments =
            segments.map(|(number, held)| (*number, Arc::clone(&held.segment))).collect();
        let at = Position { segment: low, offset: u64::from(point.offset) };
        let recent = self.recent.from(at, PLAN);
        Some(Plan { partition, from, until, points, segments, recent })
    }

    /// The number of a place, or how to look for a time.
    pub(crate) fn seek(&self, partition: Partition, to: Seek) -> Result<SequenceNumber, Plan> {
        let Some(track) = self.tracks.get(&partition.0) else { return Ok(SequenceNumber(1)) };
        let (next, last_at) = track.published;
        Ok(SequenceNumber(match to {
            Seek::Oldest => track.oldest,
            Seek::Next => next,
            Seek::Time(time) if time > last_at => next,
            Seek::Time(time) => {
                // The first entry in time lies before the first place in time, behind the one before.
                let later = track.points.partition_point(|(_, point)| point.at < time);
                let until = track.points.get(later).map_or(next, |(_, point)| point.first);
                let first = later.saturating_sub(1);
                let from = track.points.get(first).map_or(until, |(_, point)| point.first);
                let from = from.max(track.oldest);
                match self.plan_at(track, partition, from, until, first) {
                    Some(plan) if later > 0 => return Err(plan),
                    _ => until.max(track.oldest),
                }
            }
        }))
    }
}
