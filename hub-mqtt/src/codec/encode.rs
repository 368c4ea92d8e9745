//! To bytes. Everything appends to a buffer that the caller owns.

use bytes::BufMut;

use super::{Connect, ConnectCode, Packet, PacketId, Publish, Qos, REMAINING_MAX};

/// Why a packet cannot be written. The buffer is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A text or binary field has more than 65535 bytes.
    #[error("field of {0} bytes, the limit is 65535")]
    Field(usize),
    /// The packet is larger than the standard can express.
    #[error("packet of {0} bytes is larger than the standard allows")]
    Packet(usize),
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
    let length = u16::try_from(bytes.len()).map_err(|_| EncodeError::Field(bytes.len()))?;
    out.put_u16(length);
    out.put_slice(bytes);
    Ok(())
}

fn header(out: &mut Vec<u8>, first: u8, remaining: usize) -> Result<(), EncodeError> {
    if remaining > REMAINING_MAX {
        return Err(EncodeError::Packet(remaining));
    }
    out.put_u8(first);
    let mut rest = remaining;
    while rest >= 0x80 {
        out.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
    Ok(())
}

/// Appends a packet whose body `write` appends, or nothing at all.
fn packet(
    out: &mut Vec<u8>,
    first: u8,
    remaining: usize,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let written = header(out, first, remaining).and_then(|()| write(out));
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Appends a CONNECT.
///
/// # Errors
/// [`EncodeError`] when a field is too long.
pub fn connect(out: &mut Vec<u8>, connect: &Connect<'_>) -> Result<(), EncodeError> {
    let sized = |text: Option<usize>| text.map_or(0, |length| 2 + length);
    let remaining = 10
        + sized(Some(connect.client_id.len()))
        + sized(connect.will.map(|will| will.topic.len()))
        + sized(connect.will.map(|will| will.payload.len()))
        + sized(connect.username.map(str::len))
        + sized(connect.password.map(<[u8]>::len));
    let mut flags = u8::from(connect.clean_session) << 1;
    if let Some(will) = connect.will {
        flags |= 0x04 | (will.qos as u8) << 3 | u8::from(will.retain) << 5;
    }
    flags |= u8::from(connect.password.is_some()) << 6 | u8::from(connect.username.is_some()) << 7;
    packet(out, 0x10, remaining, |out| {
        field(out, b"MQTT")?;
        out.put_u8(4);
        out.put_u8(flags);
        out.put_u16(connect.keep_alive);
        field(out, connect.client_id.as_bytes())?;
        if let Some(will) = connect.will {
            field(out, will.topic.as_bytes())?;
            field(out, will.payload)?;
        }
        for text in [connect.username.map(str::as_bytes), connect.password].into_iter().flatten() {
            field(out, text)?;
        }
        Ok(())
    })
}

/// Appends a CONNACK.
pub fn connack(out: &mut Vec<u8>, session_present: bool, code: ConnectCode) {
    out.put_slice(&[0x20, 2, u8::from(session_present), code as u8]);
}

/// Appends a PUBLISH. Whether an id is written follows from [`Publish::id`] alone.
///
/// # Errors
/// [`EncodeError`] when the topic or the packet is too long.
pub fn publish(out: &mut Vec<u8>, publish: &Publish<'_>) -> Result<(), EncodeError> {
    let id = publish.id.map_or(0, |_| 2);
    let remaining = 2 + publish.topic.len() + id + publish.payload.len();
    let first =
        0x30 | u8::from(publish.dup) << 3 | (publish.qos as u8) << 1 | u8::from(publish.retain);
    packet(out, first, remaining, |out| {
        field(out, publish.topic.as_bytes())?;
        if let Some(id) = publish.id {
            out.put_u16(id.get());
        }
        out.put_slice(publish.payload);
        Ok(())
    })
}

/// Appends a PUBACK.
pub fn puback(out: &mut Vec<u8>, id: PacketId) {
    let [high, low] = id.get().to_be_bytes();
    out.put_slice(&[0x40, 2, high, low]);
}

/// Appends a SUBSCRIBE.
///
/// # Errors
/// [`EncodeError`] when a filter or the packet is too long.
pub fn subscribe(
    out: &mut Vec<u8>,
    id: PacketId,
    filters: &[(&str, Qos)],
) -> Result<(), EncodeError> {
    let remaining = 2 + filters.iter().map(|(filter, _)| 3 + filter.len()).sum::<usize>();
    packet(out, 0x82, remaining, |out| {
        out.put_u16(id.get());
        for (filter, qos) in filters {
            field(out, filter.as_bytes())?;
            out.put_u8(*qos as u8);
        }
        Ok(())
    })
}

/// Appends a SUBACK with one code per filter.
///
/// # Errors
/// [`EncodeError`] when there are more codes than a packet holds.
pub fn suback(out: &mut Vec<u8>, id: PacketId, codes: &[u8]) -> Result<(), EncodeError> {
    packet(out, 0x90, 2 + codes.len(), |out| {
        out.put_u16(id.get());
        out.put_slice(codes);
        Ok(())
    })
}

/// Appends an UNSUBSCRIBE.
///
/// # Errors
/// [`EncodeError`] when a filter or the packet is too long.
pub fn unsubscribe(out: &mut Vec<u8>, id: PacketId, filters: &[&str]) -> Result<(), EncodeError> {
    let remaining = 2 + filters.iter().map(|filter| 2 + filter.len()).sum::<usize>();
    packet(out, 0xa2, remaining, |out| {
        out.put_u16(id.get());
        filters.iter().try_for_each(|filter| field(out, filter.as_bytes()))
    })
}

/// Appends an UNSUBACK.
pub fn unsuback(out: &mut Vec<u8>, id: PacketId) {
    let [high, low] = id.get().to_be_bytes();
    out.put_slice(&[0xb0, 2, high, low]);
}

/// Appends a packet that is nothing but its type, or a type and an id: PINGREQ, PINGRESP,
/// DISCONNECT, PUBREC, PUBREL, PUBCOMP. Of other packets nothing is written.
pub fn simple(out: &mut Vec<u8>, packet: Packet<'_>) {
    match packet {
        Packet::PingReq => out.put_slice(&[0xc0, 0]),
        Packet::PingResp => out.put_slice(&[0xd0, 0]),
        Packet::Disconnect => out.put_slice(&[0xe0, 0]),
        Packet::PubRec(id) | Packet::PubRel(id) | Packet::PubComp(id) => {
            let first = match packet {
                Packet::PubRec(_) => 0x50,
                Packet::PubRel(_) => 0x62,
                _ => 0x70,
            };
            let [high, low] = id.get().to_be_bytes();
            out.put_slice(&[first, 2, high, low]);
        }
        _ => {}
    }
}
