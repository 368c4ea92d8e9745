//! What functions come to.

use super::Function;
use super::number::{number, of_number, read_number};
use super::text::{changed_case, concat, count, of_text, of_texts, substring, units};
use crate::query::steps::Steps;
use crate::query::value::Value;

impl Function {
    /// Its result for up to three arguments; those that were not given are undefined. Not for
    /// `concat`, which takes any number: see [`concat`].
    pub(in crate::query) fn apply<'a>(
        self,
        arguments: [Value<'a>; 3],
        steps: &mut Steps,
    ) -> Value<'a> {
        let [first, second, third] = arguments;
        match self {
            Self::IsArray => Value::Bool(matches!(first, Value::Array)),
            Self::IsBool => Value::Bool(matches!(first, Value::Bool(_))),
            Self::IsDefined => Value::Bool(first.is_defined()),
            Self::IsNull => Value::Bool(matches!(first, Value::Null | Value::Bare)),
            Self::IsNumber => Value::Bool(matches!(first, Value::Number(n) if n.is_finite())),
            Self::IsObject => Value::Bool(matches!(first, Value::Object)),
            Self::IsPrimitive => Value::Bool(matches!(
                first,
                Value::Text(_) | Value::Bool(_) | Value::Number(_) | Value::Null | Value::Bare
            )),
            Self::IsString => Value::Bool(matches!(first, Value::Text(_))),
            Self::Abs => of_number(&first, f64::abs),
            Self::Exp => of_number(&first, f64::exp),
            Self::Square => of_number(&first, |x| x * x),
            Self::Ceiling => of_number(&first, f64::ceil),
            Self::Floor => of_number(&first, f64::floor),
            Self::Sign => of_number(&first, |x| if x == 0.0 { 0.0 } else { x.signum() }),
            Self::Sqrt => of_number(&first, f64::sqrt),
            Self::Power => match (first, second) {
                (Value::Number(x), Value::Number(y)) => number(x.powf(y)),
                _ => Value::Undefined,
            },
            Self::AsNumber => match first {
                Value::Number(x) => number(x),
                Value::Text(text) => read_number(&text).map_or(Value::Undefined, number),
                _ => Value::Undefined,
            },
            Self::Concat => concat(&[first, second], steps),
            Self::Length => match first {
                Value::Text(text) if steps.spend_text(text.len()) => count(units(&text)),
                _ => Value::Undefined,
            },
            Self::Lower => of_text(first, steps, |text| changed_case(text, char::to_lowercase)),
            Self::Upper => of_text(first, steps, |text| changed_case(text, char::to_uppercase)),
            Self::Substring => match (first, second, third) {
                (Value::Text(text), Value::Number(start), length)
                    if steps.spend_text(text.len()) =>
                {
                    let length = match length {
                        Value::Number(length) => Some(length),
                        _ => None,
                    };
                    substring(text, start, length)
                }
                _ => Value::Undefined,
            },
            Self::IndexOf => of_texts(&first, &second, steps, |text, part| {
                let before = text.find(part).and_then(|at| text.get(..at));
                before.map_or(Value::Number(-1.0), |before| count(units(before)))
            }),
            Self::StartsWith => {
                of_texts(&first, &second, steps, |text, part| Value::Bool(text.starts_with(part)))
            }
            Self::EndsWith => {
                of_texts(&first, &second, steps, |text, part| Value::Bool(text.ends_with(part)))
            }
            Self::Contains => {
                of_texts(&first, &second, steps, |text, part| Value::Bool(text.contains(part)))
            }
        }
    }
}
