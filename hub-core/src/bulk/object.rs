//! A JSON object whose members are found whatever the case of their names.

use serde_json::{Map, Value};

use super::error::RecordError;

/// An object of a request or a file. Names of members are compared without regard to case: the SDKs do
/// not agree on them (`eTag` and `etag`).
#[derive(Debug, Clone, Copy)]
pub struct Object<'a>(pub &'a Map<String, Value>);

impl<'a> Object<'a> {
    /// An object, or an error that names what should have been one.
    ///
    /// # Errors
    /// The value is none.
    pub fn of(value: &'a Value, name: &str) -> Result<Self, RecordError> {
        match value {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(RecordError::invalid(format!("{name} is not an object"))),
        }
    }

    /// A member; null is as good as absent.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a Value> {
        let found = self.0.get(name).or_else(|| {
            self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        });
        found.filter(|value| !value.is_null())
    }

    /// A member that is text.
    ///
    /// # Errors
    /// It is something else.
    pub fn text(self, name: &str) -> Result<Option<&'a str>, RecordError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(RecordError::invalid(format!("{name} is not a string"))),
        }
    }

    /// A member that is true or false.
    ///
    /// # Errors
    /// It is something else.
    pub fn flag(self, name: &str) -> Result<Option<bool>, RecordError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(RecordError::invalid(format!("{name} is neither true nor false"))),
        }
    }

    /// A member that is an object.
    ///
    /// # Errors
    /// It is something else.
    pub fn object(self, name: &str) -> Result<Option<Self>, RecordError> {
        self.get(name).map(|value| Self::of(value, name)).transpose()
    }
}
