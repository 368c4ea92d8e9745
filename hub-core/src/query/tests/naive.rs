//! A second evaluator, made for plainness: everything is copied, nothing is skipped.

use serde_json::Value as Json;

use super::super::*;
use super::Sample;

/// Values as a naive reader of the rules has them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plain {
    Nothing,
    Missing,
    Null,
    Bare,
    Flag(bool),
    Number(f64),
    Text(String),
    Array,
    Object,
}

impl Plain {
    fn of(value: &Value<'_>) -> Self {
        match value {
            Value::Undefined => Self::Nothing,
            Value::Missing => Self::Missing,
            Value::Null => Self::Null,
            Value::Bare => Self::Bare,
            Value::Bool(flag) => Self::Flag(*flag),
            Value::Number(number) => Self::Number(*number),
            Value::Text(text) => Self::Text(text.to_string()),
            Value::Array => Self::Array,
            Value::Object => Self::Object,
        }
    }

    fn truth(&self) -> Truth {
        match self {
            Self::Flag(true) => Truth::True,
            Self::Flag(false) | Self::Null => Truth::False,
            _ => Truth::Undefined,
        }
    }
}

/// Where a naive evaluator looks things up.
pub(super) enum World<'w> {
    Message(&'w Sample),
    Row(&'w Json),
}

impl World<'_> {
    pub(super) fn truth(&self, expr: &Expr) -> Truth {
        self.value(expr).truth()
    }

    fn value(&self, expr: &Expr) -> Plain {
        match &expr.kind {
            ExprKind::Literal(literal) => of_literal(literal),
            ExprKind::Reference(reference) => self.look_up(reference),
            ExprKind::Not(operand) => match self.operand(operand) {
                Plain::Flag(flag) => Plain::Flag(!flag),
                Plain::Null => Plain::Flag(true),
                _ => Plain::Nothing,
            },
            ExprKind::Negate(operand) => match self.value(operand) {
                Plain::Number(number) => Plain::Number(-number),
                _ => Plain::Nothing,
            },
            ExprKind::And(operands) => self.join(operands, and_table),
            ExprKind::Or(operands) => self.join(operands, or_table),
            ExprKind::Binary(op, a, b) => binary(*op, self.value(a), self.value(b)),
            ExprKind::In(operand, membership, list) => {
                let value = self.value(operand);
                let equal = |literal| binary(BinaryOp::Equal, value.clone(), of_literal(literal));
                let all: Vec<Plain> = list.iter().map(equal).collect();
                let found = if all.contains(&Plain::Flag(true)) {
                    Plain::Flag(true)
                } else if all.contains(&Plain::Nothing) {
                    Plain::Nothing
                } else {
                    Plain::Flag(false)
                };
                match (membership, found) {
                    (Membership::Outside, Plain::Flag(flag)) => Plain::Flag(!flag),
                    (_, found) => found,
                }
            }
            ExprKind::Call(function, arguments) => {
                let unknown = arguments.first().is_some_and(is_dynamic);
                let values = arguments.iter().map(|argument| self.value(argument)).collect();
                call(*function, values, unknown)
            }
            ExprKind::ChangeIncludes(path) => match self {
                Self::Message(sample) => {
                    sample.change_includes(path).map_or(Plain::Nothing, Plain::Flag)
                }
                Self::Row(_) => Plain::Nothing,
            },
        }
    }

    fn look_up(&self, reference: &Reference) -> Plain {
        match (self, reference) {
            (Self::Row(row), Reference::Column(path)) => {
                match Plain::of(&row.value(path, Case::Exact)) {
                    Plain::Missing => Plain::Nothing,
                    value => value,
                }
            }
            (Self::Message(m), Reference::Application(name)) => application(m, name),
            (Self::Message(m), Reference::Property(system, name)) => {
                match system.and_then(|system| m.system(system)) {
                    Some(text) => Plain::Text(text.into_owned()),
                    None => application(m, name),
                }
            }
            (Self::Message(m), Reference::System(system, _)) => {
                let text = system.and_then(|system| m.system(system));
                text.map_or(Plain::Nothing, |text| Plain::Text(text.into_owned()))
            }
            (Self::Message(m), Reference::Body(path)) => match m.body() {
                Ok(body) => Plain::of(&Value::of_json(walk(body, path.steps(), Case::Exact))),
                Err(_) => Plain::Nothing,
            },
            (Self::Message(m), Reference::Twin(path)) => match Plain::of(&m.twin(path)) {
                Plain::Missing => Plain::Nothing,
                value => value,
            },
            _ => Plain::Nothing,
        }
    }

    fn operand(&self, expr: &Expr) -> Plain {
        match self.value(expr) {
            Plain::Null if matches!(expr.kind, ExprKind::Reference(_)) => Plain::Nothing,
            value => value,
        }
    }

    fn join(&self, operands: &[Expr], table: fn(&Plain, &Plain) -> Plain) -> Plain {
        let mut left = self.operand(&operands[0]);
        let mut dynamic = is_dynamic(&operands[0]);
        for operand in &operands[1..] {
            let right = self.operand(operand);
            let flags = matches!((&left, &right), (Plain::Flag(_), Plain::Flag(_)));
            left = if (dynamic || is_dynamic(operand)) && !flags {
                Plain::Nothing
            } else {
                table(&left, &right)
            };
            dynamic = false;
        }
        left
    }
}

fn application(sample: &Sample, name: &str) -> Plain {
    match sample.application(name) {
        None => Plain::Nothing,
        Some(None) => Plain::Bare,
        Some(Some(text)) => Plain::Text(text.to_owned()),
    }
}

fn of_literal(literal: &Literal) -> Plain {
    match literal {
        Literal::Undefined => Plain::Nothing,
        Literal::Null => Plain::Null,
        Literal::Bool(flag) => Plain::Flag(*flag),
        Literal::Number(number) => Plain::Number(*number),
        Literal::Text(text) => Plain::Text(text.to_string()),
    }
}

fn is_dynamic(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Reference(Reference::Body(_) | Reference::Twin(_)) => true,
        ExprKind::Binary(BinaryOp::Coalesce, a, b) => is_dynamic(a) || is_dynamic(b),
        _ => false,
    }
}

/// The tables of the reference, row by row; `None` is undefined.
fn and_table(a: &Plain, b: &Plain) -> Plain {
    if *a == Plain::Null || *b == Plain::Null {
        return Plain::Null;
    }
    match (flag(a), flag(b)) {
        (Some(true), Some(true)) => Plain::Flag(true),
        (Some(false), _) | (_, Some(false)) => Plain::Flag(false),
        _ => Plain::Nothing,
    }
}

fn or_table(a: &Plain, b: &Plain) -> Plain {
    match (a, b) {
        (Plain::Null, other) | (other, Plain::Null) => return other.clone(),
        _ => {}
    }
    match (flag(a), flag(b)) {
        (Some(false), Some(false)) => Plain::Flag(false),
        (Some(true), _) | (_, Some(true)) => Plain::Flag(true),
        _ => Plain::Nothing,
    }
}

fn flag(value: &Plain) -> Option<bool> {
    match value {
        Plain::Flag(flag) => Some(*flag),
        _ => None,
    }
}

fn number(number: f64) -> Plain {
    if number.is_nan() { Plain::Nothing } else { Plain::Number(number) }
}

fn binary(op: BinaryOp, a: Plain, b: Plain) -> Plain {
    use BinaryOp::*;
    match op {
        Coalesce => match a {
            Plain::Nothing | Plain::Missing => b,
            a => a,
        },
        Add | Subtract | Multiply | Divide | Remainder => match (a, b) {
            (Plain::Number(a), Plain::Number(b)) => number(match op {
                Add => a + b,
                Subtract => a - b,
                Multiply => a * b,
                Divide => a / b,
                _ => a % b,
            }),
            _ => Plain::Nothing,
        },
        Concat => concat(&[a, b]),
        _ => compare(op, &a, &b),
    }
}

fn concat(parts: &[Plain]) -> Plain {
    let mut whole = String::new();
    for part in parts {
        match part {
            Plain::Bare => {}
            Plain::Text(text) => whole += text,
            _ => return Plain::Nothing,
        }
    }
    Plain::Text(whole)
}

fn compare(op: BinaryOp, a: &Plain, b: &Plain) -> Plain {
    use std::cmp::Ordering::{self, Equal, Greater, Less};
    let undefined =
        |p: &Plain| matches!(p, Plain::Nothing | Plain::Bare | Plain::Array | Plain::Object);
    if undefined(a) || undefined(b) {
        return Plain::Nothing;
    }
    let null = |p: &Plain| matches!(p, Plain::Null | Plain::Missing);
    let order: Option<Ordering> = match (a, b) {
        (a, b) if null(a) && null(b) => Some(Equal),
        (Plain::Flag(a), Plain::Flag(b)) => Some(a.cmp(b)),
        (Plain::Number(a), Plain::Number(b)) => a.partial_cmp(b),
        (Plain::Text(a), Plain::Text(b)) => {
            let units = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
            Some(units(a).cmp(&units(b)))
        }
        _ => None,
    };
    match (op, order) {
        (BinaryOp::Equal, order) => Plain::Flag(order == Some(Equal)),
        (BinaryOp::NotEqual, order) => Plain::Flag(order != Some(Equal)),
        (_, None) => Plain::Nothing,
        (BinaryOp::Less, Some(order)) => Plain::Flag(order == Less),
        (BinaryOp::LessOrEqual, Some(order)) => Plain::Flag(order != Greater),
        (BinaryOp::Greater, Some(order)) => Plain::Flag(order == Greater),
        (_, Some(order)) => Plain::Flag(order != Less),
    }
}

fn call(function: Function, values: Vec<Plain>, unknown: bool) -> Plain {
    let numbers = |f: fn(f64) -> f64| match values[0] {
        Plain::Number(x) => number(f(x)),
        _ => Plain::Nothing,
    };
    let texts = |f: fn(&str, &str) -> Plain| match (&values[0], &values[1]) {
        (Plain::Text(a), Plain::Text(b)) => f(a, b),
        _ => Plain::Nothing,
    };
    let first = &values[0];
    let defined = !matches!(first, Plain::Nothing | Plain::Missing);
    match function {
        Function::Abs => numbers(|x| if x < 0.0 { -x } else { x }),
        Function::Exp => numbers(f64::exp),
        Function::Square => numbers(|x| x * x),
        Function::Ceiling => numbers(f64::ceil),
        Function::Floor => numbers(f64::floor),
        Function::Sqrt => numbers(f64::sqrt),
        Function::Sign => numbers(|x| match x {
            x if x > 0.0 => 1.0,
            x if x < 0.0 => -1.0,
            _ => 0.0,
        }),
        Function::Power => match (first, &values[1]) {
            (Plain::Number(x), Plain::Number(y)) => number(x.powf(*y)),
            _ => Plain::Nothing,
        },
        Function::AsNumber => match first {
            Plain::Number(x) => number(*x),
            // Texts of the generator: the standard library's rules agree on those without letters.
            Plain::Text(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
                text.parse().map_or(Plain::Nothing, Plain::Number)
            }
            Plain::Text(text) => {
                let value = Function::AsNumber.apply(
                    [Value::Text(text.into()), Value::Undefined, Value::Undefined],
                    &mut steps::Steps::new(u32::MAX),
                );
                Plain::of(&value)
            }
            _ => Plain::Nothing,
        },
        Function::IsArray => Plain::Flag(*first == Plain::Array),
        Function::IsObject => Plain::Flag(*first == Plain::Object),
        Function::IsDefined => Plain::Flag(defined),
        Function::IsNull => Plain::Flag(matches!(first, Plain::Null | Plain::Bare)),
        Function::IsBool if unknown && !defined => Plain::Nothing,
        Function::IsBool => Plain::Flag(matches!(first, Plain::Flag(_))),
        Function::IsNumber => Plain::Flag(matches!(first, Plain::Number(x) if x.is_finite())),
        Function::IsString => Plain::Flag(matches!(first, Plain::Text(_))),
        Function::IsPrimitive => {
            Plain::Flag(defined && !matches!(first, Plain::Array | Plain::Object))
        }
        Function::Concat => concat(&values),
        Function::Length => match first {
            Plain::Text(text) => Plain::Number(text.encode_utf16().count() as f64),
            _ => Plain::Nothing,
        },
        Function::Lower | Function::Upper => match first {
            Plain::Text(text) => {
                Plain::Text(text.chars().map(|c| one_by_one(function, c)).collect())
            }
            _ => Plain::Nothing,
        },
        Function::Substring => match (first, &values[1], values.get(2)) {
            (Plain::Text(text), Plain::Number(start), None) => cut(text, *start, None),
            (Plain::Text(text), Plain::Number(start), Some(Plain::Number(length))) => {
                cut(text, *start, Some(*length))
            }
            _ => Plain::Nothing,
        },
        Function::IndexOf => texts(|a, b| {
            let (a, b): (Vec<u16>, Vec<u16>) =
                (a.encode_utf16().collect(), b.encode_utf16().collect());
            let found = (0..=a.len()).find(|at| a[*at..].starts_with(&b));
            Plain::Number(found.map_or(-1.0, |at| at as f64))
        }),
        Function::StartsWith => texts(|a, b| Plain::Flag(a.get(..b.len()) == Some(b))),
        Function::EndsWith => texts(|a, b| {
            let at = a.len().checked_sub(b.len());
            Plain::Flag(at.is_some_and(|at| a.as_bytes()[at..] == *b.as_bytes()))
        }),
        Function::Contains => texts(|a, b| {
            let mut at = (0..=a.len()).filter(|at| a.is_char_boundary(*at));
            Plain::Flag(at.any(|at| a[at..].starts_with(b)))
        }),
    }
}

fn one_by_one(function: Function, c: char) -> char {
    let changed: Vec<char> = match function {
        Function::Lower => c.to_lowercase().collect(),
        _ => c.to_uppercase().collect(),
    };
    if changed.len() == 1 { changed[0] } else { c }
}

fn cut(text: &str, start: f64, length: Option<f64>) -> Plain {
    let units: Vec<u16> = text.encode_utf16().collect();
    let all = units.len() as f64;
    let start = start.trunc();
    if !(start >= 0.0 && start <= all) {
        return Plain::Nothing;
    }
    let end = match length.map(f64::trunc) {
        None => all,
        Some(length) if start < all && length >= 0.0 && start + length <= all => start + length,
        Some(_) => return Plain::Nothing,
    };
    String::from_utf16(&units[start as usize..end as usize]).map_or(Plain::Nothing, Plain::Text)
}
