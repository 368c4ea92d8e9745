//! Bringing a schema to the form that this program knows.
//!
//! Forward only, one step after the other, in one transaction and under a lock: several nodes may be
//! started at once, and one that fails half-way has changed nothing.

use tokio_postgres::Client;

use crate::config::PostgresConfig;
use crate::error::OpenError;
use crate::sql::{quote, within};

/// The steps in order. A step that has been in a release is never changed.
const STEPS: [&str; 3] = [
    include_str!("../migrations/0001.sql"),
    include_str!("../migrations/0002.sql"),
    include_str!("../migrations/0003.sql"),
];

/// The oldest server, as `server_version_num` has it.
const VERSION_NUM_MIN: i32 = 130_000;

/// What the server said of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server {
    /// Whether a commit that is answered is on stable storage.
    pub(crate) syncs: bool,
}

/// A number for an advisory lock or a channel: the same for the same schema, in every process.
pub(crate) fn number_of(schema: &str) -> i64 {
    let text = format!("hub-store-postgres/{schema}");
    // FNV-1a.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.cast_signed()
}

/// Checks the server and the schema, and brings the schema up to date.
pub(crate) async fn migrate(client: &Client, config: &PostgresConfig) -> Result<Server, OpenError> {
    let failed = |error| OpenError::database(config, &error);
    let silent = |_| OpenError::Unreachable {
        place: config.place(),
        reason: "it does not answer".to_owned(),
    };
    let examined = tokio::time::timeout(config.connect_timeout, examine(client, config)).await;
    let server = examined.map_err(silent)??;
    // Whoever comes second waits here, and then finds everything done.
    let lock = format!("BEGIN; SELECT pg_advisory_xact_lock({})", number_of(&config.schema));
    client.batch_execute(&lock).await.map_err(failed)?;
    match steps(client, config).await {
        Ok(()) => client.batch_execute("COMMIT").await.map_err(failed)?,
        Err(error) => {
            // The connection is given up in any case; its transaction goes with it.
            client.batch_execute("ROLLBACK").await.ok();
            return Err(error);
        }
    }
    Ok(server)
}

async fn examine(client: &Client, config: &PostgresConfig) -> Result<Server, OpenError> {
    let failed = |error| OpenError::database(config, &error);
    let settings = "SELECT current_setting('server_version_num')::integer, \
         current_setting('server_version'), current_setting('server_encoding'), \
         current_setting('transaction_read_only') = 'on', current_setting('fsync') = 'on'";
    let row = client.query_one(settings, &[]).await.map_err(failed)?;
    let number: i32 = row.try_get(0).map_err(failed)?;
    if number < VERSION_NUM_MIN {
        let found = row.try_get(1).map_err(failed)?;
        return Err(OpenError::TooOld { place: config.place(), found });
    }
    let found: String = row.try_get(2).map_err(failed)?;
    if found != "UTF8" {
        return Err(OpenError::Encoding { database: config.database().to_owned(), found });
    }
    if row.try_get(3).map_err(failed)? {
        return Err(OpenError::ReadOnly { place: config.place() });
    }
    let syncs = config.synced && row.try_get(4).map_err(failed)?;
    Ok(Server { syncs })
}

async fn steps(client: &Client, config: &PostgresConfig) -> Result<(), OpenError> {
    let failed = |error| OpenError::database(config, &error);
    let schema = quote(&config.schema);
    let look = "SELECT (SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = $1), \
         (SELECT count(*) FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n \
             ON n.oid = c.relnamespace WHERE n.nspname = $1), \
         (SELECT count(*) FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n \
             ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'hub_form')";
    let row = client.query_one(look, &[&config.schema]).await.map_err(failed)?;
    let count = |column| row.try_get::<_, i64>(column).map_err(failed);
    let (exists, tables, ours) = (count(0)? > 0, count(1)?, count(2)? > 0);
    if tables > 0 && !ours {
        return Err(OpenError::ForeignSchema { schema: config.schema.clone() });
    }
    if !exists {
        client.batch_execute(&format!("CREATE SCHEMA {schema}")).await.map_err(failed)?;
    }
    if !ours {
        let table = "CREATE TABLE $S.hub_form \
             (number integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())";
        client.batch_execute(&within(&schema, table)).await.map_err(failed)?;
    }
    let form = within(&schema, "SELECT coalesce(max(number), 0) FROM $S.hub_form");
    let found: i32 =
        client.query_one(&form, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)?;
    let known = i32::try_from(STEPS.len()).unwrap_or(i32::MAX);
    if found > known {
        return Err(OpenError::Newer { schema: config.schema.clone(), found, known });
    }
    for (number, step) in (1..).zip(STEPS).skip_while(|(number, _)| *number <= found) {
        client.batch_execute(&within(&schema, step)).await.map_err(failed)?;
        let done = within(&schema, "INSERT INTO $S.hub_form (number) VALUES ($1)");
        client.execute(&done, &[&number]).await.map_err(failed)?;
        tracing::info!(schema = config.schema, number, "the schema was brought to a new form");
    }
    Ok(())
}
