//! Why a text is not a condition or a query.

use std::borrow::Cow;

/// What kind of mistake it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The text does not follow the grammar.
    Syntax,
    /// An operator or a function is given what it cannot take.
    Type,
    /// The text is longer, deeper or has more parts than [`Limits`](crate::Limits) allows.
    Limit,
}

/// A mistake in a condition or a query: where it is, what stands there, and what could.
///
/// Positions are those of the first character that is wrong. Lines and columns count characters from
/// 1, as editors do; the offset counts bytes from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: expected {expected}, found {found}")]
pub struct ParseError {
    kind: ParseErrorKind,
    offset: usize,
    line: usize,
    column: usize,
    found: Cow<'static, str>,
    expected: Cow<'static, str>,
}

/// Longest piece of the text that is quoted in an error, in characters.
const QUOTED_MAX: usize = 32;

impl ParseError {
    pub(super) fn new(
        kind: ParseErrorKind,
        text: &str,
        offset: usize,
        expected: impl Into<Cow<'static, str>>,
        found: impl Into<Cow<'static, str>>,
    ) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            kind,
            offset: before.len(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).map_or(0, |line| line.chars().count()) + 1,
            found: found.into(),
            expected: expected.into(),
        }
    }

    /// What kind of mistake.
    #[must_use]
    pub fn kind(&self) -> ParseErrorKind {
        self.kind
    }

    /// Where it is: bytes before it.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The line it is in, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column it begins at: characters from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }

    /// What stands there.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.found
    }

    /// What could stand there.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }
}

/// A piece of the text for an error: quoted, and cut where it is long.
pub(super) fn quoted(piece: &str) -> String {
    match piece.char_indices().nth(QUOTED_MAX) {
        None => format!("`{piece}`"),
        Some((end, _)) => format!("`{}…`", piece.get(..end).unwrap_or(piece)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_an_editor() {
        let text = "a = 1\n AND ü x";
        let error = ParseError::new(ParseErrorKind::Syntax, text, 14, "an operator", quoted("x"));
        assert_eq!((error.line(), error.column(), error.offset()), (2, 8, 14));
        assert_eq!(error.to_string(), "line 2, column 8: expected an operator, found `x`");
        assert_eq!(quoted(&"ä".repeat(40)), format!("`{}…`", "ä".repeat(32)));
    }
}
