import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from domain.command import CommandName
from domain.errors import InvalidInput
from domain.gate import Decision
from domain.roles import Role
from runtime import tokens
from runtime.authority import ensure_token_keys
from runtime.keyring import key_id
from runtime.tokens import TokenExpired, TokenForged, TokenMinter, TokenReader

KEY = Ed25519PrivateKey.generate()
MINTER = TokenMinter(KEY)
READER = MINTER.reader()


def a_vote() -> tokens.Minted:
    return MINTER.vote(
        tenant="default", voter="bob", role=Role.APPROVER, gate="g", plan="p", decision=Decision.APPROVE
    )


def test_each_token_says_what_it_was_made_for() -> None:
    user = READER.user(MINTER.user(tenant="default", username="ana", role=Role.DEPLOYER).token)
    assert (user.tenant, user.subject, user.role) == ("default", "ana", Role.DEPLOYER)
    minted = a_vote()
    vote = READER.vote(minted.token)
    assert (vote.subject, vote.gate, vote.plan, vote.decision) == ("bob", "g", "p", Decision.APPROVE)
    assert vote.token_id == minted.token_id
    command = READER.command(
        MINTER.command(
            tenant="default", actor="ana", role=Role.DEPLOYER, deployment="d", command=CommandName.PROMOTE
        ).token
    )
    assert (command.subject, command.deployment, command.command) == ("ana", "d", CommandName.PROMOTE)
    assert READER.node(MINTER.node(tenant="default", node="node-01").token).subject == "node-01"


def test_a_token_of_one_use_is_nothing_in_another() -> None:
    made = {
        "user": MINTER.user(tenant="default", username="ana", role=Role.ADMIN).token,
        "vote": a_vote().token,
        "node": MINTER.node(tenant="default", node="node-01").token,
        "command": MINTER.command(
            tenant="default", actor="ana", role=Role.ADMIN, deployment="d", command=CommandName.ABORT
        ).token,
    }
    for use, token in made.items():
        for other in made:
            if other != use:
                with pytest.raises(TokenForged):
                    getattr(READER, other)(token)


def test_a_changed_a_foreign_and_an_unsigned_token_are_forged() -> None:
    good = a_vote().token
    said = jwt.decode(good, options={"verify_signature": False})
    head, body, signature = good.split(".")
    changed = ".".join([head, body[:-2] + ("AA" if body[-2:] != "AA" else "BB"), signature])
    foreign = jwt.encode(said, Ed25519PrivateKey.generate(), algorithm="EdDSA")
    unsigned = jwt.encode(said, None, algorithm="none")
    public = KEY.public_key().public_bytes_raw()
    symmetric = jwt.encode(said, public, algorithm="HS256")
    for token in (changed, foreign, unsigned, symmetric, "", "a.b.c", "ü"):
        with pytest.raises(TokenForged):
            READER.vote(token)


def test_an_old_token_has_expired() -> None:
    said = jwt.decode(a_vote().token, options={"verify_signature": False})
    said["exp"] = datetime.now(UTC) - timedelta(seconds=30)
    with pytest.raises(TokenExpired):
        READER.vote(jwt.encode(said, KEY, algorithm="EdDSA", headers={"kid": key_id(KEY.public_key())}))


def test_a_token_that_was_read_before_expires_all_the_same() -> None:
    said = jwt.decode(
        MINTER.user(tenant="default", username="ana", role=Role.VIEWER).token,
        options={"verify_signature": False},
    )
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    said["exp"] = ends - tokens.CLOCK_SKEW
    token = jwt.encode(said, KEY, algorithm="EdDSA", headers={"kid": key_id(KEY.public_key())})
    assert READER.user(token) == READER.user(token)
    time.sleep((ends - datetime.now(UTC)).total_seconds())
    with pytest.raises(TokenExpired):
        READER.user(token)


@pytest.mark.parametrize("missing", ["exp", "jti", "sub", "iss", "aud", "gate", "role"])
def test_a_token_that_does_not_say_all_is_forged(missing: str) -> None:
    said = jwt.decode(a_vote().token, options={"verify_signature": False})
    del said[missing]
    with pytest.raises(TokenForged):
        READER.vote(jwt.encode(said, KEY, algorithm="EdDSA", headers={"kid": key_id(KEY.public_key())}))


def test_keys_come_from_pem_files_and_must_be_ed25519(tmp_path: Path) -> None:
    keys = ensure_token_keys(tmp_path)
    token = TokenMinter.load(keys.private).node(tenant="default", node="node-01").token
    assert TokenReader.load(keys.public).node(token).subject == "node-01"
    wrong = tmp_path / "ec.pem"
    key = generate_private_key(SECP256R1())
    wrong.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(InvalidInput):
        TokenMinter.load(wrong)
    with pytest.raises(InvalidInput):
        TokenReader.load(wrong)
