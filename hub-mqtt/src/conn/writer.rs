//! From bytes to a stream that may not take all of them at once.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// Keeps what the peer has not taken: most often nothing.
#[derive(Debug, Default)]
pub(super) struct Writer {
    waiting: Vec<u8>,
    /// Whether the stream may hold back bytes it has taken (TLS does).
    unflushed: bool,
    /// Whether the peer took anything since this was asked last.
    progress: bool,
}

impl Writer {
    /// A writer that begins with these bytes.
    pub(super) fn new(waiting: Vec<u8>) -> Self {
        Self { waiting, unflushed: false, progress: false }
    }

    /// Bytes that wait for the peer.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether everything was taken.
    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty() && !self.unflushed
    }

    /// Whether the peer took anything since the last call.
    pub(super) fn took_progress(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }

    /// Writes as much as the stream takes of what waits and of `fresh`, which is empty afterwards.
    ///
    /// # Errors
    /// What the stream says. It is of no use any more.
    pub(super) fn write<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        fresh: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let begins_new = self.waiting.is_empty();
        if !begins_new {
            self.waiting.extend_from_slice(fresh);
            fresh.clear();
        }
        let bytes = if begins_new { &*fresh } else { &self.waiting };
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut *io).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Err(std::io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => {
                    taken += n;
                    self.progress = true;
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        if begins_new {
            self.waiting.extend_from_slice(fresh.get(taken..).unwrap_or(&[]));
            fresh.clear();
        } else if taken == self.waiting.len() {
            // An idle connection keeps no buffer.
            self.waiting = Vec::new();
        } else {
            self.waiting.drain(..taken);
        }
        if self.unflushed {
            match Pin::new(io).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::task::Waker;

    use super::*;

    /// Takes as many bytes as it has room for.
    #[derive(Default)]
    struct Narrow {
        room: usize,
        taken: Vec<u8>,
        gone: bool,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.gone {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let n = bytes.len().min(self.room).min(3);
            self.room -= n;
            self.taken.extend_from_slice(&bytes[..n]);
            if n == 0 { Poll::Pending } else { Poll::Ready(Ok(n)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_is_not_taken_waits_and_goes_first() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut io = Narrow { room: 5, ..Narrow::default() };
        let mut writer = Writer::default();
        let mut fresh = b"abcdefgh".to_vec();
        writer.write(&mut io, &mut cx, &mut fresh).unwrap();
        assert!(fresh.is_empty() && writer.waiting() == 3 && writer.took_progress());
        fresh.extend(b"ij");
        writer.write(&mut io, &mut cx, &mut fresh).unwrap();
        assert!(fresh.is_empty() && writer.waiting() == 5 && !writer.took_progress());
        io.room = 4;
        writer.write(&mut io, &mut cx, &mut fresh).unwrap();
        assert_eq!((writer.waiting(), writer.is_done()), (1, false));
        io.room = 100;
        writer.write(&mut io, &mut cx, &mut fresh).unwrap();
        assert_eq!(io.taken, b"abcdefghij");
        assert!(writer.is_done() && writer.waiting.capacity() == 0);
        io.gone = true;
        assert!(writer.write(&mut io, &mut cx, &mut b"x".to_vec()).is_err());
    }
}
