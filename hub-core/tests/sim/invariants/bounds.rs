//! Every queue keeps its bound: messages in the store, offers on a link, jobs and machines in memory.

use std::collections::BTreeMap;

use hub_core::frame::Outbound;
use hub_core::id::Address;
use hub_core::time::Timestamp;

use super::{Invariant, ensure};
use crate::fact::{Conn, Fact, Moment, SKEW_MAX, Step};
use crate::world::World;

#[derive(Default)]
pub(crate) struct Bounds {
    /// Offers on each link that nobody settled.
    offers: BTreeMap<Conn, BTreeMap<u64, Timestamp>>,
}

impl Invariant for Bounds {
    fn name(&self) -> &'static str {
        "every queue keeps its bound"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Committed { steps, .. } => {
                for step in steps {
                    match step {
                        Step::Pushed { queue, depth, capacity, .. } => {
                            let room = depth <= capacity;
                            ensure(room, || format!("{queue:?} holds {depth} of {capacity}"))?;
                        }
                        Step::Settled { item, .. } | Step::Retimed { item, .. } => {
                            for offers in self.offers.values_mut() {
                                offers.remove(&item.sequence().0);
                            }
                        }
                        Step::Cleared { sequences, .. } => {
                            for offers in self.offers.values_mut() {
                                offers.retain(|number, _| !sequences.contains(number));
                            }
                        }
                        _ => {}
                    }
                }
            }
            // A claim by another ends the one before.
            Fact::Claimed { item, .. } => {
                for offers in self.offers.values_mut() {
                    offers.remove(&item.at.sequence().0);
                }
            }
            Fact::Told { conn, outbound: Outbound::Offer(delivery) } => {
                let offers = self.offers.entry(*conn).or_default();
                let token = delivery.token;
                // Locks end by the clock of the node, which is off by so much at most.
                let now = Timestamp::from_millis(moment.now.as_millis() + SKEW_MAX);
                offers.retain(|_, until| *until > now);
                offers.insert(token.sequence.0, token.until);
                let (held, most) = (offers.len(), moment.limits.offer_window);
                ensure(held <= most as usize, || format!("{held} offers are out on link {conn}"))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn step(&mut self, world: &World) -> Result<(), String> {
        let limits = &world.limits;
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
