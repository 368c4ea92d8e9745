//! The index file of a sealed segment: where the entries of each partition lie.
//!
//! It says nothing that the segment does not say. When it is missing, damaged, or of a former life of
//! the segment's file, it is made again by scanning the segment.

use std::collections::BTreeMap;

use hub_core::time::Timestamp;

use crate::codec::Fields;

const MAGIC: &[u8; 8] = b"hubindex";
const VERSION: u32 = 1;

/// A place that the index knows: the record whose first entry has this number and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) first: u64,
    pub(crate) at: Timestamp,
    /// Bytes from the beginning of the segment.
    pub(crate) offset: u32,
}

/// What a segment has of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// The number after the last entry's.
    pub(crate) end: u64,
    /// The time of the last entry.
    pub(crate) last_at: Timestamp,
    pub(crate) points: Vec<Point>,
}

/// What is in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) segment: u64,
    pub(crate) salt: u32,
    /// Where its groups end.
    pub(crate) end: u64,
    /// The number of the group after its last.
    pub(crate) next_group: u64,
    pub(crate) spans: BTreeMap<u16, Span>,
}

impl Summary {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        bytes.extend_from_slice(&self.end.to_le_bytes());
        bytes.extend_from_slice(&self.next_group.to_le_bytes());
        for (partition, span) in &self.spans {
            bytes.extend_from_slice(&partition.to_le_bytes());
            bytes.extend_from_slice(&span.end.to_le_bytes());
            bytes.extend_from_slice(&span.last_at.as_millis().to_le_bytes());
            let count = u32::try_from(span.points.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&count.to_le_bytes());
            for point in &span.points {
                bytes.extend_from_slice(&point.first.to_le_bytes());
                bytes.extend_from_slice(&point.at.as_millis().to_le_bytes());
                bytes.extend_from_slice(&point.offset.to_le_bytes());
            }
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Nothing if the bytes are not the summary of just this segment.
    pub(crate) fn decode(bytes: &[u8], segment: u64, salt: u32) -> Option<Self> {
        let (content, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        if Fields(crc).u32()? != crc32c::crc32c(content) {
            return None;
        }
        let mut fields = Fields(content);
        let f = &mut fields;
        if f.bytes(8)? != MAGIC || f.u32()? != VERSION || f.u64()? != segment || f.u32()? != salt {
            return None;
        }
        let (end, next_group) = (f.u64()?, f.u64()?);
        let mut spans = BTreeMap::new();
        while !f.is_empty() {
            let partition = f.u16()?;
            let (end, last_at) = (f.u64()?, Timestamp::from_millis(f.u64()?));
            let count = f.u32()?;
            let mut points = Vec::new();
            for _ in 0..count {
                let (first, at) = (f.u64()?, Timestamp::from_millis(f.u64()?));
                points.push(Point { first, at, offset: f.u32()? });
            }
            spans.insert(partition, Span { end, last_at, points });
        }
        Some(Self { segment, salt, end, next_group, spans })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_comes_back_and_a_flipped_bit_is_noticed() {
        let at = Timestamp::from_millis;
        let points = vec![Point { first: 4, at: at(9), offset: 512 }];
        let spans = [(3, Span { end: 9, last_at: at(10), points })].into();
        let summary = Summary { segment: 7, salt: 5, end: 1000, next_group: 44, spans };
        let bytes = summary.encode();
        assert_eq!(Summary::decode(&bytes, 7, 5), Some(summary));
        assert_eq!(Summary::decode(&bytes, 7, 6), None);
        assert_eq!(Summary::decode(&bytes, 8, 5), None);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Summary::decode(&flipped, 7, 5), None, "bit {bit}");
        }
    }
}
