//! Operators between operands, by how tightly they bind.

use super::Parser;
use crate::query::ast::{BinaryOp, Expr, ExprKind, Membership, binding};
use crate::query::error::ParseError;
use crate::query::lex::{Dialect, TokenKind};

/// An expression, and how many of its parts lie in one another.
pub(super) struct Built {
    pub(super) expr: Expr,
    pub(super) height: usize,
    /// The operator, if it is a chain of `AND` or `OR` that may go on.
    pub(super) chain: Option<Operator>,
}

/// An operator that may follow an operand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    And,
    Or,
    Binary(BinaryOp),
    In(Membership),
}

impl Operator {
    fn binding(self) -> u8 {
        match self {
            Self::And => binding::AND,
            Self::Or => binding::OR,
            Self::Binary(op) => op.binding(),
            Self::In(_) => binding::RELATION,
        }
    }
}

impl Parser<'_> {
    /// An expression, up to what cannot continue it.
    pub(in crate::query) fn expression(&mut self) -> Result<Expr, ParseError> {
        self.operators(binding::COALESCE).map(|built| built.expr)
    }

    /// Operands and the operators between them that bind at least as tightly as `loosest`.
    ///
    /// Operators wait on a list for their right operand, not on the stack: what is on the stack is
    /// nesting that the text shows, and that is bounded.
    pub(super) fn operators(&mut self, loosest: u8) -> Result<Built, ParseError> {
        let mut waiting: Vec<(Built, Operator)> = Vec::new();
        let mut last = self.operand()?;
        loop {
            let next = self.operator().filter(|operator| operator.binding() >= loosest);
            let takes = next.map_or(0, Operator::binding);
            while let Some((left, operator)) = waiting.pop_if(|(_, op)| op.binding() >= takes) {
                last = self.join(left, operator, last)?;
            }
            let Some(operator) = next else { return Ok(last) };
            self.advance()?;
            if let Operator::In(membership) = operator {
                let at = last.expr.at;
                let kind = ExprKind::In(Box::new(last.expr), membership, self.list()?);
                last = self.node(kind, at, last.height)?;
            } else {
                waiting.push((last, operator));
                last = self.operand()?;
            }
        }
    }

    /// An operator with both its operands. `a AND b AND c` is one node, `(a AND b) AND c` are two.
    fn join(&mut self, left: Built, operator: Operator, right: Built) -> Result<Built, ParseError> {
        let at = left.expr.at;
        let below = left.height.max(right.height);
        if let Operator::Binary(op) = operator {
            let kind = ExprKind::Binary(op, Box::new(left.expr), Box::new(right.expr));
            return self.node(kind, at, below);
        }
        let (mut operands, below) = match left.expr.kind {
            ExprKind::And(operands) | ExprKind::Or(operands) if left.chain == Some(operator) => {
                // The node is there already and grows by one operand.
                (operands, right.height.max(left.height - 1))
            }
            kind => (vec![Expr { kind, at }], below),
        };
        operands.push(right.expr);
        let kind = match operator {
            Operator::And => ExprKind::And(operands),
            _ => ExprKind::Or(operands),
        };
        Ok(Built { chain: Some(operator), ..self.node(kind, at, below)? })
    }

    /// The operator at hand, if it is one.
    fn operator(&self) -> Option<Operator> {
        let route = self.dialect == Dialect::Route;
        Some(match self.current.kind {
            TokenKind::Name(word) if word.eq_ignore_ascii_case("and") => Operator::And,
            TokenKind::Name(word) if word.eq_ignore_ascii_case("or") => Operator::Or,
            TokenKind::Name(word) if !route && word.eq_ignore_ascii_case("in") => {
                Operator::In(Membership::Inside)
            }
            TokenKind::Name(word) if !route && word.eq_ignore_ascii_case("nin") => {
                Operator::In(Membership::Outside)
            }
            TokenKind::Symbol(symbol) => Operator::Binary(match symbol {
                "??" => BinaryOp::Coalesce,
                "=" => BinaryOp::Equal,
                "!=" | "<>" => BinaryOp::NotEqual,
                "<" => BinaryOp::Less,
                "<=" => BinaryOp::LessOrEqual,
                ">" => BinaryOp::Greater,
                ">=" => BinaryOp::GreaterOrEqual,
                "+" => BinaryOp::Add,
                "-" => BinaryOp::Subtract,
                "||" => BinaryOp::Concat,
                "*" => BinaryOp::Multiply,
                "/" => BinaryOp::Divide,
                "%" => BinaryOp::Remainder,
                _ => return None,
            }),
            _ => return None,
        })
    }
}
