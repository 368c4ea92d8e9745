//! The last bytes of the journal, kept for readers that follow close behind.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::codec::long;
use crate::journal::Position;

/// What a group costs beside its bytes.
const GROUP: usize = 96;

/// The latest groups as they were written, oldest first, bounded in bytes.
#[derive(Debug)]
pub(crate) struct Recent {
    bytes_max: usize,
    bytes: usize,
    groups: VecDeque<(Position, Bytes)>,
}

impl Recent {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, groups: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, at: Position, group: Bytes) {
        self.bytes += group.len() + GROUP;
        self.groups.push_back((at, group));
        while self.bytes > self.bytes_max
            && let Some((_, oldest)) = self.groups.pop_front()
        {
            self.bytes -= oldest.len() + GROUP;
        }
    }

    /// The groups from the one at a place on, at most `most`. Nothing if that one is gone.
    pub(crate) fn from(&self, at: Position, most: usize) -> Vec<(Position, Bytes)> {
        let first = self.groups.partition_point(|(start, group)| {
            start.segment < at.segment
                || (start.segment == at.segment && start.offset + long(group.len()) <= at.offset)
        });
        match self.groups.get(first) {
            Some((start, _)) if *start <= at => {
                self.groups.range(first..).take(most).cloned().collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u64, offset: u64) -> Position {
        Position { segment, offset }
    }

    #[test]
    fn what_is_kept_is_found_from_any_place_within() {
        let mut recent = Recent::new(3 * (100 + GROUP));
        for (segment, offset) in [(1, 500), (1, 600), (2, 512), (2, 612)] {
            recent.push(at(segment, offset), Bytes::from(vec![0; 100]));
        }
        let starts = |from| -> Vec<Position> {
            recent.from(from, 9).into_iter().map(|(start, _)| start).collect()
        };
        assert_eq!(starts(at(1, 599)), [], "the oldest made room");
        assert_eq!(starts(at(1, 699)), [at(1, 600), at(2, 512), at(2, 612)]);
        assert_eq!(starts(at(1, 700)), [], "nothing lies there");
        assert_eq!(starts(at(2, 611)), [at(2, 512), at(2, 612)]);
        assert_eq!(starts(at(2, 712)), []);
        assert_eq!(recent.from(at(1, 600), 1).len(), 1);
    }
}
