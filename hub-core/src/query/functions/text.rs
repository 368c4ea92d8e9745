//! Text: joining, cutting, changing. Positions and lengths count UTF-16 code units.

use std::borrow::Cow;

use crate::query::steps::Steps;
use crate::query::value::Value;

/// Texts behind each other. An application property without a value adds nothing; anything else that
/// is no text makes the result undefined.
pub(in crate::query) fn concat<'a>(parts: &[Value<'a>], steps: &mut Steps) -> Value<'a> {
    let mut whole = String::new();
    for part in parts {
        match part {
            Value::Bare => {}
            Value::Text(text) if steps.spend_text(text.len()) => whole.push_str(text),
            _ => return Value::Undefined,
        }
    }
    Value::Text(whole.into())
}

/// How many code units there are.
pub(super) fn count<'a>(units: usize) -> Value<'a> {
    // Text is far shorter than the 2^53 units from which on doubles have gaps.
    Value::Number(u32::try_from(units).map_or(f64::INFINITY, f64::from))
}

pub(super) fn of_text<'a>(
    value: Value<'a>,
    steps: &mut Steps,
    f: impl FnOnce(&str) -> Option<String>,
) -> Value<'a> {
    match value {
        Value::Text(text) if steps.spend_text(text.len()) => {
            let changed = f(&text);
            Value::Text(changed.map_or(text, Cow::Owned))
        }
        _ => Value::Undefined,
    }
}

pub(super) fn of_texts<'a>(
    first: &Value<'_>,
    second: &Value<'_>,
    steps: &mut Steps,
    f: impl FnOnce(&str, &str) -> Value<'a>,
) -> Value<'a> {
    match (first, second) {
        (Value::Text(text), Value::Text(part))
            if steps.spend_text(text.len().saturating_add(part.len())) =>
        {
            f(text, part)
        }
        _ => Value::Undefined,
    }
}

/// Length in UTF-16 code units.
pub(super) fn units(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(char::len_utf16).sum() }
}

/// Changes letters one by one, as an invariant culture does: a letter whose counterpart is more than
/// one letter stays. Nothing if nothing changes.
pub(super) fn changed_case<I: Iterator<Item = char>>(
    text: &str,
    f: impl Fn(char) -> I,
) -> Option<String> {
    let change = |c: char| {
        let mut letters = f(c);
        match (letters.next(), letters.next()) {
            (Some(letter), None) => letter,
            _ => c,
        }
    };
    text.chars().any(|c| change(c) != c).then(|| text.chars().map(change).collect())
}

pub(super) fn substring(text: Cow<'_, str>, start: f64, length: Option<f64>) -> Value<'_> {
    let all = units(&text);
    let whole = |value: f64| {
        // Fractions are cut off; what is negative or beyond every text is no position.
        let value = value.trunc();
        let fits = (0.0..=f64::from(u32::MAX)).contains(&value);
        fits.then_some(value as u32).and_then(|value| usize::try_from(value).ok())
    };
    let (from, to) = match (whole(start), length.map(whole)) {
        (Some(start), None) if start <= all => (start, all),
        (Some(start), Some(Some(length))) if start < all && length <= all - start => {
            (start, start + length)
        }
        _ => return Value::Undefined,
    };
    // A place inside of a surrogate pair is none: half a character cannot be text here.
    let (Some(from), Some(to)) = (byte_at(&text, from), byte_at(&text, to)) else {
        return Value::Undefined;
    };
    match text {
        Cow::Borrowed(text) => {
            text.get(from..to).map_or(Value::Undefined, |t| Value::Text(t.into()))
        }
        Cow::Owned(text) => text
            .get(from..to)
            .map_or(Value::Undefined, |part| Value::Text(Cow::Owned(part.to_owned()))),
    }
}

/// The byte at which the code unit with this number begins.
fn byte_at(text: &str, unit: usize) -> Option<usize> {
    if text.is_ascii() {
        return (unit <= text.len()).then_some(unit);
    }
    let mut before = 0;
    for (at, c) in text.char_indices() {
        if before >= unit {
            return (before == unit).then_some(at);
        }
        before += c.len_utf16();
    }
    (before == unit).then_some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Function;

    #[test]
    fn text_is_counted_in_utf16_units() {
        let mut steps = Steps::new(1000);
        let mut call = |function: Function, text: &'static str, start: f64, length: Option<f64>| {
            let length = length.map_or(Value::Undefined, Value::Number);
            function.apply([Value::Text(text.into()), Value::Number(start), length], &mut steps)
        };
        assert_eq!(call(Function::Length, "a𝄞b", 0.0, None), Value::Number(4.0));
        let text = |text: &'static str| Value::Text(text.into());
        for (input, start, length, want) in [
            ("abc", 0.0, None, text("abc")),
            ("abc", 3.0, None, text("")),
            ("abc", 3.0, Some(0.0), Value::Undefined),
            ("abc", 1.9, Some(1.9), text("b")),
            ("abc", -1.0, None, Value::Undefined),
            ("abc", 4.0, None, Value::Undefined),
            ("abc", 1.0, Some(3.0), Value::Undefined),
            ("abc", 1.0, Some(-1.0), Value::Undefined),
            ("abc", f64::NAN, None, Value::Undefined),
            ("a𝄞b", 1.0, Some(2.0), text("𝄞")),
            ("a𝄞b", 3.0, None, text("b")),
            ("a𝄞b", 2.0, None, Value::Undefined),
            ("", 0.0, None, text("")),
            ("", 0.0, Some(0.0), Value::Undefined),
        ] {
            assert_eq!(call(Function::Substring, input, start, length), want, "{input} {start}");
        }
    }

    #[test]
    fn letters_change_case_one_by_one() {
        assert_eq!(changed_case("AbÇ1", char::to_lowercase).as_deref(), Some("abç1"));
        assert_eq!(changed_case("straße", char::to_uppercase).as_deref(), Some("STRAßE"));
        assert_eq!(changed_case("abc", char::to_lowercase), None);
    }
}
