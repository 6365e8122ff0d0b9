"""Signatures: ours and openssl's accepted by both; each forged, weak or misused one refused by reason."""

import hashlib
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import algos, cms, core
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles.signature import TrustStore, sign, verify
from domain.errors import InvalidInput, RefusalReason, SignatureRefused
from tests.bundles.pki import (
    NOW,
    TLS_SERVER,
    Identity,
    identity,
    openssl_sign,
    openssl_verifies,
    p256,
    revocation_list,
)

Reason = RefusalReason


@pytest.fixture(scope="module")
def root() -> Identity:
    return identity("root", authority=True)


@pytest.fixture(scope="module")
def middle(root: Identity) -> Identity:
    return identity("middle", root, authority=True, path_length=0)


@pytest.fixture(scope="module")
def signer(middle: Identity) -> Identity:
    return identity("release team", middle)


@pytest.fixture(scope="module")
def trust(root: Identity) -> TrustStore:
    return TrustStore((root.certificate,))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "bundle"
    path.write_bytes(b"\x1f\x8b" + bytes(range(256)) * 1000)
    return path


@pytest.fixture
def signature(bundle: Path, signer: Identity, middle: Identity) -> bytes:
    return sign(bundle, signer.pem, signer.key_pem, middle.pem)


def reason_of(bundle: Path, signature: bytes, trust: TrustStore, at: datetime = NOW) -> RefusalReason:
    with pytest.raises(SignatureRefused) as refused:
        verify(bundle, signature, trust, at=at)
    assert refused.value.field == "signature"
    return refused.value.reason


KEYS: dict[str, Callable[[], Any]] = {
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "p-256": p256,
    "p-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("kind", KEYS)
def test_what_we_sign_is_verified_here_and_by_openssl(
    bundle: Path, root: Identity, middle: Identity, trust: TrustStore, kind: str
) -> None:
    signer = identity("release team", middle, key=KEYS[kind]())
    signature = sign(bundle, signer.pem, signer.key_pem, middle.pem)
    found = verify(bundle, signature, trust, at=NOW)
    assert found.subject == "CN=release team"
    assert found.fingerprint == signer.certificate.fingerprint(hashes.SHA256()).hex()
    assert found.not_after == signer.certificate.not_valid_after_utc
    assert found.signed_at is not None
    assert abs(found.signed_at - NOW) < timedelta(minutes=10)
    if kind != "ed25519":  # openssl verifies Ed25519 in CMS from 3.2 on
        assert openssl_verifies(bundle, signature, root)
        bundle.write_bytes(b"tampered")
        assert not openssl_verifies(bundle, signature, root)


@pytest.mark.parametrize("kind", ["rsa-2048", "p-256", "p-384"])
@pytest.mark.parametrize("options", [(), ("-noattr",), ("-keyid",), ("-md", "sha384"), ("-md", "sha512")])
def test_what_openssl_signs_is_accepted_and_a_changed_bundle_refused(
    bundle: Path, middle: Identity, trust: TrustStore, kind: str, options: tuple[str, ...]
) -> None:
    signer = identity("company", middle, key=KEYS[kind]())
    signature = openssl_sign(bundle, signer, *options, chain=(middle,))
    assert verify(bundle, signature, trust, at=NOW).subject == "CN=company"
    with bundle.open("r+b") as changed:
        changed.seek(1000)
        changed.write(b"!")
    expected = Reason.BAD_SIGNATURE if "-noattr" in options else Reason.DIGEST_MISMATCH
    assert reason_of(bundle, signature, trust) is expected


@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_rsa_pss_by_openssl_is_accepted(
    bundle: Path, middle: Identity, trust: TrustStore, digest: str
) -> None:
    signer = identity("company", middle, key=KEYS["rsa-2048"]())
    options = ("-md", digest, "-keyopt", "rsa_padding_mode:pss")
    signature = openssl_sign(bundle, signer, *options, chain=(middle,))
    assert verify(bundle, signature, trust, at=NOW).subject == "CN=company"


def test_ber_of_indefinite_length_is_accepted(bundle: Path, signature: bytes, trust: TrustStore) -> None:
    assert signature[:2] == b"\x30\x82"
    assert verify(bundle, b"\x30\x80" + signature[4:] + b"\0\0", trust, at=NOW)
    assert reason_of(bundle, b"\x30\x80" + signature[4:], trust) is Reason.MALFORMED


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-md", "sha1"), Reason.WEAK_DIGEST),
        (("-nodetach",), Reason.ATTACHED_CONTENT),
        (("-nocerts",), Reason.NO_CERTIFICATE),
    ],
)
def test_openssl_signatures_of_the_wrong_sort_are_refused(
    tmp_path: Path,
    middle: Identity,
    signer: Identity,
    *,
    trust: TrustStore,
    options: tuple[str, ...],
    reason: Reason,
) -> None:
    bundle = tmp_path / "bundle"
    bundle.write_bytes(b"\x1f\x8b small")
    assert reason_of(bundle, openssl_sign(bundle, signer, *options, chain=(middle,)), trust) is reason


def test_two_signers_are_refused(bundle: Path, signer: Identity, middle: Identity, trust: TrustStore) -> None:
    second = identity("second", middle)
    (bundle.parent / "second.pem").write_bytes(second.pem + second.key_pem)
    signature = openssl_sign(bundle, signer, "-signer", str(bundle.parent / "second.pem"), chain=(middle,))
    assert reason_of(bundle, signature, trust) is Reason.SEVERAL_SIGNERS


def test_a_signature_for_another_bundle_is_refused(
    bundle: Path, tmp_path: Path, signature: bytes, trust: TrustStore
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other")
    assert reason_of(other, signature, trust) is Reason.DIGEST_MISMATCH


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"unsigned",
        b"\x30\x80",
        b"-----BEGIN CMS-----\n",
        b"\x30\x84\xff\xff\xff\xff",
        b"0" * 100_000,
    ],
)
def test_what_is_no_cms_is_malformed(bundle: Path, trust: TrustStore, content: bytes) -> None:
    assert reason_of(bundle, content, trust) is Reason.MALFORMED


def test_trailing_garbage_is_refused(bundle: Path, signature: bytes, trust: TrustStore) -> None:
    assert reason_of(bundle, signature + b"\0", trust) is Reason.MALFORMED


# Structures by hand. Each takes a good signature apart, changes one thing and signs again with the true key.


class Forge:
    """A SignedData under construction; `done` signs whatever attributes there are by then."""

    def __init__(self, signature: bytes, key: ec.EllipticCurvePrivateKey) -> None:
        self.content = cms.ContentInfo.load(signature)
        self.data = self.content["content"]
        self.info = self.data["signer_infos"][0]
        self._key = key

    @property
    def attributes(self) -> list[cms.CMSAttribute]:
        return list(self.info["signed_attrs"])

    def without(self, name: str) -> list[cms.CMSAttribute]:
        return [each for each in self.attributes if each["type"].native != name]

    def sign(self, attributes: list[cms.CMSAttribute]) -> None:
        signed = cms.CMSAttributes(attributes)
        self.info["signed_attrs"] = signed
        self.info["signature"] = self._key.sign(signed.dump(), ec.ECDSA(hashes.SHA256()))

    def done(self) -> bytes:
        encoded: bytes = self.content.dump(force=True)
        return encoded


def attribute(name: str, *values: object) -> cms.CMSAttribute:
    return cms.CMSAttribute({"type": name, "values": list(values)})


def no_signer(forge: Forge) -> None:
    forge.data["signer_infos"] = cms.SignerInfos([])


def other_digest(forge: Forge) -> None:
    forge.sign([*forge.without("message_digest"), attribute("message_digest", hashlib.sha256(b"x").digest())])


def no_digest(forge: Forge) -> None:
    forge.sign(forge.without("message_digest"))


def two_digests(forge: Forge) -> None:
    extra = attribute("message_digest", hashlib.sha256(b"x").digest())
    forge.sign([*forge.attributes, extra])


def two_values(forge: Forge) -> None:
    true = next(each for each in forge.attributes if each["type"].native == "message_digest")
    both = attribute("message_digest", true["values"][0].native, hashlib.sha256(b"x").digest())
    forge.sign([*forge.without("message_digest"), both])


def no_values(forge: Forge) -> None:
    forge.sign([*forge.without("message_digest"), attribute("message_digest")])


def no_content_type(forge: Forge) -> None:
    forge.sign(forge.without("content_type"))


def other_content_type(forge: Forge) -> None:
    forge.sign([*forge.without("content_type"), attribute("content_type", "signed_data")])


def no_attributes_left(forge: Forge) -> None:
    forge.sign([])


def attributes_changed_after_signing(forge: Forge) -> None:
    signature = forge.info["signature"].native
    time = cms.Time(name="utc_time", value=NOW - timedelta(days=1))
    forge.sign([*forge.without("signing_time"), attribute("signing_time", time)])
    forge.info["signature"] = signature


def attributes_taken_away(forge: Forge) -> None:
    del forge.info["signed_attrs"]


def encapsulated_type(forge: Forge) -> None:
    forge.data["encap_content_info"]["content_type"] = "signed_data"


def attached(forge: Forge) -> None:
    forge.data["encap_content_info"]["content"] = core.OctetString(b"x")


def empty_attached(forge: Forge) -> None:
    forge.data["encap_content_info"]["content"] = core.OctetString(b"")


def no_certificates(forge: Forge) -> None:
    forge.data["certificates"] = cms.CertificateSet([])


def unknown_serial(forge: Forge) -> None:
    forge.info["sid"].chosen["serial_number"] = 1


def sha1(forge: Forge) -> None:
    forge.info["digest_algorithm"]["algorithm"] = "sha1"


def md5(forge: Forge) -> None:
    forge.info["digest_algorithm"]["algorithm"] = "md5"


def pss_of_sha1(forge: Forge) -> None:
    parameters = algos.RSASSAPSSParams({"hash_algorithm": {"algorithm": "sha1"}})
    forge.info["signature_algorithm"] = cms.SignedDigestAlgorithm(
        {"algorithm": "rsassa_pss", "parameters": parameters}
    )


def hash_confusion(forge: Forge) -> None:
    forge.info["digest_algorithm"]["algorithm"] = "sha512"


def sha1_signature(forge: Forge) -> None:
    forge.info["signature_algorithm"]["algorithm"] = "sha1_ecdsa"


def rsa_for_an_ec_key(forge: Forge) -> None:
    forge.info["signature_algorithm"]["algorithm"] = "sha256_rsa"


def ed25519_for_an_ec_key(forge: Forge) -> None:
    forge.info["signature_algorithm"]["algorithm"] = "ed25519"


def pss_without_parameters(forge: Forge) -> None:
    forge.info["signature_algorithm"] = cms.SignedDigestAlgorithm({"algorithm": "rsassa_pss"})


def dsa(forge: Forge) -> None:
    forge.info["signature_algorithm"]["algorithm"] = "sha256_dsa"


def unknown_algorithm(forge: Forge) -> None:
    forge.info["signature_algorithm"]["algorithm"] = "1.2.3.4"


def empty_signature(forge: Forge) -> None:
    forge.info["signature"] = b""


def other_content_info(forge: Forge) -> None:
    forge.content = cms.ContentInfo({"content_type": "data", "content": core.OctetString(b"x")})


FORGERIES: list[tuple[Callable[[Forge], None], Reason]] = [
    (no_signer, Reason.NO_SIGNER),
    (other_digest, Reason.DIGEST_MISMATCH),
    (no_digest, Reason.SIGNED_ATTRIBUTES),
    (two_digests, Reason.SIGNED_ATTRIBUTES),
    (two_values, Reason.SIGNED_ATTRIBUTES),
    (no_values, Reason.SIGNED_ATTRIBUTES),
    (no_content_type, Reason.SIGNED_ATTRIBUTES),
    (other_content_type, Reason.SIGNED_ATTRIBUTES),
    (no_attributes_left, Reason.SIGNED_ATTRIBUTES),
    (attributes_changed_after_signing, Reason.BAD_SIGNATURE),
    (attributes_taken_away, Reason.BAD_SIGNATURE),
    (encapsulated_type, Reason.MALFORMED),
    (attached, Reason.ATTACHED_CONTENT),
    (empty_attached, Reason.ATTACHED_CONTENT),
    (no_certificates, Reason.NO_CERTIFICATE),
    (unknown_serial, Reason.NO_CERTIFICATE),
    (sha1, Reason.WEAK_DIGEST),
    (sha1_signature, Reason.WEAK_DIGEST),
    (hash_confusion, Reason.UNSUPPORTED_ALGORITHM),
    (rsa_for_an_ec_key, Reason.UNSUPPORTED_ALGORITHM),
    (ed25519_for_an_ec_key, Reason.UNSUPPORTED_ALGORITHM),
    (pss_without_parameters, Reason.MALFORMED),
    (pss_of_sha1, Reason.WEAK_DIGEST),
    (md5, Reason.WEAK_DIGEST),
    (dsa, Reason.UNSUPPORTED_ALGORITHM),
    (unknown_algorithm, Reason.UNSUPPORTED_ALGORITHM),
    (empty_signature, Reason.BAD_SIGNATURE),
    (other_content_info, Reason.MALFORMED),
]


@pytest.mark.parametrize(("change", "reason"), FORGERIES)
def test_a_forged_structure_is_refused_for_its_reason(
    bundle: Path,
    signature: bytes,
    signer: Identity,
    *,
    trust: TrustStore,
    change: Callable[[Forge], None],
    reason: Reason,
) -> None:
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    forge = Forge(signature, signer.key)
    change(forge)
    assert reason_of(bundle, forge.done(), trust) is reason


def test_the_forge_itself_makes_good_signatures(
    bundle: Path, signature: bytes, signer: Identity, trust: TrustStore
) -> None:
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    forge = Forge(signature, signer.key)
    forge.sign(forge.attributes)
    assert verify(bundle, forge.done(), trust, at=NOW)


def test_signed_attributes_cannot_be_passed_off_as_content(
    tmp_path: Path, signature: bytes, signer: Identity, trust: TrustStore
) -> None:
    """The signature over a SET of attributes is also one over content that consists of that SET."""
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    forge = Forge(signature, signer.key)
    attributes = tmp_path / "attributes"
    attributes.write_bytes(cms.CMSAttributes(forge.attributes).dump())
    attributes_taken_away(forge)
    assert reason_of(attributes, forge.done(), trust) is Reason.SIGNED_ATTRIBUTES


@pytest.fixture(scope="module")
def signed(
    tmp_path_factory: pytest.TempPathFactory, signer: Identity, middle: Identity
) -> tuple[Path, bytes]:
    bundle = tmp_path_factory.mktemp("damage") / "bundle"
    bundle.write_bytes(b"\x1f\x8b content")
    return bundle, sign(bundle, signer.pem, signer.key_pem, middle.pem)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_damaged_signature_is_accepted_for_another_signer(
    signed: tuple[Path, bytes], data: st.DataObject, signer: Identity, trust: TrustStore
) -> None:
    bundle, signature = signed
    damaged = bytearray(signature)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = verify(bundle, bytes(damaged), trust, at=NOW)
    except SignatureRefused:
        return
    assert found.fingerprint == signer.certificate.fingerprint(hashes.SHA256()).hex()


def test_a_signer_has_one_fingerprint_only(
    signed: tuple[Path, bytes], signer: Identity, trust: TrustStore
) -> None:
    """The count of unused bits stands outside of what the issuer has signed (X.690, 8.6.2)."""
    bundle, signature = signed
    value = signer.certificate.signature
    at = signature.index(b"\0" + value)
    for unused in range(1, 8):
        other = signature[:at] + bytes([unused]) + value + signature[at + 1 + len(value) :]
        with pytest.raises(SignatureRefused):
            verify(bundle, other, trust, at=NOW)


# The signer and the path.


def spki_1024() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)


LATER, EARLIER = timedelta(days=2), timedelta(days=-2)
UNKNOWN_CRITICAL = ((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),)
SIGNERS: dict[str, tuple[dict[str, Any], Reason]] = {
    "expired": ({"starts": EARLIER, "ends": timedelta(seconds=-1)}, Reason.EXPIRED),
    "not yet valid": ({"starts": LATER}, Reason.NOT_YET_VALID),
    "TLS server": ({"purposes": TLS_SERVER}, Reason.WRONG_USAGE),
    "no purpose": ({"purposes": ()}, Reason.WRONG_USAGE),
    "any purpose": ({"purposes": (x509.ObjectIdentifier("2.5.29.37.0"),)}, Reason.WRONG_USAGE),
    "encryption only": ({"signs": False}, Reason.WRONG_USAGE),
    "RSA 1024": ({"key": spki_1024()}, Reason.WEAK_KEY),
    "P-192": ({"key": ec.generate_private_key(ec.SECP192R1())}, Reason.WEAK_KEY),
    "critical unknown extension": ({"more": UNKNOWN_CRITICAL}, Reason.UNTRUSTED),
}


@pytest.mark.parametrize("flaw", SIGNERS)
@pytest.mark.finding("X20")
def test_a_signer_with_a_flaw_is_refused(
    bundle: Path, middle: Identity, trust: TrustStore, flaw: str
) -> None:
    changes, reason = SIGNERS[flaw]
    signer = identity("flawed", middle, **changes)
    assert reason_of(bundle, sign(bundle, signer.pem, signer.key_pem, middle.pem), trust) is reason


def test_an_authority_is_no_signer(bundle: Path, root: Identity, trust: TrustStore) -> None:
    signer = identity(
        "both",
        root,
        authority=True,
        purposes=(*TLS_SERVER, x509.ObjectIdentifier("1.3.6.1.5.5.7.3.3")),
        signs=None,
    )
    assert reason_of(bundle, sign(bundle, signer.pem, signer.key_pem), trust) is Reason.WRONG_USAGE


def test_a_signer_without_key_usage_is_fine(bundle: Path, root: Identity, trust: TrustStore) -> None:
    signer = identity("plain", root, signs=None, authority=None)
    assert verify(bundle, sign(bundle, signer.pem, signer.key_pem), trust, at=NOW)


AUTHORITIES: dict[str, tuple[dict[str, Any], Reason]] = {
    "not an authority": ({"authority": False}, Reason.NOT_A_CA),
    "no basic constraints": ({"authority": None}, Reason.NOT_A_CA),
    "may not sign certificates": ({"authority": True, "signs": False}, Reason.NOT_A_CA),
    "expired": ({"authority": True, "starts": EARLIER, "ends": timedelta(seconds=-1)}, Reason.EXPIRED),
    "not yet valid": ({"authority": True, "starts": LATER}, Reason.NOT_YET_VALID),
    "RSA 1024": ({"authority": True, "key": spki_1024()}, Reason.WEAK_KEY),
    "TLS servers only": ({"authority": True, "purposes": TLS_SERVER}, Reason.WRONG_USAGE),
    "critical unknown extension": ({"authority": True, "more": UNKNOWN_CRITICAL}, Reason.UNTRUSTED),
}


@pytest.mark.parametrize("flaw", AUTHORITIES)
def test_a_path_through_a_flawed_authority_is_refused(
    bundle: Path, root: Identity, trust: TrustStore, flaw: str
) -> None:
    changes, reason = AUTHORITIES[flaw]
    flawed = identity("flawed authority", root, **changes)
    signer = identity("signer", flawed)
    assert reason_of(bundle, sign(bundle, signer.pem, signer.key_pem, flawed.pem), trust) is reason


@pytest.mark.parametrize("flaw", ["expired", "not yet valid", "RSA 1024"])
def test_a_flawed_root_is_refused(bundle: Path, flaw: str) -> None:
    changes, reason = AUTHORITIES[flaw]
    root = identity("flawed root", **changes)
    signer = identity("signer", root)
    trust = TrustStore((root.certificate,))
    assert reason_of(bundle, sign(bundle, signer.pem, signer.key_pem), trust) is reason


def test_a_path_longer_than_allowed_is_refused(bundle: Path, middle: Identity, trust: TrustStore) -> None:
    below = identity("below", middle, authority=True)
    signer = identity("signer", below)
    signature = sign(bundle, signer.pem, signer.key_pem, middle.pem + below.pem)
    assert reason_of(bundle, signature, trust) is Reason.PATH_TOO_LONG


def test_a_sha1_certificate_is_refused(
    bundle: Path, tmp_path: Path, root: Identity, trust: TrustStore
) -> None:
    signer = identity("signer", key=rsa.generate_private_key(65537, 2048))
    (tmp_path / "root.pem").write_bytes(root.pem)
    (tmp_path / "root.key").write_bytes(root.key_pem)
    (tmp_path / "signer.key").write_bytes(signer.key_pem)
    (tmp_path / "extensions").write_text("extendedKeyUsage = codeSigning\n")
    request = tmp_path / "request.pem"
    make = ["openssl", "req", "-new", "-key", tmp_path / "signer.key", "-subj", "/CN=old", "-out", request]
    issue = [
        "openssl",
        "x509",
        "-req",
        "-in",
        request,
        "-CA",
        tmp_path / "root.pem",
        "-CAkey",
        tmp_path / "root.key",
    ]
    issue += ["-sha1", "-days", "30", "-extfile", tmp_path / "extensions"]
    subprocess.run(make, check=True, capture_output=True)
    old = subprocess.run(issue, check=True, capture_output=True).stdout
    at = datetime.now(NOW.tzinfo) + timedelta(seconds=2)
    assert reason_of(bundle, sign(bundle, old, signer.key_pem), trust, at) is Reason.WEAK_DIGEST


@pytest.mark.finding("X20")
def test_strangers_are_untrusted(bundle: Path, root: Identity, middle: Identity, trust: TrustStore) -> None:
    stranger = identity("root", authority=True)  # the same name, another key
    alone = identity("alone")
    for signer, chain in (
        (identity("signer", stranger), b""),
        (identity("signer", stranger), stranger.pem),
        (alone, b""),
        (alone, root.pem),
        (identity("signer", middle), b""),
    ):
        signature = sign(bundle, signer.pem, signer.key_pem, chain)
        assert reason_of(bundle, signature, trust) is Reason.UNTRUSTED


def test_a_signer_is_no_trust_root(bundle: Path, signer: Identity, signature: bytes) -> None:
    assert reason_of(bundle, signature, TrustStore((signer.certificate,))) is Reason.UNTRUSTED


def test_certificates_that_only_came_along_do_not_matter(
    bundle: Path, signer: Identity, middle: Identity, trust: TrustStore
) -> None:
    stranger = identity("stranger", authority=True)
    chain = stranger.pem + middle.pem + signer.pem
    assert verify(bundle, sign(bundle, signer.pem, signer.key_pem, chain), trust, at=NOW)


def test_too_many_certificates_are_refused(bundle: Path, signer: Identity, trust: TrustStore) -> None:
    chain = b"".join(identity(f"c{number}", authority=True).pem for number in range(20))
    assert reason_of(bundle, sign(bundle, signer.pem, signer.key_pem, chain), trust) is Reason.MALFORMED


@pytest.mark.finding("X20")
def test_validity_is_judged_at_the_given_time(bundle: Path, signature: bytes, trust: TrustStore) -> None:
    assert reason_of(bundle, signature, trust, NOW + timedelta(days=31)) is Reason.EXPIRED
    assert reason_of(bundle, signature, trust, NOW - timedelta(days=2)) is Reason.NOT_YET_VALID
    with pytest.raises(ValueError, match="time zone"):
        verify(bundle, signature, trust, at=NOW.replace(tzinfo=None))


# Trust stores and signing.


def test_a_trust_store_is_a_file_or_a_directory(
    bundle: Path, tmp_path: Path, root: Identity, signature: bytes
) -> None:
    store = tmp_path / "trust"
    store.mkdir()
    (store / "README").write_text("not a certificate")
    with pytest.raises(InvalidInput):
        TrustStore.load(store)
    (store / "a.pem").write_bytes(identity("other", authority=True).pem + root.pem)
    assert verify(bundle, signature, TrustStore.load(store), at=NOW)
    assert verify(bundle, signature, TrustStore.load(store / "a.pem"), at=NOW)
    (store / "b.crt").write_text("garbage")
    with pytest.raises(InvalidInput):
        TrustStore.load(store)


@pytest.mark.finding("X20")
def test_what_a_list_beside_the_roots_revokes_is_refused(
    bundle: Path, root: Identity, middle: Identity, signature: bytes, signer: Identity
) -> None:
    other = identity("another team", middle)
    elsewhere = sign(bundle, other.pem, other.key_pem, middle.pem)
    lists = {
        "the signer": (revocation_list(middle, signer), Reason.REVOKED),
        "among others": (revocation_list(root) + revocation_list(middle, other, signer), Reason.REVOKED),
        "the authority between": (revocation_list(root, middle), Reason.REVOKED),
        "an old list": (revocation_list(middle, signer, ends=timedelta(days=-1)), Reason.REVOKED),
        "nobody": (revocation_list(middle), None),
        "another signer": (revocation_list(middle, other), None),
        "a list by a stranger": (
            revocation_list(middle, signer, by=identity("middle", authority=True)),
            None,
        ),
    }
    for pem, reason in lists.values():
        for store in (TrustStore.parse(pem + root.pem, "trust"), TrustStore.parse(root.pem + pem, "trust")):
            if reason is None:
                assert verify(bundle, signature, store, at=NOW)
            else:
                assert reason_of(bundle, signature, store) is reason
    directory = bundle.parent / "trust"
    directory.mkdir()
    (directory / "root.pem").write_bytes(root.pem)
    (directory / "release.crl").write_bytes(revocation_list(middle, signer))
    assert reason_of(bundle, signature, TrustStore.load(directory)) is Reason.REVOKED
    assert verify(bundle, elsewhere, TrustStore.load(directory), at=NOW)
    (directory / "release.crl").write_text("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
    with pytest.raises(InvalidInput, match="revocation list") as unreadable:
        TrustStore.load(directory)
    assert unreadable.value.field == "trust"


def test_a_key_that_is_not_the_certificates_signs_nothing(
    bundle: Path, signer: Identity, root: Identity
) -> None:
    with pytest.raises(InvalidInput) as refused:
        sign(bundle, signer.pem, root.key_pem)
    assert refused.value.field == "key"
    with pytest.raises(InvalidInput) as refused:
        sign(bundle, signer.pem, b"no key")
    assert refused.value.field == "key"
    with pytest.raises(InvalidInput) as refused:
        sign(bundle, b"no certificate", signer.key_pem)
    assert refused.value.field == "certificate"
