//! Symmetric keys: the secret that signs and checks shared access signatures.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::sas::SharedAccessSignature;
use crate::hello::CredentialMark;

/// Fewest and most bytes of a symmetric key. The keys of shared access policies are their
/// operator's choice, so short ones are taken; identities' keys must have more, see
/// [`crate::registry::IDENTITY_KEY_BYTES_MIN`].
pub const KEY_BYTES: std::ops::RangeInclusive<usize> = 1..=64;

/// Base64 as .NET reads it: padding is required, the unused bits of the last digit are not looked
/// at. Keys typed by hand often have some of those set, and clients sign with them all the same.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Why a text or some bytes are no symmetric key. Never contains the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not base64 with padding.
    #[error("symmetric key is not base64")]
    Base64,
    /// Empty, or longer than the hub keeps; see [`KEY_BYTES`].
    #[error("symmetric key has {0} bytes, it must have 1 to 64")]
    Length(usize),
}

/// Which bytes of a key sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyForm {
    /// The bytes that its base64 text stands for: devices and service clients.
    Decoded,
    /// The bytes of the base64 text itself: Event Hubs clients.
    Text,
}

/// A symmetric key of 1 to 64 bytes. Cheap to clone.
///
/// Keeps the base64 text as it was given, because Event Hubs clients sign with the text. Never
/// prints itself; [`SymmetricKey::to_base64`] is the only way to see it. `==` takes a time that
/// depends on the keys: it compares records, never what a peer presents.
#[derive(Clone, PartialEq, Eq)]
pub struct SymmetricKey(Arc<Parts>);

#[derive(PartialEq, Eq)]
struct Parts {
    text: Box<str>,
    bytes: Box<[u8]>,
}

impl SymmetricKey {
    /// Parses the base64 text of a key.
    ///
    /// # Errors
    /// [`KeyError`] when the text is not base64 or has too few or too many bytes.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        // Bounds the decoding below: no key of 64 bytes has a longer text.
        if text.len() > KEY_BYTES.end().div_ceil(3) * 4 {
            return Err(KeyError::Length(text.len() / 4 * 3));
        }
        let bytes = BASE64.decode(text).map_err(|_| KeyError::Base64)?;
        if !KEY_BYTES.contains(&bytes.len()) {
            return Err(KeyError::Length(bytes.len()));
        }
        Ok(Self(Arc::new(Parts { text: text.into(), bytes: bytes.into() })))
    }

    /// A new key from 32 bytes of the caller's randomness.
    #[must_use]
    pub fn generate(random: &[u8; 32]) -> Self {
        let text = BASE64.encode(random).into();
        Self(Arc::new(Parts { text, bytes: random.as_slice().into() }))
    }

    /// The key as base64. Reveals the secret.
    #[must_use]
    pub fn to_base64(&self) -> &str {
        &self.0.text
    }

    /// The bytes that sign.
    #[must_use]
    pub fn material(&self, form: KeyForm) -> &[u8] {
        match form {
            KeyForm::Decoded => &self.0.bytes,
            KeyForm::Text => self.0.text.as_bytes(),
        }
    }

    /// A fingerprint that names this key without giving it away.
    #[must_use]
    pub fn mark(&self) -> CredentialMark {
        mark(b"symmetric key", &self.0.bytes)
    }
}

/// Never prints the key (T7).
impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKey(\"...\")")
    }
}

/// Which of the two keys signed the token, in one of the forms.
///
/// All keys are tried in all forms, and where there are none, stand-ins are: whoever measures the
/// time learns neither which key matched nor whether there is one. A token that a stand-in signed
/// is signed by nobody.
pub(crate) fn which_signed<'k>(
    token: &SharedAccessSignature<'_>,
    keys: Option<(&'k SymmetricKey, &'k SymmetricKey)>,
    forms: &[KeyForm],
) -> Option<&'k SymmetricKey> {
    const STAND_IN: [u8; 44] = [b'A'; 44];
    let try_all = |key: Option<&'k SymmetricKey>| {
        let signed = forms.iter().fold(false, |signed, form| {
            let length = if *form == KeyForm::Text { 44 } else { 32 };
            let stand_in = STAND_IN.get(..length).unwrap_or_default();
            let bytes = key.map_or(stand_in, |key| key.material(*form));
            signed | token.verify_bytes(bytes)
        });
        key.filter(|_| signed)
    };
    let (primary, secondary) = keys.unzip();
    let (primary, secondary) = (try_all(primary), try_all(secondary));
    primary.or(secondary)
}

/// HMAC-SHA256 of the parts, one behind the other. HMAC takes keys of every length, so there is
/// always one; the type of the library says otherwise.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac)
}

/// The first eight bytes of an HMAC keyed with the credential: one-way, and distinct per kind.
/// Never the empty mark, which stands for "none of the identity's own".
pub(crate) fn mark(kind: &[u8], credential: &[u8]) -> CredentialMark {
    let digest = hmac(credential, &[b"credential mark of a ", kind]).map(|mac| mac.finalize());
    let head = digest.and_then(|digest| digest.into_bytes().first_chunk::<8>().copied());
    CredentialMark(head.map_or(1, u64::from_be_bytes).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_comes_back_as_it_was_given() {
        let key =
            SymmetricKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        assert_eq!(key.material(KeyForm::Decoded), (0..32).collect::<Vec<u8>>());
        assert_eq!(key.to_base64(), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        assert_eq!(key.material(KeyForm::Text), key.to_base64().as_bytes());
        // The last digit has bits that no byte uses.
        let typed = SymmetricKey::from_base64("AAECAwQFBgcICQoLDA0ODx==").unwrap();
        assert_eq!(typed.material(KeyForm::Decoded), (0..16).collect::<Vec<u8>>());
        assert_eq!(typed.to_base64(), "AAECAwQFBgcICQoLDA0ODx==");
    }

    #[test]
    fn length_and_alphabet_are_checked() {
        let of = |count: usize| BASE64.encode(vec![7_u8; count]);
        for count in [1, 9, 16, 36, 64] {
            assert!(SymmetricKey::from_base64(&of(count)).is_ok(), "{count}");
        }
        for count in [0, 65, 66] {
            assert_eq!(SymmetricKey::from_base64(&of(count)), Err(KeyError::Length(count)));
        }
        assert!(matches!(SymmetricKey::from_base64(&of(1000)), Err(KeyError::Length(_))));
        for bad in ["AAECAwQFBgcICQoLDA0ODw", "AAECAwQFBgcICQoLDA0OD-==", "é", "A A=", "===="] {
            assert_eq!(SymmetricKey::from_base64(bad), Err(KeyError::Base64), "{bad}");
        }
    }

    #[test]
    fn a_generated_key_parses_and_marks_tell_keys_apart() {
        let (one, two) = (SymmetricKey::generate(&[1; 32]), SymmetricKey::generate(&[2; 32]));
        assert_eq!(SymmetricKey::from_base64(one.to_base64()), Ok(one.clone()));
        assert_ne!(one.mark(), two.mark());
        assert_ne!(one.mark(), CredentialMark::default());
        assert_ne!(one.mark(), mark(b"thumbprint", one.material(KeyForm::Decoded)));
    }
}
