//! What is in lists, maps and arrays, one after the other.

use super::DecodeError;
use super::value::{Value, body, read};

/// What a described value says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descriptor<'a> {
    /// By number.
    Code(u64),
    /// By name.
    Name(&'a str),
}

/// A value with a descriptor. The value is not taken apart yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described<'a> {
    /// What it says that it is.
    pub descriptor: Descriptor<'a>,
    pub(super) value: &'a [u8],
}

impl<'a> Described<'a> {
    /// The value that is described.
    ///
    /// # Errors
    /// [`DecodeError`]; none after [`super::read`] has seen it.
    pub fn value(&self) -> Result<Value<'a>, DecodeError> {
        read(&mut { self.value })
    }

    /// The fields of the composite with this number.
    ///
    /// # Errors
    /// `Type` when it is another, or no list.
    pub fn fields(&self, code: u64) -> Result<Fields<'a>, DecodeError> {
        match (self.descriptor, self.value()?) {
            (Descriptor::Code(found), Value::List(items)) if found == code => Ok(Fields(items)),
            _ => Err(DecodeError::Type),
        }
    }
}

/// Elements that are still to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Items<'a> {
    left: u32,
    bytes: &'a [u8],
    /// The constructor that the elements of an array share.
    shared: Option<u8>,
}

/// Most elements of an array whose elements have no bytes: their count costs nothing to write.
const WEIGHTLESS_MAX: u32 = 256;

impl<'a> Items<'a> {
    pub(super) fn none() -> Self {
        Self { left: 0, bytes: &[], shared: None }
    }

    pub(super) fn list(count: u32, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        // Each element has at least its constructor.
        if usize::try_from(count).map_or(true, |count| count > bytes.len()) {
            return Err(DecodeError::Count);
        }
        Ok(Self { left: count, bytes, shared: None })
    }

    pub(super) fn array(count: u32, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (code, bytes) = bytes.split_first().ok_or(DecodeError::Short)?;
        match *code {
            // An array of described values: nothing that is read here has one.
            0 => return Err(DecodeError::Descriptor),
            0x40..=0x45 if count > WEIGHTLESS_MAX => return Err(DecodeError::Count),
            _ => {}
        }
        Ok(Self { left: count, bytes, shared: Some(*code) })
    }

    /// How many elements are left, as the peer counts them.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The next element.
    ///
    /// # Errors
    /// [`DecodeError`]; nothing can be read after it.
    pub fn take(&mut self) -> Result<Option<Value<'a>>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        match self.shared {
            None => read(&mut self.bytes),
            Some(code) => body(code, &mut self.bytes),
        }
        .map(Some)
    }

    /// The bytes of the next element of a list or map, constructor included.
    ///
    /// # Errors
    /// As [`Items::take`].
    pub fn take_raw(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        super::value::raw(&mut self.bytes).map(Some)
    }

    /// The next key and value of a map.
    ///
    /// # Errors
    /// As [`Items::take`]; `Count` for a key without a value.
    pub fn take_pair(&mut self) -> Result<Option<(Value<'a>, Value<'a>)>, DecodeError> {
        let Some(key) = self.take()? else { return Ok(None) };
        let value = self.take()?.ok_or(DecodeError::Count)?;
        Ok(Some((key, value)))
    }

    /// The value of the first key of a map with this text.
    ///
    /// # Errors
    /// As [`Items::take`].
    pub fn find(mut self, wanted: &str) -> Result<Option<Value<'a>>, DecodeError> {
        while let Some((key, value)) = self.take_pair()? {
            if key.as_text() == Some(wanted) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

/// The fields of a composite, in order. Those behind the last that was sent are null.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(pub(super) Items<'a>);

impl<'a> Fields<'a> {
    /// The next field.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn value(&mut self) -> Result<Value<'a>, DecodeError> {
        Ok(self.0.take()?.unwrap_or(Value::Null))
    }

    /// The bytes of the next field; none if it is null.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn raw(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        Ok(self.0.take_raw()?.filter(|bytes| *bytes != [0x40]))
    }

    /// Passes over a field.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn skip(&mut self) -> Result<(), DecodeError> {
        self.value().map(|_| ())
    }

    /// A string or symbol.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn text(&mut self) -> Result<Option<&'a str>, DecodeError> {
        self.optional(Value::as_text)
    }

    /// A binary.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn binary(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        self.optional(|value| match value {
            Value::Binary(bytes) => Some(bytes),
            _ => None,
        })
    }

    /// A boolean; false if there is none.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn flag(&mut self) -> Result<bool, DecodeError> {
        let flag = self.optional(|value| match value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        })?;
        Ok(flag.unwrap_or(false))
    }

    /// An unsigned number that fits.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn number<N: TryFrom<u64>>(&mut self) -> Result<Option<N>, DecodeError> {
        self.optional(|value| match value {
            Value::Unsigned(number) => N::try_from(number).ok(),
            _ => None,
        })
    }

    /// A map; an empty one if there is none.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn map(&mut self) -> Result<Items<'a>, DecodeError> {
        let map = self.optional(|value| match value {
            Value::Map(items) => Some(items),
            _ => None,
        })?;
        Ok(map.unwrap_or(Items::none()))
    }

    fn optional<T>(
        &mut self,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, DecodeError> {
        match self.value()? {
            Value::Null => Ok(None),
            value => read(value).map(Some).ok_or(DecodeError::Type),
        }
    }
}
