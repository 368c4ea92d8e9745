//! Routes made ready: checked once, and then asked about each event.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::enrich::{self, Enrichment};
use super::error::RoutingError;
use super::fact::Fact;
use super::outbox::{self, Writer};
use super::spec::{BUILT_IN, RouteSpec, RoutingSpec, is_name};
use crate::envelope::{EventSource, EventView};
use crate::id::Partition;
use crate::limits::Limits;
use crate::query::{Condition, EventSubject, ExprKind, Fields, Literal, Truth};
use crate::store::{Change, Entries};
use crate::time::Timestamp;

/// Most endpoints besides the built-in log, whatever `Limits::endpoints_max` says: a set of them
/// is a word of 64 bits.
pub const ENDPOINTS_CEILING: usize = 63;

/// A set of endpoints. Bit 0 is the built-in log; bit n is the n-th endpoint that is defined.
pub(super) type Targets = u64;
const LOG: Targets = 1;

struct Compiled {
    /// Its place in the specification, and among the counters.
    index: usize,
    condition: Condition,
    to: Targets,
}

/// Where events go. Evaluating it needs no clock, no store and no lock.
///
/// The rules are those of IoT Hub: every enabled route of an event's source is asked; the event
/// goes once to each endpoint that a route names whose condition is true; telemetry that no route
/// took goes the way of the fallback. False, undefined and null are all no match.
pub struct Routing {
    spec: RoutingSpec,
    hub: Arc<str>,
    endpoints: Vec<Arc<str>>,
    by_source: [Vec<Compiled>; EventSource::ALL.len()],
    fallback: Option<Compiled>,
    enrichments: Vec<Enrichment>,
    /// Which sources are decided on the sender's twin.
    twins: [bool; EventSource::ALL.len()],
    plain: bool,
    bytes_max: usize,
    counters: Counters,
}

/// How often a route was asked, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteCounts {
    /// The condition was true.
    pub matched: u64,
    /// The condition was false, or null.
    pub unmatched: u64,
    /// The condition was undefined: mostly a body that is not JSON, or says so nowhere.
    pub undefined: u64,
}

/// How often events were routed since the set of routes was made. A decision that lost against
/// another writer and was made again counts twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RoutingCounts {
    /// By the name of the route, in the order of the specification.
    pub routes: Vec<(String, RouteCounts)>,
    /// Telemetry that the fallback took.
    pub fallback: u64,
    /// Telemetry that nothing took: acknowledged, and kept nowhere.
    pub orphaned: u64,
    /// Events that an endpoint did not get because with its enrichments they were too large.
    pub invalid: u64,
}

#[derive(Default)]
struct Counters {
    routes: Vec<[AtomicU64; 3]>,
    fallback: AtomicU64,
    orphaned: AtomicU64,
    invalid: AtomicU64,
}

fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Default for Routing {
    fn default() -> Self {
        Self::plain("localhost")
    }
}

impl fmt::Debug for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routing")
            .field("hub", &self.hub)
            .field("spec", &self.spec)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

/// Equal if they decide alike; what they counted does not matter.
impl PartialEq for Routing {
    fn eq(&self, other: &Self) -> bool {
        (&self.spec, &self.hub, &self.endpoints, self.bytes_max)
            == (&other.spec, &other.hub, &other.endpoints, other.bytes_max)
    }
}

impl Routing {
    /// No routes: telemetry goes to the built-in log, and there are no other events. `hub` is the
    /// hub's name: that of its host up to the first dot is used.
    #[must_use]
    pub fn plain(hub: &str) -> Self {
        Self {
            spec: RoutingSpec::default(),
            hub: hub.split('.').next().unwrap_or(hub).into(),
            endpoints: Vec::new(),
            by_source: Default::default(),
            fallback: None,
            enrichments: Vec::new(),
            twins: [false; EventSource::ALL.len()],
            plain: true,
            bytes_max: Limits::default().telemetry_bytes_max,
            counters: Counters::default(),
        }
    }

    /// Checks a specification and makes it ready. `endpoints` are the names of those that are
    /// defined besides the built-in log.
    ///
    /// # Errors
    /// [`RoutingError`]: the first thing that is wrong. Disabled routes are checked too.
    pub fn new<'e>(
        hub: &str,
        spec: RoutingSpec,
        endpoints: impl IntoIterator<Item = &'e str>,
        limits: &Limits,
    ) -> Result<Self, RoutingError> {
        let endpoints: Vec<Arc<str>> = endpoints.into_iter().map(Arc::from).collect();
        let count = |what, count, limit| match count > limit {
            true => Err(RoutingError::TooMany { what, count, limit }),
            false => Ok(()),
        };
        count("endpoints", endpoints.len(), limits.endpoints_max.min(ENDPOINTS_CEILING))?;
        count("routes", spec.routes.len(), limits.routes_max)?;
        count("enrichments", spec.enrichments.len(), limits.enrichments_max)?;
        names("endpoint", endpoints.iter().map(|name| &**name).chain([BUILT_IN]))?;
        names("route", spec.routes.iter().map(|route| route.name.as_str()))?;
        let mut table = Self::plain(hub);
        table.bytes_max = limits.telemetry_bytes_max;
        table.endpoints = endpoints;
        table.counters.routes.resize_with(spec.routes.len(), Default::default);
        for (index, route) in spec.routes.iter().enumerate() {
            let compiled = table.compile(index, route, limits)?;
            if route.enabled
                && let Some(routes) = table.by_source.get_mut(route.source as usize)
            {
                routes.push(compiled);
            }
        }
        let fallback = table.compile(usize::MAX, &spec.fallback.as_route(), limits)?;
        table.fallback = spec.fallback.enabled.then_some(fallback);
        for enrichment in &spec.enrichments {
            let target =
                |name: &String| table.target(name, || format!("enrichment {}", enrichment.key));
            let to = enrichment.endpoints.iter().map(target).collect::<Result<Vec<_>, _>>()?;
            let to = to.into_iter().fold(0, |all, one| all | one);
            table.enrichments.push(Enrichment::new(enrichment, to, &table.hub)?);
        }
        enrich::check_keys(&table.enrichments)?;
        table.spec = spec;
        table.settle();
        Ok(table)
    }

    /// Works out once what would otherwise be asked per event.
    fn settle(&mut self) {
        let enriched = self.enrichments.iter().filter(|e| e.needs_twin()).fold(0, |a, e| a | e.to);
        for source in EventSource::ALL {
            let routes = self.routes(source).iter();
            let fallback = self.fallback.iter().filter(|_| source == EventSource::Telemetry);
            let twin = routes.chain(fallback).any(|route| {
                let enriched = route.to & enriched != 0 && enrich::applies_to(source);
                route.condition.needs().twin || enriched
            });
            if let Some(slot) = self.twins.get_mut(source as usize) {
                *slot = twin;
            }
        }
        let falls_to_log = |route: &Compiled| route.to == LOG && always(&route.condition);
        self.plain = self.routes(EventSource::Telemetry).is_empty()
            && self.fallback.as_ref().is_some_and(falls_to_log)
            && self.enrichments.iter().all(|enrichment| enrichment.to & LOG == 0);
    }

    fn compile(
        &self,
        index: usize,
        route: &RouteSpec,
        limits: &Limits,
    ) -> Result<Compiled, RoutingError> {
        let by = || format!("route {}", route.name);
        let to = self.target(&route.endpoint, by)?;
        let condition = Condition::parse(&route.condition, limits)
            .map_err(|error| RoutingError::Condition { route: route.name.clone(), error })?;
        Ok(Compiled { index, condition, to })
    }

    fn target(&self, name: &str, by: impl Fn() -> String) -> Result<Targets, RoutingError> {
        if name.eq_ignore_ascii_case(BUILT_IN) {
            return Ok(LOG);
        }
        let found = self.endpoints.iter().position(|known| known.eq_ignore_ascii_case(name));
        let bit = found.and_then(|at| LOG.checked_shl(u32::try_from(at).ok()? + 1));
        bit.ok_or_else(|| RoutingError::NoSuchEndpoint { by: by(), endpoint: name.to_owned() })
    }

    fn routes(&self, source: EventSource) -> &[Compiled] {
        self.by_source.get(source as usize).map_or(&[], Vec::as_slice)
    }

    /// What it was made of.
    #[must_use]
    pub fn spec(&self) -> &RoutingSpec {
        &self.spec
    }

    /// The name of the hub, as events and enrichments have it.
    #[must_use]
    pub fn hub(&self) -> &str {
        &self.hub
    }

    /// Whether all telemetry goes to the built-in log just as it is, so that it need not be looked
    /// at.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether events of this source can go anywhere. If not, nobody need make them.
    #[must_use]
    pub fn wants(&self, source: EventSource) -> bool {
        source == EventSource::Telemetry || !self.routes(source).is_empty()
    }

    /// Whether the sender's twin has a say in where events of this source go, or in what is put on
    /// them.
    #[must_use]
    pub fn needs_twin(&self, source: EventSource) -> bool {
        self.twins.get(source as usize).copied().unwrap_or(false)
    }

    /// What was counted since it was made.
    #[must_use]
    pub fn counts(&self) -> RoutingCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let of = |counters: &[AtomicU64; 3]| {
            let [matched, unmatched, undefined] = counters.each_ref().map(read);
            RouteCounts { matched, unmatched, undefined }
        };
        let routes = self.spec.routes.iter().zip(&self.counters.routes);
        RoutingCounts {
            routes: routes.map(|(route, counts)| (route.name.clone(), of(counts))).collect(),
            fallback: read(&self.counters.fallback),
            orphaned: read(&self.counters.orphaned),
            invalid: read(&self.counters.invalid),
        }
    }

    /// The change that puts telemetry where it belongs. `events` are encoded, of one sender, in
    /// order. `twin` is the sender's, where [`Routing::needs_twin`] says that it is needed; without
    /// one, what refers to it is undefined.
    ///
    /// Empty if no route and no fallback took anything.
    #[must_use]
    pub fn telemetry(
        &self,
        partition: Partition,
        at: Timestamp,
        events: Entries,
        twin: Option<&dyn Fields>,
    ) -> Change {
        if self.plain {
            return Change::new().append(partition, at, events);
        }
        self.spread(EventSource::Telemetry, partition, at, events, twin)
    }

    /// The change that puts an event of the hub where it belongs; empty if nobody wants it. To be
    /// joined with the change of which the event tells. `partitions` is how many the log has.
    #[must_use]
    pub fn record(&self, fact: &Fact<'_>, partitions: u16, twin: Option<&dyn Fields>) -> Change {
        if !self.wants(fact.source) {
            return Change::new();
        }
        let events = fact.encode(&self.hub, self.bytes_max);
        let partition = fact.address.partition(partitions);
        self.spread(fact.source, partition, fact.at, events, twin)
    }

    fn spread(
        &self,
        source: EventSource,
        partition: Partition,
        at: Timestamp,
        events: Entries,
        twin: Option<&dyn Fields>,
    ) -> Change {
        let (mut log, mut out) = (Writer::default(), Writer::default());
        // As long as every event goes to the log as it is, nothing is copied.
        let mut same = true;
        for (index, event) in events.iter().enumerate() {
            let Some(view) = EventView::parse(&event) else { continue };
            let subject = EventSubject::of(&view, at);
            let subject = match twin {
                Some(twin) => subject.with_twin(twin),
                None => subject,
            };
            let to = self.targets(source, &subject);
            let to = self.route_one(source, to, &event, &view, twin, &mut out);
            let as_it_is = matches!(&to, Some(kept) if kept.is_none());
            if same && !as_it_is {
                same = false;
                for earlier in events.iter().take(index) {
                    log.push(|bytes| bytes.extend_from_slice(&earlier));
                }
            }
            if !same && let Some(kept) = to {
                log.push(|bytes| bytes.extend_from_slice(kept.as_ref().unwrap_or(&event)));
            }
        }
        let log = if same { events } else { log.finish() };
        Change::new().append(partition, at, log).append(
            outbox::partition(partition),
            at,
            out.finish(),
        )
    }

    /// Puts one event into the outbox, if it has to. What goes to the log: nothing, the event as it
    /// is, or another one in its place.
    fn route_one(
        &self,
        source: EventSource,
        to: Targets,
        event: &[u8],
        view: &EventView<'_>,
        twin: Option<&dyn Fields>,
        out: &mut Writer,
    ) -> Option<Option<bytes::Bytes>> {
        let enriched =
            enrich::applies_to(source) && self.enrichments.iter().any(|e| e.to & to != 0);
        let more = |target: Targets| {
            let none = crate::envelope::Properties::default();
            if !enriched {
                return Some(none);
            }
            let mine = self.enrichments.iter().filter(|enrichment| enrichment.to & target != 0);
            let more = enrich::properties(mine, twin);
            let fits = enrich::size(&more).saturating_add(view.size()) <= self.bytes_max;
            if !fits && !more.is_empty() {
                bump(&self.counters.invalid);
                return None;
            }
            Some(more)
        };
        let named = |(at, name): (usize, &'_ Arc<str>)| {
            let bit = LOG.checked_shl(u32::try_from(at).ok()? + 1)?;
            (to & bit != 0).then_some(())?;
            Some((name.clone(), more(bit)?))
        };
        if to & !LOG != 0 {
            let addressed: Vec<_> = self.endpoints.iter().enumerate().filter_map(named).collect();
            if !addressed.is_empty() {
                let each = addressed.iter().map(|(name, more)| (&**name, &more.as_encoded()[..]));
                out.push(|bytes| outbox::write(bytes, each, event));
            }
        }
        if to & LOG == 0 {
            return None;
        }
        let more = more(LOG)?;
        Some(if more.is_empty() { None } else { view.with(more.iter()) })
    }

    /// The endpoints of an event.
    fn targets(&self, source: EventSource, subject: &EventSubject<'_>) -> Targets {
        let mut to = 0;
        for route in self.routes(source) {
            let truth = route.condition.evaluate(subject).truth;
            if truth.holds() {
                to |= route.to;
            }
            if let Some([matched, unmatched, undefined]) = self.counters.routes.get(route.index) {
                bump(match truth {
                    Truth::True => matched,
                    Truth::False => unmatched,
                    Truth::Undefined => undefined,
                });
            }
        }
        if to == 0 && source == EventSource::Telemetry {
            let fallback = self.fallback.as_ref();
            match fallback.filter(|fallback| fallback.condition.matches(subject)) {
                Some(fallback) => {
                    to = fallback.to;
                    bump(&self.counters.fallback);
                }
                None => bump(&self.counters.orphaned),
            }
        }
        to
    }
}

/// Whether a condition is plainly `true`.
fn always(condition: &Condition) -> bool {
    matches!(condition.expr().kind, ExprKind::Literal(Literal::Bool(true)))
}

fn names<'n>(
    what: &'static str,
    names: impl Iterator<Item = &'n str> + Clone,
) -> Result<(), RoutingError> {
    for (index, name) in names.clone().enumerate() {
        if !is_name(name) {
            return Err(RoutingError::Name { what, name: name.to_owned() });
        }
        if names.clone().take(index).any(|earlier| earlier.eq_ignore_ascii_case(name)) {
            return Err(RoutingError::Duplicate { what, name: name.to_owned() });
        }
    }
    Ok(())
}
