//! The stream of what happens to connections and messages.

use tokio::sync::broadcast;

use crate::device::LifecycleKind;
use crate::id::Address;
use crate::time::Timestamp;

/// Something happened to a connection or a message. Exact and immediate: one event a transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifecycleEvent {
    /// When.
    pub at: Timestamp,
    /// To whom.
    pub address: Address,
    /// What.
    pub kind: LifecycleKind,
}

/// Receives lifecycle events. A receiver that lags by more than `Limits::lifecycle_buffer` events
/// loses the oldest, and is told how many.
#[derive(Debug)]
pub struct LifecycleEvents(pub(crate) broadcast::Receiver<LifecycleEvent>);

/// What a receiver gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifecycle {
    /// An event.
    Event(LifecycleEvent),
    /// So many events were lost, because this receiver lagged.
    Missed(u64),
}

impl LifecycleEvents {
    /// The next event; `None` once the hub is gone. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Lifecycle> {
        match self.0.recv().await {
            Ok(event) => Some(Lifecycle::Event(event)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Lifecycle::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
