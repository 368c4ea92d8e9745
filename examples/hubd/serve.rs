//! Putting the hub and its adapters together.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hub_core::{Hub, HubBuilder};
use hub_http::HttpTransport;
use hub_mqtt::{MqttStreamHandler, MqttTransport, TlsSettings};
use hub_store_fjall::{FileStore, FileStoreConfig};
use hub_store_memory::MemoryStore;
use hub_store_postgres::PostgresStore;

use crate::args::{Args, StoreSpec};
use crate::certs::certificates;
use crate::devices::register;
use crate::keys::{Keys, policies};

/// A hub with all its listeners bound.
pub(crate) struct Running {
    pub(crate) hub: Hub,
    pub(crate) trust: PathBuf,
    pub(crate) mqtt: Option<SocketAddr>,
    pub(crate) mqtts: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) https: Option<SocketAddr>,
    pub(crate) devices: BTreeMap<String, String>,
}
/// A hub to be, on the store that was asked for.
async fn store(args: &Args) -> Result<HubBuilder, Box<dyn Error>> {
    let dir = match &args.store {
        Some(StoreSpec::Memory) => return Ok(Hub::builder(MemoryStore::new())),
        Some(StoreSpec::Postgres(config)) => {
            return Ok(Hub::builder(PostgresStore::open(config.as_ref().clone()).await?));
        }
        Some(StoreSpec::File(dir)) => dir.clone(),
        None => args.data_dir.join("store"),
    };
    Ok(Hub::builder(FileStore::open(&dir, FileStoreConfig::new())?))
}

pub(crate) async fn start(args: &Args) -> Result<Running, Box<dyn Error>> {
    if args.amqps.addr().is_some() {
        return Err("this build has no AMQP adapter; use --amqps off".into());
    }
    let mut keys = Keys::open(&args.data_dir)?;
    let policies = policies(args, &mut keys)?;
    keys.save()?;
    let certificates = certificates(args)?;
    let chain = fs::read(&certificates.chain)?;
    let key = fs::read(&certificates.key)?;
    let authorities = match &args.client_ca {
        Some(path) => fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?,
        None => Vec::new(),
    };
    let tls = TlsSettings::from_pem(&chain, &key, &authorities)?;

    let mut builder = store(args)
        .await?
        .host_name(&args.host_name)
        .partitions(args.partitions)
        .policies(policies);
    if let Some(node) = &args.node_name {
        builder = builder.node(node.0.clone());
    }
    let hub = builder.start()?;
    let devices = register(&hub, args).await?;

    let mut mqtt = MqttTransport::builder();
    if let Some(addr) = args.mqtt.addr() {
        mqtt = mqtt.listen(addr);
    }
    if let Some(addr) = args.mqtts.addr() {
        mqtt = mqtt.listen_tls(addr, tls.clone());
    }
    let mqtt = mqtt.bind().map_err(|error| format!("MQTT {error}"))?;
    let mut addrs = mqtt.local_addrs().into_iter();
    let plain = args.mqtt.addr().and_then(|_| addrs.next());
    let secure = args.mqtts.addr().and_then(|_| addrs.next());
    hub.serve(mqtt);

    let mut http =
        HttpTransport::builder().operations().websocket(Arc::new(MqttStreamHandler::new()));
    if let Some(addr) = args.http.addr() {
        http = http.listen(addr);
    }
    if let Some(addr) = args.https.addr() {
        http = http.listen_tls(addr, tls);
    }
    let http = http.bind().map_err(|error| format!("HTTP {error}"))?;
    let mut addrs = http.local_addrs().into_iter();
    let web = args.http.addr().and_then(|_| addrs.next());
    let web_secure = args.https.addr().and_then(|_| addrs.next());
    hub.serve(http);
    Ok(Running {
        hub,
        trust: certificates.trust,
        mqtt: plain,
        mqtts: secure,
        http: web,
        https: web_secure,
        devices,
    })
}
