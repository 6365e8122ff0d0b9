"""Files that hold secrets or state: never half written, never readable by others, secrets never replaced."""

import os
import secrets
from pathlib import Path

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


def write_once(path: Path, content: bytes) -> bool:
    """Write a file that is not there yet; one that is stays as it is.

    The content becomes visible whole or not at all (link(2) fails when the name is taken), and durable.

    Returns:
        Whether this call wrote it.
    """
    scratch = _written_beside(path, content)
    try:
        os.link(scratch, path)
        return True
    except FileExistsError:
        return False
    finally:
        scratch.unlink()


def replace(path: Path, content: bytes) -> None:
    """Write a file whole; readers see the old content or the new."""
    scratch = _written_beside(path, content)
    scratch.replace(path)


def secret(path: Path) -> str:
    """The random secret kept in a file (256 bits, URL-safe), made at the first call."""
    write_once(path, secrets.token_urlsafe(32).encode())
    return path.read_text(encoding="utf-8").strip()


def private_directory(path: Path) -> Path:
    """A directory that only we may enter, made if need be."""
    path.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
    path.chmod(DIRECTORY_MODE)
    return path


def _written_beside(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return scratch
