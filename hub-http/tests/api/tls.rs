//! TLS, and devices with certificates.

use std::sync::Arc;
use std::time::Duration;

use crate::client::{any_port, server_with};
use hub_core::registry::{AuthenticationSpec, IdentitySpec};
use hub_core::security::{KeyForm, Thumbprint, sign};
use hub_http::TlsSettings;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A certificate with its key.
struct Certificate {
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Certificate {
    fn new(name: &str, issuer: Option<&Issuer<'_, KeyPair>>) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let made = match issuer {
            Some(issuer) => params.signed_by(&key, issuer).unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        Self { der: made.der().clone(), key }
    }

    fn sha256(&self) -> String {
        let digest = ring_sha256(&self.der);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// SHA-256 as TLS has it anyway.
fn ring_sha256(bytes: &[u8]) -> Vec<u8> {
    let provider = rustls::crypto::ring::default_provider();
    let suite = provider
        .cipher_suites
        .iter()
        .find_map(|suite| {
            suite.tls13().filter(|s| s.common.suite.as_str().unwrap().ends_with("SHA256"))
        })
        .unwrap();
    suite.common.hash_provider.hash(bytes).as_ref().to_vec()
}

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, Issuer::new(params, key))
}

struct Fixture {
    server: crate::client::Server,
    roots: RootCertStore,
    devices: Issuer<'static, KeyPair>,
}

async fn fixture() -> Fixture {
    let (root, issuer) = authority("server root");
    let (device_root, devices) = authority("device root");
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["hub.test".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap().pem();
    let tls = TlsSettings::from_pem(
        leaf.as_bytes(),
        leaf_key.serialize_pem().as_bytes(),
        device_root.as_bytes(),
    )
    .unwrap();
    let server = {
        let hub = hub_core::Hub::builder(hub_store_memory::MemoryStore::new())
            .host_name("hub.test")
            .start()
            .unwrap();
        let builder = hub_http::HttpTransport::builder().listen_tls(any_port(), tls);
        let transport = builder.bind().unwrap();
        let address = transport.local_addrs()[0];
        hub.serve(transport);
        crate::client::Server { hub, address }
    };
    let mut roots = RootCertStore::empty();
    roots.add(pem_to_der(&root)).unwrap();
    Fixture { server, roots, devices }
}

fn pem_to_der(pem: &str) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

impl Fixture {
    /// Posts telemetry of a device. Gives the status.
    async fn post(
        &self,
        device: &str,
        certificate: Option<&Certificate>,
        token: &str,
        v13: bool,
    ) -> u16 {
        let versions: &[&rustls::SupportedProtocolVersion] =
            if v13 { &[&rustls::version::TLS13] } else { &[&rustls::version::TLS12] };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let config = match certificate {
            None => config.with_no_client_auth(),
            Some(certificate) => {
                let key = PrivateKeyDer::try_from(certificate.key.serialize_der()).unwrap();
                config.with_client_auth_cert(vec![certificate.der.clone()], key).unwrap()
            }
        };
        let stream = TcpStream::connect(self.server.address).await.unwrap();
        let name = ServerName::try_from("hub.test").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let authorization =
            if token.is_empty() { String::new() } else { format!("authorization: {token}\r\n") };
        let request = format!(
            "POST /devices/{device}/messages/events?api-version=2021-04-12 HTTP/1.1\r\n\
             host: hub.test\r\n{authorization}content-length: 1\r\nconnection: close\r\n\r\nx"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn register(&self, device: &str, authentication: AuthenticationSpec) {
        let mut spec = IdentitySpec::new(device.parse().unwrap());
        spec.authentication = Some(authentication);
        self.server.hub.registry().put(&spec, None).await.unwrap();
    }
}

#[tokio::test]
async fn tokens_and_certificates_come_over_the_same_port() {
    let fixture = fixture().await;
    fixture.server.register("keyed").await;
    let key = fixture.server.key("keyed").await;
    let expiry = fixture.server.in_an_hour();
    let token = sign("hub.test/devices/keyed", &key, KeyForm::Decoded, expiry, None);
    let own = Certificate::new("whatever", None);
    let primary = Some(Thumbprint::new(&own.sha256()).unwrap());
    fixture.register("own", AuthenticationSpec::SelfSigned { primary, secondary: None }).await;
    fixture.register("vouched", AuthenticationSpec::CertificateAuthority).await;
    let vouched = Certificate::new("vouched", Some(&fixture.devices));
    let stranger = Certificate::new("vouched", None);
    for v13 in [false, true] {
        assert_eq!(fixture.post("keyed", None, &token, v13).await, 204);
        assert_eq!(fixture.post("own", Some(&own), "", v13).await, 204);
        assert_eq!(fixture.post("vouched", Some(&vouched), "", v13).await, 204);
        assert_eq!(fixture.post("vouched", Some(&stranger), "", v13).await, 401);
        assert_eq!(fixture.post("own", Some(&vouched), "", v13).await, 401);
        assert_eq!(fixture.post("own", None, "", v13).await, 401);
        assert_eq!(fixture.post("keyed", Some(&own), "", v13).await, 401);
        // A token goes before a certificate.
        assert_eq!(fixture.post("keyed", Some(&own), &token, v13).await, 204);
    }
}

#[tokio::test]
async fn a_peer_without_tls_is_dropped_and_one_that_says_nothing_too() {
    let fixture = fixture().await;
    let mut plain = TcpStream::connect(fixture.server.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let mut limits = hub_core::Limits::default();
    limits.handshake_timeout = Duration::from_millis(100);
    let server = server_with(|hub| hub.limits(limits), |http| http).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(silent.read_to_end(&mut answer).await.unwrap(), 0);
}
