//! The gate of a link: where its frames wait, in their order, for the application's leave and for
//! room in the quotas.
//!
//! A hub without either has no gate. With quotas only, a frame that need not wait passes at once, and
//! nothing is spawned before the first one has to.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::hooks::{Action, Actor, Authorizer, Decision, actions_of};
use super::line::Line;
use super::link::{bytes_of, pass, wants_answer};
use super::meter::frame_name;
use super::shard::Shard;
use super::throttle::{Throttle, Turn};
use crate::error::{CloseReason, ErrorKind, HubError};
use crate::frame::Inbound;
use crate::id::Tag;
use crate::quota::Refused;
use crate::time::Timestamp;

/// A frame that waits, and its turn. Where an application decides first, the turn comes after that.
struct Held {
    frame: Inbound,
    turn: Option<Result<Turn, Refused>>,
    came: Timestamp,
}

#[derive(Default)]
pub(super) struct Gate {
    queue: Option<mpsc::UnboundedSender<Held>>,
}

impl Gate {
    /// The gate of a new link, if it needs one.
    pub(super) fn of(shard: &Shard) -> Option<Self> {
        let needed = shard.core.authorizer.is_some() || shard.core.throttle.is_some();
        needed.then(Self::default)
    }

    /// A frame comes: it passes, or waits.
    pub(super) fn send(&mut self, shard: &Arc<Shard>, line: &Arc<Line>, frame: Inbound) {
        let mut turn = None;
        let free = shard.core.authorizer.is_none();
        if let (true, Some(throttle)) = (free, &shard.core.throttle) {
            // It takes its place now, whatever waits before it: so nothing waits longer than it may.
            let work = throttle.work_of(&line.address, &frame);
            let decided = work.map_or(Ok(None), |work| throttle.take(work));
            if decided == Ok(None) && !line.is_held() {
                if wants_answer(&frame) {
                    line.sent(bytes_of(&frame));
                }
                return pass(shard, line, frame);
            }
            turn = Some(decided);
        }
        // Counted whatever it is: until it is decided on, it is kept.
        line.sent(bytes_of(&frame));
        if free {
            // The peer is read no further while it has to wait. An application decides while more is
            // read: it is expected to be quick.
            line.hold();
        }
        let queue = self.queue.get_or_insert_with(|| {
            // Bounded by the link's window: every frame that enters is counted until it is
            // answered, and without room the adapter does not read.
            let (sender, receiver) = mpsc::unbounded_channel();
            shard.core.runtime.spawn(keep(shard.clone(), line.clone(), receiver));
            sender
        });
        // Refused only after the keeper ended, which is after the link was closed.
        let _ = queue.send(Held { frame, turn, came: shard.core.clock.now() });
    }
}

/// Lets frames pass, one after another.
///
/// With telemetry that is refused for the quotas goes all that came before the refusal was told: its
/// device sends all of it once more, in its order, and what passed now would come before the first.
async fn keep(shard: Arc<Shard>, line: Arc<Line>, mut frames: mpsc::UnboundedReceiver<Held>) {
    let core = shard.core.clone();
    let mut refused: Option<(Timestamp, HubError)> = None;
    while let Some(Held { frame, turn, came }) = frames.recv().await {
        let telemetry = matches!(frame, Inbound::Telemetry(..));
        let before = refused.as_ref().filter(|(told, _)| telemetry && came <= *told);
        let mut passes = match (before, &core.authorizer) {
            (Some((_, error)), _) => Err(error.clone()),
            (None, Some(authorizer)) => allowed(authorizer, &line, &frame).await,
            (None, None) => Ok(()),
        };
        if let (Ok(()), Some(throttle)) = (&passes, &core.throttle) {
            passes = has_turn(throttle, &line, &frame, turn, came).await;
            if let (true, Err(error)) = (telemetry, &passes) {
                refused = Some((core.clock.now(), error.clone()));
            }
        }
        match passes {
            Ok(()) => {
                if !wants_answer(&frame) {
                    line.uncount();
                }
                pass(&shard, &line, frame);
            }
            Err(error) => refuse(&shard, &line, &frame, error),
        }
        if core.authorizer.is_none() {
            line.release();
        }
    }
}

/// Asks the application about a frame.
async fn allowed(
    authorizer: &Arc<dyn Authorizer>,
    line: &Line,
    frame: &Inbound,
) -> Result<(), HubError> {
    let actor = Actor::Device(&line.address);
    for action in actions_of(&line.address, frame) {
        let action: Action<'_> = action;
        if authorizer.as_ref().authorize(actor, action).await == Decision::Deny {
            tracing::debug!(device = %line.address, frame = frame_name(frame), "denied");
            return Err(HubError::new(ErrorKind::Forbidden, "denied by the application"));
        }
    }
    Ok(())
}

/// Waits for a frame's turn.
///
/// Telemetry of most protocols has no answer that says no, so what would be refused is held back for
/// as long as anything may wait, and looked at once more. A peer whose connection is ended for it, and
/// that comes again at once, is slowed down so, too.
async fn has_turn(
    throttle: &Throttle,
    line: &Line,
    frame: &Inbound,
    turn: Option<Result<Turn, Refused>>,
    came: Timestamp,
) -> Result<(), HubError> {
    let Some(work) = throttle.work_of(&line.address, frame) else { return Ok(()) };
    let turn = turn.unwrap_or_else(|| throttle.take(work));
    if turn == Ok(None) {
        return Ok(());
    }
    line.hold();
    let passes = match turn {
        Ok(turn) => throttle.wait(turn).await,
        Err(_) if matches!(frame, Inbound::Telemetry(..)) => {
            throttle.wait_longest(came).await.and_then(|()| {
                let last = throttle.take_within(work, Duration::ZERO);
                last.map(drop).map_err(|refused| throttle.refuse(work, refused))
            })
        }
        Err(refused) => Err(throttle.refuse(work, refused)),
    };
    line.release();
    passes
}

/// Says no. A frame that nothing can be said about ends the connection.
fn refuse(shard: &Shard, line: &Line, frame: &Inbound, error: HubError) {
    shard.core.meter.request_refused(error.kind());
    match tag_of(frame) {
        Some(tag) => line.refuse(tag, bytes_of(frame), error),
        None => line.close(CloseReason::Denied),
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
