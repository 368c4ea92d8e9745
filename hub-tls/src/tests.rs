use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::*;

const SOON: Duration = Duration::from_secs(5);

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, Issuer::new(params, key))
}

/// A certificate and its key, both PEM.
fn leaf(name: &str, issuer: Option<&Issuer<'_, KeyPair>>) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["hub.test".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let made = match issuer {
        Some(issuer) => params.signed_by(&key, issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    (made.pem(), key.serialize_pem())
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

struct Fixture {
    settings: TlsSettings,
    root: String,
    devices: Issuer<'static, KeyPair>,
}

fn fixture() -> Fixture {
    let (root, issuer) = authority("root");
    let (device_root, devices) = authority("device root");
    let (chain, key) = leaf("hub", Some(&issuer));
    let settings =
        TlsSettings::from_pem(chain.as_bytes(), key.as_bytes(), device_root.as_bytes()).unwrap();
    Fixture { settings, root, devices }
}

impl Fixture {
    /// A handshake with a client that shows this certificate. Gives what the server learned.
    async fn meet(
        &self,
        version: &'static SupportedProtocolVersion,
        certificate: Option<&(String, String)>,
    ) -> Option<CertificateInfo> {
        let mut roots = RootCertStore::empty();
        roots.add(der(&self.root)).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let config = match certificate {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![der(chain)], key).unwrap()
            }
        };
        let (ours, theirs) = tokio::io::duplex(4096);
        let client = tokio::spawn(async move {
            let name = ServerName::try_from("hub.test").unwrap();
            let mut stream =
                TlsConnector::from(Arc::new(config)).connect(name, theirs).await.unwrap();
            stream.write_all(b"ping").await.unwrap();
            let mut pong = [0; 4];
            stream.read_exact(&mut pong).await.unwrap();
            pong
        });
        let (mut stream, info) = self.settings.accept(ours, SOON).await.unwrap();
        let mut ping = [0; 4];
        stream.read_exact(&mut ping).await.unwrap();
        stream.write_all(b"pong").await.unwrap();
        assert_eq!((&ping, &client.await.unwrap()), (b"ping", b"pong"));
        info
    }
}

#[tokio::test]
async fn a_certificate_is_optional_and_told_as_it_is() {
    let fixture = fixture();
    let vouched = leaf("d1", Some(&fixture.devices));
    let own = leaf("d1", None);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        assert_eq!(fixture.meet(version, None).await, None);
        let info = fixture.meet(version, Some(&vouched)).await.unwrap();
        assert_eq!((info.common_name.as_deref(), info.chains_to_authority), (Some("d1"), true));
        let info = fixture.meet(version, Some(&own)).await.unwrap();
        assert_eq!((info.common_name.as_deref(), info.chains_to_authority), (Some("d1"), false));
        assert!(info.not_before < info.not_after);
        let want: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(der(&own.0)).into();
        assert_eq!(info.sha256, want);
    }
}

#[tokio::test]
async fn what_is_no_handshake_ends_in_an_error() {
    let settings = fixture().settings;
    let (ours, mut theirs) = tokio::io::duplex(4096);
    theirs.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(settings.accept(ours, SOON).await.is_err());
    let (ours, _silent) = tokio::io::duplex(4096);
    let error = settings.accept(ours, Duration::from_millis(20)).await.err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn bad_settings_are_told_apart() {
    let (chain, key) = leaf("hub", None);
    let (_, other) = leaf("hub", None);
    let (chain, key, other) = (chain.as_bytes(), key.as_bytes(), other.as_bytes());
    let error = |chain: &[u8], key: &[u8], authorities: &[u8]| {
        TlsSettings::from_pem(chain, key, authorities).err()
    };
    assert!(error(chain, key, b"").is_none());
    assert!(matches!(error(b"", key, b""), Some(TlsError::Chain)));
    assert!(matches!(error(b"not PEM", key, b""), Some(TlsError::Chain)));
    assert!(matches!(error(chain, chain, b""), Some(TlsError::Key)));
    assert!(matches!(error(chain, other, b""), Some(TlsError::Unusable(_))));
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(error(chain, key, broken), Some(TlsError::Authority)));
}

#[test]
fn keys_are_not_printed() {
    let (chain, key) = leaf("hub", None);
    let settings = TlsSettings::from_pem(chain.as_bytes(), key.as_bytes(), b"").unwrap();
    assert_eq!(format!("{settings:?}"), "TlsSettings { client_authorities: false, .. }");
}
