//! Indexes on values of twins: made beside the store's work, by one node, and made anew where one was
//! left half-way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it should be"
)]

mod server;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use hub_core::Hub;
use hub_core::engine::QueryRows;
use hub_core::id::Address;
use hub_core::registry::IdentitySpec;
use hub_core::twin::ServicePatch;
use hub_store_postgres::{PostgresStore, tokio_postgres};
use serde_json::json;
use server::{Schema, client};
use tokio_postgres::Client;

/// Only what never comes takes so long.
const PATIENCE: Duration = Duration::from_secs(100);

async fn open(schema: &Schema) -> Arc<PostgresStore> {
    let config = schema.config().index("tags.x").unwrap();
    Arc::new(PostgresStore::open(config).await.unwrap())
}

fn hub(store: &Arc<PostgresStore>) -> Hub {
    Hub::builder_on(store.clone()).queries(store.clone()).start().unwrap()
}

async fn put(hub: &Hub, id: &str, x: i32) {
    let address = Address::parse(id).unwrap();
    hub.registry().put(&IdentitySpec::new(address.clone()), None).await.unwrap();
    let patch = json!({"tags": {"x": x}}).to_string();
    let patch = ServicePatch::parse(patch.as_bytes(), hub.limits()).unwrap();
    hub.patch_twin(&address, patch, None).await.unwrap();
}

/// The ids of the twins with this tag.
async fn with(hub: &Hub, x: i32) -> Vec<String> {
    let text = format!("SELECT deviceId FROM devices WHERE tags.x = {x}");
    let QueryRows::Values(rows) = hub.query(&text, None, None).await.unwrap().rows else {
        panic!()
    };
    rows.iter().map(|row| row["deviceId"].as_str().unwrap().to_owned()).collect()
}

async fn indexed(store: &PostgresStore) {
    tokio::time::timeout(PATIENCE, store.indexed()).await.expect("the index is made");
}

/// The oids of the indexes on values, and whether each can be used.
async fn indexes(client: &Client, schema: &Schema) -> Vec<(u32, bool)> {
    let look = "SELECT i.indexrelid, i.indisvalid FROM pg_index AS i \
         JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname LIKE 'twin_value_%' ORDER BY 1";
    let rows = client.query(look, &[&schema.name]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_index_is_made_beside_the_work_and_queries_are_right_before() {
    let schema = Schema::new();
    drop(schema.open().await);
    // An index waits for whoever wrote before it was begun: a writer that does not end holds it up.
    let writer = client().await;
    let write = format!(
        "BEGIN; INSERT INTO \"{}\".document (kind, id, version, body) VALUES (99, 'x', 1, '')",
        schema.name
    );
    writer.batch_execute(&write).await.unwrap();
    let store = open(&schema).await;
    let hub = hub(&store);
    let begun = async {
        let client = client().await;
        while indexes(&client, &schema).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        client
    };
    let client = tokio::time::timeout(PATIENCE, begun).await.expect("the index is begun");
    // It is not there yet; writes and queries go on.
    for (id, x) in [("d1", 1), ("d2", 2), ("d3", 1)] {
        put(&hub, id, x).await;
    }
    assert_eq!(with(&hub, 1).await, ["d1", "d3"]);
    assert!(matches!(indexes(&client, &schema).await[..], [(_, false)]), "the writer holds it up");
    writer.batch_execute("COMMIT").await.unwrap();
    indexed(&store).await;
    assert!(matches!(indexes(&client, &schema).await[..], [(_, true)]));
    put(&hub, "d4", 1).await;
    assert_eq!(with(&hub, 1).await, ["d1", "d3", "d4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_left_half_way_is_made_anew() {
    let schema = Schema::new();
    let store = open(&schema).await;
    indexed(&store).await;
    put(&hub(&store), "d1", 1).await;
    drop(store);
    let client = client().await;
    let before = indexes(&client, &schema).await;
    let [(oid, true)] = before[..] else { panic!("{before:?}") };
    // As a node leaves it that is killed while it makes the index.
    let half = format!("UPDATE pg_index SET indisvalid = false WHERE indexrelid = {oid}");
    client.batch_execute(&half).await.unwrap();
    let store = open(&schema).await;
    indexed(&store).await;
    let after = indexes(&client, &schema).await;
    assert!(matches!(after[..], [(new, true)] if new != oid), "{before:?} {after:?}");
    assert_eq!(with(&hub(&store), 1).await, ["d1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_nodes_make_it_once() {
    let schema = Schema::new();
    let stores = join_all((0..6).map(|_| open(&schema))).await;
    join_all(stores.iter().map(|store| indexed(store))).await;
    let client = client().await;
    let made = indexes(&client, &schema).await;
    assert!(matches!(made[..], [(_, true)]), "{made:?}");
    // A store that has none waits for none.
    tokio::time::timeout(PATIENCE, schema.open().await.indexed()).await.expect("at once");
}

/// What catches errors cannot run in a parallel plan, up to PostgreSQL 16; the function says so.
#[tokio::test]
async fn an_operator_may_ask_in_parallel() {
    let schema = Schema::new();
    let store = open(&schema).await;
    indexed(&store).await;
    let client = client().await;
    let fill = format!(
        "SET search_path = \"{}\"; INSERT INTO document (kind, id, version, body) \
         SELECT 2, 'd' || n, n, CASE WHEN n % 3 = 0 THEN '{{\"tags\": {{\"x\": 1}}}}'::bytea \
             ELSE '\\xff' END FROM generate_series(1, 3000) AS n; \
         ANALYZE document; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; \
         SET min_parallel_table_scan_size = 0; SET min_parallel_index_scan_size = 0; \
         ALTER TABLE document SET (parallel_workers = 2)",
        schema.name
    );
    client.batch_execute(&fill).await.unwrap();
    let ask = "SELECT count(*), count(body) FROM twin";
    let row = client.query_one(ask, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (3000, 1000));
}
