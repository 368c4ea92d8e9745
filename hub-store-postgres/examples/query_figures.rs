//! What a twin query costs on PostgreSQL, beside the same SQL by hand.
//!
//! ```text
//! cargo run --release -p hub-store-postgres --example query_figures -- postgres://… [TWINS]
//! ```
//!
//! Makes a schema `query_figures` of its own with so many twins (100,000), and drops it at the end.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hub_core::Hub;
use hub_core::engine::QueryRows;
use hub_core::id::Address;
use hub_core::registry::IdentitySpec;
use hub_core::twin::ServicePatch;
use hub_store_postgres::{PostgresConfig, PostgresStore};
use tokio_postgres::{Client, NoTls};

const SCHEMA: &str = "query_figures";
const ROUNDS: usize = 50;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: query_figures postgres://… [TWINS]")?;
    let twins: i32 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    drop_schema(&client).await?;
    let config = url.parse::<PostgresConfig>()?.schema(SCHEMA).index("tags.site")?;
    PostgresStore::open(config.clone()).await?.indexed().await;
    fill(&client, config.clone(), twins).await?;
    // Opened anew, it looks at what there is now.
    let store = Arc::new(PostgresStore::open(config).await?);
    store.indexed().await;
    let hub = Hub::builder_on(store.clone()).queries(store).start()?;
    println!("| of {twins} twins | rows | by hand, ms | hub.query, ms | ratio |");
    println!("|---|---|---|---|---|");
    let found = format!(
        "FROM {SCHEMA}.document \
         WHERE kind = 2 AND {SCHEMA}.value_at(body, ARRAY['tags', 'site']::text[]) = $1::text::jsonb"
    );
    let page = client.prepare(&format!("SELECT id, body {found} ORDER BY id LIMIT 1001")).await?;
    let count = client.prepare(&format!("SELECT count(*) {found}")).await?;
    for one_in in [10_000, 1_000, 100] {
        let site = format!("of{one_in}");
        let value = format!("\"{site}\"");
        let text = format!("SELECT deviceId, tags.site FROM devices WHERE tags.site = '{site}'");
        let (mut by_hand, mut by_hub, mut rows) = (Vec::new(), Vec::new(), 0);
        for _ in 0..ROUNDS {
            let start = Instant::now();
            rows = client.query(&page, &[&value]).await?.len();
            by_hand.push(start.elapsed());
            let start = Instant::now();
            let page = hub.query(&text, Some(1000), None).await?;
            by_hub.push(start.elapsed());
            if page.rows.len() != rows {
                return Err(format!("{} rows, {rows} by hand", page.rows.len()).into());
            }
        }
        report(&format!("one in {one_in}"), rows, by_hand, by_hub);
        let text = format!("SELECT COUNT() AS n FROM devices WHERE tags.site = '{site}'");
        let (mut by_hand, mut by_hub) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let number: i64 = client.query_one(&count, &[&value]).await?.try_get(0)?;
            by_hand.push(start.elapsed());
            let start = Instant::now();
            let page = hub.query(&text, None, None).await?;
            by_hub.push(start.elapsed());
            let QueryRows::Values(found) = page.rows else { return Err("no values".into()) };
            let found = found.first().and_then(|row| row.get("n")?.as_i64());
            if found != Some(number) {
                return Err(format!("{found:?}, {number} by hand").into());
            }
        }
        report(&format!("one in {one_in}, counted"), 1, by_hand, by_hub);
    }
    drop_schema(&client).await
}

fn report(what: &str, rows: usize, by_hand: Vec<Duration>, by_hub: Vec<Duration>) {
    let (by_hand, by_hub) = (middle(by_hand), middle(by_hub));
    let ratio = by_hub / by_hand;
    println!("| {what} | {rows} | {by_hand:.2} | {by_hub:.2} | {ratio:.2} |");
}

fn middle(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, Duration::as_secs_f64) * 1000.0
}

async fn drop_schema(client: &Client) -> Result<(), Box<dyn Error>> {
    let drop = format!("SET client_min_messages = warning; DROP SCHEMA IF EXISTS {SCHEMA} CASCADE");
    Ok(client.batch_execute(&drop).await?)
}

/// Makes one device, and copies of it.
async fn fill(client: &Client, config: PostgresConfig, twins: i32) -> Result<(), Box<dyn Error>> {
    let store = PostgresStore::open(config).await?;
    let hub = Hub::builder(store).start()?;
    let first = Address::parse("d0000000")?;
    hub.registry().put(&IdentitySpec::new(first.clone()), None).await?;
    let patch = br#"{"tags":{"site":"SITE","floor":3,"owner":{"name":"somebody","phone":"123"}},
        "properties":{"desired":{"interval":60,"mode":"auto","limits":{"low":1.5,"high":9.5}}}}"#;
    hub.patch_twin(&first, ServicePatch::parse(patch, hub.limits())?, None).await?;
    let copy = format!(
        "INSERT INTO {SCHEMA}.document (kind, id, version, body) \
         SELECT d.kind, 'd' || lpad(n::text, 7, '0'), d.version + n, convert_to(replace(replace( \
             convert_from(d.body, 'UTF8'), 'd0000000', 'd' || lpad(n::text, 7, '0')), 'SITE', \
             CASE WHEN n % 10000 = 1 THEN 'of10000' WHEN n % 1000 = 2 THEN 'of1000' \
                 WHEN n % 100 = 3 THEN 'of100' ELSE 'other' END), 'UTF8') \
         FROM {SCHEMA}.document AS d, generate_series(1, $1::integer) AS n \
         WHERE d.kind IN (1, 2) AND d.id = 'd0000000'"
    );
    client.execute(&copy, &[&twins]).await?;
    client.batch_execute(&format!("VACUUM ANALYZE {SCHEMA}.document")).await?;
    hub.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
