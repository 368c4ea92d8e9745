//! The `WHERE` part of a twin query.

use std::fmt;

use super::ast::{Expr, ExprKind, Reference};
use super::check::check;
use super::error::{ParseError, ParseErrorKind};
use super::eval::{Evaluator, Scope};
use super::lex::Dialect;
use super::parse::Parser;
use super::path::{Case, Path};
use super::subject::Fields;
use super::value::{Truth, Value};
use crate::limits::Limits;

/// Which rows a query is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    expr: Option<Expr>,
    steps_max: u32,
}

impl Filter {
    /// Parses and checks a condition on twins, as jobs and configurations have it: the `WHERE` part
    /// alone. `*` selects all.
    ///
    /// # Errors
    /// [`ParseError`] says where it breaks the grammar, the types or the limits, and what could
    /// stand there.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, ParseError> {
        let mut parser = Parser::new(text, Dialect::Query, limits)?;
        if parser.take_symbol("*")? && parser.is_at_end() {
            return Ok(Self::all(limits));
        }
        let expr = parser.expression()?;
        if !parser.is_at_end() {
            return Err(parser.unexpected("an operator or the end"));
        }
        check(text, &expr)?;
        Ok(Self::new(expr, limits))
    }

    /// Every row.
    #[must_use]
    pub fn all(limits: &Limits) -> Self {
        Self { expr: None, steps_max: limits.query_steps_max }
    }

    pub(super) fn new(expr: Expr, limits: &Limits) -> Self {
        Self { expr: Some(expr), steps_max: limits.query_steps_max }
    }

    /// The condition. Nothing if every row counts.
    #[must_use]
    pub fn expr(&self) -> Option<&Expr> {
        self.expr.as_ref()
    }

    /// Checks that the condition, whose text this is, looks at such fields only.
    ///
    /// # Errors
    /// [`ParseError`] says where it looks at another one; `expected` says what it may look at.
    pub fn check_fields(
        &self,
        text: &str,
        expected: &'static str,
        allowed: impl Fn(&Path) -> bool,
    ) -> Result<(), ParseError> {
        let mut other: Option<(usize, String)> = None;
        if let Some(expr) = &self.expr {
            expr.visit(&mut |_, inner| {
                if let ExprKind::Reference(Reference::Column(path)) = &inner.kind
                    && other.is_none()
                    && !allowed(path)
                {
                    other = Some((inner.at, format!("`{path}`")));
                }
            });
        }
        match other {
            None => Ok(()),
            Some((at, found)) => {
                Err(ParseError::new(ParseErrorKind::Type, text, at, expected, found))
            }
        }
    }

    /// Whether a row counts: only if the condition is true, neither false nor undefined. One that
    /// takes more than [`Limits::query_steps_max`] steps is undefined.
    pub fn selects(&self, row: &impl Fields) -> bool {
        self.truth(row).holds()
    }

    /// What the condition comes to for a row.
    pub fn truth(&self, row: &impl Fields) -> Truth {
        match &self.expr {
            None => Truth::True,
            Some(expr) => Evaluator::new(&RowScope(row), self.steps_max).truth(expr),
        }
    }
}

/// The condition, or `*`.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.expr {
            None => f.write_str("*"),
            Some(expr) => expr.fmt(f),
        }
    }
}

/// Looks names up in a row.
struct RowScope<'r, F>(&'r F);

impl<F: Fields> Scope for RowScope<'_, F> {
    fn resolve(&self, reference: &Reference) -> Value<'_> {
        match reference {
            Reference::Column(path) => match self.0.value(path, Case::Exact) {
                // What a twin does not have is undefined: `tags.x != 'a'` does not select it.
                Value::Missing => Value::Undefined,
                value => value,
            },
            // There are no messages where there are rows.
            _ => Value::Undefined,
        }
    }

    fn change_includes(&self, _: &Path) -> Option<bool> {
        None
    }
}
