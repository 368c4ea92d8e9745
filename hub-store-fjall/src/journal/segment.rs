//! One segment file.

use std::io;
use std::sync::Arc;

use crate::codec::Fields;
use crate::disk::{Disk, File};

const MAGIC: &[u8; 8] = b"hubsegmt";
const VERSION: u32 = 1;
/// Where the groups begin. A sector of its own, so that writing the first group leaves the header
/// alone.
pub(crate) const DATA: u64 = 512;
/// The file that becomes the next segment, while it is made.
pub(crate) const NEXT: &str = "next.seg";

/// A segment that groups are, or were, written to.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) salt: u32,
    pub(crate) capacity: u64,
    pub(crate) file: Arc<dyn File>,
    /// How messages name it.
    pub(crate) described: String,
}

/// Why a header is none.
#[derive(Debug)]
pub(crate) enum BadHeader {
    /// Not written, or damaged.
    Damaged,
    /// Of a later program.
    Newer(u32),
    /// Of another store.
    Foreign,
}

pub(crate) fn name(number: u64) -> String {
    format!("{number:016x}.seg")
}

pub(crate) fn index_name(number: u64) -> String {
    format!("{number:016x}.idx")
}

/// The number in a segment's name.
pub(crate) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

impl Segment {
    /// Opens a segment by its number.
    pub(crate) fn open(
        disk: &dyn Disk,
        store: u128,
        number: u64,
    ) -> io::Result<Result<Self, BadHeader>> {
        let file = disk.open(&name(number))?;
        let mut header = [0; 64];
        let length = file.read_at(&mut header, 0)?;
        let capacity = file.length()?;
        let described = disk.describe(&name(number));
        Ok(decode(header.get(..length).unwrap_or_default(), store, number).map(|salt| Self {
            number,
            salt,
            capacity,
            file,
            described,
        }))
    }
}

fn decode(header: &[u8], store: u128, number: u64) -> Result<u32, BadHeader> {
    let mut fields = Fields(header);
    let f = &mut fields;
    let mut parse = || Some((f.bytes(8)?, f.u32()?, f.u128()?, f.u64()?, f.u32()?, f.u32()?));
    let Some((magic, version, of, at, salt, crc)) = parse() else { return Err(BadHeader::Damaged) };
    if magic != MAGIC || crc32c::crc32c(header.get(..40).unwrap_or_default()) != crc {
        return Err(BadHeader::Damaged);
    }
    match (version, of == store, at == number) {
        (VERSION, true, true) => Ok(salt),
        (VERSION, true, false) => Err(BadHeader::Damaged),
        (VERSION, false, _) => Err(BadHeader::Foreign),
        (version, ..) => Err(BadHeader::Newer(version)),
    }
}

fn encode(store: u128, number: u64, salt: u32) -> Vec<u8> {
    let mut header = Vec::with_capacity(64);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&store.to_le_bytes());
    header.extend_from_slice(&number.to_le_bytes());
    header.extend_from_slice(&salt.to_le_bytes());
    let crc = crc32c::crc32c(&header);
    header.extend_from_slice(&crc.to_le_bytes());
    header
}

/// The wish for a segment: what [`Wish::make`] needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) store: u128,
    pub(crate) number: u64,
    pub(crate) capacity: u64,
    pub(crate) salt: u32,
    /// A segment that is no longer needed and has the right size: its file is written over.
    pub(crate) recycle: Option<u64>,
}

impl Wish {
    /// Makes an empty segment whose space is allocated and written, so that later syncs of groups
    /// need not touch the file's metadata.
    pub(crate) fn make(&self, disk: &dyn Disk) -> io::Result<Segment> {
        match self.write(disk) {
            Ok(segment) => Ok(segment),
            Err(error) => {
                // A file that was filled half-way must not keep the space that others lack.
                drop(disk.remove(NEXT));
                Err(error)
            }
        }
    }

    fn write(&self, disk: &dyn Disk) -> io::Result<Segment> {
        let file = match self.recycle {
            Some(old) if disk.rename(&name(old), NEXT).is_ok() => {
                // Before it is written over, the old segment must be gone for good.
                disk.sync_directory()?;
                disk.open(NEXT)?
            }
            _ => {
                let file = disk.create(NEXT)?;
                file.fill(self.capacity)?;
                file
            }
        };
        file.write_at(&encode(self.store, self.number, self.salt), 0)?;
        file.sync_data()?;
        let name = name(self.number);
        disk.rename(NEXT, &name)?;
        disk.sync_directory()?;
        let described = disk.describe(&name);
        let capacity = file.length()?;
        Ok(Segment { number: self.number, salt: self.salt, capacity, file, described })
    }
}
