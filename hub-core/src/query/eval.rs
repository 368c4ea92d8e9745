//! What an expression is worth.

use std::cmp::Ordering;

use super::ast::{BinaryOp, Expr, ExprKind, Literal, Membership, Reference};
use super::functions::{self, Function};
use super::path::Path;
use super::steps::Steps;
use super::value::{Relation, Truth, Value, relate};

/// Where values are looked up.
pub(super) trait Scope {
    fn resolve(&self, reference: &Reference) -> Value<'_>;
    /// Whether the change of a twin that the message tells of names this path. Nothing if it tells of
    /// no such change.
    fn change_includes(&self, path: &Path) -> Option<bool>;
}

/// Evaluates expressions against one scope.
///
/// Recursion is as deep as the expression, which the parser bounds.
pub(super) struct Evaluator<'v, S> {
    scope: &'v S,
    steps: Steps,
}

impl<'v, S: Scope> Evaluator<'v, S> {
    pub(super) fn new(scope: &'v S, steps_max: u32) -> Self {
        Self { scope, steps: Steps::new(steps_max) }
    }

    /// Whether an evaluation ended early, because it cost too much. Its value is undefined.
    pub(super) fn is_exhausted(&self) -> bool {
        self.steps.are_exhausted()
    }

    pub(super) fn truth(&mut self, expr: &'v Expr) -> Truth {
        let truth = self.value(expr).truth();
        if self.is_exhausted() { Truth::Undefined } else { truth }
    }

    pub(super) fn value(&mut self, expr: &'v Expr) -> Value<'v> {
        if !self.steps.spend() {
            return Value::Undefined;
        }
        match &expr.kind {
            ExprKind::Literal(literal) => of_literal(literal),
            ExprKind::Reference(reference) => self.scope.resolve(reference),
            ExprKind::Not(operand) => match self.logical(operand) {
                Value::Bool(value) => Value::Bool(!value),
                Value::Null => Value::Bool(true),
                _ => Value::Undefined,
            },
            ExprKind::Negate(operand) => match self.value(operand) {
                Value::Number(value) => functions::number(-value),
                _ => Value::Undefined,
            },
            ExprKind::And(operands) => self.fold(operands, Truth::False, Truth::and),
            ExprKind::Or(operands) => self.fold(operands, Truth::True, Truth::or),
            ExprKind::Binary(op, left, right) => self.binary(*op, left, right),
            ExprKind::In(operand, membership, list) => self.member(operand, *membership, list),
            ExprKind::Call(function, arguments) => self.call(*function, arguments),
            ExprKind::ChangeIncludes(path) => {
                self.scope.change_includes(path).map_or(Value::Undefined, Value::Bool)
            }
        }
    }

    /// `AND` or `OR` from left to right, where `end` decides by itself.
    ///
    /// Between operands whose kind is known it is three-valued logic. Next to a value of a body or a
    /// twin both sides have to be booleans, or the result is undefined. A literal null absorbs what
    /// it is joined with by `AND`, and yields to it in `OR`.
    fn fold(
        &mut self,
        operands: &'v [Expr],
        end: Truth,
        join: fn(Truth, Truth) -> Truth,
    ) -> Value<'v> {
        let mut operands = operands.iter();
        let Some(first) = operands.next() else { return Value::Undefined };
        let mut dynamic = first.is_dynamic();
        let mut left = self.logical(first);
        for operand in operands {
            let own = operand.is_dynamic();
            let is_null = matches!(operand.kind, ExprKind::Literal(Literal::Null));
            let decided = left == end.value() && !dynamic && !own;
            if decided && !is_null {
                continue;
            }
            let right = self.logical(operand);
            left = match (&left, &right) {
                (Value::Bool(_), Value::Bool(_)) => join(left.truth(), right.truth()).value(),
                _ if dynamic || own => Value::Undefined,
                (Value::Null, _) | (_, Value::Null) => match end {
                    Truth::False => Value::Null,
                    _ if left == Value::Null => right,
                    _ => left,
                },
                _ => join(boolean(&left), boolean(&right)).value(),
            };
            dynamic = false;
        }
        left
    }

    /// An operand of `NOT`, `AND` or `OR`. Null counts as such only where it is written: a null that
    /// was looked up is no boolean.
    fn logical(&mut self, operand: &'v Expr) -> Value<'v> {
        match self.value(operand) {
            Value::Null if matches!(operand.kind, ExprKind::Reference(_)) => Value::Undefined,
            value => value,
        }
    }

    fn binary(&mut self, op: BinaryOp, left: &'v Expr, right: &'v Expr) -> Value<'v> {
        let a = self.value(left);
        if op == BinaryOp::Coalesce {
            return if a.is_defined() { a } else { self.value(right) };
        }
        let b = self.value(right);
        match op {
            BinaryOp::Add => arithmetic(&a, &b, |a, b| a + b),
            BinaryOp::Subtract => arithmetic(&a, &b, |a, b| a - b),
            BinaryOp::Multiply => arithmetic(&a, &b, |a, b| a * b),
            BinaryOp::Divide => arithmetic(&a, &b, |a, b| a / b),
            BinaryOp::Remainder => arithmetic(&a, &b, |a, b| a % b),
            BinaryOp::Concat => functions::concat(&[a, b], &mut self.steps),
            _ => self.compare(op, &a, &b).value(),
        }
    }

    fn compare(&mut self, op: BinaryOp, a: &Value<'_>, b: &Value<'_>) -> Truth {
        if let (Value::Text(a), Value::Text(b)) = (a, b)
            && !self.steps.spend_text(a.len().min(b.len()))
        {
            return Truth::Undefined;
        }
        match (relate(a, b), op) {
            (Relation::Undefined, _) => Truth::Undefined,
            (Relation::Unlike, BinaryOp::Equal) => Truth::False,
            (Relation::Unlike, BinaryOp::NotEqual) => Truth::True,
            (Relation::Unlike, _) => Truth::Undefined,
            (Relation::Ordered(order), op) => Truth::of(match op {
                BinaryOp::Equal => order == Ordering::Equal,
                BinaryOp::NotEqual => order != Ordering::Equal,
                BinaryOp::Less => order == Ordering::Less,
                BinaryOp::LessOrEqual => order != Ordering::Greater,
                BinaryOp::Greater => order == Ordering::Greater,
                _ => order != Ordering::Less,
            }),
        }
    }

    fn member(
        &mut self,
        operand: &'v Expr,
        membership: Membership,
        list: &'v [Literal],
    ) -> Value<'v> {
        let value = self.value(operand);
        let mut inside = Truth::False;
        for literal in list {
            if !self.steps.spend() {
                return Value::Undefined;
            }
            inside = inside.or(self.compare(BinaryOp::Equal, &value, &of_literal(literal)));
            if inside == Truth::True {
                break;
            }
        }
        match membership {
            Membership::Inside => inside.value(),
            Membership::Outside => (!inside).value(),
        }
    }

    fn call(&mut self, function: Function, arguments: &'v [Expr]) -> Value<'v> {
        if function == Function::Concat {
            let parts: Vec<Value<'v>> = arguments.iter().map(|part| self.value(part)).collect();
            return functions::concat(&parts, &mut self.steps);
        }
        let mut values = [Value::Undefined, Value::Undefined, Value::Undefined];
        for (value, argument) in values.iter_mut().zip(arguments) {
            *value = self.value(argument);
        }
        if let ([first, ..], [argument, ..]) = (&values, arguments) {
            // The one test that can say nothing about a value that is not there.
            let unknown = argument.is_dynamic() && !first.is_defined();
            if function == Function::IsBool && unknown {
                return Value::Undefined;
            }
        }
        // A third argument that was given and is no number is not one that was left out.
        if let (Function::Substring, 3, [_, _, third]) = (function, arguments.len(), &values)
            && !matches!(third, Value::Number(_))
        {
            return Value::Undefined;
        }
        function.apply(values, &mut self.steps)
    }
}

pub(super) fn of_literal(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Undefined => Value::Undefined,
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Number(value) => Value::Number(*value),
        Literal::Text(text) => Value::Text((&**text).into()),
    }
}

/// What is no boolean says nothing.
fn boolean(value: &Value<'_>) -> Truth {
    match value {
        Value::Bool(value) => Truth::of(*value),
        _ => Truth::Undefined,
    }
}

fn arithmetic<'a>(a: &Value<'_>, b: &Value<'_>, f: impl FnOnce(f64, f64) -> f64) -> Value<'a> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => functions::number(f(*a, *b)),
        _ => Value::Undefined,
    }
}
