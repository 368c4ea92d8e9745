//! Setting a hub up.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::clock::{Clock, SystemClock};
use super::core::{Core, Parts};
use super::hooks::{Authenticator, Authorizer, RegistryAuthenticator};
use super::hub::Hub;
use super::membership::JoinError;
use super::roster;
use super::routing::{Named, Router};
use super::shard::Shard;
use crate::blob::BlobStore;
use crate::device::Setup;
use crate::endpoint::Endpoint;
use crate::envelope::EventSource;
use crate::id::{NodeId, Partition};
use crate::limits::Limits;
use crate::quota::Quotas;
use crate::route::{EnrichmentSpec, FallbackSpec, RouteSpec, Routing, RoutingError, RoutingSpec};
use crate::security::{HubNames, Policies, Policy, PolicyError};
use crate::store::{Query, Store};

/// Partitions of the log if nothing else is said.
pub const PARTITIONS_DEFAULT: u16 = 4;
/// Most partitions of a log.
pub const PARTITIONS_MAX: u16 = 32;

/// Why a hub cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Not 1 to [`PARTITIONS_MAX`].
    #[error("{0} partitions, there must be 1 to {PARTITIONS_MAX}")]
    Partitions(u16),
    /// A limit that cannot work: which, and why.
    #[error("limit {0}: {1}")]
    Limit(&'static str, &'static str),
    /// A shared access policy cannot be taken.
    #[error("a shared access policy cannot be used")]
    Policy(#[from] PolicyError),
    /// The operating system gave no random numbers.
    #[error("no random numbers")]
    Random(#[from] getrandom::Error),
    /// This node cannot be part of the hub.
    #[error("the node cannot join")]
    Join(#[from] JoinError),
    /// The routes, enrichments or endpoints cannot be used.
    #[error("the routes cannot be used")]
    Routing(#[from] RoutingError),
    /// Started outside a tokio runtime.
    #[error("a hub is started within a tokio runtime")]
    NoRuntime,
}

/// Sets a hub up. Every setting has a default but the store.
pub struct HubBuilder {
    store: Arc<dyn Store>,
    queries: Option<Arc<dyn Query>>,
    names: Vec<String>,
    node: Option<NodeId>,
    partitions: u16,
    limits: Limits,
    policies: Option<Policies>,
    extra: Vec<Policy>,
    authenticator: Arc<dyn Authenticator>,
    authorizer: Option<Arc<dyn Authorizer>>,
    quotas: Quotas,
    blobs: Option<Arc<dyn BlobStore>>,
    clock: Arc<dyn Clock>,
    routing: RoutingSpec,
    endpoints: Vec<Named>,
}

impl std::fmt::Debug for HubBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubBuilder")
            .field("names", &self.names)
            .field("partitions", &self.partitions)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl HubBuilder {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            queries: None,
            names: Vec::new(),
            node: None,
            partitions: PARTITIONS_DEFAULT,
            limits: Limits::default(),
            policies: None,
            extra: Vec::new(),
            authenticator: Arc::new(RegistryAuthenticator),
            authorizer: None,
            quotas: Quotas::default(),
            blobs: None,
            clock: Arc::new(SystemClock),
            routing: RoutingSpec::default(),
            endpoints: Vec::new(),
        }
    }

    /// Adds a host name of the hub. Tokens and connections must name one of them. The first is the
    /// one in connection strings. Without any: `localhost`.
    #[must_use]
    pub fn host_name(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// Finds twins by what is in them, for twin queries: for a store that can, the same one. Without
    /// it a query reads all twins.
    #[must_use]
    pub fn queries(mut self, queries: Arc<dyn Query>) -> Self {
        self.queries = Some(queries);
        self
    }

    /// Names this node, where several share a store. The default is random.
    ///
    /// A name belongs to one process at a time. While that runs, another one is refused; when it
    /// has died, the name can be used again within a few seconds: see [`JoinError`].
    #[must_use]
    pub fn node(mut self, node: NodeId) -> Self {
        self.node = Some(node);
        self
    }

    /// Sets the number of partitions of the log, 1 to [`PARTITIONS_MAX`]; the default is
    /// [`PARTITIONS_DEFAULT`]. It never changes for a given store: devices would move.
    #[must_use]
    pub fn partitions(mut self, partitions: u16) -> Self {
        self.partitions = partitions;
        self
    }

    /// Sets the bounds.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the shared access policies. The default are Azure's five, with random keys.
    #[must_use]
    pub fn policies(mut self, policies: Policies) -> Self {
        self.policies = Some(policies);
        self
    }

    /// Adds a shared access policy, or replaces the one of the same name.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.extra.push(policy);
        self
    }

    /// Decides who is who. The default is [`RegistryAuthenticator`].
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticator = Arc::new(authenticator);
        self
    }

    /// Decides who may do what, beyond rights. Without one nothing is asked, and nothing is slowed.
    #[must_use]
    pub fn authorizer(mut self, authorizer: impl Authorizer) -> Self {
        self.authorizer = Some(Arc::new(authorizer));
        self
    }

    /// Bounds how often devices and back ends may do what. By default nothing is bounded so, and
    /// nothing is spent on it.
    ///
    /// Who has no turn yet waits, and is refused if that would take too long: see `docs/quotas.md`.
    /// What the application itself asks of the hub is not counted, but for the links of
    /// [`Hub::device`].
    #[must_use]
    pub fn quotas(mut self, quotas: Quotas) -> Self {
        self.quotas = quotas;
        self
    }

    /// Sets where devices upload files to. Without one they cannot.
    #[must_use]
    pub fn blobs(mut self, blobs: Arc<dyn BlobStore>) -> Self {
        self.blobs = Some(blobs);
        self
    }

    /// Sets the source of time. The default is the machine's clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Adds routes. Without any, telemetry goes to the built-in log, and there are no other events.
    /// With some, telemetry that none of them takes still goes there: see
    /// [`HubBuilder::fallback_route`].
    #[must_use]
    pub fn routes(mut self, routes: impl IntoIterator<Item = RouteSpec>) -> Self {
        self.routing.routes.extend(routes);
        self
    }

    /// Adds a route that puts all events of a source into the built-in log.
    #[must_use]
    pub fn event_source(self, source: EventSource) -> Self {
        self.routes([RouteSpec::of_source(source)])
    }

    /// Decides what becomes of telemetry that no route takes. The default is the built-in log.
    #[must_use]
    pub fn fallback_route(mut self, fallback: FallbackSpec) -> Self {
        self.routing.fallback = fallback;
        self
    }

    /// Adds an application property to events on their way to some endpoints.
    #[must_use]
    pub fn enrichment(mut self, enrichment: EnrichmentSpec) -> Self {
        self.routing.enrichments.push(enrichment);
        self
    }

    /// Defines an endpoint for routes to name. One of the same name on several nodes of a hub is
    /// one endpoint: one node at a time brings it events.
    #[must_use]
    pub fn endpoint(mut self, name: &str, endpoint: impl Endpoint) -> Self {
        self.endpoints.push(Named { name: name.into(), endpoint: Arc::new(endpoint) });
        self
    }

    /// Starts the hub, in the tokio runtime that this is called in. It stops when its last handle
    /// is dropped.
    ///
    /// A store that does not answer at once is not waited for: [`Hub::joined`] tells when devices may
    /// connect, or why they cannot.
    ///
    /// # Errors
    /// [`BuildError`] for settings that cannot work.
    pub fn start(self) -> Result<Hub, BuildError> {
        if self.partitions == 0 || self.partitions > PARTITIONS_MAX {
            return Err(BuildError::Partitions(self.partitions));
        }
        check(&self.limits)?;
        let runtime = Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let mut random = [0_u8; 320];
        getrandom::fill(&mut random)?;
        let mut policies = self.policies.unwrap_or_else(|| Policies::standard(&random));
        for policy in self.extra {
            policies.insert(policy)?;
        }
        let mut prefix = [0_u8; 8];
        getrandom::fill(&mut prefix)?;
        let prefix = u64::from_le_bytes(prefix);
        let node = match self.node {
            Some(node) => node,
            None => NodeId::new(&format!("node-{prefix:016x}"))
                .map_err(|_| BuildError::Limit("node", "has no name"))?,
        };
        let mut names = self.names.iter();
        let first = names.next().map_or("localhost", String::as_str);
        let names = names.fold(HubNames::new(first), |names, alias| names.with_alias(alias));
        let defined = self.endpoints.iter().map(|named| &*named.name);
        let routing = Routing::new(names.primary(), self.routing, defined, &self.limits)?;
        let routing = Arc::new(routing);
        let setup = Arc::new(Setup {
            limits: self.limits,
            node,
            partitions: self.partitions,
            routing: routing.clone(),
            configurations: Arc::default(),
        });
        let core = Arc::new(Core::new(Parts {
            store: self.store,
            queries: self.queries,
            clock: self.clock,
            setup,
            names,
            policies,
            authenticator: self.authenticator,
            authorizer: self.authorizer,
            quotas: self.quotas,
            blobs: self.blobs,
            runtime,
            run: prefix,
            router: Router::new(routing, self.endpoints),
        }));
        let shards = (0..self.partitions)
            .map(|number| Shard::new(core.clone(), Partition(number), u128::from(prefix)))
            .collect();
        let joining = roster::begin(&core)?;
        Ok(Hub::start(core, shards, joining))
    }
}

fn check(limits: &Limits) -> Result<(), BuildError> {
    for (name, value) in [
        ("link_window", limits.link_window),
        ("link_bytes_max", limits.link_bytes_max),
        ("device_inbox_max", limits.device_inbox_max),
        ("batch_changes_max", limits.batch_changes_max),
        ("waiting_changes_max", limits.waiting_changes_max),
        ("waiting_bytes_max", limits.waiting_bytes_max),
    ] {
        if value == 0 {
            return Err(BuildError::Limit(name, "must not be zero"));
        }
    }
    if limits.node_expiry < limits.node_beat_every * 2 || limits.node_beat_every.is_zero() {
        return Err(BuildError::Limit("node_expiry", "must be longer than two beats"));
    }
    if limits.inbox_poll_every.is_zero() || limits.inbox_depth_max == 0 {
        return Err(BuildError::Limit("inbox_poll_every", "must not be zero"));
    }
    if limits.c2d_delivery_count_max == 0 {
        return Err(BuildError::Limit("c2d_delivery_count_max", "must not be zero"));
    }
    if limits.endpoint_batch_max == 0 {
        return Err(BuildError::Limit("endpoint_batch_max", "must not be zero"));
    }
    if limits.job_retry_every.is_zero() {
        return Err(BuildError::Limit("job_retry_every", "must not be zero"));
    }
    if limits.configuration_page_max == 0
        || limits.configuration_page_max > limits.configuration_backlog_max
    {
        let message = "must be at least 1 and at most configuration_backlog_max";
        return Err(BuildError::Limit("configuration_page_max", message));
    }
    if limits.configuration_sweep_every.is_zero() {
        return Err(BuildError::Limit("configuration_sweep_every", "must not be zero"));
    }
    if limits.endpoint_tenure <= limits.endpoint_timeout {
        return Err(BuildError::Limit("endpoint_tenure", "must be longer than endpoint_timeout"));
    }
    if limits.c2d_lock.is_zero() || limits.feedback_lock.is_zero() {
        return Err(BuildError::Limit("c2d_lock", "must not be zero"));
    }
    if limits.file_notification_lock.is_zero() {
        return Err(BuildError::Limit("file_notification_lock", "must not be zero"));
    }
    Ok(())
}
