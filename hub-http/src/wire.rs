//! The bytes of a connection, watched on their way: heads of requests are kept as they were sent,
//! and a peer that takes nothing is noticed.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// The head of the request that is being read, as it was sent.
///
/// The HTTP stack gives names of headers in lower case, and names of application properties are
/// such names: `iothub-app-Colour` is to arrive as `Colour`. Recording goes on from the end of one
/// answer to the end of the next head. A peer that sends the next request before it has the answer
/// is served all the same; only the spelling of its names may be lost then.
#[derive(Debug)]
pub(crate) struct Heads(Mutex<Recording>);

#[derive(Debug)]
struct Recording {
    on: bool,
    bytes: Vec<u8>,
    max: usize,
}

impl Heads {
    /// Records heads of at most so many bytes; of a longer one nothing is known.
    pub(crate) fn new(max: usize) -> Self {
        Self(Mutex::new(Recording { on: true, bytes: Vec::new(), max }))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Recording) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The head is complete: gives it, and records no more.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.with(|recording| {
            recording.on = false;
            std::mem::take(&mut recording.bytes)
        })
    }

    /// The answer is made: what is read next is the next head.
    pub(crate) fn resume(&self) {
        self.with(|recording| recording.on = true);
    }

    fn record(&self, bytes: &[u8]) {
        self.with(|recording| recording.add(bytes));
    }
}

impl Recording {
    fn add(&mut self, bytes: &[u8]) {
        if !self.on || bytes.is_empty() {
            return;
        }
        // The end may have begun in what was read before.
        let from = self.bytes.len().saturating_sub(3);
        self.bytes.extend_from_slice(bytes);
        let end = b"\r\n\r\n";
        let tail = self.bytes.get(from..).unwrap_or(&[]);
        if let Some(at) = tail.windows(end.len()).position(|window| window == end) {
            self.bytes.truncate(from + at + end.len());
            self.on = false;
        }
        if self.bytes.len() > self.max {
            self.bytes = Vec::new();
            self.on = false;
        }
    }
}

/// The names of headers in a head that begin like this, in any case, as they were spelled.
pub(crate) fn spelled<'a>(head: &'a [u8], prefix: &str) -> Vec<&'a str> {
    let names = head.split(|byte| *byte == b'\n').filter_map(|line| {
        let start = line.get(..prefix.len())?;
        if !start.eq_ignore_ascii_case(prefix.as_bytes()) {
            return None;
        }
        std::str::from_utf8(line.split(|byte| *byte == b':').next()?).ok()
    });
    names.collect()
}

/// A stream that is watched.
pub(crate) struct Wire<S> {
    stream: S,
    heads: Arc<Heads>,
    patience: Duration,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Wire<S> {
    /// Watches a stream. After `patience` of a write that makes no way, the stream is broken.
    pub(crate) fn new(stream: S, heads: Arc<Heads>, patience: Duration) -> Self {
        Self { stream, heads, patience, stalled: None }
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.heads.record(buffer.filled().get(before..).unwrap_or(&[]));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn text(heads: &Heads) -> String {
        String::from_utf8(heads.take()).unwrap()
    }

    #[test]
    fn a_head_ends_at_its_empty_line_wherever_reads_end() {
        let head = "POST / HTTP/1.1\r\na: b\r\n\r\n";
        let whole = format!("{head}body\r\n\r\nmore");
        for cut in 0..whole.len() {
            let heads = Heads::new(100);
            let (one, two) = whole.as_bytes().split_at(cut);
            heads.record(one);
            heads.record(two);
            assert_eq!(text(&heads), head, "{cut}");
        }
    }

    #[test]
    fn bodies_are_not_recorded_and_long_heads_are_forgotten() {
        let heads = Heads::new(10);
        heads.record(b"one\r\n\r\n");
        assert_eq!(text(&heads), "one\r\n\r\n");
        heads.record(b"body");
        assert_eq!(text(&heads), "");
        heads.resume();
        heads.record(b"two: a\r\n");
        heads.record(b"b: much too long\r\n\r\n");
        assert_eq!(text(&heads), "");
        heads.resume();
        heads.record(b"3\r\n\r\n");
        assert_eq!(text(&heads), "3\r\n\r\n");
    }

    #[test]
    fn names_are_found_as_they_were_spelled() {
        let head =
            b"POST /iothub-app-No HTTP/1.1\r\nIoTHub-App-Colour: x\r\nhost: iothub-app-no\r\n\
                     iothub-app-\xff: y\r\niothub-app-b:z\r\n\r\n";
        assert_eq!(spelled(head, "iothub-app-"), ["IoTHub-App-Colour", "iothub-app-b"]);
        assert!(spelled(b"", "iothub-app-").is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_breaks_the_stream() {
        let (ours, mut theirs) = tokio::io::duplex(10);
        let patience = Duration::from_secs(60);
        let mut wire = Wire::new(ours, Arc::new(Heads::new(0)), patience);
        wire.write_all(b"0123456789").await.unwrap();
        // Slow is not stuck: each byte taken begins the time anew.
        let reader = tokio::spawn(async move {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(50)).await;
                theirs.read_u8().await.unwrap();
            }
            theirs
        });
        for _ in 0..5 {
            wire.write_all(b"x").await.unwrap();
        }
        let _theirs = reader.await.unwrap();
        let begun = tokio::time::Instant::now();
        let error = wire.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), 60);
    }
}
