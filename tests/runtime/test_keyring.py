"""Rotation of the token key: two keys for a while, no restart, and an end."""

import threading
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from domain.errors import InvalidInput
from domain.roles import Role
from runtime import keyring
from runtime.authority import TokenKeys, ensure_token_keys
from runtime.tokens import TokenForged, TokenMinter, TokenReader


@pytest.fixture
def keys(tmp_path: Path) -> TokenKeys:
    return ensure_token_keys(tmp_path / "tokens")


def token_of(minter: TokenMinter) -> str:
    return minter.user(tenant="default", username="ana", role=Role.VIEWER).token


def test_the_thumbprint_of_the_published_example() -> None:
    """RFC 8037, appendix A.3."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    assert keyring.key_id(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert jwt.PyJWK(keyring.jwk(key)).key_id == keyring.key_id(key)


@pytest.mark.finding("18")
def test_published_keys_are_refused(tmp_path: Path) -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    path = tmp_path / "token.key"
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(Ed25519PrivateKey.from_private_bytes(seed).private_bytes(*plain))
    with pytest.raises(InvalidInput, match="published"):
        TokenMinter.load(path)


@pytest.mark.finding("X10")
def test_a_rotation_needs_no_restart_and_the_old_key_ends(
    keys: TokenKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "LOOK_EVERY", 0.0)
    minter, reader = TokenMinter.load(keys.private), TokenReader.load(keys.public)
    old = token_of(minter)
    fresh_id = keyring.rotate(keys.private, keys.public)
    fresh = token_of(minter)
    assert jwt.get_unverified_header(fresh)["kid"] == fresh_id
    assert jwt.get_unverified_header(old)["kid"] != fresh_id
    assert {reader.user(token).subject for token in (old, fresh)} == {"ana"}
    assert len(reader.keyring.present()) == 2
    assert keyring.retire(keys.private, keys.public) == 1
    assert reader.user(fresh).subject == "ana"
    with pytest.raises(TokenForged):
        reader.user(old)


@pytest.mark.finding("X10")
@pytest.mark.finding("N10")
def test_rotations_under_load_lose_no_request(keys: TokenKeys) -> None:
    """Three replicas mint and read each other's tokens while the key is changed again and again."""
    replicas = [(TokenMinter.load(keys.private), TokenReader.load(keys.public)) for _ in range(3)]
    over, lost, read = threading.Event(), [], []

    def ask() -> None:
        while not over.is_set():
            for minter, _ in replicas:
                token = token_of(minter)
                for _, reader in replicas:
                    try:
                        read.append(reader.user(token).subject)
                    except TokenForged as error:
                        lost.append(error)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for each in asking:
        each.start()
    used = set()
    for _ in range(20):
        keyring.rotate(keys.private, keys.public)
        for minter, _ in replicas:
            used.add(jwt.get_unverified_header(token_of(minter))["kid"])
        over.wait(0.15)
    over.set()
    for each in asking:
        each.join()
    assert lost == []
    assert len(used) >= 3
    assert len(read) > 100


def test_the_command_rotates_and_retires(keys: TokenKeys) -> None:
    options = ["--private", str(keys.private), "--public", str(keys.public)]
    shown = CliRunner().invoke(keyring.app, ["rotate", *options])
    assert shown.exit_code == 0, shown.output
    assert keys.public.read_text().count("BEGIN PUBLIC KEY") == 2
    assert keys.private.stat().st_mode & 0o077 == 0
    shown = CliRunner().invoke(keyring.app, ["retire", *options])
    assert "1 older keys" in shown.output
    assert keys.public.read_text().count("BEGIN PUBLIC KEY") == 1


@pytest.mark.finding("18")
def test_a_file_with_a_key_that_is_none_is_refused_whole(keys: TokenKeys) -> None:
    keys.public.write_text(
        keys.public.read_text() + "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n"
    )
    with pytest.raises(InvalidInput):
        TokenReader.load(keys.public)
