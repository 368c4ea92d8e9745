//! One expression language: conditions of routes, and twin queries.
//!
//! Pure: text in, a checked tree out; a tree and a message or a twin in, a value out. Everything is
//! bounded: the text, how deep it nests, how many parts it has, and how much work an evaluation may
//! be ([`Limits`](crate::Limits), `query_…`).
//!
//! The two dialects share operators, functions, values and the way errors are told. They differ in
//! what a name is and in what absence means:
//!
//! | | conditions of routes: [`Condition`] | twin queries: [`Query`], [`Filter`] |
//! |---|---|---|
//! | `name` | an application property, always text | a field of the twin |
//! | `$name`, `{$name}` | a system property | – |
//! | `$body.…`, `$twin.…` | a value in the body, in the twin of the sender | – |
//! | `a-b` | one name, as is everything without blanks | one name; other operators need no blanks |
//! | names with odd characters | – | `configurations.[[my config]].status` |
//! | `NOT a = b` | `(NOT a) = b` | `NOT (a = b)` |
//! | `??`, `\|\|` | yes | no |
//! | `IN […]`, `NIN […]` | no | yes |
//! | `true`, `false`, `null`, `undefined` | in lower case | in any case |
//! | an absent name | undefined | undefined |
//! | an absent member of a body | compares as null, is not defined | – |
//!
//! # Three-valued logic
//!
//! Each condition is true, false or undefined, and only true selects. `AND`, `OR` and `NOT` follow
//! Kleene: `false AND undefined` is false, `true OR undefined` is true, all else with undefined is
//! undefined. Comparing or computing with undefined is undefined. A value of a body or a twin in a
//! route's condition has no kind before it is looked up; as an operand of `AND`, `OR` and `NOT` it
//! must be a boolean, or the result is undefined, whatever the other operand.
//!
//! Values of different kinds are not equal and in no order. Text compares letter by letter, by UTF-16
//! code unit. Numbers are doubles; what is no number is undefined.
//!
//! # What is checked when a text is saved
//!
//! The grammar, the names and the number of arguments of functions, and the kinds of operands as far
//! as they are known: `level = 3` is refused, because an application property is text.

mod ast;
mod body;
mod check;
mod columns;
mod condition;
mod error;
mod eval;
mod explain;
mod filter;
mod functions;
mod lex;
mod parse;
mod path;
mod print;
mod statement;
mod steps;
mod subject;
mod value;

#[cfg(test)]
mod tests;

pub use ast::{BinaryOp, Expr, ExprKind, Literal, Membership, Reference, SystemName};
pub use body::{BodyFault, parse_body};
pub use condition::{Condition, Evaluation, Fault, Needs};
pub use error::{ParseError, ParseErrorKind};
pub use explain::{Explanation, Operand};
pub use filter::Filter;
pub use functions::Function;
pub use parse::DEPTH_CEILING;
pub use path::{Case, Path, Step, walk};
pub use statement::{Aggregate, Collection, Direction, Item, OrderKey, Query, Select, Source};
pub use subject::{EventSubject, Fields, Subject};
pub use value::{Truth, Value};
