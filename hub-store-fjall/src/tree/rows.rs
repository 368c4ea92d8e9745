//! Keys and values of the tree.
//!
//! Every value ends with the CRC-32C of its key and itself: what comes back is what was written, or
//! an error that names the row.

use std::io;

use bytes::Bytes;
use hub_core::id::SequenceNumber;
use hub_core::store::{Item, ItemRef, Key, Kind, QueueKind, Version};
use hub_core::time::Timestamp;

use super::{Space, Tree, Write};
use crate::codec::Fields;
use crate::journal::op::{encode_queue, kind, marks, put_marks, queue, queue_kind};
use crate::state::documents::Slot;
use crate::state::shelf::{Head, Trace};
use crate::state::{Body, damaged};

pub(crate) fn document_key(key: &Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.id.len());
    bytes.push(key.kind as u8);
    bytes.extend_from_slice(key.id.as_bytes());
    bytes
}

/// The key behind which all documents of a kind come.
pub(crate) fn before_kind(kind: Kind) -> Vec<u8> {
    vec![kind as u8]
}

pub(crate) fn document_of(row: &[u8]) -> Option<Key> {
    let (first, id) = row.split_first()?;
    Some(Key::new(kind(*first)?, std::str::from_utf8(id).ok()?))
}

pub(crate) fn item_key(kind: QueueKind, sequence: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9);
    bytes.push(kind as u8);
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes
}

pub(crate) fn item_of(row: &[u8]) -> Option<(QueueKind, u64)> {
    let (first, number) = row.split_first()?;
    Some((queue_kind(*first)?, u64::from_be_bytes(number.try_into().ok()?)))
}

/// A write with the checksum added.
pub(crate) fn write(space: Space, key: Vec<u8>, mut value: Vec<u8>) -> Write {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&key), &value);
    value.extend_from_slice(&crc.to_le_bytes());
    (space, key, Some(value))
}

/// The value without its checksum, if that is right.
pub(crate) fn check(space: Space, key: &[u8], row: &Bytes) -> io::Result<Bytes> {
    let wrong = || damaged(format!("a row of `{}` is damaged: {key:02x?}", space.name()));
    let end = row.len().checked_sub(4).ok_or_else(wrong)?;
    let crc = Fields(row.get(end..).unwrap_or_default()).u32();
    let value = row.slice(..end);
    let right = crc32c::crc32c_append(crc32c::crc32c(key), &value);
    if crc == Some(right) { Ok(value) } else { Err(wrong()) }
}

/// A checked value.
pub(crate) fn get(tree: &dyn Tree, space: Space, key: &[u8]) -> io::Result<Option<Bytes>> {
    tree.get(space, key)?.map(|row| check(space, key, &row)).transpose()
}

/// Checked values after a key.
pub(crate) fn after(
    tree: &dyn Tree,
    space: Space,
    key: Option<&[u8]>,
    limit: usize,
) -> io::Result<Vec<(Vec<u8>, Bytes)>> {
    let rows = tree.after(space, key, limit)?;
    rows.into_iter()
        .map(|(key, row)| {
            let value = check(space, &key, &row)?;
            Ok((key, value))
        })
        .collect()
}

pub(crate) fn put_document(key: &Key, slot: &Slot) -> Write {
    let row = document_key(key);
    let Some((version, body)) = slot else { return (Space::Documents, row, None) };
    let mut value = Vec::with_capacity(12 + body.len());
    value.extend_from_slice(&version.0.to_le_bytes());
    value.extend_from_slice(body);
    write(Space::Documents, row, value)
}

pub(crate) fn document(value: &Bytes) -> Option<(Version, Bytes)> {
    let version = Version(Fields(value).u64()?);
    Some((version, value.slice(8..)))
}

/// Reads a document.
pub(crate) fn get_document(tree: &dyn Tree, key: &Key) -> io::Result<Slot> {
    let row = document_key(key);
    let Some(value) = get(tree, Space::Documents, &row)? else { return Ok(None) };
    document(&value).map(Some).ok_or_else(|| damaged(format!("document {key:?} is damaged")))
}

/// Reads the body of an item.
pub(crate) fn get_body(
    tree: &dyn Tree,
    kind: QueueKind,
    sequence: u64,
) -> io::Result<Option<Bytes>> {
    get(tree, Space::Bodies, &item_key(kind, sequence))
}

pub(crate) fn put_head(kind: QueueKind, sequence: u64, head: &Head) -> Write {
    let mut value = Vec::with_capacity(64);
    encode_queue(&mut value, &head.queue);
    value.extend_from_slice(&head.version.0.to_le_bytes());
    value.extend_from_slice(&head.visible.as_millis().to_le_bytes());
    value.extend_from_slice(&head.deadline.as_millis().to_le_bytes());
    value.extend_from_slice(&head.claims.to_le_bytes());
    put_marks(&mut value, &head.marks);
    write(Space::Items, item_key(kind, sequence), value)
}

pub(crate) fn head(value: &[u8]) -> Option<Head> {
    let mut fields = Fields(value);
    let f = &mut fields;
    let queue = queue(f)?;
    let version = Version(f.u64()?);
    let visible = Timestamp::from_millis(f.u64()?);
    let deadline = Timestamp::from_millis(f.u64()?);
    let claims = f.u32()?;
    let marks = marks(f)?;
    let (body, trace) = (Body::Stored, Trace::Some);
    Some(Head { queue, version, visible, deadline, claims, marks, body, trace })
}

/// An item as the contract has it.
pub(crate) fn item(sequence: u64, head: &Head, body: Bytes) -> Item {
    Item {
        at: ItemRef::new(head.queue.clone(), SequenceNumber(sequence), head.version),
        visible: head.visible,
        deadline: head.deadline,
        claims: head.claims,
        marks: head.marks,
        body,
    }
}
