"""Reads `hotswap.toml` and says which field of it is wrong."""

import tomllib
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from domain.errors import BundleInvalid
from domain.manifest import Manifest

MANIFEST_NAME = "hotswap.toml"
MAX_MANIFEST_BYTES = 256 * 1024


def read_manifest(tree: Path) -> Manifest:
    """Read the manifest at the root of a tree that is not packed yet.

    Raises:
        BundleInvalid: as `parse_manifest`; also when there is none.
        OSError: it cannot be read.
    """
    path = tree / MANIFEST_NAME
    if path.is_symlink() or not path.is_file():
        raise BundleInvalid(f"{tree} has no {MANIFEST_NAME}", field=MANIFEST_NAME)
    return parse_manifest(path.read_bytes())


def parse_manifest(content: bytes) -> Manifest:
    """Read and validate the bytes of a `hotswap.toml`.

    Raises:
        BundleInvalid: `field` is the first wrong field, with dots ("process.command"), or
            "hotswap.toml" when the file as a whole cannot be read; the message names every wrong field.
    """
    if len(content) > MAX_MANIFEST_BYTES:
        raise BundleInvalid(f"{MANIFEST_NAME} is over {MAX_MANIFEST_BYTES} bytes", field=MANIFEST_NAME)
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # TOML, UTF-8 or an absurd number; nesting without end
        raise BundleInvalid(f"{MANIFEST_NAME} is not TOML: {error}", field=MANIFEST_NAME) from error
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        message = "; ".join(f"{_field(each)}: {each['msg'].removeprefix('Value error, ')}" for each in wrong)
        raise BundleInvalid(f"{MANIFEST_NAME}: {message}", field=_field(wrong[0])) from error


def _field(error: ErrorDetails) -> str:
    return ".".join(str(part) for part in error["loc"]) or MANIFEST_NAME
