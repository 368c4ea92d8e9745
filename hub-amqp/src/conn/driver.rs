//! Moves bytes between a socket and a broker, and watches the clock.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use hub_core::Shutdown;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::broker::Broker;
use super::{End, FAREWELL, instant};
use crate::problem::{AmqpError, condition};

/// Most bytes of one read.
const READ_MAX: usize = 64 * 1024;
/// Rounds of one turn, after which other connections of the thread are let through.
const ROUNDS_MAX: usize = 32;
/// Signs of life are not given more often, however little silence the peer bears.
const HEARTBEAT_MIN: Duration = Duration::from_millis(500);
/// Longest time between two looks at the clock.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// Memory for writing that is kept between turns.
const KEPT: usize = 512 * 1024;

thread_local! {
    /// Memory that all connections of a thread read into, one after the other.
    static SCRATCH: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// An established stream.
pub(super) struct Driver<IO> {
    io: IO,
    broker: Box<Broker>,
    stop: Option<BoxFuture<'static, ()>>,
    /// What was read and could not be taken yet.
    kept: Vec<u8>,
    /// How many bytes must be there before any can be taken.
    needs: usize,
    /// What the socket has not taken yet.
    out: Vec<u8>,
    /// How much of `out` it has.
    taken: usize,
    unflushed: bool,
    heard: Instant,
    spoke: Instant,
    /// When the hub closed the connection.
    closing: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send> Driver<IO> {
    pub(super) fn new(io: IO, broker: Box<Broker>, mut shutdown: Shutdown) -> Self {
        let now = Instant::now();
        let stop: BoxFuture<'static, ()> = Box::pin(async move { shutdown.requested().await });
        Self {
            io,
            broker,
            stop: Some(stop),
            kept: Vec::new(),
            needs: 0,
            out: Vec::new(),
            taken: 0,
            unflushed: false,
            heard: now,
            spoke: now,
            closing: None,
            sleep: Box::pin(sleep_until(now)),
        }
    }

    /// Runs the connection to its end, takes leave of the hub, and tells the peer what is left to
    /// tell.
    pub(super) async fn run(&mut self) -> End {
        let end = poll_fn(|cx| self.poll(cx)).await;
        self.broker.leave(end);
        let wire = std::mem::take(&mut self.broker.turn.wire);
        if end != End::Lost && end != End::Stuck {
            let rest = self.out.get(self.taken..).unwrap_or(&[]);
            let io = &mut self.io;
            let farewell = async {
                io.write_all(rest).await?;
                io.write_all(&wire).await?;
                io.flush().await?;
                if end == End::Goodbye || end == End::Closed {
                    return Ok(());
                }
                // Closing a socket with unread bytes in it would destroy the answer on its way.
                io.shutdown().await?;
                let mut rest = [0; 4096];
                let mut left = READ_MAX / rest.len();
                while left > 0 && io.read(&mut rest).await? > 0 {
                    left -= 1;
                }
                std::io::Result::Ok(())
            };
            // Who does not listen is not told.
            let _ = tokio::time::timeout(FAREWELL, farewell).await;
        }
        end
    }

    /// Gives the stream back.
    pub(super) fn into_io(self) -> IO {
        self.io
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..ROUNDS_MAX {
            let mut progress = self.hear_of_stop(cx);
            progress |= self.read(cx);
            progress |= self.broker.poll_work(cx);
            progress |= self.broker.poll_evicted(cx);
            self.broker.pump();
            match self.write(cx) {
                Ok(more) => progress |= more,
                Err(end) => self.over(end),
            }
            if self.broker.endpoint.is_closing() {
                self.closing.get_or_insert_with(Instant::now);
            }
            progress |= self.look_at_clock(cx);
            if let Some(end) = self.broker.end {
                return Poll::Ready(end);
            }
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn over(&mut self, end: End) {
        self.broker.end.get_or_insert(end);
    }

    fn hear_of_stop(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(stop) = &mut self.stop else { return false };
        if stop.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.stop = None;
        self.broker.stop();
        true
    }

    /// Reads once, or goes on with what was read. Says whether there may be more.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        // Whether devices have room is asked only of those that had none.
        if !self.broker.poll_room(cx) || !self.broker.may_hear() {
            return false;
        }
        if !self.kept.is_empty() && self.kept.len() >= self.needs {
            let mut kept = std::mem::take(&mut self.kept);
            let (used, needs) = self.broker.hear(&kept);
            self.needs = needs;
            kept.drain(..used);
            if !kept.is_empty() {
                self.kept = kept;
            }
            if used > 0 || self.needs == 0 {
                // Nothing was taken and nothing more is needed: the hub decides first.
                return used > 0;
            }
        }
        let mut scratch = SCRATCH.take().unwrap_or_else(|| vec![0; READ_MAX].into_boxed_slice());
        let progress = self.read_into(cx, &mut scratch);
        SCRATCH.set(Some(scratch));
        progress
    }

    fn read_into(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> bool {
        let mut buffer = ReadBuf::new(scratch);
        match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
            Poll::Ready(_) => {
                self.over(End::Lost);
                return false;
            }
        }
        self.heard = Instant::now();
        let fresh = buffer.filled();
        if !self.kept.is_empty() {
            self.kept.extend_from_slice(fresh);
            return true;
        }
        let (used, needs) = self.broker.hear(fresh);
        self.needs = needs;
        self.kept.extend_from_slice(fresh.get(used..).unwrap_or(&[]));
        true
    }

    /// Writes what there is. Says whether that makes room for more.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let wire = &mut self.broker.turn.wire;
        if self.out.is_empty() {
            std::mem::swap(&mut self.out, wire);
        } else {
            self.out.append(wire);
        }
        let mut wrote = false;
        while let Some(rest) = self.out.get(self.taken..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.io).poll_write(cx, rest) {
                Poll::Ready(Ok(0) | Err(_)) => return Err(End::Lost),
                Poll::Ready(Ok(count)) => {
                    self.taken += count;
                    (self.unflushed, wrote) = (true, true);
                }
                Poll::Pending => break,
            }
        }
        if wrote {
            self.spoke = Instant::now();
        }
        if self.taken == self.out.len() {
            self.out.clear();
            // An idle connection keeps no buffer.
            self.out.shrink_to(if self.broker.ready.is_empty() { 0 } else { KEPT });
            self.taken = 0;
        } else if self.taken > KEPT {
            self.out.drain(..self.taken);
            self.taken = 0;
        }
        if self.unflushed {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Err(End::Lost),
                Poll::Pending => {}
            }
        }
        self.broker.unwritten = self.out.len() - self.taken;
        self.broker.stuck();
        Ok(wrote)
    }

    /// When something is to be done if nothing happens before.
    fn deadline(&self) -> Instant {
        let broker = &self.broker;
        let mut times =
            vec![self.heard + broker.limits().idle_timeout * 2, Instant::now() + LOOK_EVERY];
        if !broker.known {
            times.push(broker.introduction);
        }
        if self.broker.unwritten > 0 {
            times.push(self.spoke + broker.limits().idle_timeout * 2);
        }
        times.extend(self.closing.map(|since| since + FAREWELL));
        times.extend(self.heartbeat().map(|every| self.spoke + every));
        times.extend(broker.tokens_end().map(|at| instant(&broker.hub, at)));
        times.into_iter().min().unwrap_or(self.heard)
    }

    fn heartbeat(&self) -> Option<Duration> {
        let patience = self.broker.endpoint.patience()?;
        Some((patience / 2).max(HEARTBEAT_MIN))
    }

    fn look_at_clock(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline = self.deadline();
        // Armed anew only when it must ring earlier; when it has rung it is armed again below. A
        // timer set back while it rings would never be heard.
        if deadline < self.sleep.deadline() && !self.sleep.is_elapsed() {
            self.sleep.as_mut().reset(deadline);
        }
        if self.sleep.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.tick();
        // What is still due a moment later must not be looked at without a pause.
        let next = self.deadline().max(Instant::now() + Duration::from_millis(1));
        self.sleep.as_mut().reset(next);
        true
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let broker = &mut self.broker;
        if !broker.known && now >= broker.introduction {
            let why = "the peer has not said who it is in time";
            broker.close(&AmqpError::new(condition::UNAUTHORIZED, why));
            return self.over(End::Unknown);
        }
        if now >= self.heard + broker.limits().idle_timeout * 2 && broker.may_hear() {
            broker
                .close(&AmqpError::new(condition::RESOURCE_LIMIT, "the peer was silent too long"));
            return self.over(End::Silent);
        }
        // A peer that the hub does not read from cannot be blamed for its silence, but it can for
        // taking nothing.
        if broker.unwritten > 0 && now >= self.spoke + broker.limits().idle_timeout * 2 {
            return self.over(End::Stuck);
        }
        broker.expire();
        if let Some(every) = self.heartbeat()
            && now >= self.spoke + every
        {
            self.spoke = now;
            let Broker { endpoint, turn, .. } = &mut *self.broker;
            endpoint.heartbeat(turn);
        }
        if !self.broker.endpoint.is_live() && self.closing.is_some_and(|at| now >= at + FAREWELL) {
            self.over(End::Closed);
        }
    }
}
