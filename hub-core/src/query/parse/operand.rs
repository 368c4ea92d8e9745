//! Operands: constants, names, functions, and what stands in brackets.

use super::Parser;
use super::operators::Built;
use super::reference::Braces;
use crate::query::ast::{Expr, ExprKind, Literal, Reference, binding};
use crate::query::error::{ParseError, ParseErrorKind};
use crate::query::functions::Function;
use crate::query::lex::{Dialect, TokenKind, is_keyword};

impl Parser<'_> {
    /// What stands between operators. All nesting goes through here, so the depth is watched here.
    pub(super) fn operand(&mut self) -> Result<Built, ParseError> {
        if self.depth >= self.depth_max {
            return Err(self.too_deep());
        }
        self.depth += 1;
        let built = self.unary();
        self.depth -= 1;
        built
    }

    fn unary(&mut self) -> Result<Built, ParseError> {
        let at = self.at();
        if self.take_word("not")? {
            // In routes NOT binds tighter than comparisons, as the service's engine has it; in twin
            // queries it takes the comparison behind it, as in SQL.
            let operand = match self.dialect {
                Dialect::Route => self.operand()?,
                Dialect::Query => self.operators(binding::EQUALITY)?,
            };
            return self.node(ExprKind::Not(Box::new(operand.expr)), at, operand.height);
        }
        if self.is_symbol("-") {
            let minus = self.advance()?;
            if let TokenKind::Number(value) = self.current.kind
                && self.at() == minus.end
            {
                self.advance()?;
                return self.leaf(ExprKind::Literal(Literal::Number(-value)), at);
            }
            let operand = self.operand()?;
            return self.node(ExprKind::Negate(Box::new(operand.expr)), at, operand.height);
        }
        if self.take_symbol("(")? {
            let inner = self.operators(binding::COALESCE)?;
            self.expect_symbol(")", "an operator or `)`")?;
            let expr = Expr { at, ..inner.expr };
            return Ok(Built { expr, height: inner.height, chain: None });
        }
        if self.dialect == Dialect::Route && self.is_symbol("{") {
            return self.braced(at);
        }
        self.primary(at)
    }

    fn primary(&mut self, at: usize) -> Result<Built, ParseError> {
        if let Some(literal) = self.literal()? {
            return self.leaf(ExprKind::Literal(literal), at);
        }
        let kind = match (self.dialect, self.current.kind.clone()) {
            (Dialect::Route, TokenKind::Reference(text)) => {
                let reference = self.reference(text, Braces::Absent)?;
                self.advance()?;
                reference
            }
            (Dialect::Query, TokenKind::Escaped(_)) => Reference::Column(self.path()?),
            (dialect, TokenKind::Name(name)) if !self.is_operator_word(name) => {
                if self.call_ahead().is_some() {
                    return self.call(name, at);
                }
                if dialect == Dialect::Query {
                    Reference::Column(self.path()?)
                } else {
                    self.advance()?;
                    Reference::Application(name.into())
                }
            }
            _ => return Err(self.unexpected("a value, a name, a function, `NOT`, `-` or `(`")),
        };
        self.leaf(ExprKind::Reference(kind), at)
    }

    /// Words that are no names where an operand is expected.
    pub(super) fn is_operator_word(&self, name: &str) -> bool {
        match self.dialect {
            Dialect::Route => ["and", "or", "not"].iter().any(|w| w.eq_ignore_ascii_case(name)),
            Dialect::Query => is_keyword(name) && !name.eq_ignore_ascii_case("devices"),
        }
    }

    /// A constant, if one is at hand.
    pub(in crate::query) fn literal(&mut self) -> Result<Option<Literal>, ParseError> {
        let route = self.dialect == Dialect::Route;
        let is = |name: &str, word: &str| {
            if route { name == word } else { name.eq_ignore_ascii_case(word) }
        };
        let literal = match &self.current.kind {
            TokenKind::Number(value) => Literal::Number(*value),
            TokenKind::Text(text) => Literal::Text(text.as_str().into()),
            TokenKind::Name(name) if is(name, "true") => Literal::Bool(true),
            TokenKind::Name(name) if is(name, "false") => Literal::Bool(false),
            TokenKind::Name(name) if is(name, "null") => Literal::Null,
            TokenKind::Name(name) if is(name, "undefined") => Literal::Undefined,
            _ => return Ok(None),
        };
        self.advance()?;
        Ok(Some(literal))
    }

    /// `[c, c, …]`, at least one.
    pub(super) fn list(&mut self) -> Result<Vec<Literal>, ParseError> {
        self.expect_symbol("[", "`[` and a list of values")?;
        let mut list = Vec::new();
        loop {
            self.count()?;
            let minus = self.take_symbol("-")?;
            list.push(match (minus, self.literal()?) {
                (false, Some(literal)) => literal,
                (true, Some(Literal::Number(value))) => Literal::Number(-value),
                _ => return Err(self.unexpected("a value")),
            });
            if !self.take_symbol(",")? {
                self.expect_symbol("]", "`,` or `]`")?;
                return Ok(list);
            }
        }
    }

    /// A function and its arguments.
    fn call(&mut self, name: &str, at: usize) -> Result<Built, ParseError> {
        if self.dialect == Dialect::Route && name.eq_ignore_ascii_case("twin_change_includes") {
            self.advance()?;
            self.advance()?;
            let path = self.changed_path()?;
            self.expect_symbol(")", "`)`")?;
            return self.leaf(ExprKind::ChangeIncludes(path), at);
        }
        let Some(function) = Function::from_name(name) else {
            return Err(self.unexpected("the name of a function"));
        };
        self.advance()?;
        self.advance()?;
        let (mut arguments, mut height) = (Vec::new(), 0);
        if !self.is_symbol(")") {
            loop {
                let argument = self.operators(binding::COALESCE)?;
                height = height.max(argument.height);
                arguments.push(argument.expr);
                if !self.take_symbol(",")? {
                    break;
                }
            }
        }
        let (fewest, most) = function.arity();
        if !(fewest..=most).contains(&arguments.len()) {
            let expected = match (fewest, most) {
                (1, _) => "1 argument".to_owned(),
                (fewest, usize::MAX) => format!("{fewest} arguments or more"),
                (fewest, most) if fewest == most => format!("{fewest} arguments"),
                (fewest, most) => format!("{fewest} to {most} arguments"),
            };
            let expected = format!("{expected} of {}", function.name());
            let found = arguments.len().to_string();
            let kind = ParseErrorKind::Type;
            return Err(ParseError::new(kind, self.text(), at, expected, found));
        }
        self.expect_symbol(")", "an operator, `,` or `)`")?;
        self.node(ExprKind::Call(function, arguments), at, height)
    }
}
