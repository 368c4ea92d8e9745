//! From an expression back to text that means the same.

use std::fmt::{self, Display, Formatter, Write as _};

use super::ast::{Expr, ExprKind, Literal, Membership, Reference, binding};
use super::path::{Path, Step};
use super::statement::{Collection, Direction, Item, OrderKey, Query, Select, Source};

/// As it would be written, with no more parentheses than needed, but for operands of `NOT`.
impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write(f, self)
    }
}

fn write(f: &mut Formatter<'_>, expr: &Expr) -> fmt::Result {
    match &expr.kind {
        ExprKind::Literal(literal) => write!(f, "{literal}"),
        ExprKind::Reference(reference) => write!(f, "{reference}"),
        // The dialects differ in what NOT takes, so it gets something that is whole in both.
        ExprKind::Not(operand) => {
            f.write_str("NOT ")?;
            inside(f, operand, binding::UNARY + 1)
        }
        ExprKind::Negate(operand) => {
            f.write_str("- ")?;
            inside(f, operand, binding::UNARY + 1)
        }
        ExprKind::And(operands) => joined(f, operands, " AND ", binding::AND + 1),
        ExprKind::Or(operands) => joined(f, operands, " OR ", binding::OR + 1),
        ExprKind::Binary(op, left, right) => {
            inside(f, left, op.binding())?;
            write!(f, " {} ", op.symbol())?;
            inside(f, right, op.binding() + 1)
        }
        ExprKind::In(operand, membership, list) => {
            inside(f, operand, binding::RELATION)?;
            f.write_str(match membership {
                Membership::Inside => " IN [",
                Membership::Outside => " NIN [",
            })?;
            comma_separated(f, list)?;
            f.write_str("]")
        }
        ExprKind::Call(function, arguments) => {
            write!(f, "{}(", function.name())?;
            comma_separated(f, arguments)?;
            f.write_str(")")
        }
        ExprKind::ChangeIncludes(path) => {
            f.write_str("twin_change_includes(")?;
            raw(f, path)?;
            f.write_str(")")
        }
    }
}

/// How tightly an expression holds together.
fn hold(expr: &Expr) -> u8 {
    match &expr.kind {
        ExprKind::And(_) => binding::AND,
        ExprKind::Or(_) => binding::OR,
        ExprKind::Binary(op, ..) => op.binding(),
        ExprKind::In(..) => binding::RELATION,
        // NOT takes what follows it, more or less by dialect: where it is an operand it is enclosed.
        ExprKind::Not(_) => binding::AND + 1,
        ExprKind::Negate(_) => binding::UNARY,
        _ => binding::UNARY + 1,
    }
}

/// An operand, in parentheses unless it holds together tightly enough.
fn inside(f: &mut Formatter<'_>, expr: &Expr, needed: u8) -> fmt::Result {
    if hold(expr) >= needed {
        return write(f, expr);
    }
    f.write_str("(")?;
    write(f, expr)?;
    f.write_str(")")
}

fn joined(f: &mut Formatter<'_>, operands: &[Expr], between: &str, needed: u8) -> fmt::Result {
    for (i, operand) in operands.iter().enumerate() {
        if i > 0 {
            f.write_str(between)?;
        }
        inside(f, operand, needed)?;
    }
    Ok(())
}

pub(super) fn comma_separated<T: Display>(f: &mut Formatter<'_>, items: &[T]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined => f.write_str("undefined"),
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(text) => string(f, text),
        }
    }
}

impl Display for Reference {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application(name) | Self::Property(_, name) => f.write_str(name),
            Self::System(_, name) => write!(f, "{{{name}}}"),
            Self::Body(path) | Self::Twin(path) => {
                f.write_str(if matches!(self, Self::Body(_)) { "$body" } else { "$twin" })?;
                f.write_str(if path.steps().is_empty() { "" } else { "." })?;
                raw(f, path)
            }
            Self::Column(path) => write!(f, "{path}"),
        }
    }
}

/// Text in quotes. Control characters are escaped, so that it stays on one line.
pub(super) fn string(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("'")?;
    for c in text.chars() {
        match c {
            '\'' | '\\' => write!(f, "\\{c}")?,
            // All of them lie below U+00A0.
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_str("'")
}

/// A path of a route's condition: nothing in it needs brackets.
fn raw(f: &mut Formatter<'_>, path: &Path) -> fmt::Result {
    for (i, step) in path.steps().iter().enumerate() {
        match step {
            Step::Index(index) => write!(f, "[{index}]")?,
            Step::Member(name) if i == 0 => f.write_str(name)?,
            Step::Member(name) => write!(f, ".{name}")?,
        }
    }
    Ok(())
}

/// Text that parses to the same query.
impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SELECT ")?;
        if let Some(top) = self.top {
            write!(f, "TOP {top} ")?;
        }
        match &self.select {
            Select::All => f.write_str("*")?,
            Select::Items(items) => comma_separated(f, items)?,
        }
        write!(f, " FROM {}", self.from)?;
        if let Some(expr) = self.filter.expr() {
            write!(f, " WHERE {expr}")?;
        }
        if !self.group_by.is_empty() {
            f.write_str(" GROUP BY ")?;
            comma_separated(f, &self.group_by)?;
        }
        if !self.order_by.is_empty() {
            f.write_str(" ORDER BY ")?;
            comma_separated(f, &self.order_by)?;
        }
        Ok(())
    }
}

impl Display for Collection {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Devices => "devices",
            Self::Modules => "devices.modules",
            Self::Jobs => "devices.jobs",
        })
    }
}

impl Display for Item {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Field(path) => write!(f, "{path}")?,
            Source::Aggregate(aggregate, path) => {
                write!(f, "{}(", aggregate.name().to_ascii_uppercase())?;
                if let Some(path) = path {
                    write!(f, "{path}")?;
                }
                f.write_str(")")?;
            }
        }
        match &self.alias {
            Some(alias) => write!(f, " AS {}", Path::of([&**alias])),
            None => Ok(()),
        }
    }
}

impl Display for OrderKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        match self.direction {
            Direction::Ascending => Ok(()),
            Direction::Descending => f.write_str(" DESC"),
        }
    }
}
