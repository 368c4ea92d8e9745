//! How endpoints fare, as every node can see it: it stands in the store.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::engine::hub::Hub;
use crate::error::HubError;
use crate::id::{NodeId, Partition};
use crate::route::{EndpointStatus, FailureKind, Place, outbox};
use crate::store::{Ask, Record, Seek};
use crate::time::Timestamp;

/// The last failure of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointError {
    /// Why.
    pub kind: FailureKind,
    /// For people.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// How an endpoint fares.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointHealth {
    /// Its name.
    pub name: String,
    /// What sort of endpoint it is.
    pub kind: &'static str,
    /// Its state.
    pub status: EndpointStatus,
    /// The node that works it off.
    pub node: Option<NodeId>,
    /// The last failure.
    pub last_error: Option<EndpointError>,
    /// When it last took something.
    pub last_success: Option<Timestamp>,
    /// When something was last tried.
    pub last_attempt: Option<Timestamp>,
    /// Entries of the outbox that were not looked at for it yet. Those for other endpoints count
    /// too, so this may be more than it will get, and is never less.
    pub lag: u64,
    /// How old the oldest of these is; zero if there is none.
    pub behind: Duration,
    /// Events that it took.
    pub delivered: u64,
    /// Events that it will never take, and that were dropped.
    pub invalid: u64,
    /// Entries of the outbox that were older than the log is kept before they were looked at.
    pub expired: u64,
}

impl Hub {
    /// How the endpoints fare, in the order in which the hub was built with them. Read from the
    /// store: it is the same on every node.
    ///
    /// # Errors
    /// `Unavailable` when the store cannot be reached.
    pub async fn endpoint_health(&self) -> Result<Vec<EndpointHealth>, HubError> {
        let core = self.core();
        let endpoints = &core.router.endpoints;
        let asks: Vec<Ask> =
            endpoints.iter().map(|named| Ask::Document(Place::key(&named.name))).collect();
        if asks.is_empty() {
            return Ok(Vec::new());
        }
        let records = core.store.read(&asks).await?;
        let mut all = Vec::with_capacity(endpoints.len());
        for (named, record) in endpoints.iter().zip(records) {
            let place = match record {
                Some(Record::Document(document)) => {
                    Place::decode(&document.body).unwrap_or_default()
                }
                _ => Place::default(),
            };
            let (lag, behind) = self.lag(&place).await?;
            all.push(EndpointHealth {
                name: named.name.to_string(),
                kind: named.endpoint.kind(),
                status: place.status,
                node: place.tenure.map(|tenure| tenure.node),
                last_error: place.last_error.map(|(kind, message, at)| EndpointError {
                    kind,
                    message,
                    at,
                }),
                last_success: place.last_success,
                last_attempt: place.last_attempt,
                lag,
                behind,
                delivered: place.delivered,
                invalid: place.invalid,
                expired: place.expired,
            });
        }
        Ok(all)
    }

    async fn lag(&self, place: &Place) -> Result<(u64, Duration), HubError> {
        let (store, now) = (&self.core().store, self.now());
        let (mut lag, mut behind) = (0_u64, Duration::ZERO);
        for partition in (0..self.partitions()).map(Partition) {
            let log = outbox::partition(partition);
            let next = store.seek(log, Seek::Next).await?;
            let oldest = store.seek(log, Seek::Oldest).await?;
            let position = place.position(partition).max(oldest);
            let waiting = next.0.saturating_sub(position.0);
            if waiting > 0 {
                let first = store.tail(log, position, NonZeroU32::MIN).await?;
                let age = first.first().map(|entry| now.since(entry.at));
                behind = behind.max(age.unwrap_or_default());
                lag = lag.saturating_add(waiting);
            }
        }
        Ok((lag, behind))
    }
}
