//! Names of things: parsed once at the edge, valid ever after, cheap to clone.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Why a text is not an identifier.
///
/// The rule (device identity registry): 1 to 128 ASCII letters, digits and
/// `- : . + % _ # * ? ! ( ) , = @ ; $ '`, case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// Nothing there, or more than 128 characters.
    #[error("identifier has {0} characters, it must have 1 to 128")]
    Length(usize),
    /// A character outside the alphabet.
    #[error("identifier has the character {0:?}, which is not allowed")]
    Character(char),
}

/// Longest device or module id, in characters.
pub const ID_LENGTH_MAX: usize = 128;

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() || text.len() > ID_LENGTH_MAX {
        return Err(IdError::Length(text.chars().count()));
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || "-:.+%_#*?!(),=@;$'".contains(*c))) {
        Some(c) => Err(IdError::Character(c)),
        None => Ok(()),
    }
}

/// Configurations are named in queries, and their names are lower case.
fn check_lower(text: &str) -> Result<(), IdError> {
    check(text)?;
    match text.chars().find(char::is_ascii_uppercase) {
        Some(c) => Err(IdError::Character(c)),
        None => Ok(()),
    }
}

fn check_address(text: &str) -> Result<(), IdError> {
    match text.split_once('/') {
        None => check(text),
        Some((device, module)) => check(device).and_then(|()| check(module)),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses the text.
            ///
            /// # Errors
            /// [`IdError`] when the text breaks the rule for identifiers.
            pub fn new(text: &str) -> Result<Self, IdError> {
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// The text as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = IdError;
            fn try_from(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

id! {
    /// The id of a device identity.
    DeviceId, check
}
id! {
    /// The id of a module identity, unique within its device.
    ModuleId, check
}
id! {
    /// The id of a job.
    JobId, check
}
id! {
    /// The id of a configuration: as other ids, without capital letters.
    ConfigurationId, check_lower
}
id! {
    /// The name of one hub process, when several share a store.
    NodeId, check
}

/// Who is meant: a device, or one of its modules.
///
/// Each address has its own twin, session and cloud-to-device queue. The text form is `device`
/// or `device/module`; `/` is in no identifier, so the form is unambiguous, and it is the
/// document key in every store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Arc<str>);

impl Address {
    /// The address of a device.
    #[must_use]
    pub fn device(device: &DeviceId) -> Self {
        Self(device.0.clone())
    }

    /// The address of a module.
    #[must_use]
    pub fn module(device: &DeviceId, module: &ModuleId) -> Self {
        Self(format!("{device}/{module}").into())
    }

    /// Parses `device` or `device/module`.
    ///
    /// # Errors
    /// [`IdError`] when either part breaks the rule for identifiers.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_address(text)?;
        Ok(Self(text.into()))
    }

    /// [`Address::parse`] of text that is shared, and goes on to be.
    pub(crate) fn of_shared(text: &Arc<str>) -> Result<Self, IdError> {
        check_address(text)?;
        Ok(Self(Arc::clone(text)))
    }

    /// `device` or `device/module`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The device part as text.
    #[must_use]
    pub fn device_str(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(device, _)| device)
    }

    /// The module part as text.
    #[must_use]
    pub fn module_str(&self) -> Option<&str> {
        self.0.split_once('/').map(|(_, module)| module)
    }

    /// The device part.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        match self.0.split_once('/') {
            None => DeviceId(self.0.clone()),
            Some((device, _)) => DeviceId(device.into()),
        }
    }

    /// The module part.
    #[must_use]
    pub fn module_id(&self) -> Option<ModuleId> {
        self.module_str().map(|module| ModuleId(module.into()))
    }

    /// Whether this is a module's address.
    #[must_use]
    pub fn is_module(&self) -> bool {
        self.0.contains('/')
    }

    pub(crate) fn shared(&self) -> &Arc<str> {
        &self.0
    }

    /// The part of the log that holds the device's events.
    #[must_use]
    pub fn partition(&self, count: u16) -> Partition {
        Partition::of(self.device_str(), count)
    }
}

impl From<&DeviceId> for Address {
    fn from(device: &DeviceId) -> Self {
        Self::device(device)
    }
}

impl From<DeviceId> for Address {
    fn from(device: DeviceId) -> Self {
        Self(device.0)
    }
}

impl std::str::FromStr for Address {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl Borrow<str> for Address {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A partition of the event log, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u16);

impl Partition {
    /// The partition of a device: FNV-1a (64 bit) of the device id, modulo the number of
    /// partitions. Modules share their device's partition, so one device is one order.
    ///
    /// The hash is part of the public contract: it never changes, so a device stays where it is.
    #[must_use]
    pub fn of(device: &str, count: u16) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in device.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let count = u64::from(count.max(1));
        Self(u16::try_from(hash % count).unwrap_or(0))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in a partition of the log or in a queue. Issued by the store, from 1.
///
/// Contiguous in a log; only increasing in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SequenceNumber(pub u64);

impl SequenceNumber {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The number `by` after this one.
    #[must_use]
    pub fn plus(self, by: u64) -> Self {
        Self(self.0.saturating_add(by))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A connection of a device, unique within one run of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A caller that waits for an answer, unique within one run of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What an adapter names a frame by, to recognise the answer to it. Unique within a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

/// Counts the connections of one identity: a higher epoch has taken over from every lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of the next connection.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_alphabet_is_accepted_and_nothing_else() {
        assert!(DeviceId::new("aZ09-:.+%_#*?!(),=@;$'").is_ok());
        for bad in ["a/b", "a b", "a\"b", "é", "a&b", "a\0"] {
            assert!(matches!(DeviceId::new(bad), Err(IdError::Character(_))), "{bad:?}");
        }
        assert_eq!(DeviceId::new(""), Err(IdError::Length(0)));
        assert!(DeviceId::new(&"x".repeat(128)).is_ok());
        assert_eq!(DeviceId::new(&"x".repeat(129)), Err(IdError::Length(129)));
    }

    #[test]
    fn a_configuration_has_no_capital_letters() {
        assert!(ConfigurationId::new("a-z0_9!'*+%").is_ok());
        assert_eq!(ConfigurationId::new("aB"), Err(IdError::Character('B')));
        assert!(matches!(ConfigurationId::new("a[b]"), Err(IdError::Character('['))));
    }

    #[test]
    fn an_address_parses_and_prints_back() {
        let address = Address::parse("d/m").unwrap();
        assert_eq!(address.to_string(), "d/m");
        assert_eq!((address.device_str(), address.module_str()), ("d", Some("m")));
        assert_eq!(
            Address::module(&DeviceId::new("d").unwrap(), &ModuleId::new("m").unwrap()),
            address
        );
        assert!(Address::parse("d/m/x").is_err());
        assert!(Address::parse("d/").is_err());
    }

    #[test]
    fn the_partition_hash_is_pinned() {
        // FNV-1a reference value of "a": changing it would move devices between partitions.
        assert_eq!(Partition::of("a", 1000), Partition((0xaf63_dc4c_8601_ec8c_u64 % 1000) as u16));
        assert_eq!(
            Address::parse("a/m").unwrap().partition(1000),
            Address::parse("a").unwrap().partition(1000)
        );
        assert_eq!(Partition::of("x", 0), Partition(0));
    }
}
