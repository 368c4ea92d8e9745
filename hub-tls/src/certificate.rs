//! Reading a client certificate.

use hub_core::hello::CertificateInfo;
use hub_core::time::Timestamp;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What a certificate in DER form says of itself. `None` if it cannot be read.
pub(super) fn read(der: &[u8]) -> Option<CertificateInfo> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    let instant = |seconds: i64| {
        Timestamp::from_millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
    };
    // Of several common names the last, most specific one is the identity's.
    let common_name = certificate.subject().iter_common_name().last();
    Some(CertificateInfo {
        sha1: Sha1::digest(der).into(),
        sha256: Sha256::digest(der).into(),
        common_name: common_name.and_then(|name| name.as_str().ok()).map(str::to_owned),
        not_before: instant(validity.not_before.timestamp()),
        not_after: instant(validity.not_after.timestamp()),
        chains_to_authority: false,
    })
}
