//! All devices of a node, still pure: who has a machine, and which of them is due.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

// Every input looks its device up. Seeded for each map, so that whoever names devices cannot choose
// names that collide; at a fifth of the price of the standard hasher.
use foldhash::{HashMap, HashMapExt};

use crate::configuration::Deployed;
use crate::device::{Device, Effects, Input, Setup};
use crate::id::Address;
use crate::route::Routing;
use crate::time::Timestamp;

#[derive(Debug, Clone)]
struct Slot {
    device: Device,
    /// The earliest entry in the heap that still counts.
    armed: Option<Timestamp>,
    /// Whether it stands in the queue of idle machines.
    idle: bool,
    /// How many inputs waited after the last one.
    waiting: usize,
    /// Tells it from an earlier machine of the same device.
    incarnation: Incarnation,
}

/// Which machine of a device it is. What was asked for by one is no answer for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(u64);

/// The machines of a node. A machine is made on first touch and dropped when it has been idle
/// and others need the room.
#[derive(Debug, Clone)]
pub struct Node {
    setup: Arc<Setup>,
    devices: HashMap<Address, Slot>,
    /// Deadlines, lazily cancelled: an entry that is not the armed one of its device is void.
    timers: BinaryHeap<Reverse<(Timestamp, Address)>>,
    idle: VecDeque<Address>,
    last: Incarnation,
    inboxes: Inboxes,
    shed: u64,
}

/// What waits in the inboxes of all machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inboxes {
    /// Inputs in all of them.
    pub waiting: usize,
    /// Most inputs that one of them held since [`Node::look_at_inboxes`].
    pub deepest: usize,
}

impl Node {
    /// A node without devices.
    #[must_use]
    pub fn new(setup: Arc<Setup>) -> Self {
        Self {
            setup,
            devices: HashMap::new(),
            timers: BinaryHeap::new(),
            idle: VecDeque::new(),
            last: Incarnation(0),
            inboxes: Inboxes::default(),
            shed: 0,
        }
    }

    /// From now on events go by these routes. Machines are told one by one: it is seldom done.
    pub fn configure(&mut self, routing: &Arc<Routing>) {
        self.set_up(Setup { routing: routing.clone(), ..Setup::clone(&self.setup) });
    }

    /// From now on these configurations are in force, unless later ones are. Machines are told one
    /// by one.
    pub fn deploy(&mut self, configurations: &Arc<Deployed>) {
        if self.setup.configurations.revision() > configurations.revision() {
            return;
        }
        self.set_up(Setup { configurations: configurations.clone(), ..Setup::clone(&self.setup) });
    }

    fn set_up(&mut self, setup: Setup) {
        self.setup = Arc::new(setup);
        for slot in self.devices.values_mut() {
            slot.device.configure(self.setup.clone());
        }
    }

    /// Something happened to a device; `fx` is emptied and says what to do about it.
    pub fn handle(&mut self, now: Timestamp, address: &Address, input: Input, fx: &mut Effects) {
        fx.clear();
        let setup = &self.setup;
        let slot = match self.devices.get_mut(address) {
            Some(slot) => slot,
            None => {
                self.last.0 = self.last.0.wrapping_add(1);
                self.devices.entry(address.clone()).or_insert_with(|| Slot {
                    device: Device::new(setup.clone(), address.clone()),
                    armed: None,
                    idle: false,
                    waiting: 0,
                    incarnation: self.last,
                })
            }
        };
        slot.device.handle(now, input, fx);
        let waiting = slot.device.waiting();
        let before = std::mem::replace(&mut slot.waiting, waiting);
        self.inboxes.waiting = self.inboxes.waiting.saturating_sub(before).saturating_add(waiting);
        self.inboxes.deepest = self.inboxes.deepest.max(waiting);
        if let Some(deadline) = slot.device.deadline()
            && slot.armed.is_none_or(|armed| deadline < armed)
        {
            slot.armed = Some(deadline);
            self.timers.push(Reverse((deadline, address.clone())));
        }
        if slot.device.is_idle() && !slot.idle {
            slot.idle = true;
            self.idle.push_back(address.clone());
            self.shed();
        }
    }

    /// Drops the machines that have been idle longest, down to the bound.
    fn shed(&mut self) {
        while self.idle.len() > self.setup.limits.idle_devices_max {
            let Some(address) = self.idle.pop_front() else { return };
            if let Some(slot) = self.devices.get_mut(&address) {
                slot.idle = false;
                if slot.device.is_idle() {
                    self.devices.remove(&address);
                    self.shed = self.shed.saturating_add(1);
                }
            }
        }
    }

    /// A device whose deadline has come: it wants a `Tick`.
    pub fn due(&mut self, now: Timestamp) -> Option<Address> {
        while let Some(Reverse((at, _))) = self.timers.peek() {
            if *at > now {
                return None;
            }
            let Reverse((at, address)) = self.timers.pop()?;
            if let Some(slot) = self.devices.get_mut(&address)
                && slot.armed == Some(at)
            {
                slot.armed = None;
                return Some(address);
            }
        }
        None
    }

    /// When [`Node::due`] next has something, at the earliest.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// The machine of a device, if it has one.
    #[must_use]
    pub fn device(&self, address: &Address) -> Option<&Device> {
        self.devices.get(address).map(|slot| &slot.device)
    }

    /// Forgets a machine whatever it is doing. It is made anew from the store on next touch.
    pub fn forget(&mut self, address: &Address) {
        if let Some(slot) = self.devices.remove(address) {
            self.inboxes.waiting = self.inboxes.waiting.saturating_sub(slot.waiting);
        }
    }

    /// Which machine of a device there is; the default if there is none.
    #[must_use]
    pub fn incarnation(&self, address: &Address) -> Incarnation {
        self.devices.get(address).map_or(Incarnation::default(), |slot| slot.incarnation)
    }

    /// What waits in the inboxes.
    #[must_use]
    pub fn inboxes(&self) -> Inboxes {
        self.inboxes
    }

    /// What waits in the inboxes; the deepest is measured anew from now on.
    pub fn look_at_inboxes(&mut self) -> Inboxes {
        let now = Inboxes { deepest: 0, ..self.inboxes };
        std::mem::replace(&mut self.inboxes, now)
    }

    /// How many machines are remembered as idle, and how many of those were dropped so far to make
    /// room.
    #[must_use]
    pub fn idle(&self) -> (usize, u64) {
        (self.idle.len(), self.shed)
    }

    /// How many machines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// The addresses of all machines.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.devices.keys()
    }
}
