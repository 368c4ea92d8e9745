//! Shared access signatures: parse, verify, sign.
//!
//! ```text
//! SharedAccessSignature sr={resource}&sig={signature}&se={expiry}[&skn={policy}]
//! ```
//!
//! The signature is the HMAC-SHA256 of `{resource}`, a line feed and `{expiry}`, both exactly as
//! they stand in the token. SDKs differ in which characters they escape and in the case of the hex
//! digits, so a token that was decoded and encoded again would not verify. What the resource
//! *means* is read from it afterwards, by [`Resource`].

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::Mac as _;

use super::key::{KeyForm, SymmetricKey, hmac};
use super::percent;
use super::resource::Resource;
use crate::time::Timestamp;

/// Longest token, in bytes. A host name, two ids of 128 characters escaped twice, and all other
/// fields have room in it.
pub const TOKEN_BYTES_MAX: usize = 4096;

const SIGNATURE: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a text is no shared access signature. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SasError {
    /// Longer than [`TOKEN_BYTES_MAX`].
    TooLong,
    /// Does not begin with the word `SharedAccessSignature` and a blank.
    Prefix,
    /// A field is not of the form `name=value`.
    Field,
    /// `sr`, `sig`, `se` or `skn` is there twice.
    Duplicate,
    /// No `sr`, or an empty one.
    ResourceMissing,
    /// No `sig`.
    SignatureMissing,
    /// `sig` is not the base64 of 32 bytes.
    Signature,
    /// No `se`.
    ExpiryMissing,
    /// `se` is not a number of seconds.
    Expiry,
    /// `skn` is not UTF-8 once decoded.
    Policy,
}

impl SasError {
    /// A sentence for logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "malformed token: too long",
            Self::Prefix => "malformed token: not a shared access signature",
            Self::Field => "malformed token: a field has no value",
            Self::Duplicate => "malformed token: a field is there twice",
            Self::ResourceMissing => "malformed token: no sr",
            Self::SignatureMissing => "malformed token: no sig",
            Self::Signature => "malformed token: sig is not a signature",
            Self::ExpiryMissing => "malformed token: no se",
            Self::Expiry => "malformed token: se is not a number of seconds",
            Self::Policy => "malformed token: skn is not text",
        }
    }
}

impl fmt::Display for SasError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for SasError {}

/// A parsed token. Nothing about it is proved until [`SharedAccessSignature::verify`] says so.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedAccessSignature<'t> {
    resource: &'t str,
    expiry_text: &'t str,
    expiry: Timestamp,
    signature: [u8; 32],
    policy: Option<Cow<'t, str>>,
}

impl<'t> SharedAccessSignature<'t> {
    /// Parses the text of a token.
    ///
    /// Fields may stand in any order, their names in any case; unknown ones are ignored, and so
    /// are blanks around the token and empty fields. `sig` may be escaped or not, a `+` in it is a
    /// plus, and its padding may be missing. An empty `skn` is none: the C SDK writes one into
    /// every device token. Digits behind a decimal point of `se` are ignored.
    ///
    /// # Errors
    /// [`SasError`] says which part is wrong.
    pub fn parse(text: &'t str) -> Result<Self, SasError> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(SasError::TooLong);
        }
        let (word, fields) = text.trim().split_once(' ').ok_or(SasError::Prefix)?;
        if !word.eq_ignore_ascii_case("SharedAccessSignature") {
            return Err(SasError::Prefix);
        }
        let (mut resource, mut signature, mut expiry, mut policy) = (None, None, None, None);
        for field in fields.trim_start().split('&').filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=').ok_or(SasError::Field)?;
            let slot = match () {
                () if name.eq_ignore_ascii_case("sr") => &mut resource,
                () if name.eq_ignore_ascii_case("sig") => &mut signature,
                () if name.eq_ignore_ascii_case("se") => &mut expiry,
                () if name.eq_ignore_ascii_case("skn") => &mut policy,
                () => continue,
            };
            // Two of a kind would let a proxy and the hub read different tokens out of one text.
            if slot.replace(value).is_some() {
                return Err(SasError::Duplicate);
            }
        }
        let expiry_text = expiry.ok_or(SasError::ExpiryMissing)?;
        Ok(Self {
            resource: resource.filter(|sr| !sr.is_empty()).ok_or(SasError::ResourceMissing)?,
            expiry_text,
            expiry: seconds(expiry_text).ok_or(SasError::Expiry)?,
            signature: decode_signature(signature.ok_or(SasError::SignatureMissing)?)?,
            policy: policy.filter(|skn| !skn.is_empty()).map(decode_policy).transpose()?,
        })
    }

    /// Whether this key signed the token. Takes the same time for right and wrong signatures.
    #[must_use]
    pub fn verify(&self, key: &SymmetricKey, form: KeyForm) -> bool {
        self.verify_bytes(key.material(form))
    }

    /// As [`SharedAccessSignature::verify`], with a key of any length.
    #[must_use]
    pub fn verify_bytes(&self, key: &[u8]) -> bool {
        let parts = [self.resource.as_bytes(), b"\n", self.expiry_text.as_bytes()];
        hmac(key, &parts).is_some_and(|mac| mac.verify_slice(&self.signature).is_ok())
    }

    /// What the token is for.
    #[must_use]
    pub fn resource(&self) -> Resource {
        Resource::parse(self.resource)
    }

    /// When the token expires; [`Timestamp::MAX`] if that is beyond all time.
    #[must_use]
    pub fn expiry(&self) -> Timestamp {
        self.expiry
    }

    /// Whether the token has expired, on a clock that may be this much ahead of its maker's. A
    /// token is good up to and including `expiry + skew`.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp, skew: Duration) -> bool {
        now > self.expiry.after(skew)
    }

    /// The shared access policy whose key signed; none if an identity's own key did.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }
}

/// Prints neither the signature nor what it signs (T7).
impl fmt::Debug for SharedAccessSignature<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedAccessSignature")
            .field("expiry", &self.expiry)
            .field("signature", &"...")
            .finish_non_exhaustive()
    }
}

/// Makes a token for a resource, given without escapes (`localhost/devices/a@b`).
///
/// The expiry is written in whole seconds, so it is up to a second earlier than asked. `policy` is
/// the shared access policy the key belongs to; none for an identity's own key. The result is a
/// secret for as long as it is valid.
#[must_use]
pub fn sign(
    resource: &str,
    key: &SymmetricKey,
    form: KeyForm,
    expiry: Timestamp,
    policy: Option<&str>,
) -> String {
    let (resource, expiry) = (percent::encode(resource), expiry.as_secs().to_string());
    let parts = [resource.as_bytes(), b"\n", expiry.as_bytes()];
    let signature = hmac(key.material(form), &parts)
        .map(|mac| SIGNATURE.encode(mac.finalize().into_bytes()))
        .unwrap_or_default();
    let signature = percent::encode(&signature);
    let mut token = format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}");
    if let Some(policy) = policy {
        token.push_str("&skn=");
        token.push_str(&percent::encode(policy));
    }
    token
}

fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    // More digits than fit mean a time beyond all time.
    let seconds = whole.parse::<u64>().unwrap_or(u64::MAX);
    Some(Timestamp::from_millis(seconds.saturating_mul(1000)))
}

fn decode_signature(text: &str) -> Result<[u8; 32], SasError> {
    let bytes = SIGNATURE.decode(percent::decode(text.as_bytes())).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(SasError::Signature)
}

fn decode_policy(text: &str) -> Result<Cow<'_, str>, SasError> {
    match percent::decode(text.as_bytes()) {
        Cow::Borrowed(_) => Ok(Cow::Borrowed(text)),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| SasError::Policy),
    }
}

#[cfg(test)]
#[path = "sas_tests.rs"]
mod tests;
