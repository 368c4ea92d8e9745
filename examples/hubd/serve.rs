//! Putting the hub and its adapters together.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hub_amqp::AmqpTransport;
use hub_blob_directory::{BlobDirectory, BlobDirectoryConfig};
use hub_core::{Hub, HubBuilder, Store};
use hub_http::HttpTransport;
use hub_mqtt::{MqttStreamHandler, MqttTransport, TlsSettings};
use hub_store_fjall::{FileStore, FileStoreConfig};
use hub_store_memory::MemoryStore;
use hub_store_postgres::PostgresStore;

use crate::args::{Args, StoreSpec};
use crate::certs::certificates;
use crate::devices::register;
use crate::keys::{Keys, policies};
use crate::routes;
use crate::run::Tune;

/// How long the store may take until this node is part of the hub.
const JOIN: Duration = Duration::from_secs(9);

/// A hub with all its listeners bound.
pub(crate) struct Running {
    pub(crate) hub: Hub,
    pub(crate) trust: PathBuf,
    pub(crate) mqtt: Option<SocketAddr>,
    pub(crate) mqtts: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) https: Option<SocketAddr>,
    pub(crate) amqp: Option<SocketAddr>,
    pub(crate) amqps: Option<SocketAddr>,
    pub(crate) devices: BTreeMap<String, String>,
    /// The embedded store, to be closed when the hub has ended.
    pub(crate) store: Option<Arc<FileStore>>,
}

/// A hub to be, on the store that was asked for.
async fn store(args: &Args) -> Result<(HubBuilder, Option<Arc<FileStore>>), Box<dyn Error>> {
    let dir = match &args.store {
        Some(StoreSpec::Memory) => return Ok((Hub::builder(MemoryStore::new()), None)),
        Some(StoreSpec::Postgres(config)) => {
            let store = Arc::new(PostgresStore::open(config.as_ref().clone()).await?);
            return Ok((Hub::builder_on(store.clone()).queries(store), None));
        }
        Some(StoreSpec::File(dir)) => dir.clone(),
        None => args.data_dir.join("store"),
    };
    let store = Arc::new(FileStore::open(&dir, FileStoreConfig::new())?);
    Ok((Hub::builder_on(Arc::clone(&store) as Arc<dyn Store>), Some(store)))
}

/// The directory of the files that devices upload. Stock SDKs of devices reach it by the host that
/// they are told, over HTTPS.
fn files(
    args: &Args,
    web: Option<SocketAddr>,
    web_secure: Option<SocketAddr>,
) -> Result<Option<BlobDirectory>, Box<dyn Error>> {
    let here = |scheme: &str, own: u16, addr: SocketAddr| match addr.port() {
        port if port == own => format!("{scheme}://{}", args.host_name),
        port => format!("{scheme}://{}:{port}", args.host_name),
    };
    let url = args
        .files_url
        .clone()
        .or_else(|| web_secure.map(|addr| here("https", 443, addr)))
        .or_else(|| web.map(|addr| here("http", 80, addr)));
    let Some(url) = url else { return Ok(None) };
    let dir = args.data_dir.join("uploads");
    Ok(Some(BlobDirectory::open(dir, BlobDirectoryConfig::new(url.trim_end_matches('/')))?))
}

pub(crate) async fn start(args: &Args, tune: Tune) -> Result<Running, Box<dyn Error>> {
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

    let mut amqp = AmqpTransport::builder();
    if let Some(addr) = args.amqp.addr() {
        amqp = amqp.listen(addr);
    }
    if let Some(addr) = args.amqps.addr() {
        amqp = amqp.listen_tls(addr, tls.clone());
    }
    let amqp = amqp.bind().map_err(|error| format!("AMQP {error}"))?;
    let mut addrs = amqp.local_addrs().into_iter();
    let amqp_plain = args.amqp.addr().and_then(|_| addrs.next());
    let amqp_secure = args.amqps.addr().and_then(|_| addrs.next());

    let mut http = HttpTransport::builder()
        .operations()
        .websocket(Arc::new(MqttStreamHandler::new()))
        .websocket(Arc::new(amqp.stream_handler()));
    if let Some(addr) = args.http.addr() {
        http = http.listen(addr);
    }
    if let Some(addr) = args.https.addr() {
        http = http.listen_tls(addr, tls);
    }
    let mut http = http.bind().map_err(|error| format!("HTTP {error}"))?;
    let mut addrs = http.local_addrs().into_iter();
    let web = args.http.addr().and_then(|_| addrs.next());
    let web_secure = args.https.addr().and_then(|_| addrs.next());
    let files = files(args, web, web_secure)?;

    let (builder, store) = store(args).await?;
    let mut builder =
        builder.host_name(&args.host_name).partitions(args.partitions).policies(policies);
    if let Some(node) = &args.node_name {
        builder = builder.node(node.0.clone());
    }
    if let Some(files) = files {
        http = http.routes(files.router());
        builder = builder.blobs(Arc::new(files));
    }
    let hub = tune(routes::set_up(args, builder)?).start()?;
    tokio::time::timeout(JOIN, hub.joined()).await.map_err(|_| "the store does not answer")??;
    let devices = register(&hub, args).await?;

    hub.serve(mqtt);
    hub.serve(amqp);
    hub.serve(http);
    Ok(Running {
        hub,
        trust: certificates.trust,
        mqtt: plain,
        mqtts: secure,
        http: web,
        https: web_secure,
        amqp: amqp_plain,
        amqps: amqp_secure,
        devices,
        store,
    })
}
