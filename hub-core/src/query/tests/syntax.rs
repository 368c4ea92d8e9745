//! What is refused, where, and with which words; and that everything is bounded.

use super::super::*;
use super::refused;
use crate::limits::Limits;

#[track_caller]
fn says(text: &str, offset: usize, expected: &str, found: &str) {
    let error = refused(text);
    let got = (error.offset(), error.expected(), error.found());
    assert_eq!(got, (offset, expected, found), "{text}");
}

#[track_caller]
fn query_says(text: &str, offset: usize, expected: &str, found: &str) {
    let error = Query::parse(text, &Limits::default()).expect_err(text);
    let got = (error.offset(), error.expected(), error.found());
    assert_eq!(got, (offset, expected, found), "{text}");
}

#[test]
fn conditions_are_refused_with_place_and_expectation() {
    const OPERAND: &str = "a value, a name, a function, `NOT`, `-` or `(`";
    says("a = ", 4, OPERAND, "the end");
    says("a = AND b", 4, OPERAND, "`AND`");
    says("(a = 'x'", 8, "an operator or `)`", "the end");
    says("a = 'x')", 7, "an operator or the end", "`)`");
    says("a 'x'", 2, "an operator or the end", "`'x'`");
    says("a = 'x", 6, "the end of the text", "the end");
    says("a = 'x\\n'", 6, r#"`\'`, `\"`, `\\` or `\u` and four hexadecimal digits"#, "`\\`");
    says(r"a = '\u12'", 5, r"`\u` and four hexadecimal digits of a character", "`\\`");
    says(r"a = '\ud834'", 5, r"`\u` and four hexadecimal digits of a character", "`\\`");
    says(r"a = '\u+123'", 5, r"`\u` and four hexadecimal digits of a character", "`\\`");
    says("a = 'x' /* b", 12, "`*/` at the end of a comment", "the end");
    says("a @ b", 2, "a value, a name or an operator", "`@`");
    says("foo(a)", 0, "the name of a function", "`foo`");
    says("length(a", 8, "an operator, `,` or `)`", "the end");
    says("length(a, b) = 1", 0, "1 argument of length", "2");
    says("substring(a) = 'x'", 0, "2 to 3 arguments of substring", "1");
    says("concat(a) = 'x'", 0, "2 arguments or more of concat", "1");
    says("contains() ", 0, "2 arguments of contains", "0");
    says("{a} = 'x'", 1, "`$` and the name of a system property", "`a`");
    says("{$a = 'x'", 4, "`}`", "`=`");
    says("$body.a..b = 1", 8, "the name of a member", "nothing");
    says("$body.a[x] = 1", 6, "`[`, the number of an element and `]`", "`a[x]`");
    says("1e999 = 1", 0, "a number that a double can hold", "`1e999`");
    says("a = 'x' AND\n  b = 3", 18, "text", "a number");
    assert_eq!(refused("a = 'x' AND\n  b = 3").line(), 2);
    assert_eq!(refused("a = 'x' AND\n  b = 3").column(), 7);
    let long = format!("a = 'x' {}", "y".repeat(100));
    says(&long, 8, "an operator or the end", &format!("`{}…`", "y".repeat(32)));
}

#[test]
fn queries_are_refused_with_place_and_expectation() {
    query_says("", 0, "`SELECT`", "the end");
    query_says("SELECT", 6, "the name of a field", "the end");
    query_says("SELECT * devices", 9, "`,` or `FROM`", "`devices`");
    query_says(
        "SELECT * FROM twins",
        14,
        "`devices`, `devices.modules` or `devices.jobs`",
        "`twins`",
    );
    query_says("SELECT * FROM devices.x", 22, "`modules` or `jobs`", "`x`");
    query_says(
        "SELECT * FROM devices JOIN x",
        22,
        "`WHERE`, `GROUP BY`, `ORDER BY` or the end",
        "`JOIN`",
    );
    query_says(
        "SELECT * FROM devices WHERE tags.a = 1 LIMIT 3",
        39,
        "an operator, `GROUP BY`, `ORDER BY` or the end",
        "`LIMIT`",
    );
    query_says("SELECT TOP x * FROM devices", 11, "a number of rows", "`x`");
    query_says("SELECT a b FROM devices", 9, "`,` or `FROM`", "`b`");
    query_says("SELECT a. FROM devices", 9, "the name of a member", "` `");
    query_says("SELECT [[]] FROM devices", 9, "the name of a member", "`]`");
    query_says("SELECT [[a FROM devices", 23, "`]]` at the end of a name", "the end");
    query_says("SELECT LOWER(a) FROM devices", 7, "a field or an aggregate", "`LOWER`");
    query_says("SELECT COUNT(a) FROM devices", 13, "`)`", "`a`");
    query_says("SELECT SUM() FROM devices", 11, "the name of a field", "`)`");
    query_says(
        "SELECT * FROM devices WHERE",
        27,
        "a value, a name, a function, `NOT`, `-` or `(`",
        "the end",
    );
    query_says("SELECT * FROM devices WHERE a IN (1)", 33, "`[` and a list of values", "`(`");
    query_says("SELECT * FROM devices WHERE a IN []", 34, "a value", "`]`");
    query_says("SELECT * FROM devices WHERE a IN [1", 35, "`,` or `]`", "the end");
    query_says(
        "SELECT * FROM devices WHERE a || b = 'c'",
        30,
        "a value, a name or an operator",
        "`|`",
    );
    query_says("SELECT * FROM devices WHERE a = 1 GROUP tags.a", 40, "`BY`", "`tags`");
    query_says(
        "SELECT * FROM devices GROUP BY tags.a",
        0,
        "the fields of `GROUP BY`, and aggregates",
        "`*`",
    );
    query_says("SELECT deviceId FROM devices.jobs", 0, "`SELECT *` from devices.jobs", "a list");
    query_says(
        "SELECT deviceId, COUNT() FROM devices",
        7,
        "a field of `GROUP BY`, or an aggregate",
        "`deviceId`",
    );
    query_says(
        "SELECT tags.a, properties.desired.a FROM devices",
        15,
        "another name, given with `AS`",
        "`a` again",
    );
    query_says(
        "SELECT COUNT() AS n FROM devices ORDER BY deviceId",
        33,
        "`ORDER BY` a member of the answer",
        "`deviceId`",
    );
    query_says("SELECT * FROM devices WHERE 3x = 1", 29, "the end of a number", "`x`");
    query_says("SELECT * FROM devices WHERE a = 1 + 'x'", 36, "a number", "text");
    query_says("SELECT * FROM devices WHERE tags.a[x] = 1", 35, "the number of an element", "`x`");
}

#[track_caller]
fn over(text: &str, limits: &Limits) {
    for error in [Condition::parse(text, limits).err(), Filter::parse(text, limits).err()] {
        assert_eq!(error.map(|error| error.kind()), Some(ParseErrorKind::Limit), "{}", text.len());
    }
}

#[test]
fn deep_nesting_is_refused() {
    let mut limits = Limits { query_text_max: usize::MAX, ..Limits::default() };
    for n in [65, 100_000] {
        over(&format!("{}true{}", "(".repeat(n), ")".repeat(n)), &limits);
        over(&"(".repeat(n), &limits);
        over(&format!("{}true", "NOT ".repeat(n)), &limits);
        over(&format!("{}1", "- ".repeat(n)), &limits);
        over(&format!("{}true{}", "is_defined(".repeat(n), ")".repeat(n)), &limits);
        over(&format!("{}true", "true = ".repeat(n)), &limits);
        over(&format!("{}1", "1 + ".repeat(n)), &limits);
        over(&format!("{}true{}", "true AND (true OR ".repeat(n), ")".repeat(n)), &limits);
    }
    let deep = |n: usize| format!("{}true{}", "(".repeat(n), ")".repeat(n));
    assert!(Condition::parse(&deep(63), &limits).is_ok());
    assert!(Condition::parse(&format!("{}true", "true = ".repeat(63)), &limits).is_ok());
    // No limit is higher than the stack.
    limits.query_depth_max = usize::MAX;
    limits.query_nodes_max = usize::MAX;
    assert!(Condition::parse(&deep(DEPTH_CEILING - 1), &limits).is_ok());
    over(&deep(DEPTH_CEILING), &limits);
    let tight = |n: usize| {
        let (open, close) = ("1 = 1 OR 1 = 1 AND 1 = 1 < 1 + 1 * -(".repeat(n), ")".repeat(n));
        format!("{open}1{close}")
    };
    over(&tight(100_000), &limits);
}

#[test]
fn long_chains_do_not_nest() {
    let mut limits = Limits::default();
    let many = (0..500).map(|i| format!("a = '{i}'")).collect::<Vec<_>>();
    for joint in [" OR ", " AND "] {
        let condition = Condition::parse(&many.join(joint), &limits).unwrap();
        let (ExprKind::And(operands) | ExprKind::Or(operands)) = &condition.expr().kind else {
            panic!()
        };
        assert_eq!(operands.len(), 500);
    }
    limits.query_text_max = 1_000_000;
    let more = vec!["a = 'x'"; 3000].join(" OR ");
    over(&more, &limits);
    let list = format!("a IN [{}]", vec!["1"; 9000].join(","));
    let error = Filter::parse(&list, &limits).unwrap_err();
    assert_eq!(error.kind(), ParseErrorKind::Limit);
}

#[test]
fn long_texts_are_refused_by_characters() {
    let limits = Limits { query_text_max: 10, ..Limits::default() };
    assert!(Condition::parse("ä = 'öüßé'", &limits).is_ok());
    let error = Condition::parse("ä = 'öüßée'", &limits).unwrap_err();
    assert_eq!(error.kind(), ParseErrorKind::Limit);
    assert_eq!(error.to_string(), "line 1, column 11: expected at most 10 characters, found 11");
    assert!(Query::parse("SELECT * FROM devices", &limits).is_err());
}
