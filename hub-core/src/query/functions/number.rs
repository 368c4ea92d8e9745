//! Numbers: what functions make of them, and how they are read from text.

use crate::query::value::Value;

/// What is no number is undefined; infinity is a number.
pub(in crate::query) fn number<'a>(value: f64) -> Value<'a> {
    if value.is_nan() { Value::Undefined } else { Value::Number(value) }
}

pub(super) fn of_number<'a>(value: &Value<'_>, f: impl FnOnce(f64) -> f64) -> Value<'a> {
    match value {
        Value::Number(x) => number(f(*x)),
        _ => Value::Undefined,
    }
}

/// The number that a text says, by the rules of .NET's invariant culture: blanks around it, a sign,
/// commas within the integer part, a fraction and an exponent. Beyond a double it is infinite.
pub(super) fn read_number(text: &str) -> Option<f64> {
    // Of these characters the standard parser takes what the rules do, and most numbers have no other.
    if text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-')) {
        return text.parse().ok();
    }
    let text = text.trim();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let integer = unsigned.find(['.', 'e', 'E']).unwrap_or(unsigned.len());
    let (integer, rest) = unsigned.split_at_checked(integer)?;
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !integer.bytes().all(|b| b.is_ascii_digit() || b == b',') || integer.starts_with(',') {
        return None;
    }
    let exponent = rest.find(['e', 'E']).unwrap_or(rest.len());
    let (fraction, exponent) = rest.split_at_checked(exponent)?;
    let fraction = fraction.strip_prefix('.').unwrap_or(fraction);
    if !digits(fraction) || (integer.is_empty() && fraction.is_empty()) {
        return None;
    }
    if let Some(exponent) = exponent.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if exponent.is_empty() || !digits(exponent) {
            return None;
        }
    }
    if integer.contains(',') { text.replace(',', "").parse().ok() } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_an_invariant_culture_writes_them() {
        for (text, want) in [
            ("3", Some(3.0)),
            ("  -1,234.5e1\t", Some(-12345.0)),
            ("+.5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e400", Some(f64::INFINITY)),
            ("-1e400", Some(f64::NEG_INFINITY)),
            ("", None),
            (".", None),
            ("-", None),
            (",1", None),
            ("1.2,3", None),
            ("1e", None),
            ("1e+", None),
            ("1.2.3", None),
            ("0x10", None),
            ("NaN", None),
            ("inf", None),
            ("1 2", None),
            ("Alarm", None),
            ("٣", None),
        ] {
            assert_eq!(read_number(text), want, "{text:?}");
        }
    }
}
