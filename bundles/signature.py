"""Signs bundles, and verifies that a trusted signer released exactly these bytes.

The format is a detached CMS SignedData (RFC 5652), so `openssl cms` and a company's own PKI work on both
ends. Why these verifiers: docs/adr/0002-signature-verifier.md.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from bundles.cms import DetachedSignature, attributes_to_sign, build, parse
from bundles.trust import PublicKey, TrustStore
from domain.base import Frozen
from domain.errors import InvalidInput, RefusalReason, SignatureRefused

__all__ = ["RefusalReason", "Signer", "TrustStore", "sign", "verify"]

_SET_TAG = b"\x31"


class Signer(Frozen):
    """Who released a bundle.

    Attributes:
        subject: the certificate's subject, as RFC 4514 writes it.
        fingerprint: SHA-256 of the certificate, hexadecimal.
        signed_at: what the signer says of the time; nobody vouches for it. None if they say nothing.
        not_after: when the certificate, and with it the signature, expires.
    """

    subject: str
    fingerprint: str
    signed_at: datetime | None
    not_after: datetime


def sign(
    bundle: Path,
    certificate_pem: bytes,
    key_pem: bytes,
    chain_pem: bytes = b"",
    *,
    password: bytes | None = None,
) -> bytes:
    """Sign a bundle: detached CMS, DER-encoded, with signed attributes.

    SHA-256 with RSA (PKCS #1 v1.5) or ECDSA, SHA-512 with Ed25519 as RFC 8419 wants it.
    `openssl cms -verify -binary -inform DER -in SIGNATURE -content BUNDLE -CAfile ROOTS -purpose any`
    accepts the result (from OpenSSL 3.2 on also with `-purpose codesign`; Ed25519 from 3.2 on only).

    Args:
        bundle: the file; read in pieces.
        certificate_pem: the signer's certificate.
        key_pem: its private key.
        chain_pem: the authorities between it and a trust root, in any order.
        password: of an encrypted key.

    Raises:
        InvalidInput: key and certificate do not fit, or cannot be read; `field` names which.
        OSError: the bundle cannot be read.
    """
    certificate = _load_certificates(certificate_pem, "certificate")[0]
    chain = _load_certificates(chain_pem, "chain") if chain_pem.strip() else []
    try:
        key = serialization.load_pem_private_key(key_pem, password)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"the private key cannot be read: {error}", field="key") from error
    if key.public_key() != certificate.public_key():
        raise InvalidInput("the private key is not the certificate's", field="key")
    name = "sha512" if isinstance(key, ed25519.Ed25519PrivateKey) else "sha256"
    attributes = attributes_to_sign(_digest(bundle, name), datetime.now(UTC).replace(microsecond=0))
    signed = attributes.dump()
    if isinstance(key, rsa.RSAPrivateKey):
        algorithm, signature = "sha256_rsa", key.sign(signed, rsa_padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        algorithm, signature = "sha256_ecdsa", key.sign(signed, ec.ECDSA(hashes.SHA256()))
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm, signature = "ed25519", key.sign(signed)
    else:
        raise InvalidInput("the key is not RSA, EC or Ed25519", field="key")
    return build(certificate, chain, attributes, digest=name, algorithm=algorithm, signature=signature)


def verify(bundle: Path, signature: bytes, trust: TrustStore, *, at: datetime) -> Signer:
    """Prove that a trusted signer released these bytes, or refuse.

    First the structure, then the path to a trust root, then the bundle's digest, then the signature: what
    is cheap comes first. Nothing is fetched from a network; revocation lists are those beside the roots.

    Args:
        bundle: the file; read in pieces, once.
        signature: detached CMS SignedData, DER or BER, with one signer; with signed attributes or without.
        trust: the roots.
        at: when the certificates have to be valid; with a time zone.

    Raises:
        SignatureRefused: with the reason.
        ValueError: `at` has no time zone.
        OSError: the bundle cannot be read.
    """
    if at.tzinfo is None:
        raise ValueError("the time to verify at needs a time zone")
    found = parse(signature)
    key = trust.check(found.signer, found.others, at)
    digest = _digest(bundle, found.scheme.hash.name)
    attributes = found.attributes
    if attributes is None:
        _refuse_attributes_as_content(bundle)
        _check_signature(key, found, digest, whole=None)
    elif attributes.message_digest != digest:
        raise SignatureRefused("the bundle is not what was signed", reason=RefusalReason.DIGEST_MISMATCH)
    else:
        signed = hashlib.new(found.scheme.hash.name, attributes.der).digest()
        _check_signature(key, found, signed, whole=attributes.der)
    return Signer(
        subject=found.signer.subject.rfc4514_string(),
        fingerprint=found.signer.fingerprint(hashes.SHA256()).hex(),
        signed_at=attributes.signing_time if attributes else None,
        not_after=found.signer.not_valid_after_utc,
    )


def _check_signature(key: PublicKey, found: DetachedSignature, digest: bytes, *, whole: bytes | None) -> None:
    """Do the maths over a digest, or, for Ed25519, over the whole message, which must be small."""
    scheme, prehashed = found.scheme, Prehashed(found.scheme.hash)
    try:
        if isinstance(key, rsa.RSAPublicKey) and scheme.padding is not None:
            key.verify(found.signature, digest, scheme.padding, prehashed)
        elif isinstance(key, ec.EllipticCurvePublicKey) and scheme.name == "ecdsa":
            key.verify(found.signature, digest, ec.ECDSA(prehashed))
        elif isinstance(key, ed25519.Ed25519PublicKey) and scheme.name == "ed25519" and whole is not None:
            key.verify(found.signature, whole)
        else:
            raise SignatureRefused(
                f"{scheme.name} does not go with the signer's key, or lacks signed attributes",
                reason=RefusalReason.UNSUPPORTED_ALGORITHM,
            )
    except (InvalidSignature, ValueError) as error:
        raise SignatureRefused(
            "the signature is not of these bytes by this key", reason=RefusalReason.BAD_SIGNATURE
        ) from error


def _refuse_attributes_as_content(bundle: Path) -> None:
    """Signed attributes of another signature, passed off as content that was signed without any.

    RFC 5652 signs either the content or a SET of attributes and does not say which; no bundle is a SET.
    """
    with bundle.open("rb") as content:
        if content.read(1) == _SET_TAG:
            raise SignatureRefused(
                "the content is made of signed attributes", reason=RefusalReason.SIGNED_ATTRIBUTES
            )


def _digest(bundle: Path, name: str) -> bytes:
    with bundle.open("rb") as content:
        return hashlib.file_digest(content, name).digest()


def _load_certificates(pem: bytes, field: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise InvalidInput(f"the {field} is not PEM: {error}", field=field) from error
