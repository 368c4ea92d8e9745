//! Checks that a client holds the key of the certificate it shows, and nothing else.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    SignatureScheme,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

/// Asks for a certificate, takes none as an answer, and takes any certificate whose key the client
/// holds. Identity rules decide later what it is worth.
///
/// Signatures are checked against the bare public key, because many devices have certificates of
/// X.509 version 1: command-line tools make such self-signed ones, and rustls' own functions
/// refuse them.
#[derive(Debug)]
pub(super) struct PossessionVerifier {
    algorithms: WebPkiSupportedAlgorithms,
}

impl PossessionVerifier {
    pub(super) fn new(algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { algorithms }
    }
}

fn unreadable() -> Error {
    Error::InvalidCertificate(CertificateError::BadEncoding)
}

/// The public key of a certificate.
fn public_key<'a>(certificate: &'a CertificateDer<'_>) -> Result<SubjectPublicKeyInfo<'a>, Error> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| unreadable())?;
    Ok(certificate.tbs_certificate.subject_pki)
}

impl ClientCertVerifier for PossessionVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: a client would not show a self-signed certificate to a list of authorities.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        public_key(leaf).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = public_key(certificate)?;
        let algorithm = algorithm_id(key.raw).ok_or_else(unreadable)?;
        let bits = &key.subject_public_key.data;
        let (_, candidates) = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signed.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        // In TLS 1.2 a scheme does not fix the curve, so it may stand for several algorithms.
        let valid = candidates
            .iter()
            .filter(|candidate| candidate.public_key_alg_id().as_ref() == algorithm)
            .any(|candidate| candidate.verify_signature(bits, message, signed.signature()).is_ok());
        if valid {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::BadSignature))
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(public_key(certificate)?.raw);
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The contents of the algorithm identifier at the beginning of a public key in DER form: a
/// sequence within a sequence.
fn algorithm_id(key: &[u8]) -> Option<&[u8]> {
    sequence(sequence(key)?)
}

/// The contents of the DER sequence at the beginning of `der`.
fn sequence(der: &[u8]) -> Option<&[u8]> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    if *tag != 0x30 {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81 => {
            let (length, rest) = rest.split_first()?;
            (usize::from(*length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    rest.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_identifier_is_found() {
        let ed25519 = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
        let mut key = ed25519.to_vec();
        key.resize(44, 7);
        assert_eq!(algorithm_id(&key), Some(&b"\x06\x03\x2b\x65\x70"[..]));
        let long = |prefix: &[u8], length: usize| {
            let mut der = prefix.to_vec();
            der.extend(b"\x30\x01\x05");
            der.resize(prefix.len() + length, 0);
            der
        };
        assert_eq!(algorithm_id(&long(b"\x30\x81\x90", 0x90)), Some(&b"\x05"[..]));
        assert_eq!(algorithm_id(&long(b"\x30\x82\x01\x22", 0x122)), Some(&b"\x05"[..]));
        for bad in [&b""[..], b"\x30", b"\x31\x00", b"\x30\x05\x30\x01", b"\x30\x83\x00\x00\x00"] {
            assert_eq!(algorithm_id(bad), None);
        }
    }
}
