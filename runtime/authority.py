"""A small X.509 authority and the token key pair, for machines of one's own and for tests.

A company with a PKI uses its own certificates instead; nothing here is needed then. Certificates follow
RFC 5280; keys are ECDSA P-256 (TLS and CMS alike accept them), token keys Ed25519 (RFC 8037). Files are
written whole, readable by their owner only, and never replaced.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from domain.errors import InvalidInput
from runtime.files import private_directory, write_once

_ROOT_LIFE: Final = timedelta(days=3650)
_LEAF_LIFE: Final = timedelta(days=1825)
# Clocks differ: a certificate is valid from a little before it was made.
_CLOCK_SKEW: Final = timedelta(minutes=5)


class Usage(Enum):
    """What a leaf certificate is for (RFC 5280 §4.2.1.12)."""

    SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
    CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    # E-mail protection besides, because that is what `openssl cms -verify` asks for unless told otherwise.
    CODE_SIGNING = (ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION)


@dataclass(frozen=True)
class Credentials:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class TokenKeys:
    """An Ed25519 key pair for signed tokens, as PEM files (PKCS #8, SubjectPublicKeyInfo)."""

    private: Path
    public: Path


class Authority:
    """A root certificate and the right to issue under it."""

    def __init__(self, root: Credentials) -> None:
        self.root = root
        self._certificate = x509.load_pem_x509_certificate(root.certificate.read_bytes())
        self._key = _load_key(root.key)

    @classmethod
    def ensure(cls, directory: Path, name: str, common_name: str) -> "Authority":
        """The authority whose files are `name`.pem and `name`.key; made unless they are there."""
        root = _credentials(directory, name)
        key = _ensure_key(root.key)
        subject = _name(common_name)
        builder = _builder(subject, subject, key, _ROOT_LIFE)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
        _ensure_certificate(root.certificate, builder, key)
        return cls(root)

    def issue(
        self, directory: Path, name: str, *, usage: Usage, common_name: str, hosts: Sequence[str] = ()
    ) -> Credentials:
        """A leaf certificate with its key, as `name`.pem and `name`.key; made unless they are there.

        Args:
            directory: where the files go; made if need be, closed to others.
            name: the files' stem.
            usage: what the certificate is good for, and nothing else.
            common_name: the subject, shown to people.
            hosts: DNS names and IP addresses of a server (subject alternative names).

        Raises:
            InvalidInput: a server without hosts.
        """
        if usage is Usage.SERVER and not hosts:
            raise InvalidInput("a server's certificate needs at least one host", field="hosts")
        leaf = _credentials(directory, name)
        key = _ensure_key(leaf.key)
        issuer = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = _builder(_name(common_name), self._certificate.subject, key, _LEAF_LIFE)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage.value), critical=True)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False
        )
        if hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        _ensure_certificate(leaf.certificate, builder, self._key)
        return leaf


def ensure_token_keys(directory: Path) -> TokenKeys:
    """The key pair `token.key` and `token.pem`; made unless they are there."""
    private_directory(directory)
    keys = TokenKeys(private=directory / "token.key", public=directory / "token.pem")
    write_once(keys.private, _key_bytes(ed25519.Ed25519PrivateKey.generate()))
    key = serialization.load_pem_private_key(keys.private.read_bytes(), password=None)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_once(keys.public, public)
    return keys


def _credentials(directory: Path, name: str) -> Credentials:
    private_directory(directory)
    return Credentials(certificate=directory / f"{name}.pem", key=directory / f"{name}.key")


def _ensure_key(path: Path) -> ec.EllipticCurvePrivateKey:
    write_once(path, _key_bytes(ec.generate_private_key(ec.SECP256R1())))
    return _load_key(path)


def _ensure_certificate(
    path: Path, builder: x509.CertificateBuilder, signer: ec.EllipticCurvePrivateKey
) -> None:
    write_once(path, builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidInput(f"{path} is not an elliptic curve key")
    return key


def _key_bytes(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
