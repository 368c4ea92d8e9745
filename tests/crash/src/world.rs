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
    /// Counts the lives of the hub.
    pub(crate) life: u64,
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
    hub: watch::Sender<Option<Endpoint>>,
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
            hub: watch::Sender::new(None),
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

    /// Says where the hub is, or that it is nowhere.
    pub(crate) fn set_hub(&self, endpoint: Option<Endpoint>) {
        self.hub.send_replace(endpoint);
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// A hub that runs; nothing once all is over. `after` is the life of one that did not answer: if it
    /// still runs, it is given after a moment.
    pub(crate) async fn hub(&self, after: Option<u64>) -> Option<Endpoint> {
        let (mut hub, mut phase) = (self.hub.subscribe(), self.phase.subscribe());
        loop {
            if *phase.borrow_and_update() == Phase::Over {
                return None;
            }
            let found = *hub.borrow_and_update();
            match found {
                Some(found) if Some(found.life) != after => return Some(found),
                Some(found) => {
                    // Not at once, or a hub that refuses would be asked without end.
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_millis(20)) => return Some(found),
                        _ = hub.changed() => {}
                        _ = phase.changed() => {}
                    }
                }
                None => {
                    tokio::select! {
                        _ = hub.changed() => {}
                        _ = phase.changed() => {}
                    }
                }
            }
        }
    }

    /// Resolves when another hub is to be used, or the phase is another.
    pub(crate) async fn changed(&self, life: u64, seen: Phase) {
        let (mut hub, mut phase) = (self.hub.subscribe(), self.phase.subscribe());
        loop {
            let same = hub.borrow_and_update().is_some_and(|hub| hub.life == life);
            if !same || *phase.borrow_and_update() != seen {
                return;
            }
            tokio::select! {
                _ = hub.changed() => {}
                _ = phase.changed() => {}
            }
        }
    }
}
