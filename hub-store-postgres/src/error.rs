//! Why a store could not be opened.

use crate::config::explained;

/// Why a store could not be opened. Each message is one line that says what to do; nothing in the
/// database was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL or the configuration cannot be used.
    #[error(
        "the PostgreSQL URL cannot be used: {reason}; it is postgres://USER:PASSWORD@HOST:PORT/DATABASE"
    )]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// A file that the configuration names cannot be read, or does not hold what it should.
    #[error("{path}: {reason}; give a PEM file")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No server answers there.
    #[error("no PostgreSQL at {place}: {reason}; start the server, or correct the address")]
    Unreachable {
        /// Host and port.
        place: String,
        /// What the system said.
        reason: String,
    },
    /// There is no TLS with the server as the configuration asks for it.
    #[error(
        "no TLS with PostgreSQL at {place}: {reason}; correct sslmode and sslrootcert, or the server's certificate"
    )]
    Tls {
        /// Host and port.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server does not let this user in.
    #[error(
        "PostgreSQL at {place} refuses the user: {reason}; correct user and password, or pg_hba.conf"
    )]
    Refused {
        /// Host and port.
        place: String,
        /// What the server said.
        reason: String,
    },
    /// The server has no such database.
    #[error(
        "PostgreSQL at {place} has no database {database}; make it with CREATE DATABASE, or name another"
    )]
    NoDatabase {
        /// Host and port.
        place: String,
        /// The database asked for.
        database: String,
    },
    /// The server is older than the store knows.
    #[error(
        "PostgreSQL at {place} is version {found}; the store needs {} or later",
        crate::VERSION_MIN
    )]
    TooOld {
        /// Host and port.
        place: String,
        /// Its version.
        found: String,
    },
    /// The database keeps text otherwise than as UTF-8.
    #[error("database {database} has the encoding {found}; make one with ENCODING 'UTF8'")]
    Encoding {
        /// The database.
        database: String,
        /// Its encoding.
        found: String,
    },
    /// The server takes no writes.
    #[error(
        "PostgreSQL at {place} takes no writes; give the address of the primary, or of all servers"
    )]
    ReadOnly {
        /// Host and port.
        place: String,
    },
    /// The schema is there, and it is not a hub's.
    #[error(
        "schema {schema} has tables that are not a hub's; name another schema, or an empty one"
    )]
    ForeignSchema {
        /// The schema.
        schema: String,
    },
    /// The schema was written by a later version of this program.
    #[error(
        "schema {schema} has form {found}, this program knows {known}; use the program that wrote it, or a later one"
    )]
    Newer {
        /// The schema.
        schema: String,
        /// Its form.
        found: i32,
        /// The latest form this program knows.
        known: i32,
    },
    /// The user may not do what the store needs.
    #[error(
        "the user may not use schema {schema} of database {database}: {reason}; GRANT CREATE ON DATABASE, or make the schema and give it to the user"
    )]
    NotAllowed {
        /// The schema.
        schema: String,
        /// The database.
        database: String,
        /// What the server said.
        reason: String,
    },
    /// Something else went wrong in the database.
    #[error("PostgreSQL at {place}: {reason}; see the server's log")]
    Database {
        /// Host and port.
        place: String,
        /// What the server said.
        reason: String,
    },
    /// Opened outside a tokio runtime.
    #[error("a store is opened within a tokio runtime")]
    NoRuntime,
}

impl OpenError {
    pub(crate) fn url(reason: impl Into<String>) -> Self {
        Self::Url { reason: reason.into() }
    }

    pub(crate) fn file(path: &std::path::Path, reason: impl ToString) -> Self {
        Self::File { path: path.display().to_string(), reason: reason.to_string() }
    }

    /// What a connection or a statement of the opening failed with.
    pub(crate) fn database(config: &crate::PostgresConfig, error: &tokio_postgres::Error) -> Self {
        let place = config.place();
        let database = config.database().to_owned();
        let Some(code) = error.code().map(|code| code.code().to_owned()) else {
            let reason = explained(error);
            // The driver has no kinds of errors, only texts.
            return match reason.strip_prefix("error performing TLS handshake: ") {
                Some(reason) => Self::Tls { place, reason: reason.to_owned() },
                None => Self::Unreachable { place, reason },
            };
        };
        let reason =
            error.as_db_error().map_or_else(|| explained(error), |e| e.message().to_owned());
        match code.as_str() {
            "3D000" => Self::NoDatabase { place, database },
            "42501" => Self::NotAllowed { schema: config.schema.clone(), database, reason },
            "25006" => Self::ReadOnly { place },
            code if code.starts_with("28") => Self::Refused { place, reason },
            code if code.starts_with("57P") || code.starts_with("53") => {
                Self::Unreachable { place, reason }
            }
            _ => Self::Database { place, reason },
        }
    }
}
