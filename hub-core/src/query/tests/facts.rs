//! Conditions of routes: what the reference says in §3.7 to §3.13.

use serde_json::json;

use super::super::*;
use super::{Sample, parse, refused};
use crate::envelope::{Event, EventSource, Properties, Property, SystemProperty};
use crate::id::{Address, Partition, SequenceNumber};
use crate::limits::Limits;
use crate::time::Timestamp;

/// The message of §3.13.
fn sample() -> Sample {
    Sample {
        system: vec![
            (SystemName::ContentType, "application/json".into()),
            (SystemName::ContentEncoding, "utf-8".into()),
        ],
        application: vec![
            ("sev".into(), Some("3".into())),
            ("kind".into(), Some("Alarm".into())),
            ("n".into(), None),
        ],
        body: Some(json!({
            "t": 50, "on": true, "s": "WA", "z": null, "o": {"k": 1}, "h": [{"m": "Feb"}]
        })),
        twin: Some(json!({"tags": {"floor": "1"}})),
    }
}

/// `T`, `F`, `U`, or `E` for what is refused when it is saved.
#[track_caller]
fn check(cases: &[(&str, char)]) {
    let sample = sample();
    for (text, want) in cases {
        let got = match Condition::parse(text, &Limits::default()) {
            Err(error) => {
                if error.kind() == ParseErrorKind::Type {
                    'E'
                } else {
                    '?'
                }
            }
            Ok(condition) => match condition.evaluate(&sample).truth {
                Truth::True => 'T',
                Truth::False => 'F',
                Truth::Undefined => 'U',
            },
        };
        assert_eq!(got, *want, "{text}");
    }
}

#[test]
fn s3_13_worked_examples() {
    check(&[
        ("kind = 'Alarm'", 'T'),
        ("KIND = 'alarm'", 'F'),
        ("sev = 3", 'E'),
        ("as_number(sev) >= 3", 'T'),
        ("as_number(kind) > 1", 'U'),
        ("gone = 'x'", 'U'),
        ("gone != 'x'", 'U'),
        ("NOT (gone = 'x')", 'U'),
        ("gone = 'x' OR true", 'T'),
        ("gone = 'x' AND false", 'F'),
        ("is_defined(gone)", 'F'),
        ("(gone ?? 'd') = 'd'", 'T'),
        ("n = 'x'", 'U'),
        ("is_null(n)", 'T'),
        ("$body.t = 50", 'T'),
        ("$body.t = '50'", 'F'),
        ("$body.t <> '50'", 'T'),
        ("$body.on", 'T'),
        ("NOT $body.on", 'F'),
        ("$body.s", 'U'),
        ("$body.z = null", 'T'),
        ("$body.nope = null", 'T'),
        ("$body.nope <> 'a'", 'T'),
        ("is_defined($body.nope)", 'F'),
        ("$body.o", 'U'),
        ("$body.o <> null", 'U'),
        ("$body.h[0].m = 'Feb'", 'T'),
        ("$body.h[9].m = 'Feb'", 'F'),
        ("$body.t + 1 = 51", 'T'),
        ("length($body.s) = 2 AND kind = 'Alarm'", 'T'),
        ("$body.t AND true", 'U'),
        ("$contentEncoding = 'UTF-8'", 'F'),
        ("$twin.tags.floor = '1'", 'T'),
        ("$twin.tags.floor = 1", 'F'),
        ("'a' || 'b' = 'ab'", 'T'),
        ("power(2, 3) = 8", 'T'),
        ("3 % 0 > 1", 'U'),
        ("", 'U'),
        ("3", 'U'),
        ("'x'", 'U'),
    ]);
}

#[test]
fn s3_7_lexical_rules() {
    check(&[
        (" /* all */ kind/**/=/* of it */'Alarm'\n", 'T'),
        ("kind = \"Alarm\"", 'T'),
        (r"'it\'s \\ \u0041' = 'it\'s \\ A'", 'T'),
        (r#""\"" = '"'"#, 'T'),
        (r"'\ud834\udd1e' = '𝄞'", 'T'),
        ("-1.5e+1 = -15", 'T'),
        ("0xFf = 255", 'T'),
        // Longest match: this is one name, which no property has.
        ("a||b", 'U'),
        ("is_defined(3-4)", 'F'),
        ("is_defined(kind-of)", 'F'),
        ("is_defined(-kind)", 'F'),
        ("3 - 4 = -1", 'T'),
        // Only these words in lower case are literals; the others are names.
        ("is_defined(True)", 'F'),
        ("true aNd tRuE = 'x'", 'U'),
        ("Not Is_Defined(gone)", 'T'),
    ]);
}

#[test]
fn s3_7_a_name_may_contain_what_looks_like_an_operator() {
    let mut sample = sample();
    sample.application.push(("a-b.c*%!|'&+1".into(), Some("x".into())));
    let condition = parse("a-b.c*%!|'&+1 = 'x'");
    assert!(condition.matches(&sample));
    let name = "a-b.c*%!|'&+1".into();
    let left = Expr { kind: ExprKind::Reference(Reference::Application(name)), at: 0 };
    let ExprKind::Binary(BinaryOp::Equal, found, _) = &condition.expr().kind else { panic!() };
    assert_eq!(**found, left);
}

#[test]
fn s3_8_operators_bind_in_this_order() {
    for (text, same) in [
        ("a = 'x' OR b = 'y' AND c = 'z'", "a = 'x' OR (b = 'y' AND c = 'z')"),
        ("1 + 2 * 3 = 7", "(1 + (2 * 3)) = 7"),
        ("1 - 2 - 3 = -4", "((1 - 2) - 3) = -4"),
        ("1 < 2 = true", "(1 < 2) = true"),
        ("$body.a = 1 != false", "($body.a = 1) != false"),
        ("'a' || 'b' = c", "('a' || 'b') = c"),
        ("NOT $body.a = $body.b", "(NOT $body.a) = $body.b"),
        ("- $body.a * 2 = 4", "((- $body.a) * 2) = 4"),
        ("$body.a ?? $body.b OR true", "$body.a ?? ($body.b OR true)"),
        ("$body.a ?? $body.b ?? $body.c", "($body.a ?? $body.b) ?? $body.c"),
    ] {
        assert_eq!(parse(text), parse(same), "{text}");
    }
    assert_ne!(parse("true AND (true AND true)"), parse("true AND true AND true"));
    assert_eq!(refused("NOT a = b").kind(), ParseErrorKind::Type);
    assert_eq!(refused("k ?? 'x' = 'y'").kind(), ParseErrorKind::Type);
    assert!(parse("(kind ?? 'x') = 'Alarm'").matches(&sample()));
    assert_eq!(refused("a IN ['x']").kind(), ParseErrorKind::Syntax);
    assert_eq!(refused("a NIN ['x']").kind(), ParseErrorKind::Syntax);
}

#[test]
fn s3_9_names_are_looked_up() {
    let mut sample = sample();
    sample.application.push(("$contentType".into(), Some("text/plain".into())));
    sample.application.push(("$own".into(), Some("mine".into())));
    for (text, want) in [
        ("Kind = 'Alarm'", Truth::True),
        ("$contentType = 'application/json'", Truth::True),
        ("$CONTENTTYPE = 'application/json'", Truth::True),
        ("{$contentType} = 'application/json'", Truth::True),
        ("{ $contentType } = 'application/json'", Truth::True),
        ("$own = 'mine'", Truth::True),
        ("{$own} = 'mine'", Truth::Undefined),
        ("$messageId = 'x'", Truth::Undefined),
        ("$BODY.t = 50", Truth::True),
        ("{$body.t} = 50", Truth::True),
        ("$body.T = 50", Truth::False),
        ("$body[0] = 50", Truth::Undefined),
        ("$body = 50", Truth::Undefined),
        ("$twin.Tags.Floor = '1'", Truth::True),
        ("$twin.tags.gone = null", Truth::Undefined),
        ("$twin.properties.reported.x = 1", Truth::Undefined),
    ] {
        assert_eq!(parse(text).evaluate(&sample).truth, want, "{text}");
    }
    sample.twin = Some(json!({"tags": {"floor": 1, "Floor": 2}}));
    assert!(parse("$twin.tags.Floor = 2 AND $twin.tags.FLOOR < 3").matches(&sample));
    sample.twin = None;
    assert_eq!(parse("$twin.tags.floor = 1").evaluate(&sample).truth, Truth::Undefined);
    for text in ["$twin = 1", "$twin.tags = 1", "$twin.deviceId = 'd'", "$ = 1", "$a[0] = 'x'"] {
        assert_eq!(refused(text).kind(), ParseErrorKind::Syntax, "{text}");
    }
}

#[test]
fn s3_10_kinds_are_checked_when_a_condition_is_saved() {
    check(&[
        ("name + 1", 'E'),
        ("name = 3", 'E'),
        ("'a' = null", 'E'),
        ("length(3)", 'E'),
        ("name AND true", 'E'),
        ("- name = 1", 'E'),
        ("abs('x')", 'E'),
        ("as_number(true)", 'E'),
        ("starts_with(name, 3)", 'E'),
        ("substring(name, name)", 'E'),
        ("1 || 'a'", 'E'),
        ("null + 1", 'E'),
        ("true < 1", 'E'),
        ("name ?? 1", 'E'),
        ("power(1)", 'E'),
        ("concat('a')", 'E'),
        ("is_defined(name, name)", 'E'),
        ("$body.x + 1", 'U'),
        ("length($body.x)", 'U'),
        ("name = undefined", 'U'),
        ("undefined + 1 = undefined", 'U'),
    ]);
}

#[test]
fn s3_10_undefined_spreads_and_null_does_not() {
    check(&[
        ("gone < 'x'", 'U'),
        ("length(gone) = 1", 'U'),
        ("gone || 'x' = 'x'", 'U'),
        ("is_defined(concat(gone, 'x'))", 'F'),
        ("is_defined(n)", 'T'),
        ("n || 'x' = 'x'", 'T'),
        ("concat('a', n, 'b') = 'ab'", 'T'),
        ("n != 'x'", 'U'),
        ("(n ?? 'd') = 'd'", 'U'),
        ("$body.t = gone", 'U'),
        ("is_defined(3 % 0)", 'F'),
        ("1 / 0 > 1", 'T'),
        ("is_defined(1 / 0)", 'T'),
        ("is_number(1 / 0)", 'F'),
    ]);
}

#[test]
fn s3_10_three_valued_logic() {
    const WORDS: [(&str, Truth); 3] =
        [("(1 = 1)", Truth::True), ("(1 = 2)", Truth::False), ("(gone = 'x')", Truth::Undefined)];
    let truth = |text: String| parse(&text).evaluate(&sample()).truth;
    for (a, x) in WORDS {
        assert_eq!(truth(format!("NOT {a}")), !x);
        for (b, y) in WORDS {
            assert_eq!(truth(format!("{a} AND {b}")), x.and(y), "{a} AND {b}");
            assert_eq!(truth(format!("{a} OR {b}")), x.or(y), "{a} OR {b}");
        }
    }
}

#[test]
fn s3_10_null_as_it_is_written() {
    check(&[
        ("NOT null", 'T'),
        ("null", 'F'),
        ("null AND true", 'F'),
        ("NOT (null AND true)", 'T'),
        ("NOT (true AND null)", 'T'),
        ("NOT (false AND null)", 'T'),
        ("null OR true", 'T'),
        ("null OR false", 'F'),
        ("gone = 'x' OR null", 'U'),
        ("NOT (null OR null)", 'T'),
        ("null = null", 'T'),
        ("null <> null", 'F'),
        ("null <= null", 'T'),
        ("null >= null", 'T'),
        ("null < null", 'F'),
        ("null > null", 'F'),
    ]);
}

#[test]
fn s3_10_text_compares_by_code_unit() {
    check(&[
        ("'a' < 'b'", 'T'),
        ("'B' < 'a'", 'T'),
        ("'𐀀' < '\u{ff5e}'", 'T'),
        ("'a' < 'ab'", 'T'),
    ]);
}

#[test]
fn s3_11_values_of_a_body() {
    check(&[
        ("$body.h = null", 'U'),
        ("$body.nope > 1", 'U'),
        ("$body.nope >= null", 'T'),
        ("$body.nope > null", 'F'),
        ("$body.t > '5'", 'U'),
        ("$body.on > false", 'T'),
        ("true OR $body.nope", 'U'),
        ("$body.nope OR true", 'U'),
        ("false AND $body.t", 'U'),
        ("$body.on OR gone = 'x'", 'U'),
        ("$body.on AND kind = 'Alarm'", 'T'),
        ("gone = 'x' AND $body.t = 1", 'F'),
        ("NOT $body.z", 'U'),
        ("NOT $body.nope", 'U'),
        ("$body.s + 1 = 1", 'U'),
        ("- $body.t = -50", 'T'),
        ("($body.nope ?? 1) = 1", 'T'),
        ("($body.z ?? 1) = 1", 'F'),
    ]);
    for text in [
        "$body.h[-1].m = 'x'",
        "$body.h[0][1] = 'x'",
        "$body.h[*] = 'x'",
        "$body.h[0:1] = 'x'",
        "$body..t = 1",
        "$body. = 1",
        "$body.h[] = 1",
        "$body.h[0 = 1",
        "$body.h]0[ = 1",
        "$body[0 = 1",
    ] {
        assert_eq!(refused(text).kind(), ParseErrorKind::Syntax, "{text}");
    }
}

#[test]
fn s3_11_text_that_looks_like_a_date_is_text() {
    let mut sample = sample();
    sample.body = Some(json!({"at": "2026-01-05T10:00:00Z"}));
    assert!(parse("$body.at > '2026-01-05T09:00:00Z'").matches(&sample));
}

#[test]
fn s3_12_functions() {
    check(&[
        ("abs(-2) = 2 AND exp(0) = 1 AND square(3) = 9 AND sqrt(9) = 3", 'T'),
        ("ceiling(1.2) = 2 AND floor(-1.2) = -2", 'T'),
        ("sign(-3) = -1 AND sign(0) = 0 AND sign(4) = 1", 'T'),
        ("sqrt(-1) = 1", 'U'),
        ("exp(1000) > 1", 'T'),
        ("as_number(' -1,234.5e1 ') = -12345", 'T'),
        ("as_number('1e999') > 1", 'T'),
        ("as_number(3) = 3", 'T'),
        ("as_number('x') = 3", 'U'),
        ("is_bool(true) AND is_number(1) AND is_string('')", 'T'),
        ("is_bool(1) OR is_number('1') OR is_string(1)", 'F'),
        ("is_bool(gone) OR is_number(gone)", 'F'),
        ("is_bool($body.nope)", 'U'),
        ("is_bool($body.on)", 'T'),
        ("is_number($body.nope)", 'F'),
        ("is_defined(null) AND is_defined($body.z) AND is_defined($body.o)", 'T'),
        ("is_null(null) AND is_null($body.z)", 'T'),
        ("is_null($body.t) OR is_null($body.nope) OR is_null(gone)", 'F'),
        ("is_array($body.h) AND is_object($body.o) AND NOT is_array($body.o)", 'T'),
        ("is_primitive($body.t) AND is_primitive(null) AND is_primitive('x')", 'T'),
        ("is_primitive($body.o) OR is_primitive(gone)", 'F'),
        ("concat('a', 'b', 'c') = 'abc'", 'T'),
        ("concat('a', gone) = 'a'", 'U'),
        ("length('a𝄞') = 3", 'T'),
        ("lower('ÄbC') = 'äbc' AND upper('äbC') = 'ÄBC'", 'T'),
        ("substring('abcd', 1) = 'bcd' AND substring('abcd', 1.9, 2.9) = 'bc'", 'T'),
        ("substring('abcd', 5) = ''", 'U'),
        ("substring('abcd', 4) = ''", 'T'),
        ("substring('abcd', 4, 0) = ''", 'U'),
        ("substring('abcd', 2, 3) = ''", 'U'),
        ("substring('abcd', 0, $body.nope) = ''", 'U'),
        ("index_of('abcabc', 'ca') = 2 AND index_of('abc', 'x') = -1", 'T'),
        ("index_of('𝄞b', 'b') = 2", 'T'),
        ("starts_with('abc', 'ab') AND ends_with('abc', 'bc') AND contains('abc', 'b')", 'T'),
        ("starts_with('abc', 'AB') OR contains('abc', 'B')", 'F'),
        ("STARTSWITH(kind, 'Al')", 'T'),
        ("contains($body.t, '5')", 'U'),
    ]);
}

fn event(source: EventSource, properties: &[Property<'_>], body: &str) -> Event {
    Event {
        partition: Partition(0),
        sequence: SequenceNumber(1),
        enqueued: Timestamp::from_millis(1_654_556_166_000),
        source,
        sender: Address::parse("d1/m1").unwrap(),
        generation: "637".into(),
        auth: None,
        model: Some("dtmi:x;1".into()),
        properties: properties.iter().copied().collect::<Properties>(),
        body: body.to_owned().into(),
    }
}

const JSON: [Property<'_>; 2] = [
    Property::System(SystemProperty::ContentType, "application/json"),
    Property::System(SystemProperty::ContentEncoding, "utf-8"),
];

#[test]
fn s3_12_changes_of_a_twin_include_what_they_name() {
    let body = r#"{"version":7,"tags":{"a":null},"properties":{"desired":{"p":{"q":1}}}}"#;
    let change = event(EventSource::TwinChange, &JSON, body);
    let telemetry = event(EventSource::Telemetry, &JSON, body);
    for (text, want) in [
        ("twin_change_includes(tags.a)", Truth::True),
        ("Twin_Change_Includes(properties.desired.p)", Truth::True),
        ("twin_change_includes(properties.desired.p.q)", Truth::True),
        ("twin_change_includes(properties.reported.p)", Truth::False),
        ("twin_change_includes(tags.b)", Truth::False),
    ] {
        let condition = parse(text);
        assert!(condition.needs().change);
        assert_eq!(condition.evaluate(&EventSubject::new(&change)).truth, want, "{text}");
        let other = condition.evaluate(&EventSubject::new(&telemetry));
        assert_eq!(other.truth, Truth::Undefined, "{text}");
    }
    for text in [
        "twin_change_includes('tags.a')",
        "twin_change_includes(a)",
        "twin_change_includes(tags.)",
        "twin_change_includes()",
        "twin_change_includes(tags.a[0])",
    ] {
        assert_eq!(refused(text).kind(), ParseErrorKind::Syntax, "{text}");
    }
}

#[test]
fn s1_2_system_properties_of_an_event() {
    let set = |property, value| Property::System(property, value);
    let mut properties = vec![
        set(SystemProperty::MessageId, "m"),
        set(SystemProperty::CorrelationId, "c"),
        set(SystemProperty::UserId, "u"),
        set(SystemProperty::CreationTime, "2022-01-01T00:00:00Z"),
        set(SystemProperty::Subject, "thermostat"),
        set(SystemProperty::MessageSchema, "twinChangeNotification"),
        Property::Application("Level", Some("low")),
        Property::Application("level", Some("high")),
    ];
    properties.extend(JSON);
    let condition = parse(
        "$messageId = 'm' AND $correlationId = 'c' AND $userId = 'u' \
         AND $contentType = 'application/json' AND $contentEncoding = 'utf-8' \
         AND $enqueuedTime > '2022-06-06T22:56:05Z' AND $enqueuedTime < '2022-06-06T22:56:07Z' \
         AND $connectionDeviceId = 'd1' AND $connectionModuleId = 'm1' \
         AND $connectionDeviceGenerationId = '637' AND NOT is_defined($connectionAuthMethod) \
         AND $dt-subject = 'thermostat' AND $dt-dataschema = 'dtmi:x;1' \
         AND creation-time-utc = $creation-time-utc \
         AND iothub-message-schema = 'twinChangeNotification' AND LEVEL = 'high'",
    );
    let small = event(EventSource::Telemetry, &properties, "{}");
    assert_eq!(condition.evaluate(&EventSubject::new(&small)).truth, Truth::True);
    // More properties than are kept at hand.
    let more: Vec<String> = (0..40).map(|i| format!("p{i}")).collect();
    properties.extend(more.iter().map(|name| Property::Application(name, Some("x"))));
    let large = event(EventSource::Telemetry, &properties, "{}");
    let subject = EventSubject::new(&large);
    assert_eq!(condition.evaluate(&subject).truth, Truth::True);
    assert!(parse("p39 = 'x' AND NOT is_defined(p40)").matches(&subject));
    assert!(parse("NOT is_defined($messageId)").matches(&EventSubject::new(&event(
        EventSource::Telemetry,
        &[],
        ""
    ))));
}

#[test]
fn s1_7_a_body_that_cannot_be_looked_into_is_told() {
    let unlabelled = event(EventSource::Telemetry, &[], r#"{"t":1}"#);
    let subject = EventSubject::new(&unlabelled);
    let fault = Some(Fault::Body(BodyFault::ContentType));
    let got = parse("$body.t = 1").evaluate(&subject);
    assert_eq!(got, Evaluation { truth: Truth::Undefined, fault });
    let got = parse("$body.t = 1 OR $connectionDeviceId = 'd1'").evaluate(&subject);
    assert_eq!(got, Evaluation { truth: Truth::True, fault: None });
    let got = parse("gone = 'x'").evaluate(&subject);
    assert_eq!(got, Evaluation { truth: Truth::Undefined, fault: None });
    let array = event(EventSource::Telemetry, &JSON, "[1]");
    let got = parse("$body.t = 1").evaluate(&EventSubject::new(&array));
    assert_eq!(got.fault, Some(Fault::Body(BodyFault::NotAnObject)));
}

#[test]
fn conditions_say_what_they_need() {
    for (text, body, twin) in [
        ("true", false, false),
        ("a = 'x' AND $contentType = 'y'", false, false),
        ("NOT (length($body.a) = 1)", true, false),
        ("true OR ($twin.tags.a ?? $body.b) = 1", true, true),
    ] {
        assert_eq!(parse(text).needs(), Needs { body, twin, change: false }, "{text}");
    }
}

#[test]
fn explanations_name_each_operand_with_its_value() {
    let condition = parse("sev = 'x' OR $body.t > 40 AND NOT ($body.gone = 1)");
    let explanation = condition.explain(&sample());
    assert_eq!(explanation.evaluation.truth, Truth::True);
    let lines: Vec<String> = explanation
        .operands
        .iter()
        .map(|o| {
            format!("{}{} @{} -> {} ({})", "  ".repeat(o.depth), o.text, o.at, o.value, o.truth)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "sev = 'x' OR $body.t > 40 AND NOT ($body.gone = 1) @0 -> true (true)",
            "  sev = 'x' @0 -> false (false)",
            "    sev @0 -> '3' (undefined)",
            "    'x' @6 -> 'x' (undefined)",
            "  $body.t > 40 AND NOT ($body.gone = 1) @13 -> true (true)",
            "    $body.t > 40 @13 -> true (true)",
            "      $body.t @13 -> 50 (undefined)",
            "      40 @23 -> 40 (undefined)",
            "    NOT ($body.gone = 1) @30 -> true (true)",
            "      $body.gone = 1 @34 -> false (false)",
            "        $body.gone @35 -> missing (undefined)",
            "        1 @48 -> 1 (undefined)",
        ]
    );
}

#[test]
fn an_evaluation_that_costs_too_much_is_undefined_and_told() {
    let limits = Limits { query_steps_max: 100, ..Limits::default() };
    let mut sample = sample();
    sample.application.push(("long".into(), Some("x".repeat(64 * 50))));
    let condition = Condition::parse("contains(long, 'y')", &limits).unwrap();
    assert_eq!(condition.evaluate(&sample).truth, Truth::False);
    let twice = "NOT contains(concat(long, long), 'y')";
    let condition = Condition::parse(twice, &limits).unwrap();
    let want = Evaluation { truth: Truth::Undefined, fault: Some(Fault::Steps) };
    assert_eq!(condition.evaluate(&sample), want);
    assert!(!condition.matches(&sample));
    // What is undefined inside must not become true outside.
    let condition =
        Condition::parse(&format!("NOT is_defined({})", "long || ".repeat(9) + "long"), &limits);
    assert_eq!(condition.unwrap().evaluate(&sample), want);
}
