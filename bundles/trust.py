"""Whose signatures count: trust roots, and the path from a signer's certificate to one of them.

The path is validated by cryptography's RFC 5280 verifier, which is offline by construction. What it
leaves to its caller is here: what a signer and an authority may be used for, and the signer's key.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Self, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from bundles.revocation import read_lists, revoked
from domain.errors import InvalidInput, RefusalReason, SignatureRefused
from domain.names import Sha256

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192  # beyond, checking one signature costs a node noticeable time
_LONGEST_PATH = 8
_STRONG_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True)
class TrustStore:
    """The certificates of the authorities whose signers are trusted, and lists of what they have revoked."""

    roots: tuple[x509.Certificate, ...]
    lists: tuple[x509.CertificateRevocationList, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read trust roots from a PEM file, or from all `*.pem` and `*.crt` files of a directory.

        Revocation lists are read from the same file, or from the directory's `*.crl` files as well.

        Raises:
            InvalidInput: there is no certificate, or a file cannot be parsed.
            OSError: a file cannot be read.
        """
        if not path.is_dir():
            return cls.parse(path.read_bytes(), "trust", str(path))
        files = sorted((*path.glob("*.pem"), *path.glob("*.crt")))
        found = [cls.parse(file.read_bytes(), "trust", str(file)) for file in files]
        if not found:
            raise InvalidInput(f"{path} holds no certificates (*.pem, *.crt)", field="trust")
        lists = [each for store in found for each in store.lists]
        for file in sorted(path.glob("*.crl")):
            lists.extend(_lists(file.read_bytes(), "trust", str(file)))
        return cls(tuple(root for store in found for root in store.roots), tuple(lists))

    @classmethod
    def parse(cls, pem: bytes, field: str, name: str = "this") -> Self:
        """The roots in a PEM text, and the revocation lists beside them.

        Args:
            pem: the text.
            field: where it came from, as errors name it.
            name: what it is, for people.

        Raises:
            InvalidInput: there is no root, or something cannot be read.
        """
        try:
            roots = tuple(x509.load_pem_x509_certificates(pem))
        except ValueError as error:
            raise InvalidInput(f"{name} holds no PEM certificates: {error}", field=field) from error
        return cls(roots, tuple(_lists(pem, field, name)))

    @property
    def fingerprints(self) -> tuple[Sha256, ...]:
        """SHA-256 of each root, hexadecimal, in order."""
        return tuple(sorted({root.fingerprint(hashes.SHA256()).hex() for root in self.roots}))

    @cached_property
    def _store(self) -> Store:
        return Store(list(self.roots))

    def check(
        self, signer: x509.Certificate, intermediates: Sequence[x509.Certificate], at: datetime
    ) -> PublicKey:
        """Find a valid path from the signer's certificate to a root.

        Args:
            signer: the certificate of the key that signed.
            intermediates: other certificates that came along, in any order; not trusted.
            at: when everything has to be valid; with a time zone.

        Returns:
            The signer's public key, strong enough and of a kind that we verify.

        Raises:
            SignatureRefused: with the reason.
        """
        key = _check_signer(signer, at)
        verifier = (
            PolicyBuilder()
            .store(self._store)
            .time(at)
            .extension_policies(ca_policy=_AUTHORITY, ee_policy=_SIGNER)
            .build_client_verifier()
        )
        try:
            chain = verifier.verify(signer, list(intermediates)).chain
        except VerificationError as error:
            raise self._explain(signer, intermediates, at, error) from error
        if len(chain) < 2:
            raise _refused(RefusalReason.UNTRUSTED, "the signer's own certificate is not a trust root")
        if found := revoked(chain, self.lists):
            raise _refused(RefusalReason.REVOKED, f"{found.subject.rfc4514_string()!r} was revoked")
        return key

    def _explain(
        self,
        signer: x509.Certificate,
        intermediates: Sequence[x509.Certificate],
        at: datetime,
        error: VerificationError,
    ) -> SignatureRefused:
        """Why there is no path: the first flaw on the way up from the signer.

        Only words for a refusal that the verifier has already decided; it says it in prose.
        """
        certificate = signer
        for below in range(_LONGEST_PATH):
            if flaw := _weak_signature(certificate):
                return flaw
            issuer = _issuer(certificate, (*self.roots, *intermediates))
            if issuer is None:
                break
            if flaw := _flaw(issuer, below, at):
                return flaw
            if issuer in self.roots:
                return _refused(RefusalReason.UNTRUSTED, f"no valid path to a trust root: {error}")
            certificate = issuer
        name = certificate.issuer.rfc4514_string()
        return _refused(RefusalReason.UNTRUSTED, f"the issuer {name!r} is not a trust root")


def _lists(pem: bytes, field: str, name: str) -> tuple[x509.CertificateRevocationList, ...]:
    try:
        return read_lists(pem)
    except ValueError as error:
        raise InvalidInput(
            f"{name} holds a revocation list that cannot be read: {error}", field=field
        ) from error


def _check_signer(signer: x509.Certificate, at: datetime) -> PublicKey:
    if flaw := _validity(signer, at) or _weak_key(signer):
        raise flaw
    usage = _extension(signer, x509.KeyUsage)
    purposes = _extension(signer, x509.ExtendedKeyUsage)
    constraints = _extension(signer, x509.BasicConstraints)
    if purposes is None or ExtendedKeyUsageOID.CODE_SIGNING not in purposes:
        raise _refused(RefusalReason.WRONG_USAGE, "the signer's certificate is not for code signing")
    if usage is not None and not usage.digital_signature:
        raise _refused(RefusalReason.WRONG_USAGE, "the signer's key is not for digital signatures")
    if constraints is not None and constraints.ca:
        raise _refused(RefusalReason.WRONG_USAGE, "the signer's certificate is that of an authority")
    key = signer.public_key()
    if isinstance(key, PublicKey):
        return key
    raise _refused(RefusalReason.UNSUPPORTED_ALGORITHM, "the signer's key is not RSA, EC or Ed25519")


def _flaw(authority: x509.Certificate, below: int, at: datetime) -> SignatureRefused | None:
    """What makes a certificate unfit as an authority with `below` others between it and the signer."""
    name = authority.subject.rfc4514_string()
    constraints = _extension(authority, x509.BasicConstraints)
    usage = _extension(authority, x509.KeyUsage)
    if constraints is None or not constraints.ca:
        return _refused(RefusalReason.NOT_A_CA, f"{name!r} issued a certificate but is not an authority")
    if usage is not None and not usage.key_cert_sign:
        return _refused(RefusalReason.NOT_A_CA, f"{name!r} may not sign certificates")
    if constraints.path_length is not None and below > constraints.path_length:
        return _refused(RefusalReason.PATH_TOO_LONG, f"{name!r} allows fewer authorities below it")
    return _validity(authority, at) or _weak_key(authority) or _wrong_purpose(authority)


def _validity(certificate: x509.Certificate, at: datetime) -> SignatureRefused | None:
    name = certificate.subject.rfc4514_string()
    if at > certificate.not_valid_after_utc:
        return _refused(RefusalReason.EXPIRED, f"{name!r} expired on {certificate.not_valid_after_utc}")
    if at < certificate.not_valid_before_utc:
        return _refused(
            RefusalReason.NOT_YET_VALID, f"{name!r} is valid from {certificate.not_valid_before_utc}"
        )
    return None


def _weak_key(certificate: x509.Certificate) -> SignatureRefused | None:
    name = certificate.subject.rfc4514_string()
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError) as error:
        return _refused(RefusalReason.UNSUPPORTED_ALGORITHM, f"the key of {name!r}: {error}")
    if isinstance(key, rsa.RSAPublicKey) and not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return _refused(
            RefusalReason.WEAK_KEY,
            f"{name!r} has an RSA key of {key.key_size} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted",
        )
    if isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, _CURVES):
        return _refused(RefusalReason.WEAK_KEY, f"{name!r} has a key on the curve {key.curve.name}")
    return None


def _weak_signature(certificate: x509.Certificate) -> SignatureRefused | None:
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        algorithm = None
    if algorithm is None or isinstance(algorithm, _STRONG_HASHES):
        return None
    name = certificate.subject.rfc4514_string()
    return _refused(RefusalReason.WEAK_DIGEST, f"{name!r} is certified with {algorithm.name}")


def _wrong_purpose(authority: x509.Certificate) -> SignatureRefused | None:
    if _may_certify_signers(_extension(authority, x509.ExtendedKeyUsage)):
        return None
    name = authority.subject.rfc4514_string()
    return _refused(RefusalReason.WRONG_USAGE, f"{name!r} may not certify code signers")


def _may_certify_signers(purposes: x509.ExtendedKeyUsage | None) -> bool:
    accepted = (ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return purposes is None or any(purpose in accepted for purpose in purposes)


def _issuer(certificate: x509.Certificate, among: Sequence[x509.Certificate]) -> x509.Certificate | None:
    for candidate in among:
        try:
            certificate.verify_directly_issued_by(candidate)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            continue
        return candidate
    return None


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise _refused(
            RefusalReason.MALFORMED, f"a certificate's extensions do not parse: {error}"
        ) from error


def _refused(reason: RefusalReason, message: str) -> SignatureRefused:
    return SignatureRefused(message, reason=reason)


def _authority_usage(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("the authority may not sign certificates")


def _authority_purpose(
    _policy: Policy, _certificate: x509.Certificate, purposes: x509.ExtendedKeyUsage | None
) -> None:
    if not _may_certify_signers(purposes):
        raise ValueError("the authority may not certify code signers")


# The verifier's own defaults are the web's (TLS client or server purposes, subjectAltName); these are a
# code signer's. In both, an extension that is critical and not known refuses the path.
_AUTHORITY = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _authority_usage)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _authority_purpose)
)
_SIGNER = ExtensionPolicy.permit_all().require_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, None)
