//! Documents as a machine last saw them. A wrong cache costs one retry, never a wrong result:
//! every write is guarded by the version it was decided on.

use crate::id::Address;
use crate::registry::Identity;
use crate::session::Session;
use crate::store::{Ask, DocumentRef, Key, Record, Version};
use crate::twin::{Known, Twin};

/// One document: not read yet, absent, or as it was.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Cached<T> {
    #[default]
    Unknown,
    Absent,
    Known(Version, Box<T>),
}

impl<T> Cached<T> {
    pub(crate) fn known(&self) -> Option<(Version, &T)> {
        match self {
            Self::Known(version, value) => Some((*version, value)),
            _ => None,
        }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.known().map(|(_, value)| value)
    }

    pub(crate) fn version(&self) -> Option<Version> {
        self.known().map(|(version, _)| version)
    }

    /// The guard for a change that was decided on this.
    pub(crate) fn at(&self, key: Key) -> Option<DocumentRef> {
        self.version().map(|version| DocumentRef::new(key, version))
    }

    fn load(&mut self, record: Option<Record>, decode: impl FnOnce(&[u8]) -> Option<T>) -> bool {
        *self = match record {
            Some(Record::Document(document)) => match decode(&document.body) {
                Some(value) => Self::Known(document.at.version(), Box::new(value)),
                None => return false,
            },
            _ => Self::Absent,
        };
        true
    }
}

/// Which documents a job decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Identity,
    Session,
    Twin,
    Known,
}

/// The documents of one device or module.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Documents {
    pub(crate) identity: Cached<Identity>,
    pub(crate) session: Cached<Session>,
    pub(crate) twin: Cached<Twin>,
    pub(crate) known: Cached<Known>,
}

/// A document that cannot be read: of a newer format, or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Documents {
    pub(crate) fn is_known(&self, slot: Slot) -> bool {
        match slot {
            Slot::Identity => !matches!(self.identity, Cached::Unknown),
            Slot::Session => !matches!(self.session, Cached::Unknown),
            Slot::Twin => !matches!(self.twin, Cached::Unknown),
            Slot::Known => !matches!(self.known, Cached::Unknown),
        }
    }

    pub(crate) fn ask(slot: Slot, address: &Address) -> Ask {
        Ask::Document(match slot {
            Slot::Identity => Key::identity(address),
            Slot::Session => Key::session(address),
            Slot::Twin => Key::twin(address),
            Slot::Known => Key::known(address),
        })
    }

    pub(crate) fn load(&mut self, slot: Slot, record: Option<Record>) -> Result<(), Unreadable> {
        let readable = match slot {
            Slot::Identity => self.identity.load(record, |body| Identity::decode(body).ok()),
            Slot::Session => self.session.load(record, Session::decode),
            Slot::Twin => self.twin.load(record, |body| Twin::decode(body).ok()),
            // One that cannot be read is about no generation: it is written anew.
            Slot::Known => {
                self.known.load(record, |body| Some(Known::decode(body).unwrap_or_default()))
            }
        };
        readable.then_some(()).ok_or(Unreadable)
    }

    /// Somebody else wrote: read everything again before the next decision.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}
