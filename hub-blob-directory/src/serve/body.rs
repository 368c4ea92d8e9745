//! Bodies of requests on their way to the disk.
//!
//! A piece is written while the next one comes in; so two pieces of a request are in memory, and no
//! more, whatever its size.

use std::io::{self, Write as _};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use http_body_util::BodyExt as _;
use md5::{Digest as _, Md5};
use tokio::task::JoinHandle;

use super::problem::Problem;
use crate::directory::Inner;
use crate::disk::NewFile;

/// How much is gathered before it is written.
const PIECE: usize = 256 * 1024;

/// Most bytes of a refused body that are read and dropped: some more than the clients' usual block.
const DRAIN_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Longest time for that.
const DRAIN_WAIT: Duration = Duration::from_secs(10);

/// A body that came whole.
pub(super) struct Received {
    pub(super) new: NewFile,
    pub(super) checksums: Checksums,
}

/// What the bytes come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checksums {
    /// Only where it was wanted: it is the slow one.
    pub(super) md5: Option<[u8; 16]>,
    pub(super) crc64: [u8; 8],
}

/// Takes checksums of what is written through it.
pub(super) struct Summing {
    md5: Option<Md5>,
    crc64: Crc,
}

impl Summing {
    pub(super) fn new(md5: bool) -> Self {
        Self { md5: md5.then(Md5::new), crc64: Crc::new(CrcAlgorithm::Crc64Nvme) }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        self.crc64.update(bytes);
    }

    pub(super) fn finish(self) -> Checksums {
        // Azure writes the CRC with its lowest byte first.
        let crc64 = self.crc64.finalize().to_le_bytes();
        Checksums { md5: self.md5.map(|md5| md5.finalize().into()), crc64 }
    }
}

/// Where pieces go.
struct Sink {
    new: NewFile,
    sums: Summing,
}

impl Sink {
    fn write(mut self, pieces: Vec<Bytes>) -> io::Result<Self> {
        for piece in pieces {
            self.new.file.write_all(&piece)?;
            self.sums.update(&piece);
        }
        Ok(self)
    }
}

/// The write that is under way.
struct Writer(JoinHandle<io::Result<Sink>>);

impl Writer {
    fn begin(inner: &std::sync::Arc<Inner>, md5: bool) -> Self {
        let inner = inner.clone();
        Self(tokio::task::spawn_blocking(move || {
            Ok(Sink { new: inner.disk.new_file()?, sums: Summing::new(md5) })
        }))
    }

    async fn done(self) -> Result<Sink, Problem> {
        let gone = |_| Problem::new(500, "InternalError", "the work was given up");
        Ok(self.0.await.map_err(gone)??)
    }

    async fn write(self, pieces: Vec<Bytes>) -> Result<Self, Problem> {
        let sink = self.done().await?;
        Ok(Self(tokio::task::spawn_blocking(move || sink.write(pieces))))
    }
}

/// Receives a body of exactly `announced` bytes into a file that is nowhere yet. If the future is
/// dropped, or this fails, the file is gone.
pub(super) async fn receive(
    inner: &std::sync::Arc<Inner>,
    body: &mut Body,
    announced: u64,
    md5: bool,
) -> Result<Received, Problem> {
    let mut writer = Writer::begin(inner, md5);
    let (mut pieces, mut held, mut size) = (Vec::new(), 0, 0_u64);
    while let Some(data) = next(inner, body).await? {
        held += data.len();
        size = size.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if size > announced {
            return Err(Problem::too_large(announced));
        }
        pieces.push(data);
        if held >= PIECE {
            writer = writer.write(std::mem::take(&mut pieces)).await?;
            held = 0;
        }
    }
    if size < announced {
        return Err(cut_off());
    }
    let sink = writer.write(pieces).await?.done().await?;
    Ok(Received { new: sink.new, checksums: sink.sums.finish() })
}

/// Receives a small body into memory.
pub(super) async fn receive_small(
    inner: &Inner,
    body: &mut Body,
    announced: u64,
) -> Result<Vec<u8>, Problem> {
    let mut whole = Vec::new();
    while let Some(data) = next(inner, body).await? {
        let size = u64::try_from(whole.len().saturating_add(data.len())).unwrap_or(u64::MAX);
        if size > announced {
            return Err(Problem::too_large(announced));
        }
        whole.extend_from_slice(&data);
    }
    if u64::try_from(whole.len()) != Ok(announced) {
        return Err(cut_off());
    }
    Ok(whole)
}

fn cut_off() -> Problem {
    Problem::new(400, "IncompleteBody", "the body ended before its announced length")
}

/// The next bytes of a body. A client that is silent for too long is given up.
async fn next(inner: &Inner, body: &mut Body) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = tokio::time::timeout(inner.config.idle_timeout, body.frame()).await;
        let silent = |_| Problem::new(408, "RequestTimeout", "the body did not come in time");
        match frame.map_err(silent)? {
            None => return Ok(None),
            Some(Err(_)) => return Err(cut_off()),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Reads and drops what a client still sends, unless that is too much. Without that, the connection
/// would be reset while the client still writes, and the client would never see the answer.
pub(super) async fn drain(body: &mut Body) {
    if http_body::Body::is_end_stream(body) {
        return;
    }
    let drained = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_WAIT, drained).await;
}
