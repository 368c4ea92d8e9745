//! The routes in force, and the endpoints they lead to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Notify;

use crate::device::Input;
use crate::endpoint::Endpoint;
use crate::engine::committer::Done;
use crate::engine::hub::Hub;
use crate::engine::line::Line;
use crate::engine::shard::Shard;
use crate::envelope::EventSource;
use crate::error::{ErrorKind, HubError};
use crate::frame::Inbound;
use crate::id::{Address, Tag};
use crate::limits::Limits;
use crate::query::Fields;
#[cfg(doc)]
use crate::route::FALLBACK;
use crate::route::{
    RouteSpec, Routing, RoutingCounts, RoutingError, RoutingSpec, Sample, Trial, try_route,
};
use crate::store::{Ask, Change, DocumentRef, Entries, Key, Outcome, Record};
use crate::twin::Twin;

/// An endpoint and its name.
#[derive(Clone)]
pub(crate) struct Named {
    pub(crate) name: Arc<str>,
    pub(crate) endpoint: Arc<dyn Endpoint>,
}

/// What decides where events go.
pub(crate) struct Router {
    /// Telemetry goes to the built-in log as it is: a copy of what the table says, for a look
    /// without its lock.
    plain: AtomicBool,
    /// Telemetry takes the way through the machines, because a route looks at twins. Once it does,
    /// it does for good: otherwise some could overtake what waits there.
    by_machine: AtomicBool,
    table: RwLock<Arc<Routing>>,
    pub(crate) endpoints: Vec<Named>,
    /// Something was appended to the outbox.
    pub(crate) appended: Notify,
}

impl Router {
    pub(crate) fn new(table: Arc<Routing>, endpoints: Vec<Named>) -> Self {
        Self {
            plain: AtomicBool::new(table.is_plain()),
            by_machine: AtomicBool::new(table.needs_twin(EventSource::Telemetry)),
            table: RwLock::new(table),
            endpoints,
            appended: Notify::new(),
        }
    }

    /// The routes in force.
    pub(crate) fn table(&self) -> Arc<Routing> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether telemetry need not be looked at.
    pub(crate) fn is_plain(&self) -> bool {
        self.plain.load(Ordering::Relaxed)
    }

    /// Puts other routes in force.
    pub(crate) fn replace(&self, table: Arc<Routing>) {
        if table.needs_twin(EventSource::Telemetry) {
            self.by_machine.store(true, Ordering::SeqCst);
        }
        let plain = table.is_plain() && !self.by_machine.load(Ordering::SeqCst);
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        self.plain.store(plain, Ordering::SeqCst);
    }

    /// The same endpoints with other routes.
    pub(crate) fn compile(
        &self,
        hub: &str,
        spec: RoutingSpec,
        limits: &Limits,
    ) -> Result<Routing, RoutingError> {
        let names = self.endpoints.iter().map(|named| &*named.name);
        Routing::new(hub, spec, names, limits)
    }
}

impl Shard {
    /// Telemetry of a link that a route may look at.
    pub(crate) fn route(self: &Arc<Self>, line: &Arc<Line>, tag: Tag, events: Entries) {
        let router = &self.core.router;
        if router.by_machine.load(Ordering::SeqCst) {
            let frame = Inbound::Telemetry(tag, events);
            return self.input(&line.address, Input::Frame(line.id, frame));
        }
        let bytes = events.bytes();
        let table = router.table();
        let change = table.telemetry(self.partition, self.core.clock.now(), events, None);
        let done = Done::Receipt { line: line.clone(), tag, bytes };
        // One that appends nothing goes too: receipts keep the order of what they answer.
        self.committer.submit(change, done);
        self.committer.kick(self);
    }
}

impl Hub {
    /// The routes in force, with what they counted.
    #[must_use]
    pub fn routing(&self) -> Arc<Routing> {
        self.core().router.table()
    }

    /// What the routes in force counted.
    #[must_use]
    pub fn routing_counts(&self) -> RoutingCounts {
        self.routing().counts()
    }

    /// Puts other routes in force, on this node: events decided from now on go their way. Endpoints
    /// are those that the hub was built with. Counting begins anew.
    ///
    /// Several nodes of one hub should have the same routes; between the first and the last of them
    /// that change, events go by those of the node they come in at.
    ///
    /// # Errors
    /// `ArgumentInvalid`, and nothing changes.
    pub fn set_routing(&self, spec: RoutingSpec) -> Result<(), RoutingError> {
        let core = self.core();
        let table = Arc::new(core.router.compile(core.names.primary(), spec, &core.limits)?);
        for shard in &self.inner.shards {
            shard.configure(&table);
        }
        core.router.replace(table);
        Ok(())
    }

    /// Tries a route on a sample: what real events go through, with each operand explained, and
    /// nothing is delivered.
    ///
    /// # Errors
    /// [`RoutingError::Condition`] where the condition is wrong, and where.
    pub fn test_route(&self, route: &RouteSpec, sample: &Sample) -> Result<Trial, RoutingError> {
        try_route(route, sample, self.limits())
    }

    /// Tries all routes in force on a sample: those of its source, and for telemetry that none of
    /// them takes the fallback, which is called [`FALLBACK`]. The fallback does not match where a
    /// route does.
    ///
    /// # Errors
    /// [`RoutingError::Sample`].
    pub fn test_routes(&self, sample: &Sample) -> Result<Vec<Trial>, RoutingError> {
        let table = self.routing();
        let spec = table.spec();
        let of_source = spec.routes.iter().filter(|route| route.source == sample.source);
        let mut trials =
            of_source.map(|route| self.test_route(route, sample)).collect::<Result<Vec<_>, _>>()?;
        if sample.source == EventSource::Telemetry {
            let taken = trials.iter().any(|trial| trial.matched);
            let mut fallback = self.test_route(&spec.fallback.as_route(), sample)?;
            fallback.matched &= !taken;
            trials.push(fallback);
        }
        Ok(trials)
    }

    /// The change that appends events of a device that has no link, and the same once more if its
    /// twin, which a route looked at, was written meanwhile.
    pub(crate) async fn publish_routed(
        &self,
        from: &Address,
        events: Entries,
    ) -> Result<(), HubError> {
        let core = self.core();
        let partition = from.partition(core.setup.partitions);
        for _ in 0..=core.limits.conflict_rounds_max {
            let table = core.router.table();
            let twin = match table.needs_twin(EventSource::Telemetry) {
                true => self.read_twin(from).await?,
                false => None,
            };
            let fields = twin.as_ref().map(|(_, twin)| -> &dyn Fields { twin });
            let change = table.telemetry(partition, self.now(), events.clone(), fields);
            let change = match &twin {
                Some((at, _)) => Change::new().require(at).and(change),
                None => change,
            };
            match self.commit(from, change).await? {
                Outcome::Committed(_) => return Ok(()),
                Outcome::Conflict => {}
                Outcome::Full(_) => {
                    return Err(HubError::new(ErrorKind::Internal, "an append was refused"));
                }
            }
        }
        Err(HubError::new(ErrorKind::Busy, "others changed the twin too often"))
    }

    async fn read_twin(&self, of: &Address) -> Result<Option<(DocumentRef, Twin)>, HubError> {
        let records = self.core().store.read(&[Ask::Document(Key::twin(of))]).await?;
        match records.into_iter().next().flatten() {
            Some(Record::Document(document)) => {
                let twin = Twin::decode(&document.body).map_err(|_| {
                    HubError::new(ErrorKind::Internal, "a stored twin cannot be read")
                })?;
                Ok(Some((document.at, twin)))
            }
            _ => Ok(None),
        }
    }
}
