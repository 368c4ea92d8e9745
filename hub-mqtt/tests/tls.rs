//! TLS: versions, keys, and who a client certificate makes of a client.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;

use common::{Client, address, events, register};
use hub_core::Hub;
use hub_core::engine::Position;
use hub_core::envelope::AuthType;
use hub_core::registry::{AuthenticationSpec, IdentitySpec};
use hub_core::security::Thumbprint;
use hub_mqtt::codec::ConnectCode;
use hub_mqtt::{MqttMetrics, MqttTransport, TlsError, TlsSettings};
use hub_store_memory::MemoryStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use sha1::Digest as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const SERVER_RSA: (&[u8], &[u8]) =
    (include_bytes!("tls/server-rsa.pem"), include_bytes!("tls/server-rsa.key"));
const SERVER_EC: (&[u8], &[u8]) =
    (include_bytes!("tls/server-ec.pem"), include_bytes!("tls/server-ec.key"));
const SELF_RSA: (&[u8], &[u8]) =
    (include_bytes!("tls/self-rsa.pem"), include_bytes!("tls/self-rsa.key"));
const SELF_EC: (&[u8], &[u8]) =
    (include_bytes!("tls/self-ec.pem"), include_bytes!("tls/self-ec.key"));
const DEVICE: (&[u8], &[u8]) = (include_bytes!("tls/device.pem"), include_bytes!("tls/device.key"));
const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");
const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

struct Secured {
    hub: Hub,
    addr: SocketAddr,
    metrics: MqttMetrics,
    certificate: &'static [u8],
}

async fn start((chain, key): (&'static [u8], &'static [u8]), authority: &[u8]) -> Secured {
    let hub = Hub::builder(MemoryStore::new()).start().unwrap();
    let tls = TlsSettings::from_pem(chain, key, authority).unwrap();
    let loopback = "127.0.0.1:0".parse().unwrap();
    let transport = MqttTransport::builder().listen_tls(loopback, tls).bind().unwrap();
    let (addr, metrics) = (transport.local_addrs()[0], transport.metrics());
    hub.serve(transport);
    Secured { hub, addr, metrics, certificate: chain }
}

fn certificate(pem: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem).unwrap()
}

impl Secured {
    async fn dial(
        &self,
        version: &'static SupportedProtocolVersion,
        identity: Option<(&[u8], &[u8])>,
    ) -> std::io::Result<Client<TlsStream<TcpStream>>> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(self.certificate)).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                // By hand, because rustls would not take a certificate of X.509 version 1.
                let key = PrivateKeyDer::from_pem_slice(key).unwrap();
                let key = provider.key_provider.load_private_key(key).unwrap();
                let shown = CertifiedKey::new(vec![certificate(chain)], key);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
            }
        };
        let socket = TcpStream::connect(self.addr).await?;
        let name = ServerName::try_from("localhost").unwrap();
        Ok(Client::new(TlsConnector::from(Arc::new(config)).connect(name, socket).await?))
    }

    /// Registers an identity that proves itself by certificates.
    async fn register(&self, identity: &str, authentication: AuthenticationSpec) {
        let mut spec = IdentitySpec::new(address(identity));
        spec.authentication = Some(authentication);
        self.hub.registry().put(&spec, None).await.unwrap();
    }

    /// How the sender of the newest event was authenticated.
    async fn authenticated_as(&self, identity: &str) -> Option<AuthType> {
        let partition = address(identity).partition(self.hub.partitions());
        let mut reader = self.hub.reader(partition, Position::Earliest).await.unwrap();
        let found = events(&mut reader, 1).await;
        found.last().unwrap().auth.map(|auth| auth.kind)
    }
}

fn thumbprint(pem: &[u8]) -> Thumbprint {
    let hex = |digest: &[u8]| digest.iter().map(|b| format!("{b:02x}")).collect::<String>();
    Thumbprint::new(&hex(&sha1::Sha1::digest(certificate(pem)))).unwrap()
}

#[tokio::test]
async fn a_token_works_over_both_versions_and_both_kinds_of_key() {
    for server in [SERVER_RSA, SERVER_EC] {
        let secured = start(server, b"").await;
        register(&secured.hub, "d1").await;
        for version in VERSIONS {
            // A certificate that nobody registered does not hurt who has a token.
            for shown in [None, Some(SELF_EC)] {
                let mut device = secured.dial(version, shown).await.unwrap();
                device.introduce("d1").await;
                device.expect_connack(ConnectCode::Accepted).await;
                device.publish_acked("devices/d1/messages/events/", &"x".repeat(100_000)).await;
            }
        }
        assert_eq!(secured.authenticated_as("d1").await, Some(AuthType::Sas));
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_its_thumbprint() {
    let secured = start(SERVER_RSA, AUTHORITY).await;
    let [primary, secondary] = [SELF_RSA, SELF_EC].map(|(pem, _)| Some(thumbprint(pem)));
    secured.register("d1", AuthenticationSpec::SelfSigned { primary, secondary }).await;
    for version in VERSIONS {
        for identity in [SELF_RSA, SELF_EC] {
            let mut device = secured.dial(version, Some(identity)).await.unwrap();
            device.introduce_with("d1", None, |_| {}).await;
            device.expect_connack(ConnectCode::Accepted).await;
            device.publish_acked("devices/d1/messages/events/", "x").await;
        }
        // The authority's certificate is not among the registered ones, nor is none.
        for other in [Some(DEVICE), None] {
            let mut device = secured.dial(version, other).await.unwrap();
            device.introduce_with("d1", None, |_| {}).await;
            device.expect_connack(ConnectCode::NotAuthorized).await;
            device.expect_closed().await;
        }
    }
    assert_eq!(secured.authenticated_as("d1").await, Some(AuthType::X509Thumbprint));
}

#[tokio::test]
async fn a_certificate_of_an_authority_is_its_common_name() {
    let secured = start(SERVER_EC, AUTHORITY).await;
    for identity in ["d1", "self"] {
        secured.register(identity, AuthenticationSpec::CertificateAuthority).await;
    }
    let cases = [
        ("d1", DEVICE, ConnectCode::Accepted),
        // The right chain with another's name, and the right name without the chain.
        ("self", DEVICE, ConnectCode::NotAuthorized),
        ("self", SELF_EC, ConnectCode::NotAuthorized),
    ];
    for version in VERSIONS {
        for (identity, shown, code) in cases {
            let mut device = secured.dial(version, Some(shown)).await.unwrap();
            device.introduce_with(identity, None, |_| {}).await;
            device.expect_connack(code).await;
            if code == ConnectCode::Accepted {
                device.publish_acked("devices/d1/messages/events/", "x").await;
            }
        }
    }
    assert_eq!(secured.authenticated_as("d1").await, Some(AuthType::X509Authority));
    // Without the authority the same certificate proves nothing.
    let secured = start(SERVER_EC, b"").await;
    secured.register("d1", AuthenticationSpec::CertificateAuthority).await;
    let mut device = secured.dial(VERSIONS[1], Some(DEVICE)).await.unwrap();
    device.introduce_with("d1", None, |_| {}).await;
    device.expect_connack(ConnectCode::NotAuthorized).await;
}

#[tokio::test]
async fn who_does_not_speak_tls_is_closed() {
    let secured = start(SERVER_RSA, b"").await;
    register(&secured.hub, "d1").await;
    let mut plain = Client::new(TcpStream::connect(secured.addr).await.unwrap());
    plain.introduce("d1").await;
    let mut rest = Vec::new();
    // A TLS alert, or nothing; then the end.
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut plain.io, &mut rest).await;
    assert!(rest.is_empty() || rest.starts_with(b"\x15\x03"), "{rest:02x?}");
    // A certificate whose key the client does not hold.
    let stolen = (SELF_EC.0, DEVICE.1);
    assert!(secured.dial(VERSIONS[0], Some(stolen)).await.is_err());
    assert_eq!(secured.metrics.read().tls_failed, 2);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let refused = |chain, key, authority| TlsSettings::from_pem(chain, key, authority).unwrap_err();
    let (chain, key) = SERVER_RSA;
    assert!(matches!(refused(b"", key, b""), TlsError::Chain));
    assert!(matches!(refused(chain, chain, b""), TlsError::Key));
    assert!(matches!(refused(chain, SERVER_EC.1, b""), TlsError::Unusable(_)));
    let rubbish = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(refused(chain, key, rubbish), TlsError::Authority));
}
