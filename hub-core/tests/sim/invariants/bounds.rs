//! Every queue keeps its bound: messages in the store, offers on a link, jobs and machines in memory.

use std::collections::{BTreeMap, BTreeSet};

use hub_core::frame::{LockToken, Outbound};
use hub_core::id::Address;
use hub_core::store::QueueId;

use super::{Invariant, ensure};
use crate::fact::{Conn, Fact, Moment, Step};
use crate::world::World;

#[derive(Default)]
pub(crate) struct Bounds {
    /// What was offered on each link.
    offers: BTreeMap<Conn, Vec<LockToken>>,
    /// The link that was offered something since the last event.
    offered: BTreeSet<Conn>,
}

impl Bounds {
    /// Of what was offered, what still is out: nobody settled it, and no lock has ended.
    fn out(&mut self, conn: Conn, world: &World) -> usize {
        let connection = &world.connections[&conn];
        let queue = QueueId::mailbox(&world.clients[connection.client].address);
        let now = world.local(connection.node);
        let Some(offers) = self.offers.get_mut(&conn) else { return 0 };
        offers.retain(|token| {
            let item = world.store.items.get(&(queue.clone(), token.sequence.0));
            token.until > now && item.is_some_and(|item| item.version == token.version)
        });
        offers.len()
    }
}

impl Invariant for Bounds {
    fn name(&self) -> &'static str {
        "every queue keeps its bound"
    }

    fn see(&mut self, _: &Moment<'_>, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Committed { steps, .. } => {
                for step in steps {
                    if let Step::Pushed { queue, depth, capacity, .. } = step {
                        let room = depth < capacity;
                        ensure(room, || format!("{queue:?} holds {depth} of {capacity}"))?;
                    }
                }
            }
            Fact::Told { conn, outbound: Outbound::Offer(delivery) } => {
                self.offers.entry(*conn).or_default().push(delivery.token);
                self.offered.insert(*conn);
            }
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, world: &World) -> Result<(), String> {
        let limits = &world.limits;
        for conn in std::mem::take(&mut self.offered) {
            let (out, most) = (self.out(conn, world), limits.offer_window as usize);
            ensure(out <= most, || format!("{out} messages are out on connection {conn}"))?;
        }
        for node in world.nodes.iter().filter(|node| node.up) {
            let mut busy = 0;
            for client in &world.clients {
                let address: &Address = &client.address;
                let Some(device) = node.machines.device(address) else { continue };
                busy += usize::from(!device.is_idle());
                // What ends something always gets in: settlements of each link's window and of
                // callers, and what follows from claims.
                let most = limits.device_inbox_max + 8 * limits.link_window;
                let (offers, window) = (device.offers(), limits.offer_window as usize);
                ensure(offers <= window, || format!("{offers} messages are out for {address}"))?;
                let waiting = device.waiting();
                ensure(waiting <= most, || format!("{waiting} jobs wait for {address}"))?;
            }
            let (loaded, idle) = (node.machines.len(), limits.idle_devices_max);
            ensure(loaded <= busy + idle, || {
                format!("node {} keeps {loaded} machines, {busy} of them busy", node.index)
            })?;
        }
        Ok(())
    }
}
