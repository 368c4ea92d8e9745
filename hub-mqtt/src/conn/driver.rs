//! Moves bytes and frames between a socket, a session and a link.
//!
//! An established connection owns no buffer: it reads into memory that all connections of a thread
//! share, and keeps only what it could not hand on. What one read brought is handed to the hub,
//! what the hub answers at once is gathered, and all of it leaves in one write.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use hub_core::frame::Outbound;
use hub_core::{Downlink, Hub, Limits, Link, Timestamp, Uplink};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

use super::reader::Reader;
use super::writer::Writer;
use crate::metrics::Counters;
use crate::session::{self, End, Input, Session, Turn};

/// Most bytes of one read. Also how much a device can make one batch of.
const READ_MAX: usize = 64 * 1024;
/// Reads of one turn, after which other connections of the thread are let through.
const READS_MAX: usize = 16;
/// Frames for the hub that may gather before they are handed over. Telemetry of one read is one.
const FRAMES_MAX: usize = 64;
/// While this many bytes wait for the peer, nothing is read from it: it would only cause more.
const WAITING_MAX: usize = 64 * 1024;

/// Memory that all connections of a thread share, one after the other.
struct Scratch {
    read: Vec<u8>,
    turn: Turn,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// The largest body of a packet: a telemetry message with the longest topic there is, or a larger
/// payload of another sort.
fn packet_max(limits: &Limits) -> usize {
    let payload = limits
        .telemetry_bytes_max
        .max(limits.method_payload_bytes_max)
        .max(limits.reported_bytes_max);
    payload.saturating_add(usize::from(u16::MAX) + 4)
}

/// What a connection does next.
enum Next {
    /// Wait to be woken.
    Wait,
    /// Let others through, and go on.
    Yield,
    /// It is over.
    End(End),
}

/// An established connection.
pub(super) struct Driver<IO> {
    pub(super) io: IO,
    hub: Hub,
    up: Uplink,
    down: Downlink,
    session: Session,
    counters: Arc<Counters>,
    reader: Reader,
    writer: Writer,
    /// The hub's time at the connection's beginning, and the monotonic clock's. A session is not
    /// ended by a wall clock that is set.
    began: (Timestamp, Instant),
    /// Whether the peer is being read. If not, it cannot be blamed for silence.
    reading: bool,
    /// When the timer fires. Before, it is not asked: that would touch memory for nothing.
    armed: Option<Instant>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Driver<IO> {
    pub(super) fn new(
        io: IO,
        hub: Hub,
        link: Link,
        session: Session,
        counters: Arc<Counters>,
        (reader, writer): (Reader, Writer),
    ) -> Self {
        let began = (hub.now(), Instant::now());
        let Link { up, down, .. } = link;
        Self {
            io,
            hub,
            up,
            down,
            session,
            counters,
            reader,
            writer,
            began,
            reading: true,
            armed: None,
        }
    }

    /// Runs the connection to its end, and takes leave of the hub.
    pub(super) async fn run(&mut self) {
        let sleep = sleep_until(self.instant(self.session.deadline()));
        let mut sleep = pin!(sleep);
        let end = poll_fn(|cx| self.poll(cx, sleep.as_mut())).await;
        self.counters.ended(end);
        debug!(cause = %end, "mqtt session ended");
        self.up.leave(end.cause());
    }

    fn now(&self, instant: Instant) -> Timestamp {
        let (at, began) = self.began;
        at.after(instant.duration_since(began))
    }

    fn instant(&self, at: Timestamp) -> Instant {
        let (began, instant) = self.began;
        instant + at.since(began)
    }

    fn poll(&mut self, cx: &mut Context<'_>, mut sleep: Pin<&mut Sleep>) -> Poll<End> {
        // Taken out while in use: whatever this turn calls may not find it borrowed.
        let mut scratch = SCRATCH
            .take()
            .unwrap_or_else(|| Box::new(Scratch { read: vec![0; READ_MAX], turn: Turn::new() }));
        let instant = Instant::now();
        let now = self.now(instant);
        let mut next = self.turn(cx, now, &mut scratch);
        // The timer is armed once and asked again when it fires; packets do not touch it.
        while matches!(next, Next::Wait) && self.armed.is_none_or(|at| instant >= at) {
            if sleep.as_mut().poll(cx).is_pending() {
                // Out of budget it has not looked, and knows no waker: it is asked again.
                self.armed = has_budget_remaining().then(|| sleep.deadline());
                break;
            }
            next = self.tick(now, &mut scratch.turn);
            let at = self.instant(self.session.deadline());
            sleep.as_mut().reset(at.max(Instant::now() + std::time::Duration::from_millis(1)));
            self.armed = None;
        }
        if let Next::End(_) = next {
            self.send(&mut scratch.turn);
            // What was written last, if the peer takes it at once.
            let _ = self.writer.write(&mut self.io, cx, &mut scratch.turn.wire);
        }
        self.counters.undeliverable(scratch.turn.undeliverable);
        scratch.turn.clear();
        SCRATCH.set(Some(scratch));
        match next {
            Next::End(end) => Poll::Ready(end),
            Next::Wait => Poll::Pending,
            Next::Yield => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>, now: Timestamp, scratch: &mut Scratch) -> Next {
        let Scratch { read, turn } = scratch;
        // Asked first, because it tells the hub that this task is awake and need not be woken by
        // the answers to what it is about to send.
        self.listen(now, turn);
        for _ in 0..READS_MAX {
            let heard = turn.end().is_none() && self.hear(cx, now, read, turn);
            if let Some(end) = self.say(cx, now, turn) {
                return Next::End(end);
            }
            // What was written or answered meanwhile may have made room for the peer again. It must
            // be read then: nothing else would wake this task for it.
            let resumes = !heard && !self.reading && self.has_room(cx);
            if !heard && !resumes {
                match self.down.poll_next(cx) {
                    Poll::Pending => return Next::Wait,
                    Poll::Ready(outbound) => self.heed(outbound, now, turn),
                }
            }
        }
        self.say(cx, now, turn).map_or(Next::Yield, Next::End)
    }

    /// Hands over what there is for the hub, and writes what there is for the peer. Says how the
    /// session ended, if it did.
    fn say(&mut self, cx: &mut Context<'_>, now: Timestamp, turn: &mut Turn) -> Option<End> {
        self.send(turn);
        self.listen(now, turn);
        if turn.end().is_none()
            && let Err(end) = self.write(cx, now, turn)
        {
            self.step(now, Input::Over(end), turn);
        }
        turn.end()
    }

    /// Whether the peer may be read. If not, this task is woken when it may: by the stream that
    /// takes what waits, by the hub's answer, or by the hub that has room.
    fn has_room(&mut self, cx: &mut Context<'_>) -> bool {
        self.writer.waiting() < WAITING_MAX
            && !self.session.is_full(self.hub.limits())
            && (self.up.has_room() || self.up.poll_ready(cx).is_ready())
    }

    /// Reads once, and hands the packets to the session. Says whether there may be more to read.
    fn hear(
        &mut self,
        cx: &mut Context<'_>,
        now: Timestamp,
        read: &mut [u8],
        turn: &mut Turn,
    ) -> bool {
        self.reading = self.has_room(cx);
        if !self.reading {
            return false;
        }
        let limits = self.hub.limits();
        let mut buffer = ReadBuf::new(read);
        if !self.reader.has_packets() {
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => return false,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => self.session.heard(now),
                Poll::Ready(_) => {
                    self.step(now, Input::Over(End::Lost), turn);
                    return false;
                }
            }
        }
        let context = session::Context { now, stamp: self.up.stamp(), limits };
        let session = &mut self.session;
        let waiting = self.writer.waiting();
        let taken = self.reader.read(buffer.filled(), packet_max(limits), |packet| {
            session.handle(context, Input::Packet(packet), turn);
            turn.end().is_none()
                && turn.up.len() < FRAMES_MAX
                && waiting + turn.wire.len() < WAITING_MAX
                && !session.is_full(limits)
        });
        let last = match taken {
            Ok(_) => Input::ReadEnd,
            Err(error) => Input::Over(End::Malformed(error)),
        };
        session.handle(context, last, turn);
        true
    }

    /// Hands to the hub what the session has for it.
    fn send(&mut self, turn: &mut Turn) {
        for frame in turn.up.drain(..) {
            self.up.send(frame);
        }
    }

    /// Takes what the hub has to say now, but not more than may be written.
    fn listen(&mut self, now: Timestamp, turn: &mut Turn) {
        let max = self.hub.limits().peer_write_bytes_max;
        while turn.end().is_none() && turn.wire.len() <= max {
            match self.down.try_next() {
                Some(outbound) => self.heed(Some(outbound), now, turn),
                None => return,
            }
        }
    }

    fn heed(&mut self, outbound: Option<Outbound>, now: Timestamp, turn: &mut Turn) {
        let input = outbound.map_or(Input::Over(End::Lost), Input::Hub);
        self.step(now, input, turn);
    }

    /// Writes everything at once; what the peer does not take waits, within its bound.
    fn write(&mut self, cx: &mut Context<'_>, now: Timestamp, turn: &mut Turn) -> Result<(), End> {
        let idle = turn.wire.is_empty() && self.writer.is_done();
        if !idle {
            let written = self.writer.write(&mut self.io, cx, &mut turn.wire);
            written.map_err(|_| End::Lost)?;
            if self.writer.waiting() > self.hub.limits().peer_write_bytes_max {
                return Err(End::Stuck);
            }
        }
        if self.writer.is_done() {
            self.step(now, Input::Written, turn);
            self.send(turn);
        }
        Ok(())
    }

    /// The time of the deadline has come, or seems to have.
    fn tick(&mut self, now: Timestamp, turn: &mut Turn) -> Next {
        if !self.reading {
            // The hub did not listen, so the peer's silence proves nothing. But a peer that took
            // nothing for as long as it might have been silent is not there any more.
            let stuck = !self.writer.is_done() && !self.writer.took_progress();
            self.session.heard(now);
            if stuck {
                self.step(now, Input::Over(End::Stuck), turn);
            }
        }
        self.step(now, Input::Tick, turn);
        turn.end().map_or(Next::Wait, Next::End)
    }

    fn step(&mut self, now: Timestamp, input: Input<'_>, turn: &mut Turn) {
        let context = session::Context { now, stamp: self.up.stamp(), limits: self.hub.limits() };
        self.session.handle(context, input, turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There may be a hundred thousand of them, most of them idle.
    #[test]
    fn an_established_connection_is_small() {
        let size = size_of::<Driver<tokio::net::TcpStream>>();
        assert!(size <= 512, "{size}");
    }
}
