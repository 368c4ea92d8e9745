//! Types of expressions: what can be told wrong before there is a message.

use super::ast::{BinaryOp, Expr, ExprKind, Literal, Reference};
use super::error::{ParseError, ParseErrorKind};
use super::functions::{Function, Takes};

/// What an expression's value is known to be before it is evaluated. Each of them may turn out
/// undefined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Number,
    Text,
    Null,
    Undefined,
    /// Known only when it is looked up.
    Dynamic,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::Text => "text",
            Self::Null => "null",
            Self::Undefined => "undefined",
            Self::Dynamic => "a value",
        }
    }

    /// Whether a value of this type may be of the other one.
    fn may_be(self, other: Self) -> bool {
        self == other || matches!(self, Self::Dynamic | Self::Undefined)
    }
}

/// Checks that each operator and function is given what it can take.
///
/// An application or system property is text: `level > 3` is refused, because it would be undefined
/// for every message; `as_number(level) > 3` is meant.
pub(super) fn check(text: &str, expr: &Expr) -> Result<Type, ParseError> {
    Checker { text }.type_of(expr)
}

struct Checker<'t> {
    text: &'t str,
}

impl Checker<'_> {
    fn type_of(&self, expr: &Expr) -> Result<Type, ParseError> {
        match &expr.kind {
            ExprKind::Literal(literal) => Ok(literal_type(literal)),
            ExprKind::Reference(reference) => Ok(match reference {
                Reference::Application(_) | Reference::Property(..) | Reference::System(..) => {
                    Type::Text
                }
                Reference::Body(_) | Reference::Twin(_) | Reference::Column(_) => Type::Dynamic,
            }),
            ExprKind::Not(operand) => self.boolean(operand),
            ExprKind::Negate(operand) => self.number(operand),
            ExprKind::And(operands) | ExprKind::Or(operands) => {
                operands.iter().try_for_each(|operand| self.boolean(operand).map(drop))?;
                Ok(Type::Bool)
            }
            ExprKind::Binary(op, left, right) => self.binary(*op, left, right),
            ExprKind::In(operand, _, list) => {
                let left = self.type_of(operand)?;
                let fits = |literal: &Literal| comparable(left, literal_type(literal));
                match list.iter().find(|literal| !fits(literal)) {
                    None => Ok(Type::Bool),
                    Some(other) => {
                        let found = literal_type(other).name();
                        Err(self.error(expr, format!("a list of {}", left.name()), found))
                    }
                }
            }
            ExprKind::Call(function, arguments) => self.call(*function, arguments),
            ExprKind::ChangeIncludes(_) => Ok(Type::Bool),
        }
    }

    fn binary(&self, op: BinaryOp, left: &Expr, right: &Expr) -> Result<Type, ParseError> {
        match op {
            BinaryOp::Coalesce => match (self.type_of(left)?, self.type_of(right)?) {
                (Type::Undefined, other) | (other, Type::Undefined) => Ok(other),
                (Type::Dynamic, _) | (_, Type::Dynamic) => Ok(Type::Dynamic),
                (a, b) if a == b => Ok(a),
                (a, b) => Err(self.error(right, a.name(), b.name())),
            },
            BinaryOp::Add
            | BinaryOp::Subtract
            | BinaryOp::Multiply
            | BinaryOp::Divide
            | BinaryOp::Remainder => {
                self.number(left)?;
                self.number(right)
            }
            BinaryOp::Concat => {
                self.of(left, Type::Text)?;
                self.of(right, Type::Text)
            }
            BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Less
            | BinaryOp::LessOrEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterOrEqual => {
                let (a, b) = (self.type_of(left)?, self.type_of(right)?);
                if comparable(a, b) {
                    Ok(Type::Bool)
                } else {
                    Err(self.error(right, a.name(), b.name()))
                }
            }
        }
    }

    fn call(&self, function: Function, arguments: &[Expr]) -> Result<Type, ParseError> {
        for (i, argument) in arguments.iter().enumerate() {
            match function.takes(i) {
                Takes::Number => self.number(argument).map(drop)?,
                Takes::Text => self.of(argument, Type::Text).map(drop)?,
                Takes::NumberOrText => {
                    let found = self.type_of(argument)?;
                    if !found.may_be(Type::Text) && found != Type::Number {
                        return Err(self.error(argument, "text or a number", found.name()));
                    }
                }
                Takes::Anything => self.type_of(argument).map(drop)?,
            }
        }
        Ok(function.gives())
    }

    /// An operand of `AND`, `OR` and `NOT`: a boolean, or null.
    fn boolean(&self, operand: &Expr) -> Result<Type, ParseError> {
        match self.type_of(operand)? {
            found if found.may_be(Type::Bool) || found == Type::Null => Ok(Type::Bool),
            found => Err(self.error(operand, "a boolean", found.name())),
        }
    }

    fn number(&self, operand: &Expr) -> Result<Type, ParseError> {
        self.of(operand, Type::Number)
    }

    fn of(&self, operand: &Expr, wanted: Type) -> Result<Type, ParseError> {
        match self.type_of(operand)? {
            found if found.may_be(wanted) => Ok(wanted),
            found => Err(self.error(operand, wanted.name(), found.name())),
        }
    }

    fn error(
        &self,
        at: &Expr,
        expected: impl Into<std::borrow::Cow<'static, str>>,
        found: &'static str,
    ) -> ParseError {
        ParseError::new(ParseErrorKind::Type, self.text, at.at, expected, found)
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Undefined => Type::Undefined,
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Number(_) => Type::Number,
        Literal::Text(_) => Type::Text,
    }
}

fn comparable(a: Type, b: Type) -> bool {
    a.may_be(b) || b.may_be(a)
}
