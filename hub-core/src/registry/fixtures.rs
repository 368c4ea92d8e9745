//! What the registry's tests are made with.

use super::*;
use crate::error::{ErrorKind, HubError};
use crate::id::Address;
use crate::limits::Limits;
use crate::security::{SymmetricKey, Thumbprint};
use crate::time::Timestamp;

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_893_456_000_000);

pub(super) static LIMITS: std::sync::LazyLock<Limits> = std::sync::LazyLock::new(Limits::default);

pub(super) fn context(random: &[u8; 64]) -> Context<'_> {
    Context { now: NOW, random, limits: &LIMITS, edges: &[], previous_generation: None }
}

pub(super) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub(super) fn spec(text: &str) -> IdentitySpec {
    IdentitySpec::new(address(text))
}

pub(super) fn key(seed: u8) -> SymmetricKey {
    SymmetricKey::generate(&[seed; 32])
}

pub(super) fn print(hex: &str) -> Thumbprint {
    Thumbprint::new(&hex.repeat(20)).unwrap()
}

/// A device as it is without special wishes, made of bytes of this seed.
pub(super) fn device(text: &str, seed: u8) -> Identity {
    create(&spec(text), &context(&[seed; 64])).unwrap()
}

pub(super) fn edge(text: &str) -> Identity {
    let spec = IdentitySpec { iot_edge: Some(true), ..spec(text) };
    create(&spec, &context(&[1; 64])).unwrap()
}

pub(super) fn change(identity: &Identity, spec: &IdentitySpec) -> Result<Identity, HubError> {
    update(identity, spec, Some(&IfMatch::Any), &context(&[9; 64]))
}

#[track_caller]
pub(super) fn refused<T: std::fmt::Debug>(answer: Result<T, HubError>, kind: ErrorKind) {
    assert_eq!(answer.map_err(|error| error.kind()).unwrap_err(), kind);
}
