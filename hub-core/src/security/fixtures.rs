//! What the tests of admission are made with.

use std::time::Duration;

use super::*;
use crate::envelope::{AuthMethod, AuthScope, AuthType};
use crate::hello::{CertificateInfo, Credentials, Grant, Hello, Refusal, SessionMode};
use crate::id::Address;
use crate::limits::Limits;
use crate::time::Timestamp;

/// What a registry would hold.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) address: Address,
    pub(super) enabled: bool,
    pub(super) generation: u64,
    pub(super) authentication: Authentication,
}

impl Registered for Entry {
    fn address(&self) -> &Address {
        &self.address
    }

    fn is_enabled(&self) -> bool {
        self.enabled
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn authentication(&self) -> &Authentication {
        &self.authentication
    }
}

pub(super) fn key(seed: u8) -> SymmetricKey {
    SymmetricKey::generate(&[seed; 32])
}

pub(super) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub(super) fn sas(primary: u8, secondary: u8) -> Authentication {
    Authentication::Sas { primary: key(primary), secondary: key(secondary) }
}

/// An identity with the keys 1 and 2.
pub(super) fn entry(text: &str) -> Entry {
    Entry { address: address(text), enabled: true, generation: 7, authentication: sas(1, 2) }
}

pub(super) fn disabled(text: &str) -> Entry {
    Entry { enabled: false, ..entry(text) }
}

pub(super) fn with(authentication: Authentication) -> Entry {
    Entry { authentication, ..entry("d1") }
}

/// Policies with the keys 11 and 12, one per sort of right.
pub(super) fn policies() -> Policies {
    let mut policies = Policies::none();
    for (name, rights) in [
        ("owner", Rights::ALL),
        ("device", Right::DeviceConnect.into()),
        ("service", Right::ServiceConnect.into()),
    ] {
        policies.insert(Policy::new(name, key(11), key(12), rights).unwrap()).unwrap();
    }
    policies
}

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_893_456_000_000);

pub(super) fn in_seconds(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

pub(super) fn token(resource: &str, seed: u8, policy: Option<&str>) -> String {
    sign(resource, &key(seed), KeyForm::Decoded, in_seconds(3600), policy)
}

pub(super) fn hello(text: &str, credentials: Credentials) -> Hello {
    Hello {
        address: address(text),
        credentials,
        host: Some("Hub.Example:8883".into()),
        session: SessionMode::Persistent,
        model: None,
        client: None,
        protocol: "test",
        peer: None,
    }
}

pub(super) fn names() -> HubNames {
    HubNames::new("hub.example")
}

pub(super) fn admit(
    hello: &Hello,
    identity: Option<&Entry>,
    device: Option<&Entry>,
) -> Result<Grant, Refusal> {
    admit_device(hello, identity, device, &policies(), &names(), NOW, &Limits::default())
}

/// The answer to a token of a device `d1` that exists.
pub(super) fn show(token: &str) -> Result<Grant, Refusal> {
    admit(&hello("d1", Credentials::Token(token.into())), Some(&entry("d1")), None)
}

/// The answer to a token of a module `d1/m1` that exists, like its device.
pub(super) fn show_module(token: &str) -> Result<Grant, Refusal> {
    let hello = hello("d1/m1", Credentials::Token(token.into()));
    admit(&hello, Some(&entry("d1/m1")), Some(&entry("d1")))
}

pub(super) fn unauthorized<T>(why: &'static str) -> Result<T, Refusal> {
    Err(Refusal::Unauthorized(why))
}

pub(super) fn method(scope: AuthScope, kind: AuthType) -> AuthMethod {
    AuthMethod { scope, kind }
}

pub(super) fn service(token: &str) -> Result<Principal, Refusal> {
    admit_service(token, &policies(), &names(), NOW, &Limits::default())
}

pub(super) fn certificate(name: &str) -> CertificateInfo {
    CertificateInfo {
        sha1: [0xab; 20],
        sha256: [0xcd; 32],
        common_name: Some(name.into()),
        not_before: NOW,
        not_after: in_seconds(60),
        chains_to_authority: true,
    }
}

pub(super) fn thumbprints(primary: Option<&str>, secondary: Option<&str>) -> Authentication {
    let print = |hex: &str| Thumbprint::new(&hex.repeat(if hex == "ab" { 20 } else { 32 }));
    Authentication::SelfSigned {
        primary: primary.map(|hex| print(hex).unwrap()),
        secondary: secondary.map(|hex| print(hex).unwrap()),
    }
}
