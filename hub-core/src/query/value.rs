//! Values of operands, and how they compare.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

/// What an operand is worth.
///
/// A value of a message or a twin is borrowed from there; only functions make text.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// Nothing is known: an absent property, or an operation on what it cannot take.
    Undefined,
    /// A path of a body or a twin leads nowhere. Not defined, and compares as null does.
    Missing,
    /// Null.
    Null,
    /// An application property without a value: is null, but compares with nothing.
    Bare,
    /// True or false.
    Bool(bool),
    /// A number, always a double.
    Number(f64),
    /// Text.
    Text(Cow<'a, str>),
    /// An array. It can be told apart and counts as undefined otherwise.
    Array,
    /// An object. It can be told apart and counts as undefined otherwise.
    Object,
}

impl Value<'_> {
    /// The same value, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Undefined => Value::Undefined,
            Self::Missing => Value::Missing,
            Self::Null => Value::Null,
            Self::Bare => Value::Bare,
            Self::Bool(value) => Value::Bool(value),
            Self::Number(value) => Value::Number(value),
            Self::Text(text) => Value::Text(text.into_owned().into()),
            Self::Array => Value::Array,
            Self::Object => Value::Object,
        }
    }

    /// What it is worth as a whole condition: true, false, or undefined. Null is false; numbers and
    /// text are undefined.
    #[must_use]
    pub fn truth(&self) -> Truth {
        match self {
            Self::Bool(true) => Truth::True,
            Self::Bool(false) | Self::Null => Truth::False,
            _ => Truth::Undefined,
        }
    }

    /// Whether `is_defined` holds: for everything but undefined and missing.
    #[must_use]
    pub fn is_defined(&self) -> bool {
        !matches!(self, Self::Undefined | Self::Missing)
    }
}

/// As a person reads it in an explanation.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined => f.write_str("undefined"),
            Self::Missing => f.write_str("missing"),
            Self::Null => f.write_str("null"),
            Self::Bare => f.write_str("null (no value)"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(text) => super::print::string(f, text),
            Self::Array => f.write_str("(array)"),
            Self::Object => f.write_str("(object)"),
        }
    }
}

/// One of three truth values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nothing can be said.
    Undefined,
}

impl Truth {
    /// Of a boolean.
    #[must_use]
    pub const fn of(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }

    /// Whether it is true. False and undefined both select nothing.
    #[must_use]
    pub const fn holds(self) -> bool {
        matches!(self, Self::True)
    }

    /// Both hold: false if one is false, else undefined if one is.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::True, Self::True) => Self::True,
            _ => Self::Undefined,
        }
    }

    /// One holds: true if one is true, else undefined if one is.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::True, _) | (_, Self::True) => Self::True,
            (Self::False, Self::False) => Self::False,
            _ => Self::Undefined,
        }
    }

    pub(super) fn value<'a>(self) -> Value<'a> {
        match self {
            Self::True => Value::Bool(true),
            Self::False => Value::Bool(false),
            Self::Undefined => Value::Undefined,
        }
    }
}

impl std::ops::Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Undefined => Self::Undefined,
        }
    }
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::True => "true",
            Self::False => "false",
            Self::Undefined => "undefined",
        })
    }
}

/// How two values stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// Of one kind, and in this order.
    Ordered(Ordering),
    /// Of different kinds: not equal, and in no order.
    Unlike,
    /// One of them is undefined.
    Undefined,
}

/// Compares two values: text by UTF-16 code unit, null equal to null and to what is missing.
pub(super) fn relate(left: &Value<'_>, right: &Value<'_>) -> Relation {
    use Value::{Array, Bare, Bool, Missing, Null, Number, Object, Text, Undefined};
    match (left, right) {
        (Undefined | Bare | Array | Object, _) | (_, Undefined | Bare | Array | Object) => {
            Relation::Undefined
        }
        (Number(a), Number(b)) => a.partial_cmp(b).map_or(Relation::Undefined, Relation::Ordered),
        (Number(a), _) if a.is_nan() => Relation::Undefined,
        (_, Number(b)) if b.is_nan() => Relation::Undefined,
        (Null | Missing, Null | Missing) => Relation::Ordered(Ordering::Equal),
        (Bool(a), Bool(b)) => Relation::Ordered(a.cmp(b)),
        (Text(a), Text(b)) => Relation::Ordered(ordinal(a, b)),
        _ => Relation::Unlike,
    }
}

/// Compares text by UTF-16 code unit. Differs from the order of bytes only where a character beyond
/// U+FFFF meets one between U+E000 and U+FFFF.
pub(super) fn ordinal(a: &str, b: &str) -> Ordering {
    if a == b { Ordering::Equal } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Truth; 3] = [Truth::True, Truth::False, Truth::Undefined];

    #[test]
    fn three_valued_logic_keeps_its_laws() {
        for a in ALL {
            assert_eq!(!!a, a);
            assert_eq!((a.and(a), a.or(a)), (a, a));
            assert_eq!((a.and(Truth::True), a.or(Truth::False)), (a, a));
            assert_eq!((a.and(Truth::False), a.or(Truth::True)), (Truth::False, Truth::True));
            for b in ALL {
                assert_eq!((a.and(b), a.or(b)), (b.and(a), b.or(a)));
                assert_eq!(!(a.and(b)), (!a).or(!b));
                assert_eq!(a.or(a.and(b)), a);
                for c in ALL {
                    assert_eq!(a.and(b).and(c), a.and(b.and(c)));
                    assert_eq!(a.or(b.and(c)), a.or(b).and(a.or(c)));
                }
            }
        }
    }

    #[test]
    fn text_is_ordered_by_utf16_code_unit() {
        // By bytes, and by character, the second is the smaller one.
        assert_eq!(ordinal("\u{10000}", "\u{ff5e}"), Ordering::Less);
        assert_eq!(ordinal("a", "B"), Ordering::Greater);
        assert_eq!(ordinal("a", "ab"), Ordering::Less);
    }
}
