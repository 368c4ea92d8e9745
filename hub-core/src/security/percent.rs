//! Percent-encoding as shared access signatures need it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Decodes every `%xx` once, in either case of the digits.
///
/// Anything that is not `%` and two hex digits stands for itself: `+` is a plus, never a blank,
/// and a stray `%` stays. The result need not be UTF-8.
pub(crate) fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                digit(*high).zip(digit(*low)).map(|(high, low)| (high << 4 | low, after))
            }
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, tail));
        out.push(byte);
        rest = after;
    }
    Cow::Owned(out)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Encodes all but ASCII letters, digits and `_.-~`, with upper-case hex digits.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_is_lenient_and_happens_once() {
        for (text, want) in [
            ("a%2Fb%2fc", &b"a/b/c"[..]),
            ("a%2540b", b"a%40b"),
            ("100%", b"100%"),
            ("%4", b"%4"),
            ("%zz%+1", b"%zz%+1"),
            ("a+b", b"a+b"),
            ("%FF", b"\xff"),
            ("", b""),
        ] {
            assert_eq!(decode(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn encoding_leaves_only_the_unreserved() {
        assert_eq!(encode("h:1/devices/a@b~_.-é"), "h%3A1%2Fdevices%2Fa%40b~_.-%C3%A9");
    }
}
