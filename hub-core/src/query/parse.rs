//! From tokens to an expression, in both dialects.

mod operand;
mod operators;
mod reference;

use std::borrow::Cow;

use self::operators::Built;
use super::ast::{Expr, ExprKind};
use super::error::{ParseError, ParseErrorKind, quoted};
use super::lex::{Dialect, Lexer, Token, TokenKind};
use crate::limits::Limits;

/// Deepest nesting of an expression, whatever [`Limits::query_depth_max`] says. The stack ends
/// somewhere.
pub const DEPTH_CEILING: usize = 128;

/// Reads one text, a token ahead.
pub(super) struct Parser<'t> {
    lexer: Lexer<'t>,
    dialect: Dialect,
    current: Token<'t>,
    depth: usize,
    depth_max: usize,
    nodes: usize,
    nodes_max: usize,
}

impl<'t> Parser<'t> {
    pub(super) fn new(
        text: &'t str,
        dialect: Dialect,
        limits: &Limits,
    ) -> Result<Self, ParseError> {
        let over = text.char_indices().nth(limits.query_text_max);
        if let Some((at, _)) = over {
            let expected = format!("at most {} characters", limits.query_text_max);
            let found = format!("{}", text.chars().count());
            return Err(ParseError::new(ParseErrorKind::Limit, text, at, expected, found));
        }
        let mut lexer = Lexer::new(text, dialect);
        let current = lexer.token()?;
        Ok(Self {
            lexer,
            dialect,
            current,
            depth: 0,
            depth_max: limits.query_depth_max.min(DEPTH_CEILING),
            nodes: 0,
            nodes_max: limits.query_nodes_max,
        })
    }

    pub(super) fn text(&self) -> &'t str {
        self.lexer.text()
    }

    /// Where the token at hand begins.
    pub(super) fn at(&self) -> usize {
        self.current.start
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.current.kind == TokenKind::End
    }

    /// Takes the token at hand.
    pub(super) fn advance(&mut self) -> Result<Token<'t>, ParseError> {
        let next = self.lexer.token()?;
        Ok(std::mem::replace(&mut self.current, next))
    }

    /// A mistake at the token at hand.
    pub(super) fn unexpected(&self, expected: impl Into<Cow<'static, str>>) -> ParseError {
        let Token { kind, start, end } = &self.current;
        let found = match kind {
            TokenKind::End => Cow::Borrowed("the end"),
            _ => quoted(self.text().get(*start..*end).unwrap_or("")).into(),
        };
        ParseError::new(ParseErrorKind::Syntax, self.text(), *start, expected, found)
    }

    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.current.kind, TokenKind::Symbol(found) if found == symbol)
    }

    /// Takes the symbol, if it is at hand.
    pub(super) fn take_symbol(&mut self, symbol: &str) -> Result<bool, ParseError> {
        let found = self.is_symbol(symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// Takes the symbol, which must be at hand; if it is not, says what could be there.
    pub(super) fn expect_symbol(
        &mut self,
        symbol: &str,
        expected: &'static str,
    ) -> Result<(), ParseError> {
        if self.take_symbol(symbol)? { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    /// Whether this word, in whatever case, is at hand.
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.current.kind, TokenKind::Name(found) if found.eq_ignore_ascii_case(word))
    }

    /// Takes the word, if it is at hand.
    pub(super) fn take_word(&mut self, word: &str) -> Result<bool, ParseError> {
        let found = self.is_word(word);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// The name at hand, if a parenthesis follows it.
    pub(super) fn call_ahead(&self) -> Option<&'t str> {
        let TokenKind::Name(name) = self.current.kind else { return None };
        let next = self.lexer.clone().token();
        next.is_ok_and(|token| token.kind == TokenKind::Symbol("(")).then_some(name)
    }

    /// Counts one more part of the text.
    pub(super) fn count(&mut self) -> Result<(), ParseError> {
        self.nodes += 1;
        if self.nodes <= self.nodes_max {
            return Ok(());
        }
        let expected = format!("at most {} operands, operators and values", self.nodes_max);
        Err(ParseError::new(ParseErrorKind::Limit, self.text(), self.at(), expected, "more"))
    }

    fn leaf(&mut self, kind: ExprKind, at: usize) -> Result<Built, ParseError> {
        self.count()?;
        Ok(Built { expr: Expr { kind, at }, height: 1, chain: None })
    }

    /// A node above others, the highest of which has this height.
    fn node(&mut self, kind: ExprKind, at: usize, below: usize) -> Result<Built, ParseError> {
        self.count()?;
        if below >= self.depth_max {
            return Err(self.too_deep());
        }
        Ok(Built { expr: Expr { kind, at }, height: below + 1, chain: None })
    }

    fn too_deep(&self) -> ParseError {
        let expected = format!("at most {} expressions in one another", self.depth_max);
        ParseError::new(ParseErrorKind::Limit, self.text(), self.at(), expected, "more")
    }
}
