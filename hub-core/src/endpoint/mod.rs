//! The port to where events go besides the built-in log.
//!
//! # The contract
//!
//! - **E1** The hub hands over events of one partition in the order of the outbox, one batch at a
//!   time. After a failure it hands over the same events again, beginning with the first that was
//!   not taken, and then goes on: once an event is seen, its successors follow. An event may come
//!   more than once; its partition and sequence number tell.
//! - **E2** `Ok` means that all events of the batch are kept: written, acknowledged, done. The hub
//!   notes that in its store and goes on behind them, whatever happens to the endpoint later. If the
//!   node ends before it is noted, they come once more.
//! - **E3** A [`Failure`] says how many of the first were kept. Of a kind that
//!   [concerns one event](FailureKind::is_of_one_event), it is the one after those, which is then
//!   dropped and counted; of any other, all the rest comes again after a pause.
//! - **E4** An endpoint bounds what it waits for and what it reads: it answers within the time that
//!   it is given ([`Outgoing::within`]), and says how many it has kept by then. The hub waits a
//!   little longer, for `Limits::endpoint_timeout`; then it drops the future and counts a
//!   [`FailureKind::Timeout`] without any event kept, so that all come again. Dropping the future
//!   may leave any number of the first events kept.
//! - **E5** A batch is never empty, and holds at most `Limits::endpoint_batch_max` events and
//!   `Limits::endpoint_batch_bytes_max` bytes of bodies; a single larger event comes alone.

mod json;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::envelope::Event;
use crate::id::Partition;
use crate::limits::Limits;

pub use self::json::write_event;
pub use crate::route::{Failure, FailureKind};

/// Some events on their way to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outgoing {
    /// The name of the hub: that of its host up to the first dot.
    pub hub: Arc<str>,
    /// The name of the endpoint among those of the hub.
    pub endpoint: Arc<str>,
    /// The partition they are of. All events of a device are of one.
    pub partition: Partition,
    /// The events, in order. Their sequence numbers rise, with gaps: they are those of the outbox.
    pub events: Vec<Event>,
    /// How long the endpoint may take from here on (E4): nine tenths of what the hub waits, so that
    /// its answer is heard.
    pub within: Duration,
}

impl Outgoing {
    /// A batch, with the time that the default limits give. For tests of endpoints; the hub makes
    /// its own.
    #[must_use]
    pub fn new(hub: &str, endpoint: &str, partition: Partition, events: Vec<Event>) -> Self {
        let within = Limits::default().endpoint_round();
        Self { hub: hub.into(), endpoint: endpoint.into(), partition, events, within }
    }

    /// With so much time instead.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }
}

/// Somewhere that events can go. The contract is the module's documentation.
#[async_trait]
pub trait Endpoint: Send + Sync + 'static {
    /// What sort of endpoint it is, for operators: `http`, `file`, …
    fn kind(&self) -> &'static str;

    /// Hands over some events (E1–E5).
    ///
    /// # Errors
    /// [`Failure`]: not all of them are kept.
    async fn deliver(&self, batch: &Outgoing) -> Result<(), Failure>;
}
