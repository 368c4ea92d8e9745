//! Where the database is, and the figures of a store.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hub_core::query::{Path, Step};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::error::OpenError;

/// The schema if nothing else is said.
pub const SCHEMA_DEFAULT: &str = "hub";
/// Longest name of a schema, in bytes: PostgreSQL would cut a longer one.
const SCHEMA_BYTES_MAX: usize = 63;

/// How the server's certificate is checked, as `sslmode` of libpq has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS if the server has it; no certificate is checked. The default, as it is libpq's.
    Prefer,
    /// TLS or nothing; no certificate is checked unless authorities are given, then as `VerifyCa`.
    Require,
    /// TLS; the certificate must come from a given authority.
    VerifyCa,
    /// TLS; the certificate must come from a given authority and be made out to the host's name.
    VerifyFull,
}

/// Where the database is, and the figures of a store on it.
///
/// From a URL with [`FromStr`]; it is that of libpq:
///
/// ```text
/// postgres://user:password@host:5432/database?sslmode=verify-full&sslrootcert=/etc/ca.pem&schema=hub
/// ```
///
/// Parameters of the URL are those of [`tokio_postgres::Config`], and beside them
///
/// | parameter | what it says | default |
/// |---|---|---|
/// | `schema` | where the hub's tables are; hubs with schemas of their own share a database | `hub` |
/// | `sslmode` | `disable`, `prefer`, `require`, `verify-ca`, `verify-full` | `prefer` |
/// | `sslrootcert` | a file of certificate authorities, PEM | none |
/// | `sslcert`, `sslkey` | this client's certificate chain and key, PEM | none |
/// | `pool` | [`PostgresConfig::connections_max`] | 8 |
/// | `index` | [`PostgresConfig::index`]; several with commas between them | none |
///
/// Several hosts may be given (`host1,host2`): the one that takes writes is used, now and after a
/// failover.
#[derive(Clone)]
pub struct PostgresConfig {
    pub(crate) server: tokio_postgres::Config,
    pub(crate) schema: String,
    pub(crate) tls: TlsMode,
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) connections_max: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) operation_timeout: Duration,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_age: Duration,
    pub(crate) synced: bool,
    pub(crate) indexes: Vec<Path>,
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("hosts", &self.server.get_hosts())
            .field("ports", &self.server.get_ports())
            .field("user", &self.server.get_user())
            .field("database", &self.server.get_dbname())
            .field("schema", &self.schema)
            .field("tls", &self.tls)
            .field("connections_max", &self.connections_max)
            .finish_non_exhaustive()
    }
}

impl FromStr for PostgresConfig {
    type Err = OpenError;

    fn from_str(url: &str) -> Result<Self, OpenError> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        if !place.starts_with("postgres://") && !place.starts_with("postgresql://") {
            return Err(OpenError::url("it does not begin with postgres://"));
        }
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some((
                    name @ ("schema" | "sslmode" | "sslrootcert" | "sslcert" | "sslkey" | "pool"
                    | "index"),
                    value,
                )) => {
                    ours.push((name, decoded(value)?));
                }
                Some(_) => theirs.push(pair),
                None => return Err(OpenError::url(format!("{pair} has no value"))),
            }
        }
        let rest = if theirs.is_empty() {
            place.to_owned()
        } else {
            format!("{place}?{}", theirs.join("&"))
        };
        let server: tokio_postgres::Config = rest
            .parse()
            .map_err(|error: tokio_postgres::Error| OpenError::url(explained(&error)))?;
        let mut config = Self::new(server);
        for (name, value) in ours {
            config = config.set(name, value)?;
        }
        config.checked()
    }
}

/// Whether a step leads to what the hub keeps beside values.
fn is_own(step: &Step) -> bool {
    matches!(step, Step::Member(name) if name.starts_with('$') || name.contains('\0'))
}

/// What an error says, and what is behind it.
pub(crate) fn explained(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

/// The text of a URL's parameter.
fn decoded(value: &str) -> Result<String, OpenError> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest.split_at_checked(2).and_then(|(digits, behind)| {
            rest = behind;
            u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        });
        bytes.push(digits.ok_or_else(|| OpenError::url(format!("{value} has a bad %")))?);
    }
    String::from_utf8(bytes).map_err(|_| OpenError::url(format!("{value} is not UTF-8")))
}

impl PostgresConfig {
    /// A store on this server, else as by default. TLS is as `sslmode` in `server` says.
    #[must_use]
    pub fn new(server: tokio_postgres::Config) -> Self {
        let tls = match server.get_ssl_mode() {
            SslMode::Disable => TlsMode::Disable,
            SslMode::Require => TlsMode::Require,
            _ => TlsMode::Prefer,
        };
        Self {
            server,
            schema: SCHEMA_DEFAULT.to_owned(),
            tls,
            authorities: None,
            certificate: None,
            key: None,
            connections_max: 8,
            connect_timeout: Duration::from_secs(5),
            operation_timeout: Duration::from_secs(30),
            segment_bytes: 1 << 30,
            segment_age: Duration::from_secs(3600),
            synced: true,
            indexes: Vec::new(),
        }
    }

    /// The schema that has, or will have, the hub's tables; `hub` by default. It is the hub's name in
    /// this database: stores on the same schema are one hub, stores on others know nothing of it.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// How the server's certificate is checked.
    #[must_use]
    pub fn tls(mut self, mode: TlsMode) -> Self {
        self.tls = mode;
        self
    }

    /// The file with the authorities that server certificates may come from, PEM. That of the
    /// system, say `/etc/ssl/certs/ca-certificates.crt`, serves for public ones.
    #[must_use]
    pub fn authorities(mut self, file: impl Into<PathBuf>) -> Self {
        self.authorities = Some(file.into());
        self
    }

    /// The files with this client's certificate chain and key, PEM.
    #[must_use]
    pub fn certificate(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.certificate = Some(chain.into());
        self.key = Some(key.into());
        self
    }

    /// Most connections for the hub's work, 2 to 100; 8 by default. One more waits for nudges. A hub
    /// has one batch under way for each partition of its log, and claims and reads beside them.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = connections.clamp(2, 100);
        self
    }

    /// Longest time for a new connection, and for a free one; 5 s by default. What cannot be asked
    /// within it is refused as `Unavailable`, and nothing has happened. A single address gets half of
    /// it, or what `connect_timeout` in the URL says, and each further host as much again.
    #[must_use]
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.connect_timeout = time.max(Duration::from_millis(100));
        self
    }

    /// Longest time for an answer, 30 s by default, at least 1 s. The connection is given up then, and
    /// what a commit came to is unknown until it is asked again.
    #[must_use]
    pub fn operation_timeout(mut self, time: Duration) -> Self {
        self.operation_timeout = time.max(Duration::from_secs(1));
        self
    }

    /// When a new segment of the log begins: at this many bytes; 1 GiB by default. Space comes back
    /// segment by segment, once all of it is older than the hub keeps events.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes.max(1);
        self
    }

    /// And at this age, if anything is in it; one hour by default.
    #[must_use]
    pub fn segment_age(mut self, age: Duration) -> Self {
        self.segment_age = age;
        self
    }

    /// Keeps an index on a value of twins, by which queries find them: `tags.site`, or
    /// `properties.reported.firmware.version`. It is made beside the store's work after it was opened,
    /// by one node, and does not hold writes up ([`PostgresStore::indexed`] waits for it); it stays
    /// until it is dropped by hand.
    ///
    /// [`PostgresStore::indexed`]: crate::PostgresStore::indexed
    ///
    /// An index costs something with every write of a document: none is kept unless asked for.
    ///
    /// # Errors
    /// [`OpenError::Url`] if the text is no path of a value in `tags`, `properties.desired` or
    /// `properties.reported`; versions and metadata are none.
    pub fn index(mut self, path: &str) -> Result<Self, OpenError> {
        let bad = || OpenError::url(format!("{path} is no path of a value in twins"));
        let path: Path = path.trim().parse().map_err(|_| bad())?;
        if !path.is_twin_value() || path.steps().iter().any(is_own) {
            return Err(bad());
        }
        if !self.indexes.contains(&path) {
            self.indexes.push(path);
        }
        Ok(self)
    }

    /// Acknowledges before the server has synced (`synchronous_commit = off`). A crash of the server
    /// may lose the last moments: the store then calls itself
    /// [`Volatile`](hub_core::store::Durability::Volatile). For tests and for data that can be had
    /// again.
    #[must_use]
    pub fn acknowledge_unsynced(mut self) -> Self {
        self.synced = false;
        self
    }

    fn set(mut self, name: &str, value: String) -> Result<Self, OpenError> {
        match name {
            "schema" => self.schema = value,
            "sslrootcert" => self.authorities = Some(value.into()),
            "sslcert" => self.certificate = Some(value.into()),
            "sslkey" => self.key = Some(value.into()),
            "index" => {
                for path in value.split(',') {
                    self = self.index(path)?;
                }
            }
            "pool" => {
                let connections = value.parse().ok().filter(|n| (2..=100).contains(n));
                let bad = || OpenError::url("pool is not a number from 2 to 100");
                self.connections_max = connections.ok_or_else(bad)?;
            }
            _ => {
                self.tls = match value.as_str() {
                    "disable" => TlsMode::Disable,
                    "prefer" | "allow" => TlsMode::Prefer,
                    "require" => TlsMode::Require,
                    "verify-ca" => TlsMode::VerifyCa,
                    "verify-full" => TlsMode::VerifyFull,
                    _ => return Err(OpenError::url(format!("sslmode {value} is none of libpq's"))),
                }
            }
        }
        Ok(self)
    }

    /// What can be told to be wrong without a server.
    pub(crate) fn checked(mut self) -> Result<Self, OpenError> {
        let name = &self.schema;
        if name.is_empty() || name.len() > SCHEMA_BYTES_MAX || name.contains('\0') {
            return Err(OpenError::url(format!(
                "a schema's name has 1 to {SCHEMA_BYTES_MAX} bytes, and {name:?} has not"
            )));
        }
        if name.starts_with("pg_") || name == "information_schema" || name == "public" {
            return Err(OpenError::url(format!("schema {name} is not the hub's to fill")));
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err(OpenError::url("sslcert and sslkey belong together"));
        }
        if matches!(self.tls, TlsMode::VerifyCa | TlsMode::VerifyFull) && self.authorities.is_none()
        {
            return Err(OpenError::url("this sslmode needs sslrootcert, a file of authorities"));
        }
        if self.server.get_hosts().is_empty() && self.server.get_hostaddrs().is_empty() {
            return Err(OpenError::url("it names no host"));
        }
        self.server.ssl_mode(match self.tls {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            _ => SslMode::Require,
        });
        if self.server.get_connect_timeout().is_none() {
            self.server.connect_timeout(self.connect_timeout / 2);
        }
        if self.server.get_application_name().is_none() {
            self.server.application_name("hub");
        }
        if self.server.get_hosts().len() > 1
            && self.server.get_target_session_attrs() == TargetSessionAttrs::Any
        {
            self.server.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        // A server that has gone without a word is noticed within half a minute or so.
        self.server.keepalives_idle(Duration::from_secs(10));
        self.server.keepalives_interval(Duration::from_secs(5));
        self.server.keepalives_retries(3);
        self.server.tcp_user_timeout(self.operation_timeout);
        Ok(self)
    }

    /// Longest time to connect to some host.
    pub(crate) fn connect_bound(&self) -> Duration {
        let hosts = u32::try_from(self.server.get_hosts().len()).unwrap_or(1);
        let each = self.server.get_connect_timeout().copied().unwrap_or(self.connect_timeout / 2);
        each.saturating_mul(hosts.saturating_add(1))
    }

    /// Where it goes, for messages: without user and password.
    pub(crate) fn place(&self) -> String {
        let ports = self.server.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let hosts = self.server.get_hosts().iter().enumerate().map(|(index, host)| match host {
            Host::Tcp(name) => format!("{name}:{}", port(index)),
            Host::Unix(path) => format!("{}:{}", path.display(), port(index)),
        });
        hosts.collect::<Vec<_>>().join(",")
    }

    /// The database's name. PostgreSQL's default is the user's name.
    pub(crate) fn database(&self) -> &str {
        self.server.get_dbname().or(self.server.get_user()).unwrap_or("(default)")
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
