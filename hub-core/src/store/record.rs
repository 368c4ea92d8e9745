//! What a store keeps: documents, queue items and log entries.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::id::{Address, DeviceId, NodeId, Partition, SequenceNumber};
use crate::time::Timestamp;

/// Names one write of one record. Issued by the store; never the same twice for a record (S6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// The closed set of documents. The discriminant is what stores persist; it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The identity of a device or module, by its address.
    Identity = 1,
    /// The twin of a device or module, by its address.
    Twin = 2,
    /// Where and since when an identity is connected, and what it subscribed to, by its address.
    Session = 3,
    /// A running hub process, by its node id.
    Node = 4,
    /// Where a consumer group stands, by `group/partition`.
    Cursor = 5,
    /// Settings of the hub itself (shared access policies, certificate authorities), by name.
    Setting = 6,
    /// A job over many devices, or over the registry, by its id.
    Job = 7,
    /// A configuration of many devices or modules, by its id.
    Configuration = 8,
    /// What an identity may have of its desired properties, by its address.
    Known = 9,
}

impl Kind {
    /// All kinds, in the order of their discriminants.
    pub const ALL: [Self; 9] = [
        Self::Identity,
        Self::Twin,
        Self::Session,
        Self::Node,
        Self::Cursor,
        Self::Setting,
        Self::Job,
        Self::Configuration,
        Self::Known,
    ];
}

/// The key of a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What sort of document.
    pub kind: Kind,
    /// Which one: at most 300 bytes of UTF-8, ordered by bytes.
    pub id: Arc<str>,
}

impl Key {
    /// Any key.
    #[must_use]
    pub fn new(kind: Kind, id: &str) -> Self {
        Self { kind, id: id.into() }
    }

    /// The identity of an address.
    #[must_use]
    pub fn identity(address: &Address) -> Self {
        Self { kind: Kind::Identity, id: address.shared().clone() }
    }

    /// The twin of an address.
    #[must_use]
    pub fn twin(address: &Address) -> Self {
        Self { kind: Kind::Twin, id: address.shared().clone() }
    }

    /// The session of an address.
    #[must_use]
    pub fn session(address: &Address) -> Self {
        Self { kind: Kind::Session, id: address.shared().clone() }
    }

    /// What an address may have of its desired properties.
    #[must_use]
    pub fn known(address: &Address) -> Self {
        Self { kind: Kind::Known, id: address.shared().clone() }
    }

    /// The cursor of a consumer group in a partition.
    #[must_use]
    pub fn cursor(group: &str, partition: Partition) -> Self {
        Self::new(Kind::Cursor, &format!("{group}/{partition}"))
    }
}

/// The closed set of queues. The discriminant is what stores persist; it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QueueKind {
    /// Cloud-to-device messages of an identity.
    Mailbox = 1,
    /// Calls and answers for a node.
    Inbox = 2,
    /// Feedback records that wait for their batch.
    FeedbackPending = 3,
    /// Feedback batches that wait for a back end.
    Feedback = 4,
    /// Dead-lettered cloud-to-device messages, kept to be read.
    DeadLetter = 5,
    /// Uploads of a device that were asked for and are not finished.
    Upload = 6,
    /// File notifications that wait for a back end.
    FileNotification = 7,
    /// Jobs that have not ended.
    Job = 8,
    /// Devices of a job: those it has to do with, and those that are done.
    JobDevice = 9,
    /// Twins that configurations are to be applied to.
    Configure = 10,
    /// What the writes of a twin have changed, write by write.
    TwinHistory = 11,
}

impl QueueKind {
    /// All kinds, in the order of their discriminants.
    pub const ALL: [Self; 11] = [
        Self::Mailbox,
        Self::Inbox,
        Self::FeedbackPending,
        Self::Feedback,
        Self::DeadLetter,
        Self::Upload,
        Self::FileNotification,
        Self::Job,
        Self::JobDevice,
        Self::Configure,
        Self::TwinHistory,
    ];
}

/// The name of a queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId {
    /// What sort of queue.
    pub kind: QueueKind,
    /// Which one: at most 300 bytes of UTF-8.
    pub id: Arc<str>,
}

impl QueueId {
    /// Cloud-to-device messages of an identity.
    #[must_use]
    pub fn mailbox(address: &Address) -> Self {
        Self { kind: QueueKind::Mailbox, id: address.shared().clone() }
    }

    /// Messages of an identity that are dead, and kept.
    #[must_use]
    pub fn dead_letters(address: &Address) -> Self {
        Self { kind: QueueKind::DeadLetter, id: address.shared().clone() }
    }

    /// What the writes of an identity's twin have changed.
    #[must_use]
    pub fn twin_history(address: &Address) -> Self {
        Self { kind: QueueKind::TwinHistory, id: address.shared().clone() }
    }

    /// Calls and answers for a node.
    #[must_use]
    pub fn inbox(node: &NodeId) -> Self {
        Self { kind: QueueKind::Inbox, id: node.as_str().into() }
    }

    /// Feedback records of a device's messages that wait for their batch.
    #[must_use]
    pub fn feedback_pending(device: &DeviceId) -> Self {
        Self { kind: QueueKind::FeedbackPending, id: device.as_str().into() }
    }

    /// The hub's feedback queue.
    #[must_use]
    pub fn feedback() -> Self {
        Self { kind: QueueKind::Feedback, id: "".into() }
    }

    /// Uploads of a device that were asked for and are not finished.
    #[must_use]
    pub fn uploads(device: &DeviceId) -> Self {
        Self { kind: QueueKind::Upload, id: device.as_str().into() }
    }

    /// The jobs of the hub that have not ended.
    #[must_use]
    pub fn jobs() -> Self {
        Self { kind: QueueKind::Job, id: "".into() }
    }

    /// Twins that configurations are to be applied to.
    #[must_use]
    pub fn configure() -> Self {
        Self { kind: QueueKind::Configure, id: "".into() }
    }

    /// The hub's file notifications.
    #[must_use]
    pub fn file_notifications() -> Self {
        Self { kind: QueueKind::FileNotification, id: "".into() }
    }
}

/// Which document, and which write of it, was read. The guard of every later change to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRef {
    pub(crate) key: Key,
    pub(crate) version: Version,
}

impl DocumentRef {
    /// The document a store read or wrote. For stores and for the core; an application gets these.
    #[must_use]
    pub fn new(key: Key, version: Version) -> Self {
        Self { key, version }
    }

    /// The document's key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The write that was read.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }
}

/// A document as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Key and version.
    pub at: DocumentRef,
    /// The content, byte for byte as it was written.
    pub body: Bytes,
}

/// Which queue item, and which state of it, was read. The guard of every later change to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRef {
    pub(crate) queue: QueueId,
    pub(crate) sequence: SequenceNumber,
    pub(crate) version: Version,
}

impl ItemRef {
    /// The item a store read or claimed. For stores and for the core.
    #[must_use]
    pub fn new(queue: QueueId, sequence: SequenceNumber, version: Version) -> Self {
        Self { queue, sequence, version }
    }

    /// The item's queue.
    #[must_use]
    pub fn queue(&self) -> &QueueId {
        &self.queue
    }

    /// The item's place in its queue.
    #[must_use]
    pub fn sequence(&self) -> SequenceNumber {
        self.sequence
    }

    /// The state that was read.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }
}

/// A few bytes that the core may rewrite on an item without touching its body.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    len: u8,
    bytes: [u8; Self::MAX],
}

impl Marks {
    /// Most bytes.
    pub const MAX: usize = 32;

    /// The bytes, or nothing if they are more than [`Marks::MAX`].
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut marks = Self { len: u8::try_from(bytes.len()).ok()?, bytes: [0; Self::MAX] };
        marks.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(marks)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Marks({:02x?})", self.as_bytes())
    }
}

/// A queue item as it was read or claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Queue, sequence number and version.
    pub at: ItemRef,
    /// Hidden from claims until then.
    pub visible: Timestamp,
    /// Overdue from then on: a sweep takes it. [`Timestamp::MAX`] is never.
    pub deadline: Timestamp,
    /// How often it was claimed, this time included.
    pub claims: u32,
    /// The core's few bytes.
    pub marks: Marks,
    /// The content, byte for byte as it was pushed.
    pub body: Bytes,
}

impl Item {
    /// Makes it what [`Op::Retime`](super::Op::Retime) leaves.
    pub fn retime(&mut self, visible: Timestamp, marks: Marks, version: Version) {
        self.at.version = version;
        (self.visible, self.marks) = (visible, marks);
    }
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in its partition.
    pub sequence: SequenceNumber,
    /// When it was appended; never earlier than the entry before it (S12).
    pub at: Timestamp,
    /// The content, byte for byte as it was appended.
    pub body: Bytes,
}

/// What `read` is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ask {
    /// A document.
    Document(Key),
    /// One item of a queue, locked or not.
    Item(QueueId, SequenceNumber),
    /// How many items a queue holds, locked ones included. An unknown queue holds none.
    Depth(QueueId),
    /// Items of a queue, locked or not, in sequence order strictly after a number; so many at most.
    Items(QueueId, SequenceNumber, u32),
    /// Items of all queues of a kind, locked or not, in byte order of the queues' ids and then in
    /// sequence order, strictly after a number in the queue of an id; so many at most. `("", 0)` is
    /// before all of them.
    ItemsOfKind(QueueKind, Arc<str>, SequenceNumber, u32),
}

/// What `read` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The document asked for.
    Document(Document),
    /// The item asked for.
    Item(Item),
    /// The depth asked for.
    Depth(u32),
    /// The items asked for, of one queue or of many. Never `None`: an unknown queue has no items.
    Items(Vec<Item>),
}

/// A place in a partition, as a reader names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// The oldest entry still kept, or the next to come if there is none.
    Oldest,
    /// The next entry to come.
    Next,
    /// The oldest kept entry appended at or after this time, or the next to come.
    Time(Timestamp),
}

/// Several log entries in one piece of memory, in order. Never empty once it is in a change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entries {
    arena: Bytes,
    ends: Ends,
}

/// Where the entries end, each form for its own number of them so that equal entries are equal.
///
/// Entries are made once and cloned on their way to a store; a lone one, which is what a device
/// sends that waits for each answer, then costs no memory beside its body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Ends {
    #[default]
    None,
    /// The one entry is the whole arena.
    One,
    Many(Arc<[u32]>),
}

impl Entries {
    /// One entry.
    #[must_use]
    pub fn one(body: Bytes) -> Self {
        Self { arena: body, ends: Ends::One }
    }

    /// Entries that lie one behind the other in `arena`; `ends` are their exclusive ends, rising.
    /// Nothing if the ends do not fit the arena.
    #[must_use]
    pub fn from_parts(arena: Bytes, ends: Vec<u32>) -> Option<Self> {
        Self::from_slice(arena, &ends)
    }

    /// [`Entries::from_parts`] of ends that the caller keeps.
    pub(crate) fn from_slice(arena: Bytes, ends: &[u32]) -> Option<Self> {
        let last = ends.last().copied().unwrap_or(0);
        let fits = ends.is_sorted() && usize::try_from(last) == Ok(arena.len());
        let ends = match ends {
            [] => Ends::None,
            [_] => Ends::One,
            many => Ends::Many(many.into()),
        };
        fits.then_some(Self { arena, ends })
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.ends {
            Ends::None => 0,
            Ends::One => 1,
            Ends::Many(ends) => ends.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all bodies.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// The body of one entry. Shares the memory.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Bytes> {
        let Ends::Many(ends) = &self.ends else {
            return (index < self.len()).then(|| self.arena.clone());
        };
        let at = |i: usize| ends.get(i).and_then(|end| usize::try_from(*end).ok());
        let start = if index == 0 { 0 } else { at(index - 1)? };
        Some(self.arena.slice(start..at(index)?))
    }

    /// The bodies in order.
    pub fn iter(&self) -> impl Iterator<Item = Bytes> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(entries: &Entries) -> Vec<Bytes> {
        assert_eq!(entries.iter().count(), entries.len());
        assert_eq!(entries.is_empty(), entries.iter().next().is_none());
        assert_eq!(entries.get(entries.len()), None);
        entries.iter().collect()
    }

    #[test]
    fn entries_come_apart_as_they_were_put_together() {
        let arena = Bytes::from_static(b"aabbb");
        let two = Entries::from_parts(arena.clone(), vec![2, 5]).unwrap();
        assert_eq!(bodies(&two), ["aa", "bbb"]);
        assert_eq!(two.bytes(), 5);
        let blanks = Entries::from_parts(arena.clone(), vec![0, 5, 5]).unwrap();
        assert_eq!(bodies(&blanks), ["", "aabbb", ""]);
        assert_eq!(bodies(&Entries::default()), [""; 0]);
    }

    #[test]
    fn one_entry_is_the_same_however_it_was_made() {
        let body = Bytes::from_static(b"body");
        let one = Entries::one(body.clone());
        assert_eq!(Entries::from_parts(body.clone(), vec![4]), Some(one.clone()));
        assert_eq!(bodies(&one), [body]);
        let empty = Entries::one(Bytes::new());
        assert_eq!(bodies(&empty), [""]);
        assert_ne!(empty, Entries::default());
        assert_eq!(Entries::from_parts(Bytes::new(), vec![]), Some(Entries::default()));
    }

    #[test]
    fn ends_that_do_not_fit_the_arena_are_refused() {
        let arena = Bytes::from_static(b"aabbb");
        for ends in [vec![], vec![4], vec![6], vec![3, 2, 5], vec![5, 6]] {
            assert_eq!(Entries::from_parts(arena.clone(), ends), None);
        }
    }
}
