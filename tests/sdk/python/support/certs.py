"""X.509 certificates for devices, authorities and servers."""

import dataclasses
import datetime
import ipaddress
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclasses.dataclass
class Certificate:
    certificate: x509.Certificate
    key: object
    cert_file: pathlib.Path
    key_file: pathlib.Path

    def thumbprint(self, algorithm):
        return self.certificate.fingerprint(algorithm).hex().upper()

    @property
    def sha1(self):
        return self.thumbprint(hashes.SHA1())

    @property
    def sha256(self):
        return self.thumbprint(hashes.SHA256())


def make(folder, common_name, issuer=None, authority=False, server=False):
    """Makes a certificate, self-signed unless it has an issuer, and writes it to `folder`."""
    # An RSA key where any client must be able to connect; the quicker sort elsewhere.
    key = (
        rsa.generate_private_key(65537, 2048) if server else ec.generate_private_key(ec.SECP256R1())
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if server:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        usage = [ExtendedKeyUsageOID.SERVER_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    stem = pathlib.Path(folder) / f"{certificate.serial_number:x}"
    cert_file, key_file = stem.with_suffix(".crt"), stem.with_suffix(".key")
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return Certificate(certificate, key, cert_file, key_file)
