//! The security layer (§5.3): enough of it to learn who a peer says it is.

use super::DecodeError;
use super::frame::begin_frame;
use super::items::Descriptor;
use super::value::{Value, read};
use super::write::{self, Write as _};

/// A mechanism that the hub offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// `MSSBCBS`: nothing here, a token later.
    Cbs,
    /// `ANONYMOUS`: the same by another name.
    Anonymous,
    /// `EXTERNAL`: the certificate of the handshake.
    External,
    /// `PLAIN`: a name and a token.
    Plain,
}

impl Mechanism {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 4] = [Self::Cbs, Self::Anonymous, Self::External, Self::Plain];

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cbs => "MSSBCBS",
            Self::Anonymous => "ANONYMOUS",
            Self::External => "EXTERNAL",
            Self::Plain => "PLAIN",
        }
    }
}

/// What `PLAIN` carries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Plain<'a> {
    /// Who it says it is.
    pub name: &'a str,
    /// How it proves that.
    pub password: &'a str,
}

/// Never prints a secret (T7).
impl std::fmt::Debug for Plain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plain").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> Plain<'a> {
    /// Reads an initial response: an identity to act as, a name and a password, each behind a zero.
    #[must_use]
    pub fn parse(response: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(response).ok()?;
        let mut parts = text.split('\0');
        let (_, name, password) = (parts.next()?, parts.next()?, parts.next()?);
        parts.next().is_none().then_some(Self { name, password })
    }
}

/// `sasl-init`: the mechanism that a peer has chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaslInit<'a> {
    /// The mechanism, if the hub offers it.
    pub mechanism: Option<Mechanism>,
    /// What it says at once.
    pub response: &'a [u8],
}

/// Never prints a secret (T7).
impl std::fmt::Debug for SaslInit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SaslInit").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// Reads the body of a SASL frame, which from a client can only be `sasl-init` here: no mechanism
/// that is offered has a second round.
///
/// # Errors
/// [`DecodeError`].
pub fn sasl_init<'a>(body: &'a [u8]) -> Result<SaslInit<'a>, DecodeError> {
    let Value::Described(described) = read(&mut { body })? else {
        return Err(DecodeError::Performative);
    };
    if described.descriptor != Descriptor::Code(0x41) {
        return Err(DecodeError::Performative);
    }
    let mut fields = described.fields(0x41)?;
    let name = fields.text()?.ok_or(DecodeError::Missing)?;
    let mechanism = Mechanism::ALL.into_iter().find(|known| known.name() == name);
    let response = fields.binary()?.unwrap_or(&[]);
    Ok(SaslInit { mechanism, response })
}

/// Writes `sasl-mechanisms`.
pub fn sasl_mechanisms(out: &mut Vec<u8>) {
    let frame = begin_frame(out, 1, 0);
    out.descriptor(0x40);
    let fields = write::list(out);
    let names = write::symbol_array(out);
    for mechanism in Mechanism::ALL {
        write::array_text(out, mechanism.name());
    }
    names.end(out, 4);
    fields.end(out, 1);
    frame.end(out);
}

/// Writes `sasl-outcome`: whether the peer may go on.
pub fn sasl_outcome(out: &mut Vec<u8>, admitted: bool) {
    let frame = begin_frame(out, 1, 0);
    out.descriptor(0x44);
    let fields = write::list(out);
    out.ubyte(u8::from(!admitted));
    out.null();
    fields.end(out, 2);
    frame.end(out);
}
