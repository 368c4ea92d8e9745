//! One node's share of the work on configurations: it learns of their changes, looks twins through
//! when it is time, and takes twins that wait.
//!
//! Nodes do not talk about it. How far the twins are looked through stands in one document, which is
//! written together with what was found; and twins that wait are taken by claims. So a node that stops
//! loses nothing: others go on where it was.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};

use super::{Configurations, document, read_index, worker};
use crate::configuration::{Deployed, Index, Sweep, Todo};
use crate::engine::hub::Hub;
use crate::engine::shutdown::Shutdown;
use crate::error::HubError;
use crate::id::Address;
use crate::store::{Ask, Change, Claim, Document, Kind, Outcome, QueueId, Scope, Version};
use crate::twin::Twin;

/// How long without a sign until a node looks by itself: what other nodes do gives no sign here.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Starts working on configurations.
pub(in crate::engine) fn start(hub: &Hub) -> JoinHandle<()> {
    let supervisor = Supervisor {
        hub: hub.without_owner(),
        stop: hub.shutdown_signal(),
        begun: false,
        work: JoinSet::new(),
    };
    tokio::spawn(supervisor.run())
}

struct Supervisor {
    hub: Hub,
    stop: Shutdown,
    /// Whether the twins are looked through that were written while this node did not know the
    /// configurations yet.
    begun: bool,
    /// Twins that are worked on. Dropped, they stop.
    work: JoinSet<()>,
}

/// What a turn came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// There may be more to do at once.
    Go,
    /// There is nothing to do until something happens.
    Wait,
}

impl Supervisor {
    async fn run(mut self) {
        let inner = self.hub.inner.clone();
        while !self.stop.is_requested() {
            let changed = inner.core.configurations_changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that what happens in between is not missed.
            changed.as_mut().enable();
            let turn = self.turn().await.unwrap_or_else(|error| {
                tracing::debug!(%error, "configurations have to wait");
                Turn::Wait
            });
            while self.work.try_join_next().is_some() {}
            if turn == Turn::Go {
                // A store in memory never waits, and others want to run, too.
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                Some(_) = self.work.join_next() => {}
                () = self.stop.requested() => {}
            }
        }
        // What is under way is noted before the end, so that it is not done again.
        while self.work.join_next().await.is_some() {}
    }

    fn configurations(&self) -> Configurations<'_> {
        self.hub.configurations()
    }

    async fn turn(&mut self) -> Result<Turn, HubError> {
        let asks = [Ask::Document(Index::key()), Ask::Document(Sweep::key())];
        let mut records = self.hub.core().store.read(&asks).await?.into_iter();
        let index = document(records.next().flatten());
        let sweep = document(records.next().flatten());
        // There never was a configuration.
        let Some(index) = index else { return Ok(Turn::Wait) };
        let mut deployed = self.hub.core().deployed();
        if read_index(Some(&index))?.revision > deployed.revision() {
            deployed = self.configurations().refresh().await?;
        }
        let looked = self.look(&deployed, sweep).await?;
        let taken = self.take(&deployed).await?;
        Ok(if looked == Turn::Go || taken == Turn::Go { Turn::Go } else { Turn::Wait })
    }

    /// Looks at the next twins, if it is time to.
    async fn look(&mut self, deployed: &Deployed, at: Option<Document>) -> Result<Turn, HubError> {
        let version = at.as_ref().map(|at| at.at.version());
        let sweep = at.as_ref().and_then(|at| Sweep::decode(&at.body)).unwrap_or_default();
        if !self.begun && sweep.revision <= deployed.revision() {
            if sweep.revision == deployed.revision() && !deployed.is_empty() {
                let soon = sweep.soon(self.hub.now(), self.hub.limits());
                let change = Change::new().write(&Sweep::key(), version, soon.encode());
                self.begun = self.configurations().commit(change).await?;
                return Ok(Turn::Go);
            }
            self.begun = true;
        }
        match sweep.due(deployed.revision(), self.hub.now()) {
            Some(sweep) => self.page(deployed, &sweep, version).await,
            None => Ok(Turn::Wait),
        }
    }

    async fn page(
        &self,
        deployed: &Deployed,
        sweep: &Sweep,
        version: Option<Version>,
    ) -> Result<Turn, HubError> {
        let limits = self.hub.limits();
        let size = NonZeroU32::new(limits.configuration_page_max).unwrap_or(NonZeroU32::MIN);
        let twins = self.hub.core().store.scan(Kind::Twin, sweep.after(), size).await?;
        let mut found = Change::new();
        for document in &twins {
            let address = Address::parse(&document.at.key().id).ok();
            // What cannot be read is left to whoever can.
            let twin = Twin::decode(&document.body).ok();
            if let (Some(address), Some(twin)) = (address, twin)
                && deployed.differs(&address, &twin)
            {
                found = found.push(Todo::new(address, deployed.revision()).push(limits));
            }
        }
        let last = twins.last().map(|last| last.at.key().id.to_string());
        let more = u32::try_from(twins.len()).is_ok_and(|count| count >= size.get());
        let last = last.filter(|_| more);
        let next = sweep.seen(last, deployed.is_empty(), self.hub.now(), limits);
        self.note(&next, version, found).await
    }

    /// Writes how far the twins are looked through, in one with what was found. Waits where there is
    /// no room for what was found.
    async fn note(
        &self,
        sweep: &Sweep,
        version: Option<Version>,
        found: Change,
    ) -> Result<Turn, HubError> {
        let change = Change::new().write(&Sweep::key(), version, sweep.encode()).and(found);
        match self.configurations().outcome(change).await? {
            // On a conflict another node has looked.
            Outcome::Committed(_) | Outcome::Conflict => Ok(Turn::Go),
            Outcome::Full(_) => Ok(Turn::Wait),
        }
    }

    /// Takes twins that wait, as many as there are slots.
    async fn take(&mut self, deployed: &Arc<Deployed>) -> Result<Turn, HubError> {
        let slots = at_once(&self.hub.core().configuration_slots);
        let limit = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        if limit == 0 {
            return Ok(Turn::Wait);
        }
        let now = self.hub.now();
        // To read the configurations, to write the twin, to note that there is none.
        let hide_until = now.after(self.hub.limits().call_timeout.saturating_mul(4));
        let claim = Claim { scope: Scope::Queue(QueueId::configure()), limit, hide_until };
        let taken = self.hub.core().store.claim(now, &[claim]).await?;
        let taken: Vec<_> = taken.into_iter().flatten().collect();
        let full = taken.len() == slots.len();
        for (item, slot) in taken.into_iter().zip(slots) {
            let (hub, known) = (self.hub.without_owner(), deployed.revision());
            self.work.spawn(async move {
                worker::work(&hub, item, known).await;
                drop(slot);
            });
        }
        Ok(if full { Turn::Go } else { Turn::Wait })
    }
}

/// Those slots that are free now.
fn at_once(slots: &Arc<Semaphore>) -> Vec<OwnedSemaphorePermit> {
    std::iter::from_fn(|| slots.clone().try_acquire_owned().ok()).collect()
}
