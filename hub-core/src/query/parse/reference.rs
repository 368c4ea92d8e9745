//! What names refer to: `$…` of routes, paths of twin queries.

use super::Parser;
use super::operators::Built;
use crate::query::ast::{ExprKind, Reference, SystemName};
use crate::query::columns;
use crate::query::error::{ParseError, ParseErrorKind, quoted};
use crate::query::lex::TokenKind;
use crate::query::path::{Path, Step};

/// Whether a reference stands in braces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Braces {
    Absent,
    Present,
}

impl Parser<'_> {
    /// `{$name}`.
    pub(super) fn braced(&mut self, at: usize) -> Result<Built, ParseError> {
        self.advance()?;
        let TokenKind::Reference(text) = self.current.kind else {
            return Err(self.unexpected("`$` and the name of a system property"));
        };
        let reference = self.reference(text, Braces::Present)?;
        self.advance()?;
        self.expect_symbol("}", "`}`")?;
        self.leaf(ExprKind::Reference(reference), at)
    }

    /// What a `$…` at hand refers to.
    pub(super) fn reference(&self, text: &str, braces: Braces) -> Result<Reference, ParseError> {
        let name = text.get(1..).unwrap_or("");
        let below = |root: &str| -> Option<&str> {
            let rest = name.get(..root.len())?.eq_ignore_ascii_case(root);
            let rest = rest.then(|| name.get(root.len()..)).flatten()?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
        };
        if let Some(rest) = below("body") {
            return Ok(Reference::Body(self.route_path(text, rest)?));
        }
        if let Some(rest) = below("twin") {
            let path = self.route_path(text, rest)?;
            let path = columns::canonical(path);
            if columns::is_twin_value(&path) {
                return Ok(Reference::Twin(path));
            }
            let expected =
                "`$twin.tags.`, `$twin.properties.desired.` or `$twin.properties.reported.`";
            return Err(self.unexpected(expected));
        }
        if name.is_empty() || name.contains(['[', ']']) {
            return Err(self.unexpected("`$` and the name of a system property, `body` or `twin`"));
        }
        let system = SystemName::from_keyword(name);
        Ok(match braces {
            Braces::Absent => Reference::Property(system, text.into()),
            Braces::Present => Reference::System(system, text.into()),
        })
    }

    /// The steps behind `$body` or `$twin`: `.name`, or `.name[number]`.
    fn route_path(&self, text: &str, rest: &str) -> Result<Path, ParseError> {
        // Where in the text a part of the reference stands.
        let place = |part: &str| self.at() + (part.as_ptr() as usize - text.as_ptr() as usize);
        let error = |part: &str, expected: &'static str| {
            let found = if part.is_empty() { "nothing".to_owned() } else { quoted(part) };
            let at = place(part);
            ParseError::new(ParseErrorKind::Syntax, self.text(), at, expected, found)
        };
        let mut steps = Vec::new();
        let Some(parts) = rest.strip_prefix('.') else {
            // `$body` alone and `$body[0]` are nothing that could be looked up.
            return if rest.is_empty() || rest.ends_with(']') {
                Ok(Path::default())
            } else {
                Err(error(rest, "`.` and the name of a member"))
            };
        };
        for part in parts.split('.') {
            let (name, index) = match part.find('[') {
                Some(bracket) => part.split_at_checked(bracket).unwrap_or((part, "")),
                None => (part, ""),
            };
            if name.is_empty() || name.contains(']') {
                return Err(error(part, "the name of a member"));
            }
            steps.push(Step::Member(name.into()));
            if !index.is_empty() {
                let digits = index.strip_prefix('[').and_then(|i| i.strip_suffix(']'));
                let digits = digits.filter(|d| d.bytes().all(|byte| byte.is_ascii_digit()));
                let index = digits.and_then(|digits| digits.parse().ok());
                let expected = "`[`, the number of an element and `]`";
                steps.push(Step::Index(index.ok_or_else(|| error(part, expected))?));
            }
        }
        Ok(Path::new(steps))
    }

    /// A path of a twin query: names and numbers of elements.
    pub(in crate::query) fn path(&mut self) -> Result<Path, ParseError> {
        let first = match self.current.kind {
            TokenKind::Escaped(name) => name,
            TokenKind::Name(name) if !self.is_operator_word(name) => name,
            _ => return Err(self.unexpected("the name of a field")),
        };
        let mut steps = vec![Step::Member(first.into())];
        loop {
            self.count()?;
            self.advance()?;
            if self.is_symbol(".") {
                let name = self.lexer.member()?;
                steps.push(Step::Member(name.into()));
                continue;
            }
            if !self.is_symbol("[") {
                return Ok(columns::canonical(Path::new(steps)));
            }
            self.advance()?;
            match self.current.kind {
                TokenKind::Number(value)
                    if value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value) =>
                {
                    steps.push(Step::Index(value as u32));
                }
                _ => return Err(self.unexpected("the number of an element")),
            }
            self.advance()?;
            if !self.is_symbol("]") {
                return Err(self.unexpected("`]`"));
            }
        }
    }

    /// The argument of `twin_change_includes`.
    pub(super) fn changed_path(&mut self) -> Result<Path, ParseError> {
        let expected = "`tags.`, `properties.desired.` or `properties.reported.` and a path";
        let TokenKind::Name(text) = self.current.kind else {
            return Err(self.unexpected(expected));
        };
        let path = columns::canonical(Path::of(text.split('.')));
        if !columns::is_twin_value(&path) || text.split('.').any(str::is_empty) {
            return Err(self.unexpected(expected));
        }
        self.advance()?;
        Ok(path)
    }
}
