"""The public keys of our tokens, for whoever checks them."""

from typing import Final

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.access import OPEN
from api.services import Hands
from runtime.keyring import jwk

router = APIRouter(tags=["people"], dependencies=[OPEN])

_FRESH: Final = "public, max-age=60"


class Jwk(BaseModel):
    """One key (RFC 8037)."""

    kty: str
    crv: str
    x: str
    kid: str
    use: str
    alg: str


class Jwks(BaseModel):
    """A JSON Web Key Set (RFC 7517)."""

    keys: list[Jwk]


@router.get("/.well-known/jwks.json")
async def keys(hands: Hands, response: Response) -> Jwks:
    """Every key that tokens of ours may be signed with now; two during a rotation."""
    response.headers["Cache-Control"] = _FRESH
    return Jwks(keys=[Jwk(**jwk(key)) for key in hands.reader.keyring.present()])
