//! Functions of the language.

use std::borrow::Cow;

use super::check::Type;
use super::steps::Steps;
use super::value::Value;

/// A function that an expression can call. Names are written in any case.
///
/// Positions and lengths of text count UTF-16 code units. A result that cannot be computed is
/// undefined, also where it would be no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Function {
    /// `abs(x)`.
    Abs,
    /// `exp(x)`.
    Exp,
    /// `power(x, y)`.
    Power,
    /// `square(x)`.
    Square,
    /// `ceiling(x)`.
    Ceiling,
    /// `floor(x)`.
    Floor,
    /// `sign(x)`: -1, 0 or 1.
    Sign,
    /// `sqrt(x)`: undefined for a negative number.
    Sqrt,
    /// `as_number(s)`: the number that a text says; a number stays what it is. Blanks around it, a
    /// sign, commas between thousands and an exponent are accepted.
    AsNumber,
    /// `is_array(x)`.
    IsArray,
    /// `is_bool(x)`.
    IsBool,
    /// `is_defined(x)`: also of null.
    IsDefined,
    /// `is_null(x)`: of null only.
    IsNull,
    /// `is_number(x)`: not of infinity.
    IsNumber,
    /// `is_object(x)`.
    IsObject,
    /// `is_primitive(x)`: of text, booleans, numbers and null.
    IsPrimitive,
    /// `is_string(x)`.
    IsString,
    /// `concat(a, b, …)`: two texts or more.
    Concat,
    /// `length(s)`.
    Length,
    /// `lower(s)`.
    Lower,
    /// `upper(s)`.
    Upper,
    /// `substring(s, start)` and `substring(s, start, length)`.
    Substring,
    /// `index_of(s, part)`: -1 where there is none.
    IndexOf,
    /// `starts_with(s, part)`, also written `startswith`.
    StartsWith,
    /// `ends_with(s, part)`, also written `endswith`.
    EndsWith,
    /// `contains(s, part)`.
    Contains,
}

/// What a function takes in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Number,
    Text,
    NumberOrText,
    Anything,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::Abs,
        Self::Exp,
        Self::Power,
        Self::Square,
        Self::Ceiling,
        Self::Floor,
        Self::Sign,
        Self::Sqrt,
        Self::AsNumber,
        Self::IsArray,
        Self::IsBool,
        Self::IsDefined,
        Self::IsNull,
        Self::IsNumber,
        Self::IsObject,
        Self::IsPrimitive,
        Self::IsString,
        Self::Concat,
        Self::Length,
        Self::Lower,
        Self::Upper,
        Self::Substring,
        Self::IndexOf,
        Self::StartsWith,
        Self::EndsWith,
        Self::Contains,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Abs => "abs",
            Self::Exp => "exp",
            Self::Power => "power",
            Self::Square => "square",
            Self::Ceiling => "ceiling",
            Self::Floor => "floor",
            Self::Sign => "sign",
            Self::Sqrt => "sqrt",
            Self::AsNumber => "as_number",
            Self::IsArray => "is_array",
            Self::IsBool => "is_bool",
            Self::IsDefined => "is_defined",
            Self::IsNull => "is_null",
            Self::IsNumber => "is_number",
            Self::IsObject => "is_object",
            Self::IsPrimitive => "is_primitive",
            Self::IsString => "is_string",
            Self::Concat => "concat",
            Self::Length => "length",
            Self::Lower => "lower",
            Self::Upper => "upper",
            Self::Substring => "substring",
            Self::IndexOf => "index_of",
            Self::StartsWith => "starts_with",
            Self::EndsWith => "ends_with",
            Self::Contains => "contains",
        }
    }

    /// The function with this name, in whatever case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        // Twin queries of the service are known to take these two without the underscore.
        match () {
            () if name.eq_ignore_ascii_case("startswith") => Some(Self::StartsWith),
            () if name.eq_ignore_ascii_case("endswith") => Some(Self::EndsWith),
            () => Self::ALL.into_iter().find(|f| f.name().eq_ignore_ascii_case(name)),
        }
    }

    /// The fewest and the most arguments.
    pub(super) fn arity(self) -> (usize, usize) {
        match self {
            Self::Concat => (2, usize::MAX),
            Self::Substring => (2, 3),
            Self::Power | Self::IndexOf | Self::StartsWith | Self::EndsWith | Self::Contains => {
                (2, 2)
            }
            _ => (1, 1),
        }
    }

    /// What it takes as its argument with this number, from 0.
    pub(super) fn takes(self, argument: usize) -> Takes {
        match self {
            Self::Abs
            | Self::Exp
            | Self::Power
            | Self::Square
            | Self::Ceiling
            | Self::Floor
            | Self::Sign
            | Self::Sqrt => Takes::Number,
            Self::AsNumber => Takes::NumberOrText,
            Self::IsArray
            | Self::IsBool
            | Self::IsDefined
            | Self::IsNull
            | Self::IsNumber
            | Self::IsObject
            | Self::IsPrimitive
            | Self::IsString => Takes::Anything,
            Self::Substring if argument > 0 => Takes::Number,
            Self::Concat
            | Self::Length
            | Self::Lower
            | Self::Upper
            | Self::Substring
            | Self::IndexOf
            | Self::StartsWith
            | Self::EndsWith
            | Self::Contains => Takes::Text,
        }
    }

    /// The type of its result.
    pub(super) fn gives(self) -> Type {
        match self {
            Self::Abs
            | Self::Exp
            | Self::Power
            | Self::Square
            | Self::Ceiling
            | Self::Floor
            | Self::Sign
            | Self::Sqrt
            | Self::AsNumber
            | Self::Length
            | Self::IndexOf => Type::Number,
            Self::Concat | Self::Lower | Self::Upper | Self::Substring => Type::Text,
            Self::IsArray
            | Self::IsBool
            | Self::IsDefined
            | Self::IsNull
            | Self::IsNumber
            | Self::IsObject
            | Self::IsPrimitive
            | Self::IsString
            | Self::StartsWith
            | Self::EndsWith
            | Self::Contains => Type::Bool,
        }
    }

    /// Its result for up to three arguments; those that were not given are undefined. Not for
    /// `concat`, which takes any number: see [`concat`].
    pub(super) fn apply<'a>(self, arguments: [Value<'a>; 3], steps: &mut Steps) -> Value<'a> {
        let [first, second, third] = arguments;
        match self {
            Self::IsArray => Value::Bool(matches!(first, Value::Array)),
            Self::IsBool => Value::Bool(matches!(first, Value::Bool(_))),
            Self::IsDefined => Value::Bool(first.is_defined()),
            Self::IsNull => Value::Bool(matches!(first, Value::Null | Value::Bare)),
            Self::IsNumber => Value::Bool(matches!(first, Value::Number(n) if n.is_finite())),
            Self::IsObject => Value::Bool(matches!(first, Value::Object)),
            Self::IsPrimitive => Value::Bool(matches!(
                first,
                Value::Text(_) | Value::Bool(_) | Value::Number(_) | Value::Null | Value::Bare
            )),
            Self::IsString => Value::Bool(matches!(first, Value::Text(_))),
            Self::Abs => of_number(&first, f64::abs),
            Self::Exp => of_number(&first, f64::exp),
            Self::Square => of_number(&first, |x| x * x),
            Self::Ceiling => of_number(&first, f64::ceil),
            Self::Floor => of_number(&first, f64::floor),
            Self::Sign => of_number(&first, |x| if x == 0.0 { 0.0 } else { x.signum() }),
            Self::Sqrt => of_number(&first, f64::sqrt),
            Self::Power => match (first, second) {
                (Value::Number(x), Value::Number(y)) => number(x.powf(y)),
                _ => Value::Undefined,
            },
            Self::AsNumber => match first {
                Value::Number(x) => number(x),
                Value::Text(text) => read_number(&text).map_or(Value::Undefined, number),
                _ => Value::Undefined,
            },
            Self::Concat => concat(&[first, second], steps),
            Self::Length => match first {
                Value::Text(text) if steps.spend_text(text.len()) => count(units(&text)),
                _ => Value::Undefined,
            },
            Self::Lower => of_text(first, steps, |text| changed_case(text, char::to_lowercase)),
            Self::Upper => of_text(first, steps, |text| changed_case(text, char::to_uppercase)),
            Self::Substring => match (first, second, third) {
                (Value::Text(text), Value::Number(start), length)
                    if steps.spend_text(text.len()) =>
                {
                    let length = match length {
                        Value::Number(length) => Some(length),
                        _ => None,
                    };
                    substring(text, start, length)
                }
                _ => Value::Undefined,
            },
            Self::IndexOf => of_texts(&first, &second, steps, |text, part| {
                let before = text.find(part).and_then(|at| text.get(..at));
                before.map_or(Value::Number(-1.0), |before| count(units(before)))
            }),
            Self::StartsWith => {
                of_texts(&first, &second, steps, |text, part| Value::Bool(text.starts_with(part)))
            }
            Self::EndsWith => {
                of_texts(&first, &second, steps, |text, part| Value::Bool(text.ends_with(part)))
            }
            Self::Contains => {
                of_texts(&first, &second, steps, |text, part| Value::Bool(text.contains(part)))
            }
        }
    }
}

/// Texts behind each other. An application property without a value adds nothing; anything else that
/// is no text makes the result undefined.
pub(super) fn concat<'a>(parts: &[Value<'a>], steps: &mut Steps) -> Value<'a> {
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

/// What is no number is undefined; infinity is a number.
pub(super) fn number<'a>(value: f64) -> Value<'a> {
    if value.is_nan() { Value::Undefined } else { Value::Number(value) }
}

fn count<'a>(units: usize) -> Value<'a> {
    // Text is far shorter than the 2^53 units from which on doubles have gaps.
    Value::Number(u32::try_from(units).map_or(f64::INFINITY, f64::from))
}

fn of_number<'a>(value: &Value<'_>, f: impl FnOnce(f64) -> f64) -> Value<'a> {
    match value {
        Value::Number(x) => number(f(*x)),
        _ => Value::Undefined,
    }
}

fn of_text<'a>(
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

fn of_texts<'a>(
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
fn units(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(char::len_utf16).sum() }
}

/// Changes letters one by one, as an invariant culture does: a letter whose counterpart is more than
/// one letter stays. Nothing if nothing changes.
fn changed_case<I: Iterator<Item = char>>(text: &str, f: impl Fn(char) -> I) -> Option<String> {
    let change = |c: char| {
        let mut letters = f(c);
        match (letters.next(), letters.next()) {
            (Some(letter), None) => letter,
            _ => c,
        }
    };
    text.chars().any(|c| change(c) != c).then(|| text.chars().map(change).collect())
}

fn substring(text: Cow<'_, str>, start: f64, length: Option<f64>) -> Value<'_> {
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

/// The number that a text says, by the rules of .NET's invariant culture: blanks around it, a sign,
/// commas within the integer part, a fraction and an exponent. Beyond a double it is infinite.
fn read_number(text: &str) -> Option<f64> {
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
    fn names_are_unique_and_found_in_any_case() {
        for (i, function) in Function::ALL.into_iter().enumerate() {
            assert_eq!(Function::from_name(&function.name().to_uppercase()), Some(function));
            assert!(Function::ALL.into_iter().skip(i + 1).all(|other| other != function));
        }
        assert_eq!(Function::from_name("STARTSWITH"), Some(Function::StartsWith));
        assert_eq!(Function::from_name("EndsWith"), Some(Function::EndsWith));
        assert_eq!(Function::from_name("eval"), None);
    }

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
