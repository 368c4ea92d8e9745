//! Bytes to AMQP 1.0 and back, borrowing from what was read.
//!
//! Reading is lazy: a list or a map is a stretch of bytes that is taken apart only by whoever wants
//! what is in it. So nothing nests on the stack, and no count that a peer writes makes the hub
//! allocate anything. Writing always gives a performative all of its fields: one of the clients
//! this is for reads them by position and fails on a shorter list.
//!
//! Numbers of sections are those of the standard, AMQP 1.0 (OASIS, 2012).

mod encode;
mod frame;
mod items;
mod message;
mod performative;
mod sasl;
mod value;
mod write;

pub(crate) use self::encode::TRANSFER_OVERHEAD;
pub use self::encode::{
    AttachReply, Outcome, TransferHead, attach, begin, close, detach, disposition, empty_frame,
    end, flow, open, transfer,
};
pub use self::frame::{Decoded, FRAME_BYTES_MIN, Frame, FrameBody, PROTOCOL_HEADER_BYTES, decode};
pub use self::items::{Described, Descriptor, Fields, Items};
pub use self::message::{Body, Message, MessageProperties, MessageWriter};
pub(crate) use self::message::{MapWriter, binary_text, id_text, is_id, uuid_text};
pub use self::performative::{
    Attach, Begin, Close, Detach, Disposition, End, Flow, LazyAttach, Open, Performative, Role,
    State, Terminus, Transfer, performative,
};
pub use self::sasl::{Mechanism, Plain, SaslInit, sasl_init, sasl_mechanisms, sasl_outcome};
pub use self::value::{Value, raw, read};
pub use self::write::Write;
pub(crate) use self::write::array_text;
pub(crate) use self::write::text_array;

/// Why bytes are not AMQP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// They end in the middle of a value.
    #[error("a value is cut off")]
    Short,
    /// There is no constructor with this code.
    #[error("no type has the code {0:#04x}")]
    Code(u8),
    /// A text is not UTF-8, or a character none.
    #[error("a text is not unicode")]
    Text,
    /// Descriptors within descriptors, or a descriptor of another type than the standard's.
    #[error("a descriptor is neither a number nor a symbol")]
    Descriptor,
    /// More elements than bytes to hold them.
    #[error("a count is larger than what it counts")]
    Count,
    /// A value is there, and of another type than the field has.
    #[error("a field is of another type")]
    Type,
    /// A field that must be there is not.
    #[error("a mandatory field is missing")]
    Missing,
    /// The head of a frame contradicts itself, or the frame is of an unknown type.
    #[error("the head of a frame is malformed")]
    Head,
    /// A frame is larger than was agreed on.
    #[error("a frame has {size} bytes, the limit is {limit}")]
    Oversize {
        /// What the frame says of its size.
        size: usize,
        /// What was agreed on.
        limit: usize,
    },
    /// What stands where a performative should is none that is known here.
    #[error("not a known performative")]
    Performative,
}

#[cfg(test)]
mod tests;
