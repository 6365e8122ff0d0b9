import asyncio
import ssl
import stat
import subprocess
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID

from bundles.signature import TrustStore, sign, verify
from domain.errors import InvalidInput
from runtime.authority import Authority, Credentials, Usage, ensure_token_keys


@pytest.fixture
def authority(tmp_path):
    return Authority.ensure(tmp_path / "ca", "ca", "test CA")


def server_context(authority: Authority, own: Credentials) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.root.certificate)
    context.load_cert_chain(own.certificate, own.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def client_context(authority: Authority, own: Credentials) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.root.certificate)
    context.load_cert_chain(own.certificate, own.key)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


async def call(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> bytes:
    async def answer(_reader, writer):
        writer.write(b"hello")
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname=host)
        try:
            return await reader.read()
        except (ssl.SSLError, ConnectionError):
            return b""  # TLS 1.3: a client learns of its refusal with the first read, by alert or by EOF
        finally:
            writer.close()


async def test_mutual_tls_under_strict_rules(authority, tmp_path):
    server = authority.issue(
        tmp_path, "s", usage=Usage.SERVER, common_name="node", hosts=["localhost", "127.0.0.1"]
    )
    client = authority.issue(tmp_path, "c", usage=Usage.CLIENT, common_name="control plane")
    pair = server_context(authority, server), client_context(authority, client)
    assert await call(*pair, host="localhost") == b"hello"
    assert await call(*pair, host="127.0.0.1") == b"hello"
    with pytest.raises(ssl.SSLCertVerificationError):
        await call(*pair, host="elsewhere.example")


async def test_a_nodes_certificate_does_not_make_it_a_client(authority, tmp_path):
    server = authority.issue(tmp_path, "s", usage=Usage.SERVER, common_name="node", hosts=["localhost"])
    pair = server_context(authority, server), client_context(authority, server)
    assert await call(*pair, host="localhost") == b""


async def test_another_authoritys_client_is_refused(authority, tmp_path):
    stranger = Authority.ensure(tmp_path / "other", "ca", "other CA")
    server = authority.issue(tmp_path, "s", usage=Usage.SERVER, common_name="node", hosts=["localhost"])
    client = stranger.issue(tmp_path, "c", usage=Usage.CLIENT, common_name="control plane")
    pair = server_context(authority, server), client_context(authority, client)
    assert await call(*pair, host="localhost") == b""


def test_a_signing_certificate_signs_content_and_speaks_no_tls(authority, tmp_path):
    signer = authority.issue(tmp_path, "signer", usage=Usage.CODE_SIGNING, common_name="developer")
    certificate = x509.load_pem_x509_certificate(signer.certificate.read_bytes())
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION]
    key = serialization.load_pem_private_key(signer.key.read_bytes(), None)
    builder = pkcs7.PKCS7SignatureBuilder().set_data(b"bundle").add_signer(certificate, key, hashes.SHA256())
    assert builder.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.DetachedSignature])
    certificate.verify_directly_issued_by(
        x509.load_pem_x509_certificate(authority.root.certificate.read_bytes())
    )


def test_files_are_private_and_stay_as_they_are(authority, tmp_path):
    first = authority.issue(tmp_path / "leaf", "s", usage=Usage.SERVER, common_name="n", hosts=["localhost"])
    before = first.certificate.read_bytes(), first.key.read_bytes(), authority.root.key.read_bytes()
    again = Authority.ensure(tmp_path / "ca", "ca", "another name")
    second = again.issue(tmp_path / "leaf", "s", usage=Usage.CLIENT, common_name="other")
    assert (second.certificate.read_bytes(), second.key.read_bytes(), again.root.key.read_bytes()) == before
    assert stat.S_IMODE((tmp_path / "leaf").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "leaf").iterdir()} == {0o600}


def test_a_key_left_without_its_certificate_is_completed(authority, tmp_path):
    leaf = authority.issue(tmp_path / "leaf", "c", usage=Usage.CLIENT, common_name="c")
    key = leaf.key.read_bytes()
    leaf.certificate.unlink()
    again = authority.issue(tmp_path / "leaf", "c", usage=Usage.CLIENT, common_name="c")
    assert again.key.read_bytes() == key
    certificate = x509.load_pem_x509_certificate(again.certificate.read_bytes())
    public = serialization.load_pem_private_key(key, None).public_key()
    assert certificate.public_key() == public


def test_a_server_needs_a_host(authority, tmp_path):
    with pytest.raises(InvalidInput) as refused:
        authority.issue(tmp_path, "s", usage=Usage.SERVER, common_name="n")
    assert refused.value.field == "hosts"


def test_token_keys_belong_together(tmp_path):
    keys = ensure_token_keys(tmp_path / "keys")
    assert ensure_token_keys(tmp_path / "keys") == keys
    private = serialization.load_pem_private_key(keys.private.read_bytes(), None)
    public = serialization.load_pem_public_key(keys.public.read_bytes())
    public.verify(private.sign(b"x"), b"x")


def test_openssl_verifies_with_its_default_purpose_what_the_local_signer_signed(tmp_path):
    authority = Authority.ensure(tmp_path, "root", "Test signing root")
    signer = authority.issue(tmp_path, "signer", usage=Usage.CODE_SIGNING, common_name="Test signer")
    bundle, signature = tmp_path / "bundle", tmp_path / "bundle.p7s"
    bundle.write_bytes(b"content")
    signature.write_bytes(sign(bundle, signer.certificate.read_bytes(), signer.key.read_bytes()))
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", signature, "-content", bundle]
    done = subprocess.run([*command, "-CAfile", tmp_path / "root.pem"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"content"
    verify(bundle, signature.read_bytes(), TrustStore.load(tmp_path / "root.pem"), at=datetime.now(UTC))
