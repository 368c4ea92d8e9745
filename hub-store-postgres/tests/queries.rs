//! Twins found by indexes, against the same twins read one by one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it should be"
)]

mod server;

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use hub_core::Hub;
use hub_core::conformance::query::{Fixture, Opened};
use hub_core::engine::QueryRows;
use hub_core::id::Address;
use hub_core::limits::Limits;
use hub_core::query::Filter;
use hub_core::registry::IdentitySpec;
use hub_core::store::{Find, Parts, Population, Query as _, Wanted};
use hub_core::twin::ServicePatch;
use hub_store_postgres::PostgresStore;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use server::Schema;

const INDEXES: [&str; 3] = ["tags.x", "tags.y", "properties.desired.o.k"];

/// Two hubs on one store: one that finds by indexes, one that reads all twins.
async fn hubs(schema: &Schema) -> (Arc<PostgresStore>, Hub, Hub) {
    let mut config = schema.config();
    for path in INDEXES {
        config = config.index(path).unwrap();
    }
    let store = Arc::new(PostgresStore::open(config).await.unwrap());
    store.indexed().await;
    let mut limits = Limits::default();
    // Several pages of rows for each page of an answer.
    limits.query_page_max = 4;
    limits.list_page_max = 4;
    let builder = || Hub::builder_on(store.clone()).limits(limits.clone());
    let found = builder().queries(store.clone()).start().unwrap();
    let read = builder().start().unwrap();
    (store, found, read)
}

async fn put(hub: &Hub, id: &str, twin: &Value) {
    let address = Address::parse(id).unwrap();
    hub.registry().put(&IdentitySpec::new(address.clone()), None).await.unwrap();
    let patch = ServicePatch::parse(twin.to_string().as_bytes(), hub.limits()).unwrap();
    hub.patch_twin(&address, patch, None).await.unwrap();
}

async fn all(hub: &Hub, text: &str) -> Vec<Map<String, Value>> {
    let (mut rows, mut from) = (Vec::new(), None::<String>);
    loop {
        let page = hub.query(text, Some(3), from.as_deref()).await;
        let page = page.unwrap_or_else(|error| panic!("{text}: {error}"));
        let QueryRows::Values(more) = page.rows else { panic!("{text}") };
        rows.extend(more);
        match page.continuation {
            Some(continuation) => from = Some(continuation),
            None => return rows,
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => any::<bool>().prop_map(Value::from),
        4 => (-2..3_i8).prop_map(Value::from),
        1 => Just(json!(1.5)),
        1 => prop::sample::select(vec![(1_i64 << 52) - 1, -(1 << 52)]).prop_map(Value::from),
        4 => "[ab]{0,1}".prop_map(Value::from),
        // What jsonb refuses, what an index cannot hold, what has to be escaped.
        1 => Just(json!("a\u{0}")),
        1 => Just(json!("a".repeat(600))),
        1 => Just(json!("a\"\\\n'é")),
        1 => Just(json!({"k": 1})),
        1 => Just(json!([1, "a"])),
    ]
}

fn twin() -> impl Strategy<Value = Value> {
    let tags = prop::collection::vec(("[xyz]", value()), 0..3);
    (tags, prop::option::of(value())).prop_map(|(tags, k)| {
        let tags: Map<String, Value> = tags.into_iter().collect();
        json!({"tags": tags, "properties": {"desired": {"o": k.map(|k| json!({"k": k}))}}})
    })
}

fn path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "tags.x",
        "tags.x",
        "tags.y",
        "tags.z",
        "properties.desired.o.k",
        "properties.desired.$version",
        "deviceId",
        "status",
        "connectionState",
        "tags.x.k",
    ])
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (-2..3_i8).prop_map(|n| n.to_string()),
        4 => "[abd]{0,1}".prop_map(|text| format!("'{text}'")),
        1 => Just(format!("'{}'", "a".repeat(600))),
        2 => prop::sample::select(vec![
            "true", "false", "null", "undefined", "'d3'", "'enabled'", "1.5", "4503599627370495",
            r"'a\u0000'", r#"'a\"\\\u000a\'é'"#,
        ])
        .prop_map(str::to_owned),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    let compare = prop::sample::select(vec!["=", "=", "=", "!=", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        4 => (path(), compare.clone(), literal()).prop_map(|(p, op, l)| format!("{p} {op} {l}")),
        1 => (literal(), compare.clone(), path()).prop_map(|(l, op, p)| format!("{l} {op} {p}")),
        1 => (path(), compare, path()).prop_map(|(p, op, q)| format!("{p} {op} {q}")),
        2 => (path(), prop::collection::vec(literal(), 1..4))
            .prop_map(|(p, list)| format!("{p} IN [{}]", list.join(", "))),
        1 => (path(), prop::collection::vec(literal(), 1..3))
            .prop_map(|(p, list)| format!("{p} NIN [{}]", list.join(", "))),
        1 => path().prop_map(|p| format!("is_defined({p})")),
        1 => path().prop_map(str::to_owned),
        1 => prop::sample::select(vec!["true", "false"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            1 => inner.clone().prop_map(|c| format!("NOT ({c})")),
            2 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) AND ({b})")),
            2 => (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) OR ({b})")),
        ]
    })
}

#[test]
fn what_is_found_is_what_is_read() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let data = prop::collection::vec(twin(), 1..12);
    let conditions = prop::collection::vec((condition(), path()), 24);
    let mut runner = TestRunner::new(Config { cases: 12, ..Config::default() });
    let outcome = runner.run(&(data, conditions), |(data, conditions)| {
        runtime.block_on(async {
            let schema = Schema::new();
            let (_store, found, read) = hubs(&schema).await;
            for (i, twin) in data.iter().enumerate() {
                put(&found, &format!("d{i}"), twin).await;
                put(&found, &format!("d{i}/m"), twin).await;
            }
            for (condition, path) in conditions {
                for text in [
                    format!("SELECT deviceId, {path} AS v FROM devices WHERE {condition}"),
                    format!("SELECT deviceId, moduleId FROM devices.modules WHERE {condition}"),
                    format!("SELECT deviceId FROM devices WHERE {condition} ORDER BY {path} DESC"),
                    format!("SELECT COUNT() AS n, {path} AS v FROM devices WHERE {condition} GROUP BY {path}"),
                    format!("SELECT COUNT() AS n FROM devices WHERE {condition}"),
                    format!("SELECT COUNT() AS n, COUNT() AS m FROM devices.modules WHERE {condition}"),
                    format!("SELECT {path} AS v, properties.desired AS d, tags.x.k FROM devices WHERE {condition}"),
                ] {
                    prop_assert_eq!(all(&found, &text).await, all(&read, &text).await, "{}", text);
                }
            }
            Ok(())
        })
    });
    outcome.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_holds_no_more_than_was_asked_for_and_only_what_an_index_gives() {
    let schema = Schema::new();
    let (store, hub, _) = hubs(&schema).await;
    for i in 0..30 {
        let site = if i % 10 == 0 { "a" } else { "b" };
        put(&hub, &format!("d{i:02}"), &json!({"tags": {"x": site, "y": i}})).await;
    }
    let ask = async |condition: &str, after: Option<&str>, limit: u32| {
        let filter = Filter::parse(condition, &Limits::default()).unwrap();
        let find = Find {
            population: Population::Devices,
            filter: &filter,
            parts: Parts::default(),
            wanted: Wanted::Rows,
            after,
            limit: NonZeroU32::new(limit).unwrap(),
        };
        let found = store.find(find).await.unwrap();
        let ids: Vec<String> = found.rows.iter().map(|row| row.id.to_string()).collect();
        (ids, found.next.map(|next| next.to_string()), found.looked_at)
    };
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(ask("tags.x = 'a'", None, 10).await, (ids(&["d00", "d10", "d20"]), None, 3));
    assert_eq!(ask("tags.x = 'a'", None, 2).await, (ids(&["d00", "d10"]), Some("d10".into()), 2));
    assert_eq!(ask("tags.x = 'a'", Some("d10"), 2).await, (ids(&["d20"]), None, 1));
    assert_eq!(ask("tags.y >= 28", None, 9).await, (ids(&["d28", "d29"]), None, 2));
    // The bound itself comes as well: more than was asked for may be given.
    let either = ask("tags.y < 2 OR tags.x = 'a'", None, 9).await.0;
    assert_eq!(either, ids(&["d00", "d01", "d02", "d10", "d20"]));
    assert_eq!(ask("deviceId IN ['d07', 'none']", None, 9).await, (ids(&["d07"]), None, 1));
    assert_eq!(ask("tags.x = 'none'", None, 9).await, (ids(&[]), None, 0));
    assert_eq!(ask("tags.y != 3", None, 5).await.2, 5, "no index serves this");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_made_once_and_refused_where_there_is_nothing_to_find() {
    let schema = Schema::new();
    let (first, ..) = hubs(&schema).await;
    drop(first);
    let (_second, hub, _) = hubs(&schema).await;
    put(&hub, "d1", &json!({"tags": {"x": 1}})).await;
    assert_eq!(all(&hub, "SELECT deviceId FROM devices WHERE tags.x = 1").await.len(), 1);
    let client = server::client().await;
    let count =
        "SELECT count(*) FROM pg_indexes WHERE schemaname = $1 AND indexname LIKE 'twin_value_%'";
    let count: i64 = client.query_one(count, &[&schema.name]).await.unwrap().get(0);
    assert_eq!(count, 3);
    for path in [
        "",
        "tags",
        "deviceId",
        "status",
        "properties.desired",
        "tags.a b",
        "tags.",
        "properties.desired.$version",
        "properties.reported.$metadata.a.$lastUpdated",
    ] {
        assert!(schema.config().index(path).is_err(), "{path}");
    }
    let url =
        format!("{}&index=tags.site,properties.reported.[[a%20b]]", with_query(server::url()));
    assert!(url.parse::<hub_store_postgres::PostgresConfig>().is_ok());
}

fn with_query(url: &str) -> String {
    if url.contains('?') { url.to_owned() } else { format!("{url}?pool=2") }
}

/// A store for each case of the kit, with the indexes that its conditions look for or without any.
struct Stores {
    schemas: Vec<Schema>,
    indexes: &'static [&'static str],
}

#[async_trait]
impl Fixture for Stores {
    async fn open(&mut self) -> Opened {
        let schema = Schema::new();
        let config =
            self.indexes.iter().try_fold(schema.config(), |config, path| config.index(path));
        let store = Arc::new(PostgresStore::open(config.unwrap()).await.unwrap());
        store.indexed().await;
        self.schemas.push(schema);
        Opened { store: store.clone(), query: store }
    }
}

mod with_indexes {
    hub_core::query_tests!(super::Stores { schemas: Vec::new(), indexes: &["tags.x", "tags.y"] });
}

mod without_indexes {
    hub_core::query_tests!(super::Stores { schemas: Vec::new(), indexes: &[] });
}
