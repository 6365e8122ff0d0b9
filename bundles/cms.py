"""The structure of a detached CMS signature (RFC 5652): parsed into what a verifier needs, and built.

Parsing accepts exactly one signer, no content, and signed attributes that appear once. What it returns
is not yet trusted: bundles/signature.py checks the path, the digest and the signature.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asn1crypto import algos, cms, core
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding

from domain.errors import RefusalReason, SignatureRefused

MAX_SIGNATURE_BYTES = 48 * 1024
_MAX_CERTIFICATES = 16
_SET_OF = b"\x31"
_IMPLICIT_0 = 0xA0
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_ED25519_HASH = "sha512"  # RFC 8419, section 3.1


@dataclass(frozen=True)
class Scheme:
    """How the signature was made: "rsa", "ecdsa" or "ed25519", the hash, and the padding of RSA."""

    name: str
    hash: hashes.HashAlgorithm
    padding: rsa_padding.AsymmetricPadding | None = None


@dataclass(frozen=True)
class SignedAttributes:
    """What the signer signed about the content.

    Attributes:
        der: the bytes that the signature covers.
        message_digest: digest of the content.
        signing_time: what the signer says of the time; nobody vouches for it.
    """

    der: bytes
    message_digest: bytes
    signing_time: datetime | None


@dataclass(frozen=True)
class DetachedSignature:
    """One signer's signature over content that is elsewhere.

    Attributes:
        signer: the certificate that the signer claims.
        others: the certificates that came along.
        scheme: algorithm and hash.
        signature: the signature's bytes.
        attributes: what was signed in place of the content; None if the content was.
    """

    signer: x509.Certificate
    others: tuple[x509.Certificate, ...]
    scheme: Scheme
    signature: bytes
    attributes: SignedAttributes | None


def parse(signature: bytes) -> DetachedSignature:
    """Read a DER-encoded detached CMS signature.

    Raises:
        SignatureRefused: it is not one, or not of a shape that we accept.
    """
    if len(signature) > MAX_SIGNATURE_BYTES:
        raise _refused(
            f"the signature has more than {MAX_SIGNATURE_BYTES} bytes; does it bring the bundle along?"
        )
    with _malformed_if_it_fails():
        content = cms.ContentInfo.load(signature, strict=True)
        if content["content_type"].native != "signed_data":
            raise _refused("the signature is not CMS SignedData")
        signed = content["content"]
        encapsulated = signed["encap_content_info"]
        if encapsulated["content_type"].native != "data":
            raise _refused("the signed content is not of type data")
        if not isinstance(encapsulated["content"], core.Void):
            raise _refused("the signature brings its own content", RefusalReason.ATTACHED_CONTENT)
        info = _only_signer(signed["signer_infos"])
        signer, others = _certificates(signed["certificates"], info["sid"])
        scheme = _scheme(info)
        return DetachedSignature(
            signer=signer,
            others=others,
            scheme=scheme,
            signature=info["signature"].native,
            attributes=_signed_attributes(info["signed_attrs"]),
        )


@contextmanager
def _malformed_if_it_fails() -> Iterator[None]:
    """The parser is lazy: a wrong type or length shows where a field is first read, as one of these."""
    try:
        yield
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise _refused(f"the signature is not DER-encoded CMS: {error}") from error


def _only_signer(infos: Any) -> Any:
    if len(infos) == 0:
        raise _refused("nobody signed", RefusalReason.NO_SIGNER)
    if len(infos) > 1:
        raise _refused(f"{len(infos)} signers; one is accepted", RefusalReason.SEVERAL_SIGNERS)
    return infos[0]


def _certificates(choices: Any, sid: Any) -> tuple[x509.Certificate, tuple[x509.Certificate, ...]]:
    """The signer's certificate, found by its id, and the others."""
    if isinstance(choices, core.Void) or len(choices) == 0:
        raise _refused("the signature brings no certificates", RefusalReason.NO_CERTIFICATE)
    if len(choices) > _MAX_CERTIFICATES:
        raise _refused(f"the signature brings more than {_MAX_CERTIFICATES} certificates")
    by_der: dict[bytes, asn1_x509.Certificate] = {}
    for choice in choices:
        if choice.name != "certificate":
            raise _refused(f"the signature brings a certificate of type {choice.name}")
        by_der[choice.chosen.dump()] = choice.chosen
    signers = [der for der, certificate in by_der.items() if _is_named_by(certificate, sid)]
    if not signers:
        raise _refused("the signer's certificate is not in the signature", RefusalReason.NO_CERTIFICATE)
    if len(signers) > 1:
        raise _refused("several certificates match the signer's id")
    others = tuple(_load(der, certificate) for der, certificate in by_der.items() if der != signers[0])
    return _load(signers[0], by_der[signers[0]]), others


_UNREADABLE = (ValueError, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)


def _load(der: bytes, certificate: asn1_x509.Certificate) -> x509.Certificate:
    """A certificate whose every part can be read: `cryptography` parses names and dates only when asked."""
    # Outside of what its issuer has signed: another encoding would be another fingerprint of the same signer.
    if certificate["signature_value"].contents[:1] != b"\0":
        raise _refused("a certificate's signature is no whole number of bytes")
    if certificate.serial_number <= 0:
        raise _refused("a certificate has no positive serial number (RFC 5280, 4.1.2.2)")
    try:
        loaded = x509.load_der_x509_certificate(der)
        _ = (loaded.subject, loaded.issuer, loaded.not_valid_before_utc, loaded.not_valid_after_utc)
        _ = tuple(loaded.extensions)
    except _UNREADABLE as error:
        raise _refused(f"a certificate cannot be read: {error}") from error
    return loaded


def _is_named_by(certificate: asn1_x509.Certificate, sid: Any) -> bool:
    if sid.name == "subject_key_identifier":
        return bool(certificate.key_identifier == sid.chosen.native)
    same_issuer = certificate.issuer.dump() == sid.chosen["issuer"].dump()
    return bool(same_issuer and certificate.serial_number == sid.chosen["serial_number"].native)


def _scheme(info: Any) -> Scheme:
    digest = _hash(info["digest_algorithm"]["algorithm"].native)
    algorithm = info["signature_algorithm"]
    try:
        name = algorithm.signature_algo
    except ValueError as error:
        raise _refused(str(error), RefusalReason.UNSUPPORTED_ALGORITHM) from error
    if name == "rsassa_pkcs1v15":
        if algorithm["algorithm"].native != "rsassa_pkcs1v15":  # sha256_rsa and the like name a hash too
            _expect_same(digest, _hash(algorithm.hash_algo))
        return Scheme("rsa", digest, rsa_padding.PKCS1v15())
    if name == "rsassa_pss":
        return Scheme("rsa", digest, _pss(algorithm["parameters"], digest))
    if name == "ecdsa":
        _expect_same(digest, _hash(algorithm.hash_algo))
        return Scheme("ecdsa", digest)
    if name == "ed25519":
        _expect_same(digest, _HASHES[_ED25519_HASH])
        return Scheme("ed25519", digest)
    raise _refused(f"signatures by {name} are not accepted", RefusalReason.UNSUPPORTED_ALGORITHM)


def _pss(parameters: Any, digest: hashes.HashAlgorithm) -> rsa_padding.PSS:
    """RFC 4056: one hash throughout; without parameters it would be SHA-1."""
    mask = parameters["mask_gen_algorithm"]
    if mask["algorithm"].native != "mgf1":
        raise _refused("the mask generation is not MGF1", RefusalReason.UNSUPPORTED_ALGORITHM)
    _expect_same(digest, _hash(parameters["hash_algorithm"]["algorithm"].native))
    _expect_same(digest, _hash(mask["parameters"]["algorithm"].native))
    return rsa_padding.PSS(rsa_padding.MGF1(digest), salt_length=parameters["salt_length"].native)


def _hash(name: str) -> hashes.HashAlgorithm:
    found = _HASHES.get(name)
    if found is None:
        raise _refused(f"the digest {name} is not accepted", RefusalReason.WEAK_DIGEST)
    return found


def _expect_same(digest: hashes.HashAlgorithm, other: hashes.HashAlgorithm) -> None:
    if digest.name != other.name:
        raise _refused(
            f"the signature mixes {digest.name} and {other.name}", RefusalReason.UNSUPPORTED_ALGORITHM
        )


def _signed_attributes(attributes: Any) -> SignedAttributes | None:
    """RFC 5652, sections 5.3, 5.4 and 11: each attribute once, with one value."""
    if isinstance(attributes, core.Void):
        return None
    encoded = attributes.dump()
    if encoded[0] != _IMPLICIT_0:
        raise _refused("the signed attributes are not encoded as such")
    values: dict[str, Any] = {}
    for attribute in attributes:
        oid = attribute["type"].dotted
        if oid in values:
            raise _attributes_refused(f"the signed attribute {oid} comes twice")
        values[oid] = attribute["values"]
    if _single(values, "content_type").native != "data":
        raise _attributes_refused("the signed attributes name another content type")
    time = None
    if cms.CMSAttributeType.unmap("signing_time") in values:
        time = _single(values, "signing_time").native
    return SignedAttributes(
        der=_SET_OF + encoded[1:], message_digest=_single(values, "message_digest").native, signing_time=time
    )


def _single(values: dict[str, Any], name: str) -> Any:
    found = values.get(cms.CMSAttributeType.unmap(name))
    if found is None:
        raise _attributes_refused(f"the signed attributes lack {name}")
    if len(found) != 1:
        raise _attributes_refused(f"the signed attribute {name} has {len(found)} values")
    return found[0]


def _refused(message: str, reason: RefusalReason = RefusalReason.MALFORMED) -> SignatureRefused:
    return SignatureRefused(message, reason=reason)


def _attributes_refused(message: str) -> SignatureRefused:
    return _refused(message, RefusalReason.SIGNED_ATTRIBUTES)


def attributes_to_sign(message_digest: bytes, at: datetime) -> cms.CMSAttributes:
    """The signed attributes of a new signature: content type, signing time, digest of the content."""
    time_kind = "utc_time" if at.year < 2050 else "general_time"  # RFC 5652, section 11.3
    return cms.CMSAttributes(
        [
            {"type": "content_type", "values": ["data"]},
            {"type": "signing_time", "values": [cms.Time(name=time_kind, value=at)]},
            {"type": "message_digest", "values": [message_digest]},
        ]
    )


def build(
    signer: x509.Certificate,
    others: Sequence[x509.Certificate],
    attributes: cms.CMSAttributes,
    *,
    digest: str,
    algorithm: str,
    signature: bytes,
) -> bytes:
    """Put a detached signature together, DER-encoded.

    `digest` and `algorithm` are asn1crypto's names, such as "sha256" and "sha256_rsa".
    """
    certificates = [asn1_x509.Certificate.load(_der(certificate)) for certificate in (signer, *others)]
    digest_algorithm = algos.DigestAlgorithm({"algorithm": digest})
    signer_id = {"issuer": certificates[0].issuer, "serial_number": certificates[0].serial_number}
    info = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier({"issuer_and_serial_number": signer_id}),
            "digest_algorithm": digest_algorithm,
            "signed_attrs": attributes,
            "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": algorithm}),
            "signature": signature,
        }
    )
    signed = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [digest_algorithm],
            "encap_content_info": {"content_type": "data"},
            "certificates": certificates,
            "signer_infos": [info],
        }
    )
    encoded: bytes = cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump()
    return encoded


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
