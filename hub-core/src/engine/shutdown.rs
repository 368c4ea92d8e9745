//! Stopping in good order.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::hub::Hub;
use super::inbox;
use super::line::lock;
use crate::error::CloseReason;
use crate::transport::Transport;

/// A signal that the hub is to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    pub(crate) fn new(receiver: watch::Receiver<bool>) -> Self {
        Self(receiver)
    }

    /// Whether it was given.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Ends when it is given, or when the hub is gone.
    pub async fn requested(&mut self) {
        // An error means the hub is gone, which is as good as the signal.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// How a shutdown went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Whether all transports ended by themselves in time.
    pub transports_ended: bool,
    /// Connections that were still open when it began.
    pub connections_closed: usize,
    /// Whether all accepted changes reached the store in time. Those that did not were never
    /// acknowledged.
    pub drained: bool,
}

impl Hub {
    /// Whether nothing is under way: no change, no work of a device, no call for another node.
    fn is_quiet(&self) -> bool {
        self.core().remote_calls.taken() == 0
            && self.inner.shards.iter().all(|shard| {
                shard.committer.is_idle()
                    && shard.holdings(false).inboxes.waiting == 0
                    && shard.connected().is_empty()
            })
    }

    /// Runs a transport until the hub stops. What it returns with is logged.
    pub fn serve(&self, transport: impl Transport) {
        let (hub, shutdown) = (self.without_owner(), self.shutdown_signal());
        let task = tokio::spawn(async move {
            let name = transport.name();
            if let Err(error) = Box::new(transport).serve(hub, shutdown).await {
                tracing::error!(transport = name, %error, "a transport has ended");
            }
        });
        lock(&self.inner.transports).push(task);
    }

    /// Stops in good order: transports take nobody new, connections are closed, what was accepted
    /// is written, and whoever waits is answered. At the deadline the rest is dropped.
    ///
    /// Dropping the future leaves the hub stopping.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let end = Instant::now() + deadline;
        self.inner.stop();
        let mut connections_closed = 0;
        for shard in &self.inner.shards {
            for line in shard.lines() {
                connections_closed += 1;
                line.close(CloseReason::Shutdown);
            }
        }
        let transports = std::mem::take(&mut *lock(&self.inner.transports));
        let mut transports_ended = true;
        for mut task in transports {
            if tokio::time::timeout_at(end, &mut task).await.is_err() {
                task.abort();
                transports_ended = false;
            }
        }
        // What no transport has let go: sessions end with the node that holds them.
        self.expel_all();
        // What endpoints were handed is noted before the end, so that it does not come again.
        let workers = std::mem::take(&mut *lock(&self.inner.workers));
        for mut worker in workers {
            if tokio::time::timeout_at(end, &mut worker).await.is_err() {
                worker.abort();
            }
        }
        let drained = loop {
            // Again: a connect that was in hand may have come through meanwhile.
            self.expel_all();
            let idle = self.is_quiet();
            if idle || self.core().is_failed() || Instant::now() >= end {
                break idle;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        // Calls of other nodes that came too late for a device are answered; then nobody looks for
        // this node any more.
        let leaving = async {
            if drained {
                inbox::empty(&self.inner).await;
                while !self.is_quiet() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            self.core().membership.leave(drained).await
        };
        let left = tokio::time::timeout_at(end, leaving).await.unwrap_or(false);
        tracing::debug!(drained, left, "the hub has stopped");
        ShutdownReport { transports_ended, connections_closed, drained }
    }
}
