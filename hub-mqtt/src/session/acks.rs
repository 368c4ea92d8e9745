//! PUBACKs that are owed to the device, in the order of its publishes.
//!
//! SDKs and the service's own gateway drop a connection whose acknowledgements come out of order,
//! so a publish that is done waits for those before it.

use std::collections::VecDeque;

use hub_core::id::Tag;

use crate::codec::{PacketId, puback};

/// Ids kept when nothing is owed. A burst's memory is given back, a steady stream's is not.
const IDS_KEPT: usize = 64;

/// Consecutive publishes that are acknowledged together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    /// What they wait for; `None` once it is done.
    tag: Option<Tag>,
    /// How many there are.
    ids: usize,
}

/// The queue of owed PUBACKs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Acks {
    ids: VecDeque<PacketId>,
    groups: VecDeque<Group>,
}

impl Acks {
    /// How many are owed.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// A publish is owed its PUBACK when `tag` is done.
    pub(super) fn wait(&mut self, tag: Tag, id: PacketId) {
        self.ids.push_back(id);
        match self.groups.back_mut() {
            Some(group) if group.tag == Some(tag) => group.ids += 1,
            _ => self.groups.push_back(Group { tag: Some(tag), ids: 1 }),
        }
    }

    /// A publish is owed its PUBACK as soon as those before it have theirs.
    pub(super) fn ready(&mut self, id: PacketId, wire: &mut Vec<u8>) {
        if self.groups.is_empty() {
            puback(wire, id);
            return;
        }
        self.ids.push_back(id);
        match self.groups.back_mut() {
            Some(group) if group.tag.is_none() => group.ids += 1,
            _ => self.groups.push_back(Group { tag: None, ids: 1 }),
        }
    }

    /// Whether publishes wait for `tag`.
    pub(super) fn awaits(&self, tag: Tag) -> bool {
        self.groups.iter().any(|group| group.tag == Some(tag))
    }

    /// What was tagged so is done. Says whether anything waited for it.
    pub(super) fn done(&mut self, tag: Tag, wire: &mut Vec<u8>) -> bool {
        let Some(group) = self.groups.iter_mut().find(|group| group.tag == Some(tag)) else {
            return false;
        };
        group.tag = None;
        while let Some(group) = self.groups.pop_front_if(|group| group.tag.is_none()) {
            for id in self.ids.drain(..group.ids.min(self.ids.len())) {
                puback(wire, id);
            }
        }
        if self.groups.is_empty() && self.ids.capacity() > IDS_KEPT {
            self.ids = VecDeque::new();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(n: u16) -> PacketId {
        PacketId::new(n).unwrap()
    }

    fn written(wire: &mut Vec<u8>) -> Vec<u16> {
        let ids = wire.chunks(4).map(|c| u16::from_be_bytes([c[2], c[3]])).collect();
        wire.clear();
        ids
    }

    #[test]
    fn a_later_publish_waits_for_an_earlier_one() {
        let (mut acks, mut wire) = (Acks::default(), Vec::new());
        acks.ready(id(1), &mut wire);
        assert_eq!(written(&mut wire), [1]);
        acks.wait(Tag(1), id(2));
        acks.wait(Tag(1), id(3));
        acks.ready(id(4), &mut wire);
        acks.wait(Tag(2), id(5));
        assert!(acks.done(Tag(2), &mut wire) && wire.is_empty());
        assert!(acks.awaits(Tag(1)) && !acks.awaits(Tag(2)));
        assert!(!acks.done(Tag(2), &mut wire) && acks.len() == 4);
        assert!(acks.done(Tag(1), &mut wire));
        assert_eq!(written(&mut wire), [2, 3, 4, 5]);
        assert_eq!(acks, Acks::default());
    }

    proptest! {
        /// Against a list of publishes: whatever order things get done in, PUBACKs leave in the
        /// order of the publishes, each as soon as it may.
        #[test]
        fn order_is_kept(steps in prop::collection::vec((0_u8..4, 0_u64..6), 0..60)) {
            let (mut acks, mut wire) = (Acks::default(), Vec::new());
            let mut model: Vec<(u16, Option<u64>)> = Vec::new();
            let (mut next, mut newest) = (0_u16, 0_u64);
            let mut used: Vec<u64> = Vec::new();
            for (step, pick) in steps {
                match step {
                    0 => {
                        next += 1;
                        acks.ready(id(next), &mut wire);
                        model.push((next, None));
                    }
                    1 | 2 => {
                        // Some publishes join the last tag, some open another one.
                        let joins = pick < 3 && model.last().is_some_and(|(_, t)| *t == Some(newest));
                        if !joins {
                            newest += 1;
                            used.push(newest);
                        }
                        next += 1;
                        acks.wait(Tag(newest), id(next));
                        model.push((next, Some(newest)));
                    }
                    _ if used.is_empty() => {}
                    _ => {
                        let tag = used.remove(pick as usize % used.len());
                        acks.done(Tag(tag), &mut wire);
                        model.iter_mut().filter(|(_, t)| *t == Some(tag)).for_each(|p| p.1 = None);
                    }
                }
                let free = model.iter().take_while(|(_, tag)| tag.is_none()).count();
                let want: Vec<u16> = model.drain(..free).map(|(id, _)| id).collect();
                prop_assert_eq!(written(&mut wire), want);
                prop_assert_eq!(acks.len(), model.len());
            }
        }
    }
}
