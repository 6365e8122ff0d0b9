"""The keys of our tokens: one to sign with, one or more to check with, changed while everything runs.

Each key's id (`kid`) is its JWK thumbprint (RFC 7638). The file of public keys may hold several, one PEM
block after another: the overlap of a rotation. Both files are looked at again when they have changed, so no
process has to be restarted:

1. the new public key joins the file of public keys, everywhere;
2. the new private key replaces the old one: new tokens carry the new id, old ones still count;
3. when the last old token that matters has expired, the old public key is taken out: what it signed is
   refused.

`python -m runtime.keyring rotate` does 1 and 2 where API and workers share the files, `retire` does 3.
"""

import base64
import hashlib
import json
import os
import re
import time
from pathlib import Path
from threading import Lock
from typing import Annotated, Final

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from domain.errors import InvalidInput
from runtime import files

LOOK_EVERY: Final = 1.0  # seconds between two looks at a key file's time
_BLOCK: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----\s*", re.DOTALL)
# Published keys, which everybody has: RFC 8037 A.1 (also RFC 8032 7.1 test 1), RFC 8032 7.1 tests 2 and 3.
_PUBLISHED: Final = (
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",  # pragma: allowlist secret
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",  # pragma: allowlist secret
    "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",  # pragma: allowlist secret
)


def key_id(key: Ed25519PublicKey) -> str:
    """The JWK thumbprint (RFC 7638, with the members that RFC 8037 section 2 requires)."""
    members = {"crv": "Ed25519", "kty": "OKP", "x": _x(key)}
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest()
    return _base64url(digest)


def jwk(key: Ed25519PublicKey) -> dict[str, str]:
    """The public key as a JSON Web Key (RFC 8037)."""
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": _x(key),
        "kid": key_id(key),
        "use": "sig",
        "alg": "EdDSA",
    }


class _Watched:
    """A file that is read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state: tuple[int, int, int] | None = None
        self._looked = 0.0

    def changed(self, *, at_once: bool = False) -> bool:
        """Whether the file is another one than at the last yes; looks at most every LOOK_EVERY seconds."""
        now = time.monotonic()
        if not at_once and self._state is not None and now - self._looked < LOOK_EVERY:
            return False
        self._looked = now
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return False
        state = (found.st_mtime_ns, found.st_ino, found.st_size)
        if state == self._state:
            return False
        self._state = state
        return True


class SigningKey:
    """The one private key that tokens are signed with; from a file, or given."""

    def __init__(self, key: Ed25519PrivateKey, path: Path | None = None) -> None:
        self._watched = _Watched(path) if path else None
        if self._watched is not None:
            self._watched.changed()
        self._key, self._id = key, key_id(key.public_key())
        self._lock = Lock()  # a key and its id change together, for every thread

    @classmethod
    def load(cls, path: Path) -> "SigningKey":
        """Read a PEM file (PKCS #8).

        Raises:
            InvalidInput: the file holds no unencrypted Ed25519 key, or a published one.
        """
        return cls(_private(path), path)

    def present(self) -> tuple[str, Ed25519PrivateKey]:
        """The key and its id; a changed file is read again."""
        with self._lock:
            if self._watched is not None and self._watched.changed():
                self._key = _private(self._watched.path)
                self._id = key_id(self._key.public_key())
            return self._id, self._key


class Keyring:
    """The public keys that tokens are checked with, by id."""

    def __init__(self, *keys: Ed25519PublicKey, path: Path | None = None) -> None:
        self._watched = _Watched(path) if path else None
        if self._watched is not None:
            self._watched.changed()
        self._keys = {key_id(key): key for key in keys}
        self._lock = Lock()  # no thread looks a key up between the look at the file and its reading

    @classmethod
    def load(cls, path: Path) -> "Keyring":
        """Read a file of PEM public keys (SubjectPublicKeyInfo).

        Raises:
            InvalidInput: the file holds no key, or one that is not Ed25519.
        """
        return cls(*_public(path), path=path)

    def find(self, wanted: str) -> Ed25519PublicKey | None:
        """The key with this id. For an id that is not known, the file is looked at at once."""
        with self._lock:
            self._refresh(at_once=wanted not in self._keys)
            return self._keys.get(wanted)

    def present(self) -> tuple[Ed25519PublicKey, ...]:
        """All keys that count now."""
        with self._lock:
            self._refresh()
            return tuple(self._keys.values())

    def _refresh(self, *, at_once: bool = False) -> None:
        if self._watched is not None and self._watched.changed(at_once=at_once):
            self._keys = {key_id(key): key for key in _public(self._watched.path)}


def _private(path: Path) -> Ed25519PrivateKey:
    field = "jwt_private_key_file"
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{path} holds no private key", field=field) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidInput(f"{path} is not an Ed25519 key", field=field)
    if key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex() in _PUBLISHED:
        raise InvalidInput(f"{path} is a published example key: make one of your own", field=field)
    return key


def _public(path: Path) -> list[Ed25519PublicKey]:
    field = "jwt_public_key_file"
    blocks = _BLOCK.findall(path.read_bytes())
    if not blocks:
        raise InvalidInput(f"{path} holds no public key", field=field)
    found = []
    for block in blocks:
        try:
            key = load_pem_public_key(block)
        except ValueError as error:
            raise InvalidInput(f"{path} holds no public key", field=field) from error
        if not isinstance(key, Ed25519PublicKey):
            raise InvalidInput(f"{path} is not an Ed25519 key", field=field)
        found.append(key)
    return found


def rotate(private: Path, public: Path) -> str:
    """Make a new key: its public half first, then the private one; the new key's id."""
    key = Ed25519PrivateKey.generate()
    _publish(public, [*_public(public), key.public_key()])
    files.replace(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key_id(key.public_key())


def retire(private: Path, public: Path) -> int:
    """Keep only the public half of the present private key; how many keys were taken out."""
    present = _private(private).public_key()
    before = _public(public)
    _publish(public, [present])
    return sum(key_id(key) != key_id(present) for key in before)


def _publish(path: Path, keys: list[Ed25519PublicKey]) -> None:
    mode = path.stat().st_mode & 0o777
    pem = [key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in keys]
    files.replace(path, b"".join(pem))
    os.chmod(path, mode)  # noqa: PTH101 - the same as before: readers may be other users


def _x(key: Ed25519PublicKey) -> str:
    return _base64url(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
_Private = Annotated[Path, typer.Option("--private", envvar="HOTSWAP_JWT_PRIVATE_KEY_FILE")]
_Public = Annotated[Path, typer.Option("--public", envvar="HOTSWAP_JWT_PUBLIC_KEY_FILE")]


@app.command("rotate")
def rotate_command(private: _Private, public: _Public) -> None:
    """Sign with a new key from now on; what the old one signed still counts."""
    typer.echo(f"tokens are signed with {rotate(private, public)}")


@app.command("retire")
def retire_command(private: _Private, public: _Public) -> None:
    """Refuse whatever older keys have signed. Nodes that registered under them must register again."""
    typer.echo(f"{retire(private, public)} older keys count no more")


if __name__ == "__main__":
    app()
