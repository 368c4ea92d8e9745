//! Random queries over random twins, against a reader that filters documents one by one.

use hub_core::engine::Hub;
use hub_core::limits::Limits;
use hub_core::query::{Case, Fields, Filter, Path, Value as Operand, walk};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use crate::{address, all, create, hub_with, write};

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-2..3_i8).prop_map(Value::from),
        "[ab]{0,1}".prop_map(Value::from),
        Just(json!({"k": 1})),
        Just(json!([1, "a"])),
    ]
}

fn section() -> impl Strategy<Value = Value> {
    prop::collection::vec(("[xyz]", value()), 0..3)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn path() -> impl Strategy<Value = String> {
    let root = prop::sample::select(vec!["tags", "properties.desired"]);
    let name = prop::sample::select(vec!["x", "y", "z", "x.k", "y[0]"]);
    prop_oneof![
        8 => (root, name).prop_map(|(root, name)| format!("{root}.{name}")),
        1 => Just("deviceId".to_owned()),
        1 => Just("status".to_owned()),
        1 => Just("properties.desired.$version".to_owned()),
    ]
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        (-2..3_i8).prop_map(|n| n.to_string()),
        "[abd]{0,1}".prop_map(|text| format!("'{text}'")),
        prop::sample::select(vec!["true", "false", "null", "undefined", "'d3'", "'enabled'"])
            .prop_map(str::to_owned),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    let compare = prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        4 => (path(), compare.clone(), literal()).prop_map(|(p, op, l)| format!("{p} {op} {l}")),
        1 => (path(), compare, path()).prop_map(|(p, op, q)| format!("{p} {op} {q}")),
        1 => (path(), prop::collection::vec(literal(), 1..3))
            .prop_map(|(p, list)| format!("{p} IN [{}]", list.join(", "))),
        1 => (path(), prop::collection::vec(literal(), 1..3))
            .prop_map(|(p, list)| format!("{p} NIN [{}]", list.join(", "))),
        1 => path().prop_map(|p| format!("is_defined({p})")),
        1 => path().prop_map(|p| format!("starts_with({p}, 'a')")),
        1 => path(),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|c| format!("NOT ({c})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) AND ({b})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) OR ({b})")),
        ]
    })
}

/// The document of a twin, as a back end reads it.
async fn document(hub: &Hub, id: &str) -> Value {
    let state = hub.registry().twin(&address(id)).await.unwrap();
    json!({
        "deviceId": id,
        "status": state.registration.identity.status().name(),
        "tags": state.twin.tags(),
        "properties": state.twin.service_properties(),
    })
}

/// Those of the documents that a condition selects, by a scan.
fn select<'d>(documents: &'d [Value], condition: &str) -> Vec<&'d Value> {
    struct Plain<'d>(&'d Value);
    impl Fields for Plain<'_> {
        fn value(&self, path: &Path, _: Case) -> Operand<'_> {
            Operand::of_json(walk(self.0, path.steps(), Case::Exact))
        }
    }
    let filter = Filter::parse(condition, &Limits::default()).unwrap();
    documents.iter().filter(|document| filter.selects(&Plain(document))).collect()
}

#[test]
fn answers_agree_with_a_reader_of_documents() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let data = prop::collection::vec((section(), section()), 0..8);
    let conditions = prop::collection::vec((condition(), path(), path()), 8);
    let mut runner = TestRunner::new(Config { cases: 64, ..Config::default() });
    let outcome = runner.run(&(data, conditions), |(data, conditions)| {
        runtime.block_on(async {
            let hub = hub_with(|limits| limits.list_page_max = 3);
            let mut documents = Vec::new();
            for (i, (tags, desired)) in data.iter().enumerate() {
                let id = format!("d{i}");
                create(&hub, &id).await;
                create(&hub, &format!("{id}/m")).await;
                write(&hub, &id, &json!({"tags": tags, "properties": {"desired": desired}})).await;
                documents.push(document(&hub, &id).await);
            }
            for (condition, field, other) in conditions {
                check(&hub, &documents, &condition, &field, &other).await?;
            }
            Ok(())
        })
    });
    outcome.unwrap();
}

async fn check(
    hub: &Hub,
    documents: &[Value],
    condition: &str,
    field: &str,
    other: &str,
) -> Result<(), TestCaseError> {
    let selected = select(documents, condition);
    let want: Vec<Map<String, Value>> =
        selected.iter().map(|document| member("id", document.get("deviceId"))).collect();
    let text = format!("SELECT deviceId AS id FROM devices WHERE {condition}");
    prop_assert_eq!(all(hub, &text, 2).await, want, "{}", text);

    let at = |document: &Value, field: &str| {
        let path = Filter::parse(&format!("{field} = 1"), &Limits::default()).unwrap();
        let mut found = None;
        path.expr().unwrap().visit(&mut |_, expr| {
            if let hub_core::query::ExprKind::Reference(hub_core::query::Reference::Column(path)) =
                &expr.kind
            {
                found = Some(walk(document, path.steps(), Case::Exact).cloned());
            }
        });
        found.flatten()
    };
    let text = format!("SELECT {field} AS v FROM devices WHERE {condition}");
    let want: Vec<_> =
        selected.iter().map(|document| member("v", at(document, field).as_ref())).collect();
    prop_assert_eq!(all(hub, &text, 3).await, want, "{}", text);

    // Groups, counted one by one.
    let text = format!(
        "SELECT {field} AS v, COUNT() AS n FROM devices WHERE {condition} GROUP BY {field}"
    );
    let found = all(hub, &text, 2).await;
    let total: u64 = found.iter().map(|row| row["n"].as_u64().unwrap()).sum();
    prop_assert_eq!(usize::try_from(total).unwrap(), selected.len(), "{}", text);
    for row in &found {
        let mates =
            selected.iter().filter(|document| at(document, field).as_ref() == row.get("v")).count();
        prop_assert_eq!(row["n"].as_u64(), u64::try_from(mates).ok(), "{}", text);
    }

    // An order is the same rows, and no neighbours of one kind are the wrong way round.
    let text = format!(
        "SELECT deviceId AS id, {other} AS v FROM devices WHERE {condition} ORDER BY {other} DESC"
    );
    let found = all(hub, &text, 2).await;
    let mut ids: Vec<&str> = found.iter().map(|row| row["id"].as_str().unwrap()).collect();
    for pair in found.windows(2) {
        let wrong = match (pair[0].get("v"), pair[1].get("v")) {
            (Some(Value::Number(a)), Some(Value::Number(b))) => a.as_f64() < b.as_f64(),
            (Some(Value::String(a)), Some(Value::String(b))) => a < b,
            (None, Some(_)) => true,
            _ => false,
        };
        prop_assert!(!wrong, "{}: {:?}", text, pair);
    }
    ids.sort_unstable();
    let want: Vec<&str> =
        selected.iter().map(|document| document["deviceId"].as_str().unwrap()).collect();
    prop_assert_eq!(ids, want, "{}", text);
    Ok(())
}

/// `{name: value}`, or nothing where there is no value.
fn member(name: &str, value: Option<&Value>) -> Map<String, Value> {
    value.map(|value| (name.to_owned(), value.clone())).into_iter().collect()
}
