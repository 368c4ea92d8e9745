//! The property bag at the end of a topic, both ways.
//!
//! ```text
//! bag  = prop *( "&" prop )
//! prop = key [ "=" value ]        key and value are UTF-8, percent-encoded
//! ```
//!
//! Keys of system properties begin with `$.` and are compared after decoding, because SDKs send
//! `%24.mid` and hand-written clients `$.mid`. A `+` is a plus sign, never a space.
//!
//! Reading never fails. An escape that is not one (`%zz`, or bytes that are no UTF-8) stays as it
//! was sent: refusing it would end the connection of a device that then sends the same again.

use std::time::Duration;

use hub_core::envelope::{Ack, Property, SystemProperty};
use hub_core::frame::Delivery;

/// The wire keys of system properties, without their `$.`.
const KEYS: [(&str, SystemProperty); 14] = [
    ("mid", SystemProperty::MessageId),
    ("ct", SystemProperty::ContentType),
    ("ce", SystemProperty::ContentEncoding),
    ("cid", SystemProperty::CorrelationId),
    ("uid", SystemProperty::UserId),
    ("to", SystemProperty::To),
    ("exp", SystemProperty::ExpiryTime),
    ("ctime", SystemProperty::CreationTime),
    ("on", SystemProperty::OutputName),
    ("ifid", SystemProperty::InterfaceId),
    ("sub", SystemProperty::Subject),
    ("schema", SystemProperty::MessageSchema),
    ("diagid", SystemProperty::DiagnosticId),
    ("diagctx", SystemProperty::DiagnosticContext),
];

/// The key of the one system property that has no `$.`.
const ACK: &str = "iothub-ack";

fn system(key: &str) -> Option<SystemProperty> {
    match key.strip_prefix("$.").or_else(|| key.strip_prefix("%24.")) {
        Some(short) => KEYS.iter().find(|(k, _)| *k == short).map(|(_, property)| *property),
        None => (key == ACK).then_some(SystemProperty::Ack),
    }
}

/// A piece of text: where it begins, how long it is, and in which of the two texts.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    length: u32,
    decoded: bool,
}

#[derive(Debug, Clone, Copy)]
enum Name {
    System(SystemProperty),
    Application(Span),
}

/// A bag that is taken apart. Its memory is used again for the next one.
#[derive(Debug, Default)]
pub struct Bag {
    /// Holds what had to be decoded; everything else is read from the topic itself.
    decoded: String,
    properties: Vec<(Name, Span)>,
}

impl Bag {
    /// Nothing, and no memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a bag apart. A leading `?` and one trailing `/` are not part of it: some SDKs send
    /// them. A key without `=` has an empty value, as Azure reads it.
    ///
    /// Properties come in the order sent, duplicates included; empty ones between `&` are no
    /// properties.
    pub fn parse<'a>(&'a mut self, bag: &'a str) -> impl Iterator<Item = Property<'a>> {
        self.decoded.clear();
        self.properties.clear();
        let bag = bag.strip_prefix('?').unwrap_or(bag);
        let bag = bag.strip_suffix('/').unwrap_or(bag);
        let mut start = 0;
        for property in bag.split('&') {
            if !property.is_empty() {
                self.property(bag, start, property);
            }
            start += property.len() + 1;
        }
        let (decoded, properties) = (&self.decoded, &self.properties);
        let text = move |span: Span| {
            let from = if span.decoded { decoded.as_str() } else { bag };
            let (start, length) = (span.start as usize, span.length as usize);
            from.get(start..start + length).unwrap_or("")
        };
        properties.iter().map(move |(name, value)| match name {
            Name::System(name) => Property::System(*name, text(*value)),
            Name::Application(name) => Property::Application(text(*name), Some(text(*value))),
        })
    }

    fn property(&mut self, bag: &str, start: usize, property: &str) {
        let equals = property.bytes().position(|b| b == b'=').unwrap_or(property.len());
        let key = property.get(..equals).unwrap_or("");
        let value = property.get(equals + 1..).unwrap_or("");
        let name = match system(key) {
            Some(name) => Name::System(name),
            None => {
                let span = self.decode(start, key);
                let plain = Self::at(&self.decoded, bag, span);
                system(plain).map_or(Name::Application(span), Name::System)
            }
        };
        let value = self.decode(start + equals + 1, value);
        self.properties.push((name, value));
    }

    fn at<'a>(decoded: &'a str, bag: &'a str, span: Span) -> &'a str {
        let from = if span.decoded { decoded } else { bag };
        let (start, length) = (span.start as usize, span.length as usize);
        from.get(start..start + length).unwrap_or("")
    }

    /// Decodes a piece of the bag that begins at `start`, only if it holds an escape.
    fn decode(&mut self, start: usize, text: &str) -> Span {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        if !text.bytes().any(|b| b == b'%') {
            return Span { start: narrow(start), length: narrow(text.len()), decoded: false };
        }
        let start = self.decoded.len();
        percent_decode(text, &mut self.decoded);
        let length = self.decoded.len() - start;
        Span { start: narrow(start), length: narrow(length), decoded: true }
    }
}

/// Appends `text` with its escapes decoded. Escapes that are none, and runs of them that are no
/// UTF-8, are appended as they stand.
pub(crate) fn percent_decode(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (plain, escapes) = rest.split_at(at);
        out.push_str(plain);
        // A character beyond ASCII is several escapes in a row, so a run is decoded as a whole.
        let mut run = [0_u8; 4];
        let mut length = 0;
        let mut whole = None;
        let mut tail = escapes;
        while let (Some((byte, after)), Some(slot)) = (escape(tail), run.get_mut(length)) {
            *slot = byte;
            length += 1;
            tail = after;
            if let Some(Ok(text)) = run.get(..length).map(std::str::from_utf8) {
                whole = text.chars().next();
                break;
            }
        }
        match whole {
            Some(character) => {
                out.push(character);
                rest = tail;
            }
            None => {
                out.push('%');
                rest = escapes.get(1..).unwrap_or("");
            }
        }
    }
    out.push_str(rest);
}

fn escape(text: &str) -> Option<(u8, &str)> {
    let hex = text.strip_prefix('%')?.get(..2)?;
    let plain = hex.bytes().all(|b| b.is_ascii_hexdigit());
    let byte = plain.then(|| u8::from_str_radix(hex, 16).ok())??;
    Some((byte, text.get(3..)?))
}

/// Appends `text`, percent-encoded in upper case but for letters, digits, `-_.~` and `keep`.
pub(crate) fn percent_encode(text: &str, keep: &[u8], out: &mut String) {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend([byte >> 4, byte & 0xf].iter().filter_map(|n| HEX.get(usize::from(*n))));
        }
    }
}

/// Appends the bag of a cloud-to-device message: system properties, then application properties.
///
/// `%24.to` is always there and every property has its `=`, because SDKs fail without. `to` is the
/// path of the receiver; what the sender may have put there, and other values that the hub decides,
/// are not repeated. The expiry is there if the sender had asked for one, which shows in its not
/// being the one that `ttl_default` gives.
pub fn write_delivery(delivery: &Delivery, to: &str, ttl_default: Duration, out: &mut String) {
    let message = &delivery.message;
    let start = out.len();
    let mut put = |key: &str, value: &str| {
        if out.len() > start {
            out.push('&');
        }
        percent_encode(key, b"", out);
        out.push('=');
        percent_encode(value, b"", out);
    };
    if let Some(id) = message.properties.system(SystemProperty::MessageId) {
        put("$.mid", id);
    }
    put("$.to", to);
    for (key, name) in KEYS {
        if matches!(
            name,
            SystemProperty::MessageId | SystemProperty::To | SystemProperty::ExpiryTime
        ) {
            continue;
        }
        if let Some(value) = message.properties.system(name) {
            put(&format!("$.{key}"), value);
        }
    }
    if delivery.expiry != message.enqueued.after(ttl_default) {
        put("$.exp", &delivery.expiry.to_string());
    }
    if message.ack != Ack::None {
        put(ACK, message.ack.name());
    }
    for (key, value) in message.properties.application() {
        put(key, value.unwrap_or(""));
    }
}

#[cfg(test)]
mod tests;
