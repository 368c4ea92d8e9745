//! Opening: several nodes at once, and everything that can be wrong with a place.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it should be"
)]

mod server;

use std::time::Duration;

use futures::future::join_all;
use hub_core::store::{Batch, BatchId, Change, Durability, Key, Kind, Store};
use hub_store_postgres::{OpenError, PostgresConfig, PostgresStore};
use server::{Schema, client, url};

fn at(url: &str) -> PostgresConfig {
    url.parse().unwrap()
}

/// The error of an opening: one line.
async fn refused(config: PostgresConfig) -> OpenError {
    let error = PostgresStore::open(config).await.expect_err("it cannot be opened");
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_nodes_may_open_a_new_schema_at_once() {
    let schema = Schema::new();
    let stores = join_all((0..8).map(|_| schema.open())).await;
    let create = |n: u128| {
        let changes = vec![Change::new().create(Key::new(Kind::Twin, "d"), "x".into())];
        Batch { id: BatchId(n), changes, nudges: Vec::new() }
    };
    let mut won = 0;
    for (store, n) in stores.iter().zip(1..) {
        assert_eq!(store.durability(), Durability::Synced);
        let outcomes = store.commit(&create(n)).await.unwrap();
        won += usize::from(matches!(outcomes[0], hub_core::store::Outcome::Committed(_)));
    }
    assert_eq!(won, 1, "they are one hub");
    let forms = format!("SELECT count(*), max(number)::bigint FROM \"{}\".hub_form", schema.name);
    let row = client().await.query_one(&forms, &[]).await.unwrap();
    let (count, newest): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!(count, newest, "each step was made once");
}

#[tokio::test]
async fn hubs_in_schemas_of_their_own_know_nothing_of_each_other() {
    let (one, two) = (Schema { name: format!("{} \"q\"", server::schema_name()) }, Schema::new());
    let key = Key::new(Kind::Identity, "d");
    for schema in [&one, &two] {
        let store = schema.open().await;
        let changes = vec![Change::new().create(key.clone(), schema.name.clone().into())];
        store.commit(&Batch { id: BatchId(7), changes, nudges: Vec::new() }).await.unwrap();
    }
    for schema in [&one, &two] {
        let found = schema.open().await.scan(Kind::Identity, None, 9.try_into().unwrap()).await;
        let found = found.unwrap();
        assert_eq!((found.len(), &*found[0].body), (1, schema.name.as_bytes()));
    }
}

#[tokio::test]
async fn a_place_that_is_not_there_is_named() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = nobody.local_addr().unwrap();
    drop(nobody);
    let error = refused(at(&format!("postgres://hub@{free}/postgres"))).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&free.to_string()), "{error}");

    let mut server: tokio_postgres::Config = url().parse().unwrap();
    server.dbname("no_such_database");
    let error = refused(PostgresConfig::new(server)).await;
    assert!(
        matches!(&error, OpenError::NoDatabase { database, .. } if database == "no_such_database"),
        "{error}"
    );

    let error = refused(at("postgres://hub@no-such-host.invalid/db")).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = silent.local_addr().unwrap();
    let config = at(&format!("postgres://hub@{place}/db"));
    let error = refused(config.connect_timeout(Duration::from_millis(300))).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_user_who_may_not_is_told_so() {
    let schema = Schema::new();
    let role = schema.name.clone();
    let client = client().await;
    let make = format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'x'");
    client.batch_execute(&make).await.unwrap();
    let mut server: tokio_postgres::Config = url().parse().unwrap();
    server.user(&role).password("x");
    let error = refused(PostgresConfig::new(server).schema(&schema.name)).await;
    assert!(matches!(error, OpenError::NotAllowed { .. }), "{error}");
    client.batch_execute(&format!("DROP ROLE \"{role}\"")).await.unwrap();

    let mut server: tokio_postgres::Config = url().parse().unwrap();
    server.user("no_such_role").password("x");
    let error = refused(PostgresConfig::new(server)).await;
    assert!(matches!(error, OpenError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn a_foreign_schema_is_left_alone() {
    let schema = Schema::new();
    let client = client().await;
    let make = format!(
        "CREATE SCHEMA \"{0}\"; CREATE TABLE \"{0}\".document (own integer); \
         INSERT INTO \"{0}\".document VALUES (42)",
        schema.name
    );
    client.batch_execute(&make).await.unwrap();
    let error = refused(schema.config()).await;
    assert!(matches!(error, OpenError::ForeignSchema { .. }), "{error}");
    let look = format!(
        "SELECT own, (SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n \
         ON n.oid = c.relnamespace WHERE n.nspname = '{0}') FROM \"{0}\".document",
        schema.name
    );
    let row = client.query_one(&look, &[]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, i64>(1)), (42, 1));
}

#[tokio::test]
async fn an_empty_schema_that_somebody_made_is_taken() {
    let schema = Schema::new();
    client().await.batch_execute(&format!("CREATE SCHEMA \"{}\"", schema.name)).await.unwrap();
    schema.open().await;
}

#[tokio::test]
async fn a_later_form_is_left_alone() {
    let schema = Schema::new();
    drop(schema.open().await);
    let client = client().await;
    let later = format!("INSERT INTO \"{}\".hub_form (number) VALUES (99)", schema.name);
    client.batch_execute(&later).await.unwrap();
    let error = refused(schema.config()).await;
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_told_from_one_that_does() {
    let schema = Schema::new();
    let mut server: tokio_postgres::Config = url().parse().unwrap();
    server.options("-c default_transaction_read_only=on");
    let error = refused(PostgresConfig::new(server).schema(&schema.name)).await;
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error}");
}

#[tokio::test]
async fn another_encoding_is_refused() {
    let name = Schema::new().name.clone();
    let client = client().await;
    let make =
        format!("CREATE DATABASE \"{name}\" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    client.batch_execute(&make).await.unwrap();
    let mut server: tokio_postgres::Config = url().parse().unwrap();
    server.dbname(&name);
    let error = refused(PostgresConfig::new(server)).await;
    assert!(matches!(&error, OpenError::Encoding { found, .. } if found == "LATIN1"), "{error}");
    client.batch_execute(&format!("DROP DATABASE \"{name}\" WITH (FORCE)")).await.unwrap();
}

#[tokio::test]
async fn an_unsynced_store_says_so() {
    let schema = Schema::new();
    let config = schema.config().acknowledge_unsynced();
    let store = PostgresStore::open(config).await.unwrap();
    assert_eq!(store.durability(), Durability::Volatile);
}

/// An operator finds identities, twins and the log by SQL, and no keys.
#[tokio::test]
async fn an_operator_can_look_at_it() {
    use hub_core::id::Partition;
    use hub_core::store::Entries;
    use hub_core::time::Timestamp;

    let schema = Schema::new();
    let store = schema.open().await;
    let twin = br#"{"format":1,"tags":{"site":"A"},"properties":{"reported":{"t":21.5}}}"#;
    let identity =
        br#"{"format":1,"address":"d","authentication":{"type":"sas","primary":"c2VjcmV0"}}"#;
    let at = Timestamp::from_millis(1_767_225_600_123);
    let entries = Entries::from_parts("aabbb".into(), vec![2, 5]).unwrap();
    let changes = vec![
        Change::new().create(Key::new(Kind::Twin, "d"), twin.as_slice().into()),
        Change::new()
            .create(Key::new(Kind::Twin, "not json"), b"{\"a\":\"\\u0000\"}".as_slice().into()),
        Change::new().create(Key::new(Kind::Twin, "no text"), b"\xff\x00".as_slice().into()),
        Change::new().create(Key::new(Kind::Identity, "d"), identity.as_slice().into()),
        Change::new().append(Partition(3), at, entries),
    ];
    store.commit(&Batch { id: BatchId(1), changes, nudges: Vec::new() }).await.unwrap();
    let client = client().await;
    client
        .batch_execute(&format!("SET search_path = \"{}\"; SET TimeZone = 'UTC'", schema.name))
        .await
        .unwrap();
    let row = client
        .query_one(
            "SELECT id, (body #>> '{properties,reported,t}')::float8 FROM twin \
             WHERE body -> 'tags' ->> 'site' = 'A'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, f64>(1)), ("d", 21.5));
    let count: i64 =
        client.query_one("SELECT count(*) FROM twin WHERE body IS NULL", &[]).await.unwrap().get(0);
    assert_eq!(count, 2, "what is no jsonb is there, without a body");
    let body: String =
        client.query_one("SELECT body::text FROM identity", &[]).await.unwrap().get(0);
    assert!(body.contains("\"sas\"") && !body.contains("c2VjcmV0"), "{body}");
    let rows = client
        .query("SELECT part, seq, body, at::text FROM entry ORDER BY part, seq", &[])
        .await
        .unwrap();
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row.get::<_, i32>(0), row.get::<_, i64>(1), row.get::<_, Vec<u8>>(2)))
        .collect();
    assert_eq!(found, [(3, 1, b"aa".to_vec()), (3, 2, b"bbb".to_vec())]);
    assert_eq!(rows[0].get::<_, &str>(3), "2026-01-01 00:00:00.123+00");
    // As the documentation says, an operator may index what is asked for often.
    client
        .batch_execute(
            "CREATE INDEX ON document USING gin (as_json(body) jsonb_path_ops) WHERE kind = 2",
        )
        .await
        .unwrap();
}
