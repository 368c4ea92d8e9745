//! A development certificate authority and a server certificate, generated once.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use crate::args::Args;
use crate::keys::private;

/// Where the server's certificate is, and what clients should trust.
pub(crate) struct Certificates {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) trust: PathBuf,
}

pub(crate) fn certificates(args: &Args) -> Result<Certificates, Box<dyn Error>> {
    if let (Some(chain), Some(key)) = (&args.tls_cert, &args.tls_key) {
        for path in [chain, key] {
            fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let chain = fs::canonicalize(chain)?;
        return Ok(Certificates { trust: chain.clone(), chain, key: key.clone() });
    }
    let dir = args.data_dir.join("tls");
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let dir = fs::canonicalize(&dir)?;
    let (trust, ca_key) = (dir.join("ca.pem"), dir.join("ca-key.pem"));
    let (chain, key) = (
        dir.join(format!("{}.pem", args.host_name)),
        dir.join(format!("{}-key.pem", args.host_name)),
    );
    if !(trust.exists() && ca_key.exists()) {
        let (certificate, pair) = authority()?;
        write(&ca_key, &pair)?;
        write(&trust, &certificate)?;
    }
    if !(chain.exists() && key.exists()) {
        let (certificate, pair) =
            leaf(&args.host_name, &fs::read_to_string(&trust)?, &fs::read_to_string(&ca_key)?)?;
        write(&key, &pair)?;
        write(&chain, &certificate)?;
    }
    Ok(Certificates { chain, key, trust })
}

fn write(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    private(path)?.write_all(text.as_bytes())?;
    Ok(())
}

fn authority() -> Result<(String, String), Box<dyn Error>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, "hubd development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = validity(3650);
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// An ECDSA certificate for the host name, `localhost` and the loopback addresses.
fn leaf(host: &str, ca: &str, ca_key: &str) -> Result<(String, String), Box<dyn Error>> {
    let issuer = Issuer::from_ca_cert_pem(ca, KeyPair::from_pem(ca_key)?)?;
    let key = KeyPair::generate()?;
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !names.iter().any(|name| name == host) {
        names.insert(0, host.to_owned());
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, host);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = validity(825);
    let leaf = params.signed_by(&key, &issuer)?;
    Ok((format!("{}{ca}", leaf.pem()), key.serialize_pem()))
}

fn validity(days: i64) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - Duration::days(1), now + Duration::days(days))
}
