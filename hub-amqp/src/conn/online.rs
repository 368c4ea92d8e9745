//! Devices of a connection.

use std::collections::BTreeMap;

use hub_core::Uplink;
use hub_core::envelope::EventBatch;
use hub_core::id::{LinkId, Tag};

use super::work::CallOff;
use crate::address::DeviceNode;
use crate::endpoint::{Disposed, LinkKey};

/// A device or module of which this connection has links.
pub(super) enum Device {
    /// Being connected; these links wait for it, each with whether its peer sends.
    Connecting(Vec<(LinkKey, DeviceNode, bool)>),
    /// Connected.
    Online(Box<Online>),
}

/// What an answer of the hub is for.
pub(super) enum Asked {
    /// Telemetry: the messages of the peer that it was in, by their links.
    Telemetry(Vec<(LinkKey, u32)>),
    /// The twin, or a report: answered with this id.
    Twin(Option<Box<[u8]>>),
    /// To hear of changes of desired properties, or not any more: answered with this id.
    Notices(Option<Box<[u8]>>),
    /// A link that hears something: it is accepted once the hub knows.
    Hear(LinkKey, DeviceNode),
    /// A message to the device was settled: the peer waits for the answer.
    Settle(LinkKey, u32, Disposed),
    /// Nothing.
    Nothing,
}

/// A connected device.
pub(super) struct Online {
    pub(super) id: LinkId,
    pub(super) up: Uplink,
    pub(super) batch: EventBatch,
    /// Messages in the batch, by their links.
    pub(super) gathered: Vec<(LinkKey, u32)>,
    pub(super) asked: BTreeMap<Tag, Asked>,
    last_tag: u64,
    /// Links that are attached or being attached.
    pub(super) links: usize,
    /// The links on which the device hears, the latest of each kind.
    pub(super) hears: BTreeMap<u8, LinkKey>,
    /// What waits for the hub's word.
    pub(super) _listening: CallOff,
}

impl Online {
    pub(super) fn new(id: LinkId, up: Uplink, listening: CallOff) -> Self {
        Self {
            id,
            up,
            batch: EventBatch::new(),
            gathered: Vec::new(),
            asked: BTreeMap::new(),
            last_tag: 0,
            links: 0,
            hears: BTreeMap::new(),
            _listening: listening,
        }
    }

    /// Notes what an answer will be for.
    pub(super) fn ask(&mut self, asked: Asked) -> Tag {
        self.last_tag += 1;
        let tag = Tag(self.last_tag);
        self.asked.insert(tag, asked);
        tag
    }

    /// Where the device hears something.
    pub(super) fn hearing(&self, node: DeviceNode) -> Option<LinkKey> {
        self.hears.get(&(node as u8)).copied()
    }
}
