//! The handle that applications hold.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::builder::HubBuilder;
use super::bulk;
use super::configurations;
use super::core::Core;
use super::jobs;
use super::lifecycle::LifecycleEvents;
use super::line::lock;
use super::roster::Joining;
use super::routing;
use super::shard::{Answered, Shard};
use super::shutdown::Shutdown;
use super::tasks;
use crate::device::{Answer, Input, Request, Setup, Staging};
use crate::error::{ErrorKind, HubError};
use crate::id::{Address, CallId, NodeId, Partition};
use crate::limits::Limits;
use crate::security::{HubNames, Policies};
use crate::store::{Change, Durability, Outcome, Store};
use crate::time::Timestamp;

pub(crate) struct Inner {
    pub(crate) core: Arc<Core>,
    pub(crate) shards: Vec<Arc<Shard>>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) transports: Mutex<Vec<JoinHandle<()>>>,
    /// What brings events to endpoints.
    pub(crate) workers: Mutex<Vec<JoinHandle<()>>>,
}

impl Inner {
    /// Says that the hub is to stop, to all who listen for that.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
        if let Some(throttle) = &self.core.throttle {
            throttle.stop();
        }
    }
}

/// Stops the hub when the application lets go of its last handle.
struct Owner {
    inner: Arc<Inner>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.inner.stop();
        for task in &self.tasks {
            task.abort();
        }
        for shard in &self.inner.shards {
            shard.committer.abandon();
        }
        for transport in lock(&self.inner.transports).drain(..) {
            transport.abort();
        }
        for worker in lock(&self.inner.workers).drain(..) {
            worker.abort();
        }
        for shard in &self.inner.shards {
            for line in shard.lines() {
                line.close(crate::error::CloseReason::Shutdown);
            }
        }
    }
}

/// An IoT hub in this process. Cheap to clone; all clones are the same hub.
///
/// Dropping the last clone stops it at once: transports, connections and background work.
/// [`Hub::shutdown`] does the same in good order.
#[derive(Clone)]
pub struct Hub {
    pub(crate) inner: Arc<Inner>,
    /// Absent in the handles that transports hold, so that they do not keep the hub alive.
    _owner: Option<Arc<Owner>>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("name", &self.core().names.primary())
            .field("node", &self.core().setup.node)
            .field("partitions", &self.core().setup.partitions)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// Begins to set up a hub on a store.
    pub fn builder(store: impl Store) -> HubBuilder {
        HubBuilder::new(Arc::new(store))
    }

    /// Begins to set up a hub on a store that others hold too.
    #[must_use]
    pub fn builder_on(store: Arc<dyn Store>) -> HubBuilder {
        HubBuilder::new(store)
    }

    pub(super) fn start(core: Arc<Core>, shards: Vec<Arc<Shard>>, joining: Joining) -> Self {
        let inner = Arc::new(Inner {
            core,
            shards,
            stop: watch::Sender::new(false),
            transports: Mutex::default(),
            workers: Mutex::default(),
        });
        let tasks = tasks::start(&inner, joining);
        let owner = Arc::new(Owner { inner: inner.clone(), tasks });
        let hub = Self { inner, _owner: Some(owner) };
        let workers = routing::start(&hub);
        lock(&hub.inner.workers).extend(workers);
        let workers = [jobs::start(&hub), bulk::start(&hub), configurations::start(&hub)];
        lock(&hub.inner.workers).extend(workers);
        hub
    }

    /// A handle that does not keep the hub alive.
    pub(crate) fn without_owner(&self) -> Self {
        Self { inner: self.inner.clone(), _owner: None }
    }

    pub(crate) fn core(&self) -> &Core {
        &self.inner.core
    }

    pub(crate) fn shard(&self, address: &Address) -> Result<&Arc<Shard>, HubError> {
        let Partition(number) = address.partition(self.core().setup.partitions);
        self.inner
            .shards
            .get(usize::from(number))
            .ok_or_else(|| HubError::new(ErrorKind::Internal, "no such shard"))
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.core().limits
    }

    /// The time now, by the hub's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.core().clock.now()
    }

    /// Makes changes that an application commits together with its own, by the rules and at the time
    /// of now. For stores that share their database with the application.
    #[must_use]
    pub fn staging(&self) -> Staging {
        let core = self.core();
        // Routes and configurations may have been set since the start.
        let (routing, configurations) = (core.router.table(), core.deployed());
        let setup = Setup { routing, configurations, ..Setup::clone(&core.setup) };
        Staging::new(Arc::new(setup), self.now())
    }

    /// The host names of the hub; the first is the one in connection strings.
    #[must_use]
    pub fn names(&self) -> &HubNames {
        &self.core().names
    }

    /// The name of this node.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.core().setup.node
    }

    /// How many partitions the log has.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.core().setup.partitions
    }

    /// What an acknowledgement of this hub is worth: what its store says.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.core().store.durability()
    }

    /// The shared access policies.
    #[must_use]
    pub fn policies(&self) -> Arc<Policies> {
        self.core().policies()
    }

    /// Replaces the shared access policies. Connections that a removed policy let in stay until
    /// their token expires; new ones need a policy of the new set.
    pub fn set_policies(&self, policies: Policies) {
        let mut slot =
            self.core().policies.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        *slot = Arc::new(policies);
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.core().connections.load(Ordering::Relaxed)
    }

    /// Listens to connections and messages as they change. Events before this call are not seen.
    #[must_use]
    pub fn lifecycle(&self) -> LifecycleEvents {
        LifecycleEvents(self.core().lifecycle.subscribe())
    }

    /// Asks a device's machine, and waits for the answer.
    pub(crate) async fn ask(
        &self,
        address: &Address,
        request: Request,
        within: Duration,
    ) -> Result<Answer, HubError> {
        Ok(self.ask_whole(address, request, within).await?.answer)
    }

    /// The same, with what comes beside the answer.
    pub(crate) async fn ask_whole(
        &self,
        address: &Address,
        request: Request,
        within: Duration,
    ) -> Result<Answered, HubError> {
        if *self.inner.stop.borrow() {
            return Err(HubError::new(ErrorKind::Unavailable, "the hub shuts down"));
        }
        if self.core().is_failed() {
            return Err(HubError::new(ErrorKind::Internal, "the store has failed"));
        }
        let shard = self.shard(address)?.clone();
        let (call, answer) = shard.ask(address, |call| Input::Ask(call, request));
        let mut guard = CancelOnDrop { shard, address, call: Some(call) };
        let answer = tokio::time::timeout(within, answer).await;
        match answer {
            Ok(Ok(answered)) => {
                guard.call = None;
                match answered.answer {
                    Answer::Failed(error) => Err(error),
                    _ => Ok(answered),
                }
            }
            Ok(Err(_)) => Err(HubError::new(ErrorKind::Unavailable, "the hub shuts down")),
            Err(_) => {
                Err(HubError::new(ErrorKind::Unavailable, "the store does not answer in time"))
            }
        }
    }

    /// Commits a change that no machine decides, and waits for the outcome. It happens also if the
    /// future is dropped.
    pub(crate) async fn commit(
        &self,
        address: &Address,
        change: Change,
    ) -> Result<Outcome, HubError> {
        self.shard(address)?.commit(change, self.limits().call_timeout).await
    }

    /// Tells a device's machine that something of it may have changed.
    pub(crate) fn changed(&self, address: &Address) {
        if let Ok(shard) = self.shard(address) {
            shard.input(address, Input::Changed);
        }
    }

    /// A signal that ends when the hub is to stop.
    #[must_use]
    pub fn shutdown_signal(&self) -> Shutdown {
        Shutdown::new(self.inner.stop.subscribe())
    }
}

/// Takes the question back when whoever asked stops waiting.
struct CancelOnDrop<'a> {
    shard: Arc<Shard>,
    address: &'a Address,
    call: Option<CallId>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            let _entered = self.shard.core.runtime.enter();
            self.shard.cancel(self.address, call);
        }
    }
}
