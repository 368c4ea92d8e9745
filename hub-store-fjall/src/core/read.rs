//! Reading entries: from memory close to the end of the log, else from the segments.

use std::io;

use bytes::Bytes;
use hub_core::id::SequenceNumber;
use hub_core::store::Entry;
use hub_core::time::Timestamp;

use crate::codec::{index, long};
use crate::journal::op::Appended;
use crate::journal::scan::{self, Place};
use crate::journal::segment::Segment;
use crate::journal::{Position, Tag};
use crate::state::damaged;
use crate::state::log::Plan;

/// Bytes read at once.
const PIECE: usize = 64 * 1024;
/// Bodies of one answer, in bytes; a reader that wants more comes again.
const ANSWER: usize = 16 * 1024 * 1024;

/// Where records may be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Memory only: without waiting for the disk.
    Memory,
    /// The disk where memory does not have it.
    Disk,
}

/// A reader on its way through a plan.
struct Walk<'a> {
    plan: &'a Plan,
    source: Source,
    at: Position,
    /// The next of the plan's places to jump to.
    next_point: usize,
    /// The piece of journal at hand, and where it begins.
    piece: (Position, Bytes),
    salt: Option<u32>,
}

/// The entries of a plan; nothing if the disk is needed and may not be read.
pub(crate) fn entries(plan: &Plan, source: Source) -> io::Result<Option<Vec<Entry>>> {
    let wanted = index(plan.until.saturating_sub(plan.from));
    let mut entries: Vec<Entry> = Vec::with_capacity(wanted.min(1024));
    let mut bytes = 0;
    let whole = walk(plan, source, |appended, payload, number| {
        let Some(body) = appended.body(payload, number - appended.first) else { return false };
        bytes += body.len();
        entries.push(Entry { sequence: SequenceNumber(number), at: appended.at, body });
        bytes < ANSWER
    })?;
    Ok(whole.then_some(entries))
}

/// The first number of a plan whose time is not before `time`; the end of the plan if there is none.
pub(crate) fn first_at(plan: &Plan, time: Timestamp, source: Source) -> io::Result<Option<u64>> {
    let mut found = plan.until;
    let whole = walk(plan, source, |appended, _, number| {
        if appended.at >= time {
            found = number;
        }
        appended.at < time
    })?;
    Ok(whole.then_some(found))
}

/// Visits the entries of a plan, until the visitor has enough.
fn walk(
    plan: &Plan,
    source: Source,
    mut visit: impl FnMut(&Appended, &Bytes, u64) -> bool,
) -> io::Result<bool> {
    let Some((segment, point)) = plan.points.first() else { return Ok(true) };
    let at = Position { segment: *segment, offset: u64::from(point.offset) };
    let piece = (at, Bytes::new());
    let mut walk = Walk { plan, source, at, next_point: 1, piece, salt: None };
    let mut wanted = plan.from;
    while wanted < plan.until {
        walk.jump(wanted);
        let Some((tag, payload)) = walk.record()? else { return Ok(false) };
        let appended = match tag {
            Tag::Append => Appended::decode(&payload).ok_or_else(|| walk.lost(wanted))?,
            _ => continue,
        };
        if appended.partition != plan.partition || appended.end() <= wanted {
            continue;
        }
        if appended.first > wanted {
            return Err(walk.lost(wanted));
        }
        for number in wanted..appended.end().min(plan.until) {
            if !visit(&appended, &payload, number) {
                return Ok(true);
            }
        }
        wanted = appended.end();
    }
    Ok(true)
}

impl Walk<'_> {
    /// Goes on to the last known place that is not behind the number wanted.
    fn jump(&mut self, wanted: u64) {
        while let Some((segment, point)) = self.plan.points.get(self.next_point)
            && point.first <= wanted
        {
            self.next_point += 1;
            let place = Position { segment: *segment, offset: u64::from(point.offset) };
            self.at = self.at.max(place);
        }
    }

    fn segment(&self) -> io::Result<&Segment> {
        self.plan
            .segments
            .get(&self.at.segment)
            .map(AsRef::as_ref)
            .ok_or_else(|| damaged(format!("segment {} is missing", self.at.segment)))
    }

    fn lost(&self, wanted: u64) -> io::Error {
        let place = self.segment().map(|segment| segment.described.clone()).unwrap_or_default();
        let partition = self.plan.partition;
        damaged(format!(
            "{place}: damaged near byte {}: entry {wanted} of partition {partition} is not there",
            self.at.offset
        ))
    }

    /// The next record; nothing if only the disk has it and may not be asked.
    fn record(&mut self) -> io::Result<Option<(Tag, Bytes)>> {
        let mut least = crate::journal::HEAD;
        loop {
            let Some(begin) = self.load(least)? else { return Ok(None) };
            let (bytes, salt) = (&self.piece.1, self.salt);
            match scan::look(bytes, begin) {
                Place::Record(found) => {
                    // What is in memory was never on a disk. What is skipped needs no check: the
                    // numbers of what is served are checked to follow each other.
                    if found.tag == Tag::Append && salt.is_some_and(|s| !found.holds(bytes, s)) {
                        return Err(self.broken());
                    }
                    let payload = scan::payload(bytes, &found);
                    self.at.offset += long(found.end - begin);
                    return Ok(Some((found.tag, payload)));
                }
                Place::Cut(length) if length > least => least = length,
                Place::Cut(_) | Place::Nothing => return Err(self.broken()),
            }
        }
    }

    fn broken(&self) -> io::Error {
        let place = self.segment().map(|segment| segment.described.clone()).unwrap_or_default();
        damaged(format!("{place}: damaged at byte {}: wrong checksum", self.at.offset))
    }

    /// Makes sure that so many bytes from the place on are at hand; where they begin in the piece.
    fn load(&mut self, least: usize) -> io::Result<Option<usize>> {
        let (start, bytes) = &self.piece;
        if start.segment == self.at.segment
            && let Some(begin) = self.at.offset.checked_sub(start.offset)
            && long(bytes.len()) >= begin + long(least)
        {
            return Ok(Some(index(begin)));
        }
        if let Some((start, group)) = self.in_memory(least) {
            let begin = index(self.at.offset - start.offset);
            self.piece = (start, group);
            self.salt = None;
            return Ok(Some(begin));
        }
        if self.source == Source::Memory {
            return Ok(None);
        }
        let segment = self.segment()?;
        let salt = segment.salt;
        if self.at.offset.saturating_add(long(least)) > segment.capacity {
            return Err(self.broken());
        }
        let mut buffer = vec![0; least.max(PIECE)];
        let length = segment.file.read_at(&mut buffer, self.at.offset)?;
        if length < least {
            return Err(self.broken());
        }
        buffer.truncate(length);
        self.piece = (self.at, buffer.into());
        self.salt = Some(salt);
        Ok(Some(0))
    }

    fn in_memory(&self, least: usize) -> Option<(Position, Bytes)> {
        let recent = &self.plan.recent;
        let after = recent.partition_point(|(start, _)| *start <= self.at);
        let (start, group) = recent.get(after.checked_sub(1)?)?;
        let begin = self.at.offset.checked_sub(start.offset)?;
        let within = start.segment == self.at.segment && begin + long(least) <= long(group.len());
        within.then(|| (*start, group.clone()))
    }
}
