//! Writing performatives: always with all of their fields.

use super::frame::begin_frame;
use super::performative::Role;
use super::write::{self, Write as _};
use crate::problem::AmqpError;

fn performative(
    out: &mut Vec<u8>,
    channel: u16,
    code: u8,
    count: u32,
    fields: impl FnOnce(&mut Vec<u8>),
) {
    let frame = begin_frame(out, 0, channel);
    out.descriptor(code);
    let list = write::list(out);
    fields(out);
    list.end(out, count);
    frame.end(out);
}

fn error(out: &mut Vec<u8>, error: Option<&AmqpError>) {
    let Some(error) = error else { return out.null() };
    out.descriptor(0x1d);
    let fields = write::list(out);
    out.symbol(error.condition);
    out.text(&error.description);
    out.null();
    fields.end(out, 3);
}

/// Writes `open`.
pub fn open(
    out: &mut Vec<u8>,
    container: &str,
    max_frame_size: u32,
    channel_max: u16,
    idle_millis: u32,
) {
    performative(out, 0, 0x10, 10, |out| {
        out.text(container);
        out.null();
        out.uint(max_frame_size);
        out.ushort(channel_max);
        out.uint(idle_millis);
        for _ in 0..5 {
            out.null();
        }
    });
}

/// Writes `begin`, in answer to the peer's on the same channel.
pub fn begin(out: &mut Vec<u8>, channel: u16, window: u32, outgoing_window: u32, handle_max: u32) {
    performative(out, channel, 0x11, 8, |out| {
        out.ushort(channel);
        out.uint(0);
        out.uint(window);
        out.uint(outgoing_window);
        out.uint(handle_max);
        for _ in 0..3 {
            out.null();
        }
    });
}

/// What the hub says to an attach.
#[derive(Debug, Clone, Copy)]
pub struct AttachReply<'a> {
    /// The link's name, as the peer has it.
    pub name: &'a str,
    /// The number by which both refer to it.
    pub handle: u32,
    /// Which end the hub is.
    pub role: Role,
    /// How the sender settles.
    pub snd_settle_mode: u8,
    /// How the receiver settles.
    pub rcv_settle_mode: u8,
    /// The source as the peer sent it; none refuses the link.
    pub source: Option<&'a [u8]>,
    /// The target as the peer sent it; none refuses the link.
    pub target: Option<&'a [u8]>,
    /// The largest message that the hub takes.
    pub max_message_size: u64,
}

/// Writes `attach`.
pub fn attach(out: &mut Vec<u8>, channel: u16, reply: &AttachReply<'_>) {
    performative(out, channel, 0x12, 14, |out| {
        out.text(reply.name);
        out.uint(reply.handle);
        out.boolean(reply.role == Role::Receiver);
        out.ubyte(reply.snd_settle_mode);
        out.ubyte(reply.rcv_settle_mode);
        for terminus in [reply.source, reply.target] {
            match terminus {
                Some(raw) => out.put(raw),
                None => out.null(),
            }
        }
        out.null();
        out.boolean(false);
        match reply.role {
            Role::Sender => out.uint(0),
            Role::Receiver => out.null(),
        }
        out.ulong(reply.max_message_size);
        out.null();
        out.null();
        out.null();
    });
}

/// Writes `flow`. `link` is the handle, the sender's delivery count and the credit.
pub fn flow(
    out: &mut Vec<u8>,
    channel: u16,
    (next_incoming_id, incoming_window): (u32, u32),
    (next_outgoing_id, outgoing_window): (u32, u32),
    link: Option<(u32, u32, u32)>,
    drain: bool,
) {
    performative(out, channel, 0x13, 11, |out| {
        out.uint(next_incoming_id);
        out.uint(incoming_window);
        out.uint(next_outgoing_id);
        out.uint(outgoing_window);
        match link {
            Some((handle, delivery_count, credit)) => {
                out.uint(handle);
                out.uint(delivery_count);
                out.uint(credit);
            }
            None => (0..3).for_each(|_| out.null()),
        }
        out.null();
        out.boolean(drain);
        out.boolean(false);
        out.null();
    });
}

/// What stands before the payload of a transfer.
#[derive(Debug, Clone, Copy)]
pub struct TransferHead<'a> {
    /// The link.
    pub handle: u32,
    /// The number of the delivery in its session.
    pub delivery_id: u32,
    /// The hub's name for the delivery; at most 32 bytes.
    pub tag: &'a [u8],
    /// Whether the hub has forgotten it already.
    pub settled: bool,
    /// Whether there are more parts.
    pub more: bool,
}

/// Bytes of a transfer frame besides its payload, at most.
pub(crate) const TRANSFER_OVERHEAD: usize = 80;

/// Writes `transfer` and its payload.
pub fn transfer(out: &mut Vec<u8>, channel: u16, head: &TransferHead<'_>, payload: &[u8]) {
    let frame = begin_frame(out, 0, channel);
    // In the short form of a list: written once for every event.
    out.put(&[0x00, 0x53, 0x14, 0xc0, 0, 11]);
    let start = out.len() - 1;
    out.uint(head.handle);
    out.uint(head.delivery_id);
    out.binary(head.tag);
    out.uint(0);
    out.boolean(head.settled);
    out.boolean(head.more);
    out.put(&[0x40, 0x40, 0x42, 0x42, 0x42]);
    let size = u8::try_from(out.len() - start).unwrap_or(u8::MAX);
    if let Some(slot) = out.get_mut(start - 1) {
        *slot = size;
    }
    out.put(payload);
    frame.end(out);
}

/// What the hub says that became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Taken.
    Accepted,
    /// Never to be taken, and why, if there is more to say.
    Rejected(Option<&'a AmqpError>),
    /// Given back.
    Released,
}

/// Writes `disposition`: the hub, as the end that `role` says, settles deliveries.
pub fn disposition(
    out: &mut Vec<u8>,
    channel: u16,
    role: Role,
    (first, last): (u32, u32),
    outcome: Outcome<'_>,
) {
    performative(out, channel, 0x15, 6, |out| {
        out.boolean(role == Role::Receiver);
        out.uint(first);
        out.uint(last);
        out.boolean(true);
        match outcome {
            Outcome::Accepted => out.put(&[0x00, 0x53, 0x24, 0x45]),
            Outcome::Released => out.put(&[0x00, 0x53, 0x26, 0x45]),
            Outcome::Rejected(why) => {
                out.descriptor(0x25);
                let fields = write::list(out);
                error(out, why);
                fields.end(out, 1);
            }
        }
        out.boolean(false);
    });
}

/// Writes `detach`, for ever.
pub fn detach(out: &mut Vec<u8>, channel: u16, handle: u32, why: Option<&AmqpError>) {
    performative(out, channel, 0x16, 3, |out| {
        out.uint(handle);
        out.boolean(true);
        error(out, why);
    });
}

/// Writes `end`.
pub fn end(out: &mut Vec<u8>, channel: u16, why: Option<&AmqpError>) {
    performative(out, channel, 0x17, 1, |out| error(out, why));
}

/// Writes `close`.
pub fn close(out: &mut Vec<u8>, why: Option<&AmqpError>) {
    performative(out, 0, 0x18, 1, |out| error(out, why));
}

/// Writes a frame that says nothing: a sign of life.
pub fn empty_frame(out: &mut Vec<u8>) {
    begin_frame(out, 0, 0).end(out);
}
