//! A connection as an adapter holds it: two halves, because a driver waits for both at once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::committer::Done;
use super::gate::Gate;
use super::line::Line;
use super::meter::Pause;
use super::shard::Shard;
use crate::device::{Device, Input};
use crate::envelope::Stamp;
use crate::error::DisconnectCause;
use crate::frame::{Inbound, Outbound};
use crate::hello::{Grant, Welcome};
use crate::store::Change;

/// A live connection of a device or module.
#[derive(Debug)]
pub struct Link {
    /// Towards the hub.
    pub up: Uplink,
    /// Towards the peer.
    pub down: Downlink,
    /// What it was given at its start.
    pub welcome: Welcome,
}

/// The half that carries what the peer says.
///
/// Dropping it is a disconnect; [`Uplink::leave`] says why first.
pub struct Uplink {
    shard: Arc<Shard>,
    line: Arc<Line>,
    stamp: Stamp,
    gate: Option<Gate>,
    paused: bool,
    left: bool,
}

impl fmt::Debug for Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uplink")
            .field("link", &self.line.id)
            .field("address", &self.line.address)
            .finish_non_exhaustive()
    }
}

/// Leave to send one frame.
#[derive(Debug)]
pub struct Permit<'a>(&'a mut Uplink);

impl Permit<'_> {
    /// Sends the frame.
    pub fn send(self, inbound: Inbound) {
        self.0.send(inbound);
    }
}

impl Uplink {
    pub(crate) fn new(shard: Arc<Shard>, line: Arc<Line>, stamp: Stamp) -> Self {
        let gate = Gate::of(&shard);
        Self { shard, line, stamp, gate, paused: false, left: false }
    }

    /// What the hub stamps on every event of this link: for [`crate::envelope::EventBatch::push`].
    #[must_use]
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Whether another frame may be sent. If not, the peer is not to be read from (T5).
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.line.has_room() && !self.shard.committer.is_full()
    }

    /// Ready when [`Uplink::has_room`].
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let pause = if self.line.poll_room(cx).is_pending() {
            if self.line.is_held() { Pause::Throttled } else { Pause::WindowFull }
        } else if self.shard.committer.poll_room(self.line.id, cx).is_pending() {
            Pause::Committing
        } else {
            return Poll::Ready(());
        };
        if !std::mem::replace(&mut self.paused, true) {
            self.shard.core.meter.paused(pause);
        }
        Poll::Pending
    }

    /// Waits for room. Dropping the future changes nothing.
    pub async fn ready(&mut self) -> Permit<'_> {
        std::future::poll_fn(|cx| self.poll_ready(cx)).await;
        Permit(self)
    }

    /// Sends a frame. Never waits; what the store answers at once is in the downlink on return.
    /// To be called when there is room; a frame beyond it is taken all the same.
    pub fn send(&mut self, inbound: Inbound) {
        // Where nobody wants to know what a device has, it is not asked of its machine.
        let idle = matches!(inbound, Inbound::Heard(_)) && !self.shard.core.limits.desired_catch_up;
        if self.left || idle {
            return;
        }
        self.paused = false;
        match &mut self.gate {
            Some(gate) => gate.send(&self.shard, &self.line, inbound),
            None => {
                if wants_answer(&inbound) {
                    self.line.sent(bytes_of(&inbound));
                }
                pass(&self.shard, &self.line, inbound);
            }
        }
    }

    /// Goes on with what a newer credential of the same identity was granted
    /// ([`Hub::authenticate`](super::Hub::authenticate)), for protocols that renew credentials on a
    /// live connection. Events are stamped as before.
    pub fn renew(&mut self, grant: Grant) {
        if !self.left {
            let _entered = self.shard.core.runtime.enter();
            self.shard.input(&self.line.address, Input::Renew(self.line.id, Box::new(grant)));
        }
    }

    /// Ends the connection, and says how it ended.
    pub fn leave(&mut self, cause: DisconnectCause) {
        if !std::mem::replace(&mut self.left, true) {
            // A link may be let go outside of the runtime, and the store may need one.
            let _entered = self.shard.core.runtime.enter();
            self.shard.input(&self.line.address, Input::Leave(self.line.id, cause));
            self.shard.remove_line(self.line.id);
            self.shard.core.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        self.leave(DisconnectCause::ConnectionLost);
    }
}

/// Frames that will be answered take a place in the window until they are.
pub(super) fn wants_answer(inbound: &Inbound) -> bool {
    !matches!(inbound, Inbound::Settle(None, ..) | Inbound::Reply(..) | Inbound::Heard(_))
}

/// What a frame takes of the link's bound on bytes of telemetry.
pub(super) fn bytes_of(inbound: &Inbound) -> usize {
    match inbound {
        Inbound::Telemetry(_, events) => events.bytes(),
        _ => 0,
    }
}

/// A frame goes on its way.
pub(super) fn pass(shard: &Arc<Shard>, line: &Arc<Line>, inbound: Inbound) {
    match inbound {
        Inbound::Telemetry(tag, events) if !shard.core.router.is_plain() => {
            shard.route(line, tag, events);
        }
        // Telemetry is decided by the link alone, so it does not take the shard's lock.
        Inbound::Telemetry(tag, events) => {
            let bytes = events.bytes();
            // No events go the same way: their receipt, too, comes after those before it (T14).
            let change = if events.is_empty() {
                Change::new()
            } else {
                Device::append(shard.partition, shard.core.clock.now(), events)
            };
            let done = Done::Receipt { line: line.clone(), tag, bytes };
            shard.committer.submit(change, done);
            shard.committer.kick(shard);
        }
        frame => {
            shard.core.meter.frame(&frame);
            shard.input(&line.address, Input::Frame(line.id, frame));
        }
    }
}

/// The half that carries what the hub says.
pub struct Downlink(pub(crate) Arc<Line>);

impl fmt::Debug for Downlink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Downlink").field(&self.0.id).finish()
    }
}

impl Downlink {
    /// What is there now.
    pub fn try_next(&mut self) -> Option<Outbound> {
        self.0.try_next()
    }

    /// The next frame for the peer. `None` after [`Outbound::Close`].
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outbound>> {
        self.0.poll_next(cx)
    }

    /// The next frame for the peer. `None` after [`Outbound::Close`]. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Outbound> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }
}
