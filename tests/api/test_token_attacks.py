"""Tokens that somebody made up, changed, kept too long or took from elsewhere: all are refused."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api.application import create_app
from domain.roles import Role
from runtime.keyring import key_id
from runtime.oidc import KEYS_LAST, KEYS_LIVE, OidcReader, OidcRules
from runtime.tokens import TokenMinter
from tests.api.conftest import TENANT, World
from tests.http_server import Quiet, serving

Said = dict[str, Any]
HOUR = timedelta(hours=1)


def ours(world: World) -> tuple[Said, str, Ed25519PrivateKey]:
    """What a good token says, its key's id, and the key."""
    good = world.token("admin")
    said = jwt.decode(good, options={"verify_signature": False})
    kid, key = world.services.minter._key.present()
    return said, kid, key


def _signed(world: World, **changes: Any) -> str:
    said, kid, key = ours(world)
    changed = {name: value for name, value in {**said, **changes}.items() if value is not None}
    return jwt.encode(changed, key, algorithm="EdDSA", headers={"kid": kid})


def _with_header(world: World, header: Said) -> str:
    _, body, signature = world.token("admin").split(".")
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


def _tampered(world: World) -> str:
    head, body, signature = world.token("vera").split(".")
    said = json.loads(base64.urlsafe_b64decode(body + "=="))
    said["sub"], said["role"] = "admin", "admin"
    forged = base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()
    return f"{head}.{forged}.{signature}"


def _public_key_as_secret(world: World) -> str:
    """The classic swap: HMAC with the public key, which everybody has."""
    said, kid, key = ours(world)
    secret = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return jwt.encode(said, secret.hex(), algorithm="HS256", headers={"kid": kid})


def _other_key(world: World) -> str:
    said, kid, _ = ours(world)
    return jwt.encode(said, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"kid": kid})


def _own_key_in_header(world: World) -> str:
    said, _, _ = ours(world)
    key = Ed25519PrivateKey.generate()
    header = {"kid": key_id(key.public_key()), "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AA"}}
    return jwt.encode(said, key, algorithm="EdDSA", headers=header)


def _no_key_id(world: World) -> str:
    said, _, key = ours(world)
    return jwt.encode(said, key, algorithm="EdDSA")


def _rsa(world: World) -> str:
    said, kid, _ = ours(world)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(said, key, algorithm="RS256", headers={"kid": kid})


ATTACKS: dict[str, Callable[[World], str]] = {
    "no signature, alg none": lambda world: jwt.encode(ours(world)[0], None, algorithm="none"),
    "alg none, our signature": lambda world: _with_header(world, {"alg": "none", "kid": ours(world)[1]}),
    "alg NONE": lambda world: _with_header(world, {"alg": "NONE", "kid": ours(world)[1]}),
    "alg swapped to HS256 with the public key": _public_key_as_secret,
    "alg swapped to RS256": _rsa,
    "another key under our id": _other_key,
    "a key brought along": _own_key_in_header,
    "no key id": _no_key_id,
    "tampered": _tampered,
    "expired": lambda world: _signed(world, exp=datetime.now(UTC) - HOUR),
    "not yet valid": lambda world: _signed(world, nbf=datetime.now(UTC) + HOUR),
    "made in the future": lambda world: _signed(world, iat=datetime.now(UTC) + HOUR),
    "another issuer": lambda world: _signed(world, iss="https://issuer.example"),
    "no issuer": lambda world: _signed(world, iss=None),
    "another audience": lambda world: _signed(world, aud="hotswap-vote"),
    "no audience": lambda world: _signed(world, aud=None),
    "no expiry": lambda world: _signed(world, exp=None),
    "no subject": lambda world: _signed(world, sub=None),
    "an unknown role": lambda world: _signed(world, role="root"),
    "a name that is none": lambda world: _signed(world, sub="../admin"),
    "a person that is gone": lambda world: _signed(world, sub="nobody-at-all"),
    "another tenant": lambda world: _signed(world, tenant="elsewhere"),
    "a session that is not there": lambda world: _signed(world, sid="0" * 32),
    "a node's token": lambda world: world.services.minter.node(tenant=TENANT, node="silent-1").token,
    "another installation's": lambda _: (
        TokenMinter(Ed25519PrivateKey.generate()).user(tenant=TENANT, username="admin", role=Role.ADMIN).token
    ),
    "no token at all": lambda _: "x",
    "dots": lambda _: "..",
    "a key of nobody": lambda _: f"hsk.{TENANT}.abc.def",
}


@pytest.mark.finding("18")
@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_with_a_token_is_refused(world: World, attack: str) -> None:
    assert (await asked(world, ATTACKS[attack](world))) == 401


async def test_the_same_token_unchanged_is_good(world: World) -> None:
    assert (await asked(world, _signed(world))) == 200


async def asked(world: World, token: str) -> int:
    async with world.asks(None) as client:
        answer = await client.get("/deployments", headers={"Authorization": f"Bearer {token}"})
    if answer.status_code == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["code"] in ("token-forged", "token-expired", "token-revoked", "unauthenticated")
    return answer.status_code


class Issuer:
    """A small issuer: it serves its keys over HTTP and signs with the newest."""

    def __init__(self) -> None:
        self.keys = {"first": rsa.generate_private_key(public_exponent=65537, key_size=2048)}
        self.fetched = 0
        issuer = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.fetched += 1
                body = json.dumps({"keys": [issuer.jwk(kid) for kid in issuer.keys]}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body)

        self.handler = Handler
        self.url = ""

    def jwk(self, kid: str) -> Said:
        shown = jwt.algorithms.RSAAlgorithm.to_jwk(self.keys[kid].public_key(), as_dict=True)
        return {**shown, "kid": kid, "use": "sig", "alg": "RS256"}

    def token(self, kid: str = "first", algorithm: str = "RS256", **changes: Any) -> str:
        now = datetime.now(UTC)
        said = {
            "iss": self.url,
            "aud": "hotswap-api",
            "sub": "4711",
            "email": "Olga@example.com",
            "iat": now,
            "exp": now + HOUR,
            "realm_access": {"roles": ["staff", "sre"]},
            **changes,
        }
        kept = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(kept, self.keys[kid], algorithm=algorithm, headers={"kid": kid})


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    with serving(issuer.handler) as issuer.url:
        yield issuer


@pytest.fixture
def federated(world: World, issuer: Issuer) -> World:
    """The application with this issuer's tokens accepted too."""
    rules = OidcRules(
        issuer=issuer.url,
        audience="hotswap-api",
        jwks_url=f"{issuer.url}/keys",
        tenant=TENANT,
        tenant_claim=None,
        username_claim="email",
        roles_claim="realm_access.roles",
        roles={"sre": Role.APPROVER, "staff": Role.VIEWER},
    )
    services = replace(world.services, issuer=OidcReader(rules))
    return replace(world, services=services, app=create_app(services))


async def test_an_external_person_is_known_by_the_issuers_token(federated: World, issuer: Issuer) -> None:
    async with federated.asks(None) as client:
        me = await client.get("/auth/me", headers={"Authorization": f"Bearer {issuer.token()}"})
        assert (me.json()["username"], me.json()["role"]) == ("olga@example.com", "approver")
        ours = await client.get("/auth/me", headers={"Authorization": f"Bearer {federated.token('vera')}"})
        assert ours.json()["username"] == "vera"
        out = await client.post("/auth/logout", headers={"Authorization": f"Bearer {issuer.token()}"})
        assert out.status_code == 409


EXTERNAL: dict[str, tuple[int, Callable[[Issuer], str]]] = {
    "expired": (401, lambda issuer: issuer.token(exp=datetime.now(UTC) - HOUR)),
    "another audience": (401, lambda issuer: issuer.token(aud="another-app")),
    "no expiry": (401, lambda issuer: issuer.token(exp=None)),
    "another issuer": (401, lambda issuer: issuer.token(iss="http://127.0.0.1:9")),
    "none": (401, lambda issuer: jwt.encode({"iss": issuer.url, "kid": "first"}, None, algorithm="none")),
    "another algorithm than the key's": (401, lambda issuer: issuer.token(algorithm="RS512")),
    "HS256 with the public key": (
        401,
        lambda issuer: jwt.encode({"iss": issuer.url}, issuer.jwk("first")["n"], "HS256", {"kid": "first"}),
    ),
    "tampered": (401, lambda issuer: issuer.token()[:-6] + "AAAAAA"),
    "a name that is none": (401, lambda issuer: issuer.token(email="no name")),
    "no role of ours": (403, lambda issuer: issuer.token(realm_access={"roles": ["guest"]})),
    "no roles at all": (403, lambda issuer: issuer.token(realm_access=None)),
    "the name of an admin of the platform elsewhere": (
        403,
        lambda issuer: issuer.token(email="root@default"),
    ),
    "an address that is not verified": (403, lambda issuer: issuer.token(email_verified=False)),
    "an address verified in words": (403, lambda issuer: issuer.token(email_verified="false")),
    "not before tomorrow": (401, lambda issuer: issuer.token(nbf=datetime.now(UTC) + 24 * HOUR)),
    "made tomorrow": (401, lambda issuer: issuer.token(iat=datetime.now(UTC) + 24 * HOUR)),
    "the name of one of ours": (403, lambda issuer: issuer.token(email="admin")),
}


@pytest.mark.parametrize("attack", EXTERNAL)
@pytest.mark.finding("18")
async def test_an_external_token_that_is_not_for_us_is_refused(
    federated: World, issuer: Issuer, attack: str
) -> None:
    status, make = EXTERNAL[attack]
    assert await asked(federated, make(issuer)) == status


async def test_the_issuers_new_key_is_fetched_once_and_unknown_ones_do_not_make_us_ask_again(
    federated: World, issuer: Issuer
) -> None:
    assert await asked(federated, issuer.token()) == 200
    issuer.keys["second"] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert await asked(federated, issuer.token("second")) == 200
    fetched = issuer.fetched
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for number in range(20):
        said = {"iss": issuer.url}
        assert await asked(federated, jwt.encode(said, stranger, "RS256", {"kid": f"no-{number}"})) == 401
    assert issuer.fetched == fetched


async def test_an_issuer_that_is_away_is_asked_seldom_and_its_keys_count_on(
    federated: World, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = federated.services.issuer
    assert reader is not None
    assert await asked(federated, issuer.token()) == 200
    monkeypatch.setattr(reader._client, "uri", "http://127.0.0.1:9/keys")
    tried, fetch = 0, reader._client.get_signing_keys

    def counting(refresh: bool) -> Any:
        nonlocal tried
        tried += 1
        return fetch(refresh)

    monkeypatch.setattr(reader._client, "get_signing_keys", counting)
    reader._fetched -= KEYS_LIVE + 1  # as if they were as old
    assert [await asked(federated, issuer.token()) for _ in range(5)] == [200] * 5
    reader._fetched -= KEYS_LAST
    assert [await asked(federated, issuer.token()) for _ in range(5)] == [503] * 5
    assert tried == 1


async def test_when_the_issuer_is_away_the_answer_is_503(world: World) -> None:
    rules = OidcRules(
        issuer="http://issuer.example",
        audience="hotswap-api",
        jwks_url="http://127.0.0.1:9/keys",
        tenant=TENANT,
        tenant_claim=None,
        username_claim="email",
        roles_claim="roles",
        roles={"sre": Role.APPROVER},
    )
    services = replace(world.services, issuer=OidcReader(rules))
    transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=False)
    token = jwt.encode({"iss": rules.issuer}, "x" * 32, "HS256")
    async with httpx.AsyncClient(transport=transport, base_url="http://api/api/v1") as client:
        answer = await client.get("/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (503, "issuer-unavailable")
    assert "127.0.0.1" not in answer.text
