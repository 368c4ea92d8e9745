//! Frames (§2.3) and protocol headers (§2.2).

use super::DecodeError;
use super::value::chunk;

/// Bytes of a protocol header: `AMQP`, a protocol id, a version.
pub const PROTOCOL_HEADER_BYTES: usize = 8;

/// The smallest frame, and the smallest limit on frames that peers may agree on is 512.
pub const FRAME_BYTES_MIN: usize = 8;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameBody<'a> {
    /// AMQP: the channel and the body, which is empty in a heartbeat.
    Amqp(u16, &'a [u8]),
    /// SASL.
    Sasl(&'a [u8]),
}

/// A frame as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub body: FrameBody<'a>,
    /// Bytes of all of it.
    pub length: usize,
}

/// What the first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// The beginning of a frame that needs so many bytes in all.
    Incomplete(usize),
    /// A frame.
    Frame(Frame<'a>),
}

/// Reads one frame from the front of `bytes`.
///
/// # Errors
/// `Oversize` as soon as the frame says that it is larger than `limit`; `Head` when its head
/// contradicts itself.
pub fn decode(bytes: &[u8], limit: usize) -> Result<Decoded<'_>, DecodeError> {
    let mut head = bytes;
    let Ok(size) = chunk::<4>(&mut head) else {
        return Ok(Decoded::Incomplete(FRAME_BYTES_MIN));
    };
    let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
    if size > limit {
        return Err(DecodeError::Oversize { size, limit });
    }
    if size < FRAME_BYTES_MIN {
        return Err(DecodeError::Head);
    }
    let Some(frame) = bytes.get(..size) else { return Ok(Decoded::Incomplete(size)) };
    let [offset, kind] = chunk::<2>(&mut head)?;
    let channel = u16::from_be_bytes(chunk(&mut head)?);
    let offset = usize::from(offset) * 4;
    if offset < FRAME_BYTES_MIN {
        return Err(DecodeError::Head);
    }
    let body = frame.get(offset..).ok_or(DecodeError::Head)?;
    let body = match kind {
        0 => FrameBody::Amqp(channel, body),
        1 => FrameBody::Sasl(body),
        _ => return Err(DecodeError::Head),
    };
    Ok(Decoded::Frame(Frame { body, length: size }))
}

/// A frame that is being written: where its size goes.
#[derive(Debug)]
#[must_use = "an unfinished frame has no size"]
pub(super) struct Unfinished(usize);

/// Begins a frame of AMQP (kind 0) or SASL (kind 1).
pub(super) fn begin_frame(out: &mut Vec<u8>, kind: u8, channel: u16) -> Unfinished {
    let start = out.len();
    let [high, low] = channel.to_be_bytes();
    out.extend_from_slice(&[0, 0, 0, 0, 2, kind, high, low]);
    Unfinished(start)
}

impl Unfinished {
    pub(super) fn end(self, out: &mut [u8]) {
        let size = u32::try_from(out.len().saturating_sub(self.0)).unwrap_or(u32::MAX);
        if let Some(slot) = out.get_mut(self.0..self.0 + 4) {
            slot.copy_from_slice(&size.to_be_bytes());
        }
    }
}
