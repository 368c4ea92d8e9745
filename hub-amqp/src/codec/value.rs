//! Single values (§1.6), read where they lie.

use super::DecodeError;
use super::items::{Described, Descriptor, Items};

/// A value. Integers of all widths are one of two: no field means something else by its width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Nothing.
    Null,
    /// `boolean`
    Bool(bool),
    /// `ubyte`, `ushort`, `uint`, `ulong`
    Unsigned(u64),
    /// `byte`, `short`, `int`, `long`
    Signed(i64),
    /// `float`, `double`
    Float(f64),
    /// `decimal32`, `decimal64`, `decimal128`: their bytes
    Decimal(&'a [u8]),
    /// `char`
    Char(char),
    /// `timestamp`: milliseconds since 1970
    Timestamp(i64),
    /// `uuid`
    Uuid([u8; 16]),
    /// `binary`
    Binary(&'a [u8]),
    /// `string`
    Text(&'a str),
    /// `symbol`
    Symbol(&'a str),
    /// `list`
    List(Items<'a>),
    /// `map`: keys and values in turn
    Map(Items<'a>),
    /// `array`
    Array(Items<'a>),
    /// A value with a descriptor.
    Described(Described<'a>),
}

impl<'a> Value<'a> {
    /// The text of a string or symbol.
    #[must_use]
    pub fn as_text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number of any width.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Self::Unsigned(number) => i64::try_from(number).ok(),
            Self::Signed(number) => Some(number),
            _ => None,
        }
    }
}

/// Takes `count` bytes.
pub(super) fn take<'a>(from: &mut &'a [u8], count: usize) -> Result<&'a [u8], DecodeError> {
    let (taken, rest) = from.split_at_checked(count).ok_or(DecodeError::Short)?;
    *from = rest;
    Ok(taken)
}

/// Takes as many bytes as the array has.
pub(super) fn chunk<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (taken, rest) = from.split_first_chunk::<N>().ok_or(DecodeError::Short)?;
    *from = rest;
    Ok(*taken)
}

fn byte(from: &mut &[u8]) -> Result<u8, DecodeError> {
    let (first, rest) = from.split_first().ok_or(DecodeError::Short)?;
    *from = rest;
    Ok(*first)
}

fn length8(from: &mut &[u8]) -> Result<usize, DecodeError> {
    byte(from).map(usize::from)
}

fn length32(from: &mut &[u8]) -> Result<usize, DecodeError> {
    let length = u32::from_be_bytes(chunk(from)?);
    usize::try_from(length).map_err(|_| DecodeError::Count)
}

fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Text)
}

/// Takes one value.
///
/// # Errors
/// [`DecodeError`]. What a list, map or array contains is not looked at yet.
pub fn read<'a>(from: &mut &'a [u8]) -> Result<Value<'a>, DecodeError> {
    match byte(from)? {
        0 => described(from),
        code => body(code, from),
    }
}

/// Takes one value and gives its bytes, constructor included.
///
/// # Errors
/// As [`read`].
pub fn raw<'a>(from: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let before = *from;
    read(from)?;
    before.get(..before.len() - from.len()).ok_or(DecodeError::Short)
}

fn described<'a>(from: &mut &'a [u8]) -> Result<Value<'a>, DecodeError> {
    let descriptor = descriptor(from)?;
    let before = *from;
    match byte(from)? {
        // The standard has no value with two descriptors, and each would be a step of recursion.
        0 => return Err(DecodeError::Descriptor),
        code => body(code, from)?,
    };
    let value = before.get(..before.len() - from.len()).ok_or(DecodeError::Short)?;
    Ok(Value::Described(Described { descriptor, value }))
}

pub(super) fn descriptor<'a>(from: &mut &'a [u8]) -> Result<Descriptor<'a>, DecodeError> {
    let code = byte(from)?;
    if code == 0 {
        return Err(DecodeError::Descriptor);
    }
    match body(code, from)? {
        Value::Unsigned(code) => Ok(Descriptor::Code(code)),
        Value::Symbol(name) => Ok(Descriptor::Name(name)),
        _ => Err(DecodeError::Descriptor),
    }
}

/// Takes what follows a constructor.
pub(super) fn body<'a>(code: u8, from: &mut &'a [u8]) -> Result<Value<'a>, DecodeError> {
    Ok(match code {
        0x40 => Value::Null,
        0x41 => Value::Bool(true),
        0x42 => Value::Bool(false),
        0x56 => match byte(from)? {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            _ => return Err(DecodeError::Type),
        },
        0x43 | 0x44 => Value::Unsigned(0),
        0x50 | 0x52 | 0x53 => Value::Unsigned(byte(from)?.into()),
        0x60 => Value::Unsigned(u16::from_be_bytes(chunk(from)?).into()),
        0x70 => Value::Unsigned(u32::from_be_bytes(chunk(from)?).into()),
        0x80 => Value::Unsigned(u64::from_be_bytes(chunk(from)?)),
        0x51 | 0x54 | 0x55 => Value::Signed(i8::from_be_bytes(chunk(from)?).into()),
        0x61 => Value::Signed(i16::from_be_bytes(chunk(from)?).into()),
        0x71 => Value::Signed(i32::from_be_bytes(chunk(from)?).into()),
        0x81 => Value::Signed(i64::from_be_bytes(chunk(from)?)),
        0x72 => Value::Float(f32::from_be_bytes(chunk(from)?).into()),
        0x82 => Value::Float(f64::from_be_bytes(chunk(from)?)),
        0x73 => {
            let code = u32::from_be_bytes(chunk(from)?);
            Value::Char(char::from_u32(code).ok_or(DecodeError::Text)?)
        }
        0x74 => Value::Decimal(take(from, 4)?),
        0x84 => Value::Decimal(take(from, 8)?),
        0x94 => Value::Decimal(take(from, 16)?),
        0x83 => Value::Timestamp(i64::from_be_bytes(chunk(from)?)),
        0x98 => Value::Uuid(chunk(from)?),
        0xa0 => Value::Binary(length8(from).and_then(|length| take(from, length))?),
        0xb0 => Value::Binary(length32(from).and_then(|length| take(from, length))?),
        0xa1 => Value::Text(text(length8(from).and_then(|length| take(from, length))?)?),
        0xb1 => Value::Text(text(length32(from).and_then(|length| take(from, length))?)?),
        0xa3 => Value::Symbol(text(length8(from).and_then(|length| take(from, length))?)?),
        0xb3 => Value::Symbol(text(length32(from).and_then(|length| take(from, length))?)?),
        0x45 => Value::List(Items::none()),
        0xc0 | 0xc1 => {
            let mut inner = length8(from).and_then(|length| take(from, length))?;
            let count = u32::from(byte(&mut inner)?);
            compound(code == 0xc0, count, inner)?
        }
        0xd0 | 0xd1 => {
            let mut inner = length32(from).and_then(|length| take(from, length))?;
            let count = u32::from_be_bytes(chunk(&mut inner)?);
            compound(code == 0xd0, count, inner)?
        }
        0xe0 => {
            let mut inner = length8(from).and_then(|length| take(from, length))?;
            let count = u32::from(byte(&mut inner)?);
            Value::Array(Items::array(count, inner)?)
        }
        0xf0 => {
            let mut inner = length32(from).and_then(|length| take(from, length))?;
            let count = u32::from_be_bytes(chunk(&mut inner)?);
            Value::Array(Items::array(count, inner)?)
        }
        other => return Err(DecodeError::Code(other)),
    })
}

fn compound(is_list: bool, count: u32, inner: &[u8]) -> Result<Value<'_>, DecodeError> {
    let items = Items::list(count, inner)?;
    Ok(if is_list { Value::List(items) } else { Value::Map(items) })
}
