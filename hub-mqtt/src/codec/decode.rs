//! From bytes.

use super::{Connect, ConnectCode, Packet, PacketId, Publish, Qos, Will};

/// Why bytes are not a packet. The stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Packet type 0 or 15.
    #[error("packet type {0} does not exist")]
    Type(u8),
    /// The flags of the fixed header are not the ones its type must have.
    #[error("reserved flags are set in the fixed header")]
    Flags,
    /// The length takes more than four bytes.
    #[error("remaining length has more than four bytes")]
    Length,
    /// The packet is larger than it may be.
    #[error("packet of {size} bytes, the limit is {limit}")]
    Oversize {
        /// The size it announces.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A field reaches beyond the end of the packet.
    #[error("packet ends within a field")]
    Truncated,
    /// Bytes are left after the last field.
    #[error("packet has bytes after its last field")]
    Trailing,
    /// A text is not UTF-8, or holds U+0000.
    #[error("text is not UTF-8 or holds U+0000")]
    Text,
    /// Packet id 0.
    #[error("packet id is zero")]
    PacketId,
    /// QoS 3.
    #[error("QoS does not exist")]
    Qos,
    /// CONNECT names a protocol that is not MQTT.
    #[error("protocol name is not MQTT")]
    Protocol,
    /// CONNECT names a level that is not 4, which is MQTT 3.1.1.
    #[error("protocol level {0} is not 4")]
    Level(u8),
    /// The flags of CONNECT contradict each other or the standard.
    #[error("connect flags contradict the standard")]
    ConnectFlags,
    /// SUBSCRIBE or UNSUBSCRIBE without a filter, or with an empty one.
    #[error("no topic filter")]
    NoFilter,
    /// A return code that does not exist.
    #[error("return code does not exist")]
    ReturnCode,
}

/// What stands at the beginning of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A packet, and how many bytes it takes.
    Packet(Packet<'a>, usize),
    /// The beginning of one. Nothing can be said before there are this many bytes.
    Incomplete(usize),
}

/// Reads the packet at the beginning of `input`. A packet whose body is larger than `limit` is
/// refused as soon as its length is known.
///
/// # Errors
/// [`DecodeError`] when the bytes break the standard; the connection must be closed.
#[inline]
pub fn decode(input: &[u8], limit: usize) -> Result<Decoded<'_>, DecodeError> {
    let (header, mut rest) = match input.split_first() {
        Some((header, rest)) => (*header, rest),
        None => return Ok(Decoded::Incomplete(2)),
    };
    let (kind, flags) = (header >> 4, header & 0x0f);
    check_header(kind, flags)?;
    let mut remaining = 0_usize;
    let mut shift = 0_u32;
    loop {
        let Some((byte, tail)) = rest.split_first() else {
            return Ok(Decoded::Incomplete(input.len() + 1));
        };
        rest = tail;
        remaining |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
        shift += 7;
        if shift > 21 {
            return Err(DecodeError::Length);
        }
    }
    if remaining > limit {
        return Err(DecodeError::Oversize { size: remaining, limit });
    }
    let total = input.len() - rest.len() + remaining;
    let Some(body) = rest.get(..remaining) else {
        return Ok(Decoded::Incomplete(total));
    };
    let packet = if kind == 3 { publish(flags, body)? } else { other(kind, body)? };
    Ok(Decoded::Packet(packet, total))
}

#[inline]
fn check_header(kind: u8, flags: u8) -> Result<(), DecodeError> {
    match kind {
        // The flags of PUBLISH are read with it.
        3 => Ok(()),
        6 | 8 | 10 if flags == 2 => Ok(()),
        6 | 8 | 10 => Err(DecodeError::Flags),
        0 | 15 => Err(DecodeError::Type(kind)),
        _ if flags == 0 => Ok(()),
        _ => Err(DecodeError::Flags),
    }
}

#[inline]
fn publish(flags: u8, body: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let qos = Qos::from_bits(flags >> 1 & 3).ok_or(DecodeError::Qos)?;
    let mut body = Fields(body);
    let topic = body.text()?;
    let id = if qos == Qos::Zero { None } else { Some(body.packet_id()?) };
    let (dup, retain) = (flags & 8 != 0, flags & 1 != 0);
    Ok(Packet::Publish(Publish { dup, qos, retain, id, topic, payload: body.0 }))
}

fn other(kind: u8, body: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let mut body = Fields(body);
    let packet = match kind {
        1 => Packet::Connect(connect(&mut body)?),
        2 => {
            let present = match body.byte()? {
                0 => false,
                1 => true,
                _ => return Err(DecodeError::ReturnCode),
            };
            let code = ConnectCode::from_bits(body.byte()?).ok_or(DecodeError::ReturnCode)?;
            Packet::ConnAck(present, code)
        }
        4 => Packet::PubAck(body.packet_id()?),
        5 => Packet::PubRec(body.packet_id()?),
        6 => Packet::PubRel(body.packet_id()?),
        7 => Packet::PubComp(body.packet_id()?),
        8 => Packet::Subscribe(body.packet_id()?, Filters::check(body.take(), true)?),
        9 => {
            let id = body.packet_id()?;
            let codes = body.take();
            if codes.is_empty() || codes.iter().any(|code| !matches!(code, 0..=2 | 0x80)) {
                return Err(DecodeError::ReturnCode);
            }
            Packet::SubAck(id, codes)
        }
        10 => Packet::Unsubscribe(body.packet_id()?, Filters::check(body.take(), false)?),
        11 => Packet::UnsubAck(body.packet_id()?),
        12 => Packet::PingReq,
        13 => Packet::PingResp,
        14 => Packet::Disconnect,
        kind => return Err(DecodeError::Type(kind)),
    };
    body.end()?;
    Ok(packet)
}

fn connect<'a>(body: &mut Fields<'a>) -> Result<Connect<'a>, DecodeError> {
    let name = body.bytes()?;
    // `MQIsdp` is MQTT 3.1. Its level is not 4, so it is refused as a wrong level, which its
    // clients understand.
    if name != b"MQTT" && name != b"MQIsdp" {
        return Err(DecodeError::Protocol);
    }
    let level = body.byte()?;
    if level != 4 || name != b"MQTT" {
        // What follows has another form, so nothing more is read.
        return Err(DecodeError::Level(level));
    }
    let flags = body.byte()?;
    let keep_alive = body.u16()?;
    let [has_username, has_password, will_retain, has_will, clean_session, reserved] =
        [0x80, 0x40, 0x20, 0x04, 0x02, 0x01].map(|bit| flags & bit != 0);
    let will_qos = Qos::from_bits(flags >> 3 & 3).ok_or(DecodeError::ConnectFlags)?;
    let stray_will = !has_will && (will_retain || will_qos != Qos::Zero);
    if reserved || stray_will || (has_password && !has_username) {
        return Err(DecodeError::ConnectFlags);
    }
    let client_id = body.text()?;
    let will = if has_will {
        let (topic, payload) = (body.text()?, body.bytes()?);
        Some(Will { topic, payload, qos: will_qos, retain: will_retain })
    } else {
        None
    };
    let username = if has_username { Some(body.text()?) } else { None };
    let password = if has_password { Some(body.bytes()?) } else { None };
    Ok(Connect { clean_session, keep_alive, client_id, will, username, password })
}

/// Topic filters of a SUBSCRIBE or UNSUBSCRIBE, checked and still encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Filters<'a> {
    encoded: &'a [u8],
    with_qos: bool,
}

impl<'a> Filters<'a> {
    fn check(encoded: &'a [u8], with_qos: bool) -> Result<Self, DecodeError> {
        let mut fields = Fields(encoded);
        loop {
            if fields.text()?.is_empty() {
                return Err(DecodeError::NoFilter);
            }
            if with_qos {
                Qos::from_bits(fields.byte()?).ok_or(DecodeError::Qos)?;
            }
            if fields.0.is_empty() {
                return Ok(Self { encoded, with_qos });
            }
        }
    }

    /// The filters in order, each with the QoS asked for; that is 0 in an UNSUBSCRIBE.
    #[must_use]
    pub fn iter(&self) -> FiltersIter<'a> {
        FiltersIter { fields: Fields(self.encoded), with_qos: self.with_qos }
    }
}

impl<'a> IntoIterator for Filters<'a> {
    type Item = (&'a str, Qos);
    type IntoIter = FiltersIter<'a>;

    fn into_iter(self) -> FiltersIter<'a> {
        self.iter()
    }
}

impl std::fmt::Debug for Filters<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Iterates over [`Filters`].
#[derive(Debug, Clone)]
pub struct FiltersIter<'a> {
    fields: Fields<'a>,
    with_qos: bool,
}

impl<'a> Iterator for FiltersIter<'a> {
    type Item = (&'a str, Qos);

    fn next(&mut self) -> Option<Self::Item> {
        let filter = self.fields.text().ok()?;
        let qos = if self.with_qos { Qos::from_bits(self.fields.byte().ok()?)? } else { Qos::Zero };
        Some((filter, qos))
    }
}

/// The fields of a packet's body that are still to be read.
#[derive(Debug, Clone)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (byte, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        let (bytes, rest) = self.0.split_first_chunk::<2>().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*bytes))
    }

    fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16()?).ok_or(DecodeError::PacketId)
    }

    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::from(self.u16()?);
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Text)?;
        if text.as_bytes().contains(&0) {
            return Err(DecodeError::Text);
        }
        Ok(text)
    }

    fn take(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn end(&self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}
