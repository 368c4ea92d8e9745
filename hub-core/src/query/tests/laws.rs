//! Laws that hold for all expressions.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::super::check::check;
use super::super::lex::Dialect;
use super::super::parse::Parser;
use super::super::*;
use super::Sample;
use super::generate::{Kind, column, expression};
use super::naive::World;
use crate::limits::Limits;

fn roomy() -> Limits {
    Limits { query_text_max: usize::MAX, query_steps_max: u32::MAX, ..Limits::default() }
}

fn read(text: &str, dialect: Dialect) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(text, dialect, &roomy())?;
    let expr = parser.expression()?;
    if parser.is_at_end() { Ok(expr) } else { Err(parser.unexpected("the end")) }
}

fn json_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-3..4_i8).prop_map(Json::from),
        "[ab1]{0,2}".prop_map(Json::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            prop::collection::vec(("[ab]", inner), 0..3)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Json> {
    prop::collection::vec(("[ab]", json_value()), 0..3)
        .prop_map(|members| Json::Object(members.into_iter().collect()))
}

fn sample() -> impl Strategy<Value = Sample> {
    let system = prop::sample::subsequence(&SystemName::ALL[..], 0..4);
    let values = prop::collection::vec(prop::option::weighted(0.8, "[ab1]{0,2}"), 0..3);
    (system, values, prop::option::weighted(0.9, object()), prop::option::of(object())).prop_map(
        |(system, values, body, twin)| Sample {
            system: system.into_iter().map(|name| (name, "a".to_owned())).collect(),
            application: ["p", "q", "$p"].map(str::to_owned).into_iter().zip(values).collect(),
            body,
            twin: twin.map(|tags| json!({"tags": tags, "properties": {"reported": {"a": 1}}})),
        },
    )
}

/// A condition from an expression as it is, whether or not its kinds fit.
fn condition(expr: &Expr) -> Condition {
    let mut condition = Condition::always(&roomy());
    condition.expr = expr.clone();
    condition
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_is_read_again(expr in expression(Kind::Route)) {
        let text = expr.to_string();
        prop_assert_eq!(read(&text, Dialect::Route), Ok(expr), "{}", text);
    }

    #[test]
    fn what_is_printed_of_a_query_is_read_again(expr in expression(Kind::Query)) {
        let text = expr.to_string();
        prop_assert_eq!(read(&text, Dialect::Query), Ok(expr), "{}", text);
    }

    #[test]
    fn paths_are_read_again(path in column()) {
        let text = path.to_string();
        let mut parser = Parser::new(&text, Dialect::Query, &roomy()).unwrap();
        prop_assert_eq!(parser.path(), Ok(path), "{}", text);
    }

    #[test]
    fn conditions_agree_with_a_naive_evaluator(
        expr in expression(Kind::Route),
        sample in sample(),
    ) {
        let want = World::Message(&sample).truth(&expr);
        let condition = condition(&expr);
        prop_assert_eq!(condition.evaluate(&sample).truth, want, "{}", expr);
        prop_assert_eq!(condition.matches(&sample), want == Truth::True);
        let explained = condition.explain(&sample);
        prop_assert_eq!(explained.evaluation.truth, want);
        prop_assert_eq!(explained.operands[0].truth, want);
    }

    #[test]
    fn filters_agree_with_a_naive_evaluator(expr in expression(Kind::Query), tags in object()) {
        let row = json!({"tags": tags, "deviceId": "a", "x-y": 1});
        let want = World::Row(&row).truth(&expr);
        let filter = Filter::new(expr.clone(), &roomy());
        prop_assert_eq!(filter.truth(&row), want, "{}", expr);
    }

    #[test]
    fn negation_swaps_true_and_false(expr in expression(Kind::Query), tags in object()) {
        let row = json!({"tags": tags});
        let not = Expr { kind: ExprKind::Not(Box::new(expr.clone())), at: 0 };
        let filter = |expr: &Expr| Filter::new(expr.clone(), &roomy()).truth(&row);
        // A written null is false as a condition, and so is not its opposite.
        if let ExprKind::Binary(..) | ExprKind::Call(..) | ExprKind::In(..) = expr.kind {
            prop_assert_eq!(filter(&not), !filter(&expr), "{}", expr);
        }
        prop_assert!(!(filter(&not).holds() && filter(&expr).holds()));
    }

    #[test]
    fn what_passes_the_check_is_of_the_kind_it_says(
        expr in expression(Kind::Route),
        sample in sample(),
    ) {
        use super::super::check::Type;
        let Ok(kind) = check("", &expr) else { return Ok(()) };
        let value = condition(&expr).explain(&sample).operands.remove(0).value;
        let fits = matches!(
            (kind, &value),
            (Type::Dynamic, _)
                | (_, Value::Undefined)
                | (Type::Bool, Value::Bool(_) | Value::Null)
                | (Type::Number, Value::Number(_))
                | (Type::Text, Value::Text(_) | Value::Bare)
                | (Type::Null, Value::Null)
        );
        prop_assert!(fits, "{} is {:?}: {:?}", expr, kind, value);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = Condition::parse(&text, &Limits::default());
        let _ = Query::parse(&text, &Limits::default());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = Condition::parse(&text, &Limits::default());
        let _ = Filter::parse(&text, &Limits::default());
    }

    #[test]
    fn any_pieces_are_read_or_refused(
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..20),
        blanks in any::<bool>(),
    ) {
        let text = pieces.join(if blanks { " " } else { "" });
        for dialect in [Dialect::Route, Dialect::Query] {
            match read(&text, dialect) {
                Ok(expr) => {
                    let again = read(&expr.to_string(), dialect);
                    prop_assert_eq!(again, Ok(expr), "{}", text);
                }
                Err(error) => {
                    prop_assert!(error.offset() <= text.len());
                    prop_assert!(text.is_char_boundary(error.offset()));
                }
            }
        }
        let select = format!("SELECT {text}");
        if let Ok(query) = Query::parse(&select, &Limits::default()) {
            let again = Query::parse(&query.to_string(), &Limits::default());
            prop_assert_eq!(again, Ok(query), "{}", select);
        }
    }
}

const PIECES: [&str; 54] = [
    "a",
    "b.c",
    "tags",
    ".",
    "[[x y]]",
    "[",
    "]",
    "1",
    "-1",
    "0x1f",
    "1e3",
    "'x'",
    "\"y\"",
    "'",
    "\\",
    "(",
    ")",
    ",",
    "{",
    "}",
    "$",
    "$body.a",
    "$body",
    "$twin.tags.x",
    "$messageId",
    "=",
    "!=",
    "<>",
    "<",
    "<=",
    ">",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "||",
    "??",
    "?",
    "!",
    "and",
    "OR",
    "not",
    "in",
    "NIN",
    "true",
    "null",
    "length(",
    "concat(",
    "from devices",
    "where",
    "group by",
    "COUNT() as n",
];
