//! The condition of a route.

use std::fmt;
use std::str::FromStr;

use super::ast::{Expr, ExprKind, Literal, Reference};
use super::body::BodyFault;
use super::check::check;
use super::error::ParseError;
use super::eval::{Evaluator, Scope};
use super::lex::Dialect;
use super::parse::Parser;
use super::path::{Case, Path, walk};
use super::subject::Subject;
use super::value::{Truth, Value};
use crate::limits::Limits;

/// A condition of a route: parsed and checked once, evaluated for every message.
///
/// ```
/// use hub_core::{limits::Limits, query::Condition};
///
/// let limits = Limits::default();
/// let condition = Condition::parse("level = 'critical' AND $body.temperature > 50", &limits)?;
/// assert!(condition.needs().body && !condition.needs().twin);
///
/// // An application property is text, so this could never hold.
/// let refused = Condition::parse("level > 3", &limits).unwrap_err();
/// assert_eq!(refused.to_string(), "line 1, column 9: expected text, found a number");
/// # Ok::<(), hub_core::query::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub(super) expr: Expr,
    pub(super) steps_max: u32,
    needs: Needs,
}

/// What a condition looks at beside properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// The body: `$body`.
    pub body: bool,
    /// The twin of the sender: `$twin`. It has to be read before the condition is evaluated.
    pub twin: bool,
    /// The change that a message tells of: `twin_change_includes`. It makes sense for events of
    /// twin changes only.
    pub change: bool,
}

/// What came out for one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evaluation {
    /// Whether the condition holds.
    pub truth: Truth,
    /// What is wrong with the message, if that is why it is undefined.
    pub fault: Option<Fault>,
}

/// Why a condition could not be evaluated as it was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It looks into the body, and cannot.
    #[error(transparent)]
    Body(BodyFault),
    /// It took more steps than [`Limits::query_steps_max`].
    #[error("the evaluation took more steps than are allowed")]
    Steps,
}

impl Condition {
    /// Parses and checks a condition. An empty one is undefined for every message; `true` is the one
    /// that holds for all.
    ///
    /// # Errors
    /// [`ParseError`] says where it breaks the grammar, the types or the limits, and what could
    /// stand there.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, ParseError> {
        let mut parser = Parser::new(text, Dialect::Route, limits)?;
        let expr = if parser.is_at_end() {
            Expr { kind: ExprKind::Literal(Literal::Undefined), at: 0 }
        } else {
            parser.expression()?
        };
        if !parser.is_at_end() {
            return Err(parser.unexpected("an operator or the end"));
        }
        check(text, &expr)?;
        let mut needs = Needs::default();
        expr.visit(&mut |_, inner| match &inner.kind {
            ExprKind::Reference(Reference::Body(_)) => needs.body = true,
            ExprKind::Reference(Reference::Twin(_)) => needs.twin = true,
            ExprKind::ChangeIncludes(_) => needs.change = true,
            _ => {}
        });
        Ok(Self { expr, steps_max: limits.query_steps_max, needs })
    }

    /// The condition that holds for every message.
    #[must_use]
    pub fn always(limits: &Limits) -> Self {
        let kind = ExprKind::Literal(Literal::Bool(true));
        let expr = Expr { kind, at: 0 };
        Self { expr, steps_max: limits.query_steps_max, needs: Needs::default() }
    }

    /// What it looks at beside properties.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// Its expression.
    #[must_use]
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// Evaluates it for a message. Allocates nothing for properties; text that functions make is
    /// allocated, and so is a body, the first time that it is looked into.
    pub fn evaluate(&self, subject: &impl Subject) -> Evaluation {
        let scope = MessageScope(subject);
        let mut evaluator = Evaluator::new(&scope, self.steps_max);
        let truth = evaluator.truth(&self.expr);
        let fault = match truth {
            Truth::Undefined if evaluator.is_exhausted() => Some(Fault::Steps),
            Truth::Undefined if self.needs.body || self.needs.change => {
                subject.body().err().map(Fault::Body)
            }
            _ => None,
        };
        Evaluation { truth, fault }
    }

    /// Whether it holds for a message: false and undefined are both no match.
    pub fn matches(&self, subject: &impl Subject) -> bool {
        let scope = MessageScope(subject);
        Evaluator::new(&scope, self.steps_max).truth(&self.expr).holds()
    }
}

/// With the default limits.
impl FromStr for Condition {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text, &Limits::default())
    }
}

/// Text that parses to the same condition.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}

/// Looks names up in a message.
pub(super) struct MessageScope<'m, S>(pub(super) &'m S);

impl<S: Subject> Scope for MessageScope<'_, S> {
    fn resolve(&self, reference: &Reference) -> Value<'_> {
        let application = |name: &str| match self.0.application(name) {
            None => Value::Undefined,
            Some(None) => Value::Bare,
            Some(Some(value)) => Value::Text(value.into()),
        };
        match reference {
            Reference::Application(name) => application(name),
            Reference::Property(system, name) => {
                let system = system.and_then(|name| self.0.system(name));
                system.map_or_else(|| application(name), Value::Text)
            }
            Reference::System(system, _) => {
                let system = system.and_then(|name| self.0.system(name));
                system.map_or(Value::Undefined, Value::Text)
            }
            Reference::Body(path) if path.steps().is_empty() => Value::Undefined,
            Reference::Body(path) => match self.0.body() {
                Ok(body) => Value::of_json(walk(body, path.steps(), Case::Exact)),
                Err(_) => Value::Undefined,
            },
            Reference::Twin(path) => match self.0.twin(path) {
                // An absent tag is undefined, an absent member of a body compares as null does.
                Value::Missing => Value::Undefined,
                value => value,
            },
            // There are no rows where there are messages.
            Reference::Column(_) => Value::Undefined,
        }
    }

    fn change_includes(&self, path: &Path) -> Option<bool> {
        self.0.change_includes(path)
    }
}
