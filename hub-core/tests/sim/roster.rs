//! What `engine/roster.rs` does, reduced to what matters to devices: a node is held for dead, rightly or
//! not; another one marks its document and ends the sessions that name it; and the node, if it lives,
//! finds that out and looks at all its connections.

use hub_core::device::{Input, Request};
use hub_core::id::{Address, NodeId};
use hub_core::store::{Batch, BatchId, Change, DocumentRef, Key, Kind};

use crate::world::{Event, World};

impl World {
    /// A node writes its own document: when it starts, and when it is back.
    pub(crate) fn write_node(&mut self, by: usize, id: &NodeId) -> DocumentRef {
        let key = Key::new(Kind::Node, id.as_str());
        let read = self.store.document(&key).map(|(version, _)| version);
        let change = Change::new().write(&key, read, id.as_str().to_owned().into());
        self.node_writes += 1;
        let id = BatchId(u128::MAX / 8 + self.node_writes);
        let batch = Batch { id, changes: vec![change], nudges: Vec::new() };
        let mut facts = Vec::new();
        self.store.commit(by, &batch, &mut facts);
        for fact in facts {
            self.see(fact);
        }
        let (version, _) = self.store.document(&key).unwrap();
        DocumentRef::new(key, version)
    }

    /// A node holds another one for dead.
    pub(crate) fn suspect(&mut self) {
        let up: Vec<usize> = (0..self.nodes.len()).filter(|n| self.nodes[*n].up).collect();
        let (Some(by), dead) = (self.rng.pick(&up), self.rng.index(self.nodes.len())) else {
            return;
        };
        if by == dead {
            return;
        }
        let id = self.nodes[dead].id.clone();
        let mark = self.write_node(by, &id);
        let addresses: Vec<Address> =
            self.clients.iter().map(|client| client.address.clone()).collect();
        for address in addresses {
            self.ask_at(by, &address, Request::Repair(mark.clone()), None);
        }
        let beat = self.rng.between(1, 2000);
        let run = self.nodes[dead].run;
        self.after(beat, Event::Beat { node: dead, run });
    }

    /// A node that was held for dead says that it lives.
    pub(crate) fn beat(&mut self, n: usize) {
        let id = self.nodes[n].id.clone();
        self.write_node(n, &id);
        let lines: Vec<_> = self.nodes[n].lines.values().copied().collect();
        for conn in lines {
            let client = self.connections[&conn].client;
            let address = self.clients[client].address.clone();
            self.input(n, &address, Input::Changed);
        }
    }
}
