//! Messages (§3.2): their sections, read and written.

use super::DecodeError;
use super::items::{Descriptor, Items};
use super::value::{Value, raw, read};
use super::write::{self, Compound, Write as _};

/// The properties of a message that are read here. Ids are kept as they were sent: an answer echoes
/// them with their type.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MessageProperties<'a> {
    /// `message-id`, with its constructor.
    pub message_id: Option<&'a [u8]>,
    /// `user-id`
    pub user_id: Option<&'a [u8]>,
    /// `to`
    pub to: Option<&'a str>,
    /// `reply-to`
    pub reply_to: Option<&'a str>,
    /// `correlation-id`, with its constructor.
    pub correlation_id: Option<&'a [u8]>,
    /// `content-type`
    pub content_type: Option<&'a str>,
    /// `content-encoding`
    pub content_encoding: Option<&'a str>,
    /// `absolute-expiry-time`, in milliseconds since 1970.
    pub expiry: Option<i64>,
}

/// The body of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Body<'a> {
    /// Data sections; most often one.
    Data(Vec<&'a [u8]>),
    /// A value.
    Value(Value<'a>),
    /// Lists, which nothing here reads.
    Sequence,
    /// None.
    Empty,
}

/// A message as it was received.
#[derive(Debug, Clone, PartialEq)]
pub struct Message<'a> {
    /// Message annotations.
    pub annotations: Items<'a>,
    /// Properties.
    pub properties: MessageProperties<'a>,
    /// Application properties.
    pub application: Items<'a>,
    /// The body.
    pub body: Body<'a>,
}

/// Most data sections of one message. Who writes a body in pieces writes few.
const DATA_SECTIONS_MAX: usize = 64;

impl<'a> Message<'a> {
    /// Reads all sections.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn read(mut bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut message = Self {
            annotations: Items::none(),
            properties: MessageProperties::default(),
            application: Items::none(),
            body: Body::Empty,
        };
        while !bytes.is_empty() {
            let Value::Described(section) = read(&mut bytes)? else {
                return Err(DecodeError::Type);
            };
            let Descriptor::Code(code) = section.descriptor else { return Err(DecodeError::Type) };
            let value = section.value()?;
            match (code, value) {
                // Header, delivery annotations and footer say nothing to the hub.
                (0x70 | 0x71 | 0x78, _) => {}
                (0x72, Value::Map(items)) => message.annotations = items,
                (0x73, Value::List(_)) => {
                    message.properties = properties(section.fields(0x73)?)?;
                }
                (0x74, Value::Map(items)) => message.application = items,
                (0x75, Value::Binary(data)) => match &mut message.body {
                    Body::Data(parts) if parts.len() < DATA_SECTIONS_MAX => parts.push(data),
                    Body::Empty => message.body = Body::Data(vec![data]),
                    _ => return Err(DecodeError::Count),
                },
                (0x76, Value::List(_)) => message.body = Body::Sequence,
                (0x77, value) => message.body = Body::Value(value),
                _ => return Err(DecodeError::Type),
            }
        }
        Ok(message)
    }
}

fn properties(mut fields: super::Fields<'_>) -> Result<MessageProperties<'_>, DecodeError> {
    let message_id = fields.raw()?;
    let user_id = fields.binary()?;
    let to = address(fields.value()?);
    fields.skip()?;
    let reply_to = address(fields.value()?);
    let correlation_id = fields.raw()?;
    let content_type = fields.text()?;
    let content_encoding = fields.text()?;
    let expiry = match fields.value()? {
        Value::Timestamp(millis) => Some(millis),
        _ => None,
    };
    Ok(MessageProperties {
        message_id,
        user_id,
        to,
        reply_to,
        correlation_id,
        content_type,
        content_encoding,
        expiry,
    })
}

fn address(value: Value<'_>) -> Option<&str> {
    value.as_text()
}

/// Writes a message, section by section and in the standard's order.
#[derive(Debug)]
pub struct MessageWriter<'w> {
    out: &'w mut Vec<u8>,
}

/// A map of a message that is being written.
#[derive(Debug)]
pub(crate) struct MapWriter<'w> {
    pub(crate) out: &'w mut Vec<u8>,
    compound: Compound,
    count: u32,
}

impl MapWriter<'_> {
    /// A symbol as the next key; its value is to follow.
    pub(crate) fn symbol_key(&mut self, key: &str) -> &mut Vec<u8> {
        self.out.symbol(key);
        self.count += 2;
        self.out
    }

    /// A string as the next key; its value is to follow.
    pub(crate) fn text_key(&mut self, key: &str) -> &mut Vec<u8> {
        self.out.text(key);
        self.count += 2;
        self.out
    }

    pub(crate) fn end(self) {
        self.compound.end(self.out, self.count);
    }
}

impl<'w> MessageWriter<'w> {
    /// Writes behind what is there.
    pub fn new(out: &'w mut Vec<u8>) -> Self {
        Self { out }
    }

    fn map(&mut self, section: u8) -> MapWriter<'_> {
        self.out.descriptor(section);
        let compound = write::map(self.out);
        MapWriter { out: self.out, compound, count: 0 }
    }

    /// Begins delivery annotations.
    pub(crate) fn delivery_annotations(&mut self) -> MapWriter<'_> {
        self.map(0x71)
    }

    /// Begins message annotations.
    pub(crate) fn annotations(&mut self) -> MapWriter<'_> {
        self.map(0x72)
    }

    /// Writes properties. Ids are given with their constructors.
    pub fn properties(&mut self, properties: &MessageProperties<'_>) {
        self.out.descriptor(0x73);
        let fields = write::list(self.out);
        self.raw_or_null(properties.message_id);
        match properties.user_id {
            Some(user) => self.out.binary(user),
            None => self.out.null(),
        }
        self.out.text_or_null(properties.to);
        self.out.null();
        self.out.text_or_null(properties.reply_to);
        self.raw_or_null(properties.correlation_id);
        for symbol in [properties.content_type, properties.content_encoding] {
            match symbol {
                Some(symbol) => self.out.symbol(symbol),
                None => self.out.null(),
            }
        }
        match properties.expiry {
            Some(millis) => self.out.timestamp(millis),
            None => self.out.null(),
        }
        fields.end(self.out, 9);
    }

    fn raw_or_null(&mut self, value: Option<&[u8]>) {
        match value {
            Some(raw) => self.out.put(raw),
            None => self.out.null(),
        }
    }

    /// Begins application properties.
    pub(crate) fn application(&mut self) -> MapWriter<'_> {
        self.map(0x74)
    }

    /// Writes one data section.
    pub fn data(&mut self, body: &[u8]) {
        self.out.descriptor(0x75);
        self.out.binary(body);
    }

    /// Begins a value as the body; what is written next is it.
    pub(crate) fn value(&mut self) -> &mut Vec<u8> {
        self.out.descriptor(0x77);
        self.out
    }

    /// Begins a map as the body.
    pub(crate) fn value_map(&mut self) -> MapWriter<'_> {
        self.map(0x77)
    }
}

/// The text of an id: itself if it is a text; a UUID, a number and a binary as they are commonly
/// written.
pub(crate) fn id_text(id: &[u8]) -> Option<String> {
    match read(&mut { id }).ok()? {
        Value::Text(text) | Value::Symbol(text) => Some(text.to_owned()),
        Value::Unsigned(number) => Some(number.to_string()),
        Value::Uuid(bytes) => Some(uuid_text(&bytes)),
        Value::Binary(bytes) => Some(binary_text(bytes)),
        _ => None,
    }
}

/// A UUID as five groups of hex digits.
pub(crate) fn uuid_text(bytes: &[u8; 16]) -> String {
    let hex = hex(bytes);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or("");
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

/// A binary as the text it is, or in hex digits.
pub(crate) fn binary_text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| hex(bytes), str::to_owned)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to memory cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Takes one id off, for whoever wants only to check it.
pub(crate) fn is_id(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    raw(&mut rest).is_ok() && rest.is_empty()
}
