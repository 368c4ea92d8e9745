//! A PostgreSQL for the tests, and a schema for each store.
//!
//! `HUB_POSTGRES_URL` names the server. Without it, `scripts/postgres run` makes one that lives as long
//! as this process; where that cannot be done, every test fails and says so.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hub_store_postgres::tokio_postgres::{Client, NoTls, connect};
use hub_store_postgres::{PostgresConfig, PostgresStore};

/// The throwaway server. Its script ends when this process does, and its input with it.
static STARTED: OnceLock<(String, Option<Child>)> = OnceLock::new();

/// The URL of the server.
pub(crate) fn url() -> &'static str {
    let (url, _) = STARTED.get_or_init(|| match std::env::var("HUB_POSTGRES_URL") {
        Ok(url) => (url, None),
        Err(_) => start(&[]),
    });
    url
}

/// Starts one; the script is given these variables.
fn start(variables: &[(&str, &str)]) -> (String, Option<Child>) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/postgres");
    let mut child = Command::new(script)
        .arg("run")
        .envs(variables.iter().copied())
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
pub(crate) fn schema_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    format!("test_{}_{nanos}_{number}", std::process::id())
}

/// A schema of one test, dropped at the end.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) name: String,
}

impl Schema {
    pub(crate) fn new() -> Self {
        Self { name: schema_name() }
    }

    pub(crate) fn config(&self) -> PostgresConfig {
        let mark = if url().contains('?') { '&' } else { '?' };
        let url = format!("{}{mark}application_name={}", url(), self.name);
        let config: PostgresConfig = url.parse().unwrap_or_else(|error| panic!("{error}"));
        config.schema(&self.name)
    }

    /// Ends when no store has a connection. A server goes on with what a dead client has sent last.
    pub(crate) async fn left(&self) {
        self.until("count(*) = 0", "true").await;
    }

    /// Ends when a connection of a store waits for a lock.
    pub(crate) async fn waits_for_a_lock(&self) {
        self.until("count(*) > 0", "wait_event_type = 'Lock'").await;
    }

    /// Ends when this holds of those of the stores' connections.
    async fn until(&self, holds: &str, of: &str) {
        let client = client().await;
        let query =
            format!("SELECT {holds} FROM pg_stat_activity WHERE application_name = $1 AND {of}");
        while !client.query_one(&query, &[&self.name]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn open(&self) -> PostgresStore {
        PostgresStore::open(self.config()).await.unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        // A server of our own goes as a whole.
        if STARTED.get().is_some_and(|(_, child)| child.is_none()) {
            let drop = format!(
                "SET lock_timeout = '10s'; DROP SCHEMA IF EXISTS \"{}\" CASCADE",
                self.name
            );
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
pub(crate) async fn client() -> Client {
    client_at(url()).await
}

pub(crate) async fn client_at(url: &str) -> Client {
    let (client, connection) =
        connect(url, NoTls).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    tokio::spawn(connection);
    client
}

/// A server of one test, to be stopped and started at will. Gone at the end.
#[derive(Debug)]
pub(crate) struct Own {
    script: Child,
    pub(crate) url: String,
    data: std::path::PathBuf,
}

impl Own {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With variables for the script.
    pub(crate) async fn start_with(variables: &[(&str, &str)]) -> Self {
        let (url, script) = start(variables);
        let client = client_at(&url).await;
        let row = client.query_one("SHOW data_directory", &[]).await.unwrap();
        let data: String = row.get(0);
        Self { script: script.unwrap(), url, data: data.into() }
    }

    pub(crate) async fn open(&self, schema: &str) -> PostgresStore {
        let config: PostgresConfig = self.url.parse().unwrap_or_else(|error| panic!("{error}"));
        let config = config.schema(schema).connect_timeout(Duration::from_secs(2));
        PostgresStore::open(config).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Kills it as a crash does, and starts it again: committed work is all there.
    pub(crate) fn crash_and_restart(&self, between: impl FnOnce()) {
        self.control(&["-m", "immediate", "stop"]);
        between();
        // With the options it was started with.
        let options = std::fs::read_to_string(self.data.join("postmaster.opts")).unwrap();
        let (_, options) = options.trim().split_once(' ').unwrap();
        let log = self.data.with_file_name("server.log");
        self.control(&["-l", log.to_str().unwrap(), "-o", &options.replace('"', ""), "start"]);
    }

    fn control(&self, args: &[&str]) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/postgres");
        let done = Command::new(script)
            .arg("control")
            .arg(&self.data)
            .args(args)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(done.success(), "{args:?}");
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        self.script.wait().ok();
    }
}
