//! TLS with a real server, as `sslmode` asks for it: what is trusted, and what is refused in one line.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it should be"
)]

mod server;

use std::path::PathBuf;

use hub_core::store::{Kind, Store as _};
use hub_store_postgres::{OpenError, PostgresConfig, PostgresStore, TlsMode};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use server::{Own, client_at};

/// An authority, a server with a certificate of its for `localhost`, and an authority that has nothing
/// to do with it.
struct World {
    server: Own,
    folder: PathBuf,
}

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let own = params.self_signed(&key).unwrap();
    (own.pem(), Issuer::new(params, key))
}

impl World {
    async fn start(test: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("tls-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let ((right, issuer), (wrong, _)) = (authority("right"), authority("wrong"));
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &issuer).unwrap();
        for (name, text) in [
            ("server.pem", leaf.pem()),
            ("server.key", key.serialize_pem()),
            ("right.pem", right),
            ("wrong.pem", wrong),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let server = Own::start_with(&[("HUB_POSTGRES_TLS", folder.to_str().unwrap())]).await;
        Self { server, folder }
    }

    /// The server by this name, with these parameters.
    fn at(&self, host: &str, mode: &str, authority: Option<&str>) -> PostgresConfig {
        let mut url = self.server.url.replace("127.0.0.1", host);
        url.push_str(&format!("?schema=tls&application_name=tls&sslmode={mode}"));
        if let Some(authority) = authority {
            url.push_str(&format!("&sslrootcert={}", self.folder.join(authority).display()));
        }
        url.parse().unwrap()
    }

    /// Opens a store, works on it, and tells whether its connections are encrypted.
    async fn works(&self, config: PostgresConfig) -> bool {
        let store = PostgresStore::open(config).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(store.scan(Kind::Twin, None, 1.try_into().unwrap()).await.unwrap().is_empty());
        let client = client_at(&self.server.url).await;
        let look = "SELECT bool_and(s.ssl), bool_or(s.ssl) FROM pg_stat_ssl AS s \
             JOIN pg_stat_activity AS a USING (pid) WHERE a.application_name = 'tls'";
        let row = client.query_one(look, &[]).await.unwrap();
        let (all, some): (Option<bool>, Option<bool>) = (row.get(0), row.get(1));
        assert_eq!(all, some, "all connections are made in the same way");
        all.expect("the store is connected")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// One line that says that it is TLS, where, and this.
async fn refused(config: PostgresConfig, why: &str) {
    let error = PostgresStore::open(config).await.expect_err("it is not to be trusted");
    let line = error.to_string();
    assert!(matches!(error, OpenError::Tls { .. }), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.starts_with("no TLS with PostgreSQL at ") && line.contains(why), "{line}");
}

/// Waits until the connections of a store that was dropped are gone.
async fn gone(world: &World) {
    let client = client_at(&world.server.url).await;
    let look = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tls'";
    while client.query_one(look, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_is_trusted_is_encrypted() {
    let world = World::start("trusted").await;
    for (host, mode, authority, encrypted) in [
        ("127.0.0.1", "disable", None, false),
        ("127.0.0.1", "prefer", None, true),
        ("127.0.0.1", "require", None, true),
        ("127.0.0.1", "require", Some("right.pem"), true),
        // The name is not looked at.
        ("127.0.0.1", "verify-ca", Some("right.pem"), true),
        ("localhost", "verify-full", Some("right.pem"), true),
    ] {
        let found = world.works(world.at(host, mode, authority)).await;
        assert_eq!(found, encrypted, "{mode} at {host}");
        gone(&world).await;
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_trusted_is_refused_in_one_line() {
    let world = World::start("refused").await;
    for mode in ["require", "verify-ca", "verify-full"] {
        refused(world.at("localhost", mode, Some("wrong.pem")), "UnknownIssuer").await;
    }
    refused(world.at("127.0.0.1", "verify-full", Some("right.pem")), "not valid for name").await;
    let client = client_at(&world.server.url).await;
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'tls'";
    assert_eq!(client.query_one(made, &[]).await.unwrap().get::<_, i64>(0), 0, "nothing was made");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let server = Own::start().await;
    let config = || server.url.parse::<PostgresConfig>().unwrap();
    refused(config().tls(TlsMode::Require), "server does not support TLS").await;
    assert!(PostgresStore::open(config().tls(TlsMode::Prefer)).await.is_ok());
}
