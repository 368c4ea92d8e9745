//! The live stream of a partition, as lines of JSON or as server-sent events.
//!
//! A stream is a body that is pulled: the next events are taken from the log when the last ones
//! are written to the peer. A peer that reads slowly is served slowly, and costs one chunk.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::stream::unfold;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hub_core::engine::{EventReader, Hub, Shutdown};
use hub_core::envelope::Event;
use hub_core::time::Timestamp;

use crate::json::event::EventWriter;

/// How events are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One JSON document a line.
    Lines,
    /// Server-sent events, the sequence number as their id.
    Events,
}

impl Framing {
    fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }

    fn write(self, writer: &mut EventWriter, out: &mut BytesMut, found: &Event) {
        match self {
            Self::Lines => {
                writer.write(out, found);
                out.extend_from_slice(b"\n");
            }
            Self::Events => {
                // Writing to memory cannot fail.
                let _ = write!(out, "id: {}\ndata: ", found.sequence);
                writer.write(out, found);
                out.extend_from_slice(b"\n\n");
            }
        }
    }

    /// What is sent when there is nothing to send, so that a peer that is gone is noticed. A line
    /// has none: not every reader of lines can skip an empty one, and TCP asks as well.
    fn sign_of_life(self) -> Option<&'static [u8]> {
        match self {
            Self::Lines => None,
            Self::Events => Some(b":\n\n"),
        }
    }
}

/// How long a stream is silent before it gives a sign of life.
const SILENCE: Duration = Duration::from_secs(15);

/// How many bytes a chunk should have at most. It has more when a single event has.
const CHUNK_BYTES: usize = 512 * 1024;

/// How many events the first chunk takes from the log.
const FIRST: u32 = 64;

struct Stream {
    hub: Hub,
    reader: EventReader,
    framing: Framing,
    until: Timestamp,
    shutdown: Shutdown,
    /// Grows while chunks are small and shrinks when they are large: events differ in size, and
    /// the log counts them by number.
    take: u32,
    /// Gets its memory back once a chunk is written.
    buffer: BytesMut,
    writer: EventWriter,
}

/// The answer that is the stream. It ends when the hub stops, when the log cannot be read, and at
/// `until`, when the credential has ended.
pub(crate) fn answer(
    hub: Hub,
    reader: EventReader,
    framing: Framing,
    until: Timestamp,
    shutdown: Shutdown,
) -> Response {
    let stream = Stream {
        hub,
        reader,
        framing,
        until,
        shutdown,
        take: FIRST,
        buffer: BytesMut::new(),
        writer: EventWriter::new(),
    };
    let chunks = unfold(stream, |mut stream| async move {
        let chunk = stream.chunk().await?;
        Some((Ok::<_, Infallible>(chunk), stream))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(framing.content_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Stream {
    async fn chunk(&mut self) -> Option<Bytes> {
        loop {
            if self.shutdown.is_requested() {
                return None;
            }
            let left = self.until.since(self.hub.now());
            if left.is_zero() {
                return None;
            }
            let read = self.reader.read(self.take);
            match tokio::time::timeout(left.min(SILENCE), read).await {
                Ok(Ok(events)) => return Some(self.write(&events)),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a stream of events ended");
                    return None;
                }
                Err(_) => {
                    if let Some(sign) = self.framing.sign_of_life() {
                        return Some(Bytes::from_static(sign));
                    }
                }
            }
        }
    }

    fn write(&mut self, events: &[Event]) -> Bytes {
        for event in events {
            self.framing.write(&mut self.writer, &mut self.buffer, event);
        }
        if self.buffer.len() > CHUNK_BYTES {
            self.take = (self.take / 2).max(1);
        } else if self.buffer.len() < CHUNK_BYTES / 4 {
            self.take = (self.take * 2).min(self.hub.limits().log_page_max).max(1);
        }
        self.buffer.split().freeze()
    }
}
