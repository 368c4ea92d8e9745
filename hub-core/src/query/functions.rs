//! Functions of the language.

mod apply;
mod number;
mod text;

pub(super) use self::number::number;
pub(super) use self::text::concat;
use super::check::Type;

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
}
