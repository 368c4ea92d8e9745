//! A condition, operand by operand: the dry run of a route.

use super::condition::{Condition, Evaluation, MessageScope};
use super::eval::Evaluator;
use super::subject::Subject;
use super::value::{Truth, Value};

/// Longest text of a value in an explanation, in characters.
const TEXT_MAX: usize = 256;

/// How many times the steps of an evaluation an explanation may take.
const STEPS_FACTOR: u32 = 8;

/// What a condition came to, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// What came out.
    pub evaluation: Evaluation,
    /// The condition and all its operands, from the outside in and from left to right.
    pub operands: Vec<Operand>,
}

/// One operand of a condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Operand {
    /// Bytes before it in the text of the condition.
    pub at: usize,
    /// How many expressions lie around it.
    pub depth: usize,
    /// The operand, written out.
    pub text: String,
    /// What it is worth for the message. Long text is cut.
    pub value: Value<'static>,
    /// What it would be worth as a whole condition.
    pub truth: Truth,
}

impl Condition {
    /// Evaluates it for a message and says what each operand is worth, also of those that need not
    /// be looked at for the result.
    pub fn explain(&self, subject: &impl Subject) -> Explanation {
        let scope = MessageScope(subject);
        let steps_max = self.steps_max.saturating_mul(STEPS_FACTOR);
        let mut evaluator = Evaluator::new(&scope, steps_max);
        let mut operands = Vec::new();
        self.expr.visit(&mut |depth, expr| {
            let value = cut(evaluator.value(expr));
            let (text, truth) = (expr.to_string(), value.truth());
            operands.push(Operand { at: expr.at, depth, text, value, truth });
        });
        Explanation { evaluation: self.evaluate(subject), operands }
    }
}

fn cut(value: Value<'_>) -> Value<'static> {
    match value {
        Value::Text(text) => match text.char_indices().nth(TEXT_MAX) {
            Some((end, _)) => Value::Text(format!("{}…", text.get(..end).unwrap_or("")).into()),
            None => Value::Text(text.into_owned().into()),
        },
        value => value.into_owned(),
    }
}
