//! A PostgreSQL for the tests, and a schema for each store.
//!
//! `HUB_POSTGRES_URL` names the server. Without it, `scripts/postgres run` makes one that lives as long
//! as this process; where that cannot be done, every test fails and says so.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use hub_store_postgres::{PostgresConfig, PostgresStore};

/// The throwaway server. Its script ends when this process does, and its input with it.
static STARTED: OnceLock<(String, Option<Child>)> = OnceLock::new();

/// The URL of the server.
pub fn url() -> &'static str {
    let (url, _) = STARTED.get_or_init(|| match std::env::var("HUB_POSTGRES_URL") {
        Ok(url) => (url, None),
        Err(_) => start(),
    });
    url
}

fn start() -> (String, Option<Child>) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/postgres");
    let mut child = Command::new(script)
        .arg("run")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{script}: {error}"));
    let mut url = String::new();
    let out = child.stdout.take().expect("it is piped");
    BufReader::new(out).read_line(&mut url).expect("it says where the server is");
    let url = url.trim().to_owned();
    assert!(
        url.starts_with("postgres://"),
        "no PostgreSQL could be started; set HUB_POSTGRES_URL to the URL of one"
    );
    (url, Some(child))
}

/// A name that no other schema has.
pub fn schema_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    format!("test_{}_{nanos}_{number}", std::process::id())
}

/// A schema of one test, dropped at the end.
#[derive(Debug)]
pub struct Schema {
    pub name: String,
}

impl Schema {
    pub fn new() -> Self {
        Self { name: schema_name() }
    }

    pub fn config(&self) -> PostgresConfig {
        let config: PostgresConfig = url().parse().unwrap_or_else(|error| panic!("{error}"));
        config.schema(&self.name)
    }

    pub async fn open(&self) -> PostgresStore {
        PostgresStore::open(self.config()).await.unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        // A server of our own goes as a whole.
        if STARTED.get().is_some_and(|(_, child)| child.is_none()) {
            let drop = format!("DROP SCHEMA IF EXISTS \"{}\" CASCADE", self.name);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(async { client().await.batch_execute(&drop).await.ok() });
            })
            .join()
            .ok();
        }
    }
}

/// A connection beside the store's.
pub async fn client() -> tokio_postgres::Client {
    client_at(url()).await
}

pub async fn client_at(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .unwrap_or_else(|error| panic!("{url}: {error:?}"));
    tokio::spawn(connection);
    client
}
