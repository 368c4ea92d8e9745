//! What all parts of one hub share.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, broadcast};

use super::clock::Clock;
use super::hooks::{Authenticator, Authorizer};
use super::lifecycle::LifecycleEvent;
use super::membership::Membership;
use super::meter::{Meter, cause_name};
use super::outcomes::Outcomes;
use super::query::Scan;
use super::routing::Router;
use super::slots::Slots;
use super::throttle::Throttle;
use crate::blob::BlobStore;
use crate::configuration::Deployed;
use crate::device::{LifecycleKind, Setup};
use crate::error::{CloseReason, DisconnectCause};
use crate::id::{Address, Epoch, LinkId};
use crate::limits::Limits;
use crate::quota::Quotas;
use crate::security::{HubNames, Policies};
use crate::store::{Query, Store, StoreError};
use crate::time::Timestamp;

pub(crate) struct Core {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) queries: Arc<dyn Query>,
    pub(crate) queries_in_flight: Semaphore,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) setup: Arc<Setup>,
    pub(crate) names: HubNames,
    pub(crate) policies: RwLock<Arc<Policies>>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) authorizer: Option<Arc<dyn Authorizer>>,
    /// Absent where nothing is limited.
    pub(crate) throttle: Option<Throttle>,
    /// Where tasks are spawned, also by whoever lets go of a link outside of it.
    pub(crate) runtime: Handle,
    pub(crate) lifecycle: broadcast::Sender<LifecycleEvent>,
    pub(crate) connections: AtomicUsize,
    pub(crate) feedback_waiting: AtomicU32,
    pub(crate) feedback: Notify,
    pub(crate) feedback_ready: Notify,
    pub(crate) files_ready: Notify,
    /// A job was asked for, or cancelled.
    pub(crate) jobs_changed: Notify,
    /// The configurations have changed, or twins wait for them.
    pub(crate) configurations_changed: Notify,
    /// How many more twins this node may apply configurations to.
    pub(crate) configuration_slots: Arc<Semaphore>,
    /// The configurations in force, as this node knows them.
    deployed: RwLock<Arc<Deployed>>,
    /// How many more devices jobs may work on.
    pub(crate) job_slots: Arc<Semaphore>,
    /// Where devices upload to, if anywhere.
    pub(crate) blobs: Option<Arc<dyn BlobStore>>,
    /// Ends when the store has failed for good.
    pub(crate) failure: Notify,
    failed: AtomicBool,
    degraded: AtomicUsize,
    last_link: AtomicU64,
    pub(crate) outcomes: Outcomes,
    pub(crate) meter: Arc<Meter>,
    pub(crate) turned_away: TurnedAway,
    pub(crate) membership: Membership,
    /// Direct methods that this node makes for others.
    pub(crate) remote_calls: Arc<Slots>,
    /// Direct methods whose callers are ready to wait for the device.
    pub(crate) patient_calls: Arc<Slots>,
    pub(crate) router: Router,
}

/// What was turned away for want of room.
#[derive(Debug, Default)]
pub(crate) struct TurnedAway {
    /// Connections.
    pub(crate) connections: AtomicU64,
}

/// What a core is made of.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    /// Absent where the store does not find by content.
    pub(crate) queries: Option<Arc<dyn Query>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) setup: Arc<Setup>,
    pub(crate) names: HubNames,
    pub(crate) policies: Policies,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) authorizer: Option<Arc<dyn Authorizer>>,
    pub(crate) quotas: Quotas,
    pub(crate) blobs: Option<Arc<dyn BlobStore>>,
    pub(crate) runtime: Handle,
    /// Tells this run of the node from every other.
    pub(crate) run: u64,
    pub(crate) router: Router,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Self {
        let limits = Arc::new(parts.setup.limits.clone());
        let meter = Arc::new(Meter::new(parts.names.primary()));
        let throttle = Throttle::new(parts.quotas, &limits, parts.clock.clone(), meter.clone());
        let queries = parts
            .queries
            .unwrap_or_else(|| Arc::new(Scan::new(parts.store.clone(), limits.list_page_max)));
        let in_flight = limits.queries_in_flight_max.clamp(1, Semaphore::MAX_PERMITS);
        let job_slots = limits.job_devices_in_flight_max.clamp(1, Semaphore::MAX_PERMITS);
        let configuration_slots =
            limits.configuration_twins_in_flight_max.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            lifecycle: broadcast::Sender::new(limits.lifecycle_buffer.max(1)),
            outcomes: Outcomes::new(limits.outcomes_waiting_max),
            remote_calls: Slots::new(limits.remote_calls_max),
            patient_calls: Slots::new(limits.methods_patient_max),
            limits,
            store: parts.store,
            queries,
            queries_in_flight: Semaphore::new(in_flight),
            clock: parts.clock,
            setup: parts.setup,
            names: parts.names,
            policies: RwLock::new(Arc::new(parts.policies)),
            authenticator: parts.authenticator,
            authorizer: parts.authorizer,
            throttle,
            runtime: parts.runtime,
            connections: AtomicUsize::new(0),
            feedback_waiting: AtomicU32::new(0),
            feedback: Notify::new(),
            feedback_ready: Notify::new(),
            files_ready: Notify::new(),
            jobs_changed: Notify::new(),
            configurations_changed: Notify::new(),
            configuration_slots: Arc::new(Semaphore::new(configuration_slots)),
            deployed: RwLock::default(),
            job_slots: Arc::new(Semaphore::new(job_slots)),
            blobs: parts.blobs,
            failure: Notify::new(),
            failed: AtomicBool::new(false),
            degraded: AtomicUsize::new(0),
            last_link: AtomicU64::new(0),
            meter,
            turned_away: TurnedAway::default(),
            membership: Membership::new(parts.run),
            router: parts.router,
        }
    }

    /// How many pages of answers to queries are being made.
    pub(crate) fn queries_under_way(&self) -> usize {
        let most = self.limits.queries_in_flight_max.clamp(1, Semaphore::MAX_PERMITS);
        most.saturating_sub(self.queries_in_flight.available_permits())
    }

    pub(crate) fn next_link(&self) -> LinkId {
        LinkId(self.last_link.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn tell(&self, at: Timestamp, address: &Address, kind: LifecycleKind) {
        match &kind {
            LifecycleKind::Connected(_) => {}
            LifecycleKind::Disconnected(epoch, cause) => {
                self.meter.disconnected(*cause);
                log_disconnect(address, *epoch, *cause);
            }
            LifecycleKind::Settled(sequence, outcome) => {
                self.meter.settled(*outcome);
                self.outcomes.ended(address, *sequence, *outcome);
            }
        }
        if self.lifecycle.receiver_count() > 0 {
            // Refused only if the last receiver left meanwhile.
            let _ = self.lifecycle.send(LifecycleEvent { at, address: address.clone(), kind });
        }
    }

    pub(crate) fn feedback_made(&self) {
        let before = self.feedback_waiting.fetch_add(1, Ordering::Relaxed);
        if before + 1 >= self.limits.feedback_batch_max {
            self.feedback.notify_one();
        }
    }

    pub(crate) fn fail(&self, error: &StoreError) {
        if !self.failed.swap(true, Ordering::SeqCst) {
            tracing::error!(%error, "the store has failed; the hub stops");
            self.failure.notify_waiters();
        }
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    pub(crate) fn degraded(&self, yes: bool) {
        if yes {
            self.degraded.fetch_add(1, Ordering::SeqCst);
        } else {
            self.degraded.fetch_sub(1, Ordering::SeqCst);
        }
    }

    pub(crate) fn is_degraded(&self) -> bool {
        self.shards_degraded() > 0
    }

    /// Whose batch the store does not answer.
    pub(crate) fn shards_degraded(&self) -> usize {
        self.degraded.load(Ordering::SeqCst)
    }

    /// The configurations in force, as this node knows them.
    pub(crate) fn deployed(&self) -> Arc<Deployed> {
        self.deployed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// These configurations are in force, unless later ones are.
    pub(crate) fn deploy(&self, deployed: &Arc<Deployed>) {
        let mut slot = self.deployed.write().unwrap_or_else(PoisonError::into_inner);
        if slot.revision() < deployed.revision() {
            *slot = deployed.clone();
        }
    }

    pub(crate) fn policies(&self) -> Arc<Policies> {
        self.policies.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Ends that somebody should know of stand out: two clients with one name, and clients whose tokens
/// run out.
fn log_disconnect(device: &Address, epoch: Epoch, cause: DisconnectCause) {
    let epoch = epoch.0;
    match cause {
        DisconnectCause::Closed(CloseReason::TakenOver) => {
            tracing::info!(%device, epoch, "taken over by a new connection");
        }
        DisconnectCause::Closed(CloseReason::CredentialExpired) => {
            tracing::info!(%device, epoch, "disconnected: the token has expired");
        }
        cause => tracing::debug!(%device, epoch, cause = cause_name(cause), "disconnected"),
    }
}
