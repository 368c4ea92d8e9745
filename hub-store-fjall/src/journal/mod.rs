//! The journal: segment files of groups of records, the one truth that is synced.
//!
//! # The format
//!
//! A segment is a file of fixed size named by its number. It begins with a header of 512 bytes
//! (magic, format version, the store's id, its number, a random *salt*, a checksum). Then come
//! groups, one behind the other. A group is a record that announces it, and the records it
//! announces. A record is
//!
//! | bytes | field |
//! |---|---|
//! | 4 | CRC-32C of all that follows in the record, begun with the segment's salt |
//! | 4 | length of the payload |
//! | 1 | tag |
//! | 3 | zero |
//! | … | payload |
//!
//! and the payload of a group's record is its number (contiguous over all segments), the bytes and
//! the count of its records, the version counter after it, and the CRC-32C of their heads. A group
//! counts only whole: that is what makes a change, and a batch, all or nothing after a crash.
//!
//! Segments are written over files that were used before, so behind the last group lies old data.
//! The salt makes every record of a former life, and every byte a client sent, fail its checksum.

pub(crate) mod group;
pub(crate) mod op;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod summary;
pub(crate) mod writer;

/// Bytes of a record before its payload.
pub(crate) const HEAD: usize = 12;
/// Bytes of the payload that announces a group.
pub(crate) const GROUP: usize = 28;

/// What a record is. The numbers are in files; they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    Group = 1,
    Batch = 2,
    Put = 3,
    Remove = 4,
    Push = 5,
    Set = 6,
    Settle = 7,
    Clear = 8,
    Append = 9,
    Trim = 10,
}

impl Tag {
    pub(crate) fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Group,
            2 => Self::Batch,
            3 => Self::Put,
            4 => Self::Remove,
            5 => Self::Push,
            6 => Self::Set,
            7 => Self::Settle,
            8 => Self::Clear,
            9 => Self::Append,
            10 => Self::Trim,
            _ => return None,
        })
    }
}

/// A place in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position {
    /// The number of the segment.
    pub(crate) segment: u64,
    /// Bytes from its beginning.
    pub(crate) offset: u64,
}
