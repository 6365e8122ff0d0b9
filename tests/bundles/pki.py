"""Authorities and signers of every quality, and the openssl of the machine."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.now(UTC).replace(microsecond=0)
CODE_SIGNING = (ExtendedKeyUsageOID.CODE_SIGNING,)
TLS_SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Identity:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def identity(
    name: str,
    issuer: Identity | None = None,
    *,
    key: PrivateKey | None = None,
    authority: bool | None = False,
    path_length: int | None = None,
    purposes: tuple[x509.ObjectIdentifier, ...] = CODE_SIGNING,
    signs: bool | None = True,
    starts: timedelta = timedelta(days=-1),
    ends: timedelta = timedelta(days=30),
    more: tuple[tuple[x509.ExtensionType, bool], ...] = (),
) -> Identity:
    """Issue a certificate, by itself if there is no issuer.

    `authority` None leaves out basicConstraints, `signs` None keyUsage; `signs` False makes a keyUsage that
    allows neither signatures nor certificates.
    """
    key = key or p256()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + starts)
        .not_valid_after(NOW + ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(authority, path_length), critical=True)
    if signs is not None:
        builder = builder.add_extension(_usage(signs=signs, authority=bool(authority)), critical=True)
    if purposes and not (authority and purposes is CODE_SIGNING):
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    for extension, critical in more:
        builder = builder.add_extension(extension, critical=critical)
    by = issuer.key if issuer else key
    return Identity(
        builder.sign(by, None if isinstance(by, ed25519.Ed25519PrivateKey) else hashes.SHA256()), key
    )


def _usage(*, signs: bool, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs and not authority,
        key_cert_sign=signs and authority,
        crl_sign=authority,
        key_encipherment=not authority,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def revocation_list(
    issuer: Identity, *revoked: Identity, by: Identity | None = None, ends: timedelta = timedelta(days=1)
) -> bytes:
    """A list of what the issuer has revoked, in PEM; signed by another where one is given."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(NOW - timedelta(days=2))
        .next_update(NOW + ends)
    )
    for each in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(each.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(NOW - timedelta(days=2)).build())
    return builder.sign((by or issuer).key, hashes.SHA256()).public_bytes(Encoding.PEM)


def openssl_sign(bundle: Path, signer: Identity, *options: str, chain: tuple[Identity, ...] = ()) -> bytes:
    """`openssl cms -sign`; the options come last."""
    home = bundle.parent
    (home / "signer.pem").write_bytes(signer.pem)
    (home / "signer.key").write_bytes(signer.key_pem)
    command = ["openssl", "cms", "-sign", "-binary", "-outform", "DER", "-in", str(bundle)]
    command += ["-signer", str(home / "signer.pem"), "-inkey", str(home / "signer.key")]
    if chain:
        (home / "chain.pem").write_bytes(b"".join(each.pem for each in chain))
        command += ["-certfile", str(home / "chain.pem")]
    return subprocess.run([*command, *options], check=True, capture_output=True).stdout


def openssl_verifies(bundle: Path, signature: bytes, root: Identity) -> bool:
    """`openssl cms -verify`."""
    home = bundle.parent
    (home / "root.pem").write_bytes(root.pem)
    (home / "signature.der").write_bytes(signature)
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", home / "signature.der"]
    command += ["-content", bundle, "-CAfile", home / "root.pem", "-purpose", "any", "-out", "/dev/null"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
