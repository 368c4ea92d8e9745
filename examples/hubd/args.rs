//! The command line. Its surface is fixed: operators and acceptance tests lean on it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;
use hub_core::envelope::EventSource;
use hub_core::id::NodeId;
use hub_core::security::{Rights, SymmetricKey};
use hub_store_postgres::{OpenError, PostgresConfig};

/// The standalone hub: an example that embeds the hub with every adapter there is.
#[derive(Debug, Parser)]
#[command(name = "hubd", version, disable_help_subcommand = true)]
pub(crate) struct Args {
    /// The hub's host name in connection strings, SAS resources and the generated certificate
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    pub(crate) host_name: String,
    /// Where what is acknowledged is kept: memory, file:DIR, or postgres://USER:PASSWORD@HOST/DATABASE
    /// (?schema=NAME for a hub of its own); by default a durable store in the data directory
    #[arg(long, value_name = "SPEC")]
    pub(crate) store: Option<StoreSpec>,
    /// Keys and certificates
    #[arg(long, value_name = "DIR", default_value = "./hub-data")]
    pub(crate) data_dir: PathBuf,
    /// MQTT without TLS; off to disable, port 0 picks one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1883")]
    pub(crate) mqtt: Listen,
    /// MQTT over TLS
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8883")]
    pub(crate) mqtts: Listen,
    /// HTTP without TLS: service REST, device REST, MQTT over WebSocket
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) http: Listen,
    /// The same over TLS
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    pub(crate) https: Listen,
    /// AMQP over TLS: service SDKs, Event Hubs clients, devices
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5671")]
    pub(crate) amqps: Listen,
    /// Where devices reach the files that they upload, which are kept in the data directory; by
    /// default this hub itself: its host name and the port of --https, or else of --http
    #[arg(long, value_name = "URL")]
    pub(crate) files_url: Option<String>,
    /// AMQP without TLS, for Event Hubs clients with UseDevelopmentEmulator=true
    #[arg(long, value_name = "ADDR", default_value = "off")]
    pub(crate) amqp: Listen,
    /// Server certificate chain; without one a development CA and a leaf are generated
    #[arg(long, value_name = "PEM", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Key of the server certificate
    #[arg(long, value_name = "PEM", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Authorities of device certificates
    #[arg(long, value_name = "PEM")]
    pub(crate) client_ca: Option<PathBuf>,
    /// Key of the shared access policy iothubowner; generated once and kept otherwise
    #[arg(long, value_name = "BASE64")]
    pub(crate) owner_key: Option<Key>,
    /// A shared access policy: rights RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect
    #[arg(long = "policy", value_name = "NAME:RIGHT+RIGHT[=BASE64KEY]")]
    pub(crate) policies: Vec<PolicySpec>,
    /// A device registered at start if absent
    #[arg(long = "device", value_name = "ID[=BASE64KEY]")]
    pub(crate) devices: Vec<DeviceSpec>,
    /// Devices from a file: a line of {"deviceId":…,"key":base64} each
    #[arg(long = "devices", value_name = "FILE")]
    pub(crate) devices_file: Option<PathBuf>,
    /// Partitions of the built-in event log
    #[arg(long, value_name = "N", default_value_t = hub_core::engine::PARTITIONS_DEFAULT)]
    pub(crate) partitions: u16,
    /// Routes and endpoints: a JSON array of routes, or an object
    #[arg(long, value_name = "FILE")]
    pub(crate) routes: Option<PathBuf>,
    /// Besides telemetry, put these events into the built-in event log: twinChangeEvents,
    /// deviceLifecycleEvents, deviceConnectionStateEvents, digitalTwinChangeEvents,
    /// deviceJobLifecycleEvents
    #[arg(long = "event-source", value_name = "NAME")]
    pub(crate) event_sources: Vec<SourceName>,
    /// Name of this node; random otherwise
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<Node>,
}

/// Which store.
#[derive(Debug, Clone)]
pub(crate) enum StoreSpec {
    /// Gone with the process.
    Memory,
    /// The embedded durable store in this directory.
    File(PathBuf),
    /// A PostgreSQL database, at this URL.
    Postgres(Box<PostgresConfig>),
}

impl FromStr for StoreSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("file", dir)) if !dir.is_empty() => Ok(Self::File(PathBuf::from(dir))),
            Some(("postgres" | "postgresql", _)) => match text.parse() {
                Ok(config) => Ok(Self::Postgres(Box::new(config))),
                Err(error) => Err(OpenError::to_string(&error)),
            },
            _ => Err("a store is memory, file:DIR or postgres://…".to_owned()),
        }
    }
}

/// Where to listen, if at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listen {
    Off,
    At(SocketAddr),
}

impl Listen {
    pub(crate) fn addr(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(addr) => Some(addr),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let text = local.as_deref().unwrap_or(text);
        text.parse().map(Self::At).map_err(|_| "an address is HOST:PORT or off".to_owned())
    }
}

/// A symmetric key.
#[derive(Debug, Clone)]
pub(crate) struct Key(pub(crate) SymmetricKey);

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        SymmetricKey::from_base64(text).map(Self).map_err(|error| error.to_string())
    }
}

/// `NAME:RIGHT+RIGHT[=KEY]`.
#[derive(Debug, Clone)]
pub(crate) struct PolicySpec {
    pub(crate) name: String,
    pub(crate) rights: Rights,
    pub(crate) key: Option<Key>,
}

impl FromStr for PolicySpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once(':').ok_or("a policy is NAME:RIGHT+RIGHT[=KEY]")?;
        let (rights, key) = match rest.split_once('=') {
            Some((rights, key)) => (rights, Some(key.parse()?)),
            None => (rest, None),
        };
        let rights = rights.parse::<Rights>().map_err(|error| error.to_string())?;
        Ok(Self { name: name.to_owned(), rights, key })
    }
}

/// `ID[=KEY]`. An id may itself have `=`; then the key cannot be left out.
#[derive(Debug, Clone)]
pub(crate) struct DeviceSpec {
    pub(crate) id: String,
    pub(crate) key: Option<Key>,
}

impl FromStr for DeviceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((id, key)) => Ok(Self { id: id.to_owned(), key: Some(key.parse()?) }),
            None => Ok(Self { id: text.to_owned(), key: None }),
        }
    }
}

/// A source of events that the hub makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SourceName(pub(crate) EventSource);

impl FromStr for SourceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let made = |source: &EventSource| *source != EventSource::Telemetry;
        EventSource::from_name(text).filter(made).map(Self).ok_or_else(|| {
            let names: Vec<_> =
                EventSource::ALL.iter().skip(1).map(|source| source.name()).collect();
            format!("an event source is one of {}", names.join(", "))
        })
    }
}

/// The name of a node.
#[derive(Debug, Clone)]
pub(crate) struct Node(pub(crate) NodeId);

impl FromStr for Node {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        NodeId::new(text).map(Self).map_err(|error| error.to_string())
    }
}
