//! A connection as an adapter holds it: two halves, because a driver waits for both at once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use super::committer::Done;
use super::hooks::{Action, Actor, Authorizer, Decision, actions_of};
use super::line::Line;
use super::meter::{Pause, frame_name};
use super::shard::Shard;
use crate::device::{Device, Input};
use crate::envelope::Stamp;
use crate::error::{CloseReason, DisconnectCause, ErrorKind, HubError};
use crate::frame::{Inbound, Outbound};
use crate::hello::{Grant, Welcome};
use crate::id::Tag;
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
    gate: Option<mpsc::UnboundedSender<Inbound>>,
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
        let gate = shard.core.authorizer.clone().map(|authorizer| {
            // Bounded by the link's window: every frame that enters is counted until it is
            // answered, and without room the adapter does not read.
            let (sender, receiver) = mpsc::unbounded_channel();
            let keeper = gatekeeper(authorizer, shard.clone(), line.clone(), receiver);
            shard.core.runtime.spawn(keeper);
            sender
        });
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
            Pause::WindowFull
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
        match &self.gate {
            Some(gate) => {
                // Counted whatever it is: until it is decided on, it is kept.
                self.line.sent(bytes_of(&inbound));
                // Refused only after the gatekeeper ended, which is after the link was closed.
                let _ = gate.send(inbound);
            }
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
fn wants_answer(inbound: &Inbound) -> bool {
    !matches!(inbound, Inbound::Settle(None, ..) | Inbound::Reply(..) | Inbound::Heard(_))
}

/// What a frame takes of the link's bound on bytes of telemetry.
fn bytes_of(inbound: &Inbound) -> usize {
    match inbound {
        Inbound::Telemetry(_, events) => events.bytes(),
        _ => 0,
    }
}

fn pass(shard: &Arc<Shard>, line: &Arc<Line>, inbound: Inbound) {
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

/// Asks the application about each frame, one after another.
async fn gatekeeper(
    authorizer: Arc<dyn Authorizer>,
    shard: Arc<Shard>,
    line: Arc<Line>,
    mut frames: mpsc::UnboundedReceiver<Inbound>,
) {
    while let Some(frame) = frames.recv().await {
        let actor = Actor::Device(&line.address);
        let mut decision = Decision::Allow;
        for action in actions_of(&line.address, &frame) {
            let action: Action<'_> = action;
            if authorizer.as_ref().authorize(actor, action).await == Decision::Deny {
                decision = Decision::Deny;
                break;
            }
        }
        if decision == Decision::Allow {
            if !wants_answer(&frame) {
                line.uncount();
            }
            pass(&shard, &line, frame);
            continue;
        }
        tracing::debug!(device = %line.address, frame = frame_name(&frame), "denied");
        shard.core.meter.request_refused(ErrorKind::Forbidden);
        match tag_of(&frame) {
            Some(tag) => {
                let error = HubError::new(ErrorKind::Forbidden, "denied by the application");
                line.refuse(tag, bytes_of(&frame), error);
            }
            None => line.close(CloseReason::Denied),
        }
    }
}

fn tag_of(frame: &Inbound) -> Option<Tag> {
    match frame {
        Inbound::Telemetry(tag, _)
        | Inbound::Report(tag, ..)
        | Inbound::GetTwin(tag)
        | Inbound::Subscribe(tag, _)
        | Inbound::Unsubscribe(tag, _) => Some(*tag),
        Inbound::Settle(tag, ..) => *tag,
        Inbound::Reply(..) | Inbound::Heard(_) => None,
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
