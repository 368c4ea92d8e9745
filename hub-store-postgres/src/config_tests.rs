#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use super::*;

fn parse(url: &str) -> Result<PostgresConfig, String> {
    url.parse().map_err(|error: OpenError| error.to_string())
}

#[test]
fn a_url_says_all_there_is_to_say() {
    let config =
        parse("postgres://u:p%40@h1:1,h2:2/db?schema=a%20b&pool=20&connect_timeout=3").unwrap();
    assert_eq!((config.schema.as_str(), config.connections_max), ("a b", 20));
    assert_eq!(config.server.get_password(), Some(&b"p@"[..]));
    assert_eq!(config.server.get_dbname(), Some("db"));
    assert_eq!(config.place(), "h1:1,h2:2");
    assert_eq!(config.server.get_connect_timeout(), Some(&Duration::from_secs(3)));
    assert_eq!(config.server.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
    assert_eq!(config.tls, TlsMode::Prefer);
    let config = parse("postgresql://h?sslmode=verify-full&sslrootcert=/ca.pem").unwrap();
    assert_eq!((config.tls, config.schema.as_str()), (TlsMode::VerifyFull, SCHEMA_DEFAULT));
    assert_eq!(config.server.get_ssl_mode(), SslMode::Require);
    let config = parse("postgres:///db?host=/run/pg&port=7").unwrap();
    assert_eq!(config.place(), "/run/pg:7");
}

#[test]
fn a_url_that_cannot_be_meant_is_refused_in_one_line() {
    for (url, says) in [
        ("mysql://h/db", "does not begin with postgres://"),
        ("postgres://h:port/db", "option `port`"),
        ("postgres://h/db?schema=", "1 to 63 bytes"),
        ("postgres://h/db?schema=pg_catalog", "not the hub's to fill"),
        ("postgres://h/db?schema=%zz", "bad %"),
        ("postgres://h/db?schema", "has no value"),
        ("postgres://h/db?sslmode=maybe", "sslmode maybe"),
        ("postgres://h/db?sslmode=verify-full", "needs sslrootcert"),
        ("postgres://h/db?sslcert=/c.pem", "belong together"),
        ("postgres://h/db?pool=0", "pool is not a number"),
        ("postgres://h/db?colour=red", "colour"),
        ("postgres:///db", "names no host"),
    ] {
        let error = parse(url).unwrap_err();
        assert!(error.contains(says), "{url}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_password_is_never_shown() {
    let config = parse("postgres://u:hidden@h/db").unwrap();
    assert!(!format!("{config:?} {}", config.place()).contains("hidden"));
}
