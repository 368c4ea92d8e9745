//! What devices, back ends and the injector of faults share.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hub_core::security::{KeyForm, SymmetricKey, sign};
use hub_core::time::Timestamp;
use tokio::sync::watch;

use crate::oracle::Oracle;

/// The host name of the hub under test.
pub(crate) const HOST: &str = "localhost";
/// The policy that back ends use.
const OWNER: &str = "iothubowner";
/// The longest anybody waits for an answer. One that takes longer counts as none.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// When tokens expire: never, as far as a run is concerned.
const EXPIRY: Timestamp = Timestamp::from_millis(4_102_444_800_000);

/// Where a hub that runs listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) mqtt: SocketAddr,
    pub(crate) http: SocketAddr,
    /// Counts the lives of all nodes.
    pub(crate) life: u64,
    /// Which node it is.
    pub(crate) node: usize,
}

/// An oracle that several tasks tell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Oracle>>);

impl Shared {
    /// The oracle. Never held while anything waits.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Oracle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// They work.
    Busy,
    /// They finish what they have begun.
    Settling,
    /// They leave.
    Over,
}

/// What all parts share.
#[derive(Debug)]
pub(crate) struct World {
    oracle: Shared,
    nodes: watch::Sender<Vec<Endpoint>>,
    phase: watch::Sender<Phase>,
    began: Instant,
    key: SymmetricKey,
    owner: String,
}

impl World {
    /// All identities and the policy have the same key.
    pub(crate) fn new(key: SymmetricKey) -> Self {
        let owner = sign(HOST, &key, KeyForm::Decoded, EXPIRY, Some(OWNER));
        Self {
            oracle: Shared::default(),
            nodes: watch::Sender::new(Vec::new()),
            phase: watch::Sender::new(Phase::Busy),
            began: Instant::now(),
            key,
            owner,
        }
    }

    /// The oracle. Never held while anything waits.
    pub(crate) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock()
    }

    /// The token of back ends.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// The token of a device.
    pub(crate) fn token(&self, device: &str) -> String {
        let resource = format!("{HOST}/devices/{device}");
        sign(&resource, &self.key, KeyForm::Decoded, EXPIRY, None)
    }

    /// Milliseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Says where a node is, or that it is nowhere.
    pub(crate) fn set_node(&self, node: usize, endpoint: Option<Endpoint>) {
        self.nodes.send_modify(|nodes| {
            nodes.retain(|known| known.node != node);
            nodes.extend(endpoint);
        });
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// A node that runs, chosen by a number; nothing once all is over. `after` is the life of one that
    /// did not answer: as long as it is there, nobody is given before a moment has passed.
    pub(crate) async fn hub(&self, after: Option<u64>, choice: u64) -> Option<Endpoint> {
        let (mut nodes, mut phase) = (self.nodes.subscribe(), self.phase.subscribe());
        let mut refused = after;
        loop {
            if *phase.borrow_and_update() == Phase::Over {
                return None;
            }
            let found = nodes.borrow_and_update().clone();
            let waits = refused.is_some_and(|life| found.iter().any(|node| node.life == life));
            let at = usize::try_from(choice).unwrap_or(0).checked_rem(found.len()).unwrap_or(0);
            match found.get(at) {
                Some(node) if !waits => return Some(*node),
                Some(_) => {
                    // Not at once, or one that refuses would be asked without end.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    refused = None;
                }
                None => {
                    tokio::select! {
                        _ = nodes.changed() => {}
                        _ = phase.changed() => {}
                    }
                }
            }
        }
    }

    /// Resolves when a life is over, or the phase is another.
    pub(crate) async fn changed(&self, life: u64, seen: Phase) {
        let (mut nodes, mut phase) = (self.nodes.subscribe(), self.phase.subscribe());
        loop {
            let there = nodes.borrow_and_update().iter().any(|node| node.life == life);
            if !there || *phase.borrow_and_update() != seen {
                return;
            }
            tokio::select! {
                _ = nodes.changed() => {}
                _ = phase.changed() => {}
            }
        }
    }
}
