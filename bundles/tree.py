"""The tree hash: what a directory holds, as one SHA-256 that a node can compute again from its disk."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

CHUNK_BYTES = 64 * 1024
_DOMAIN = b"hotswap-tree-1\n"
_OF_NOTHING = hashlib.sha256().digest()


class EntryType(Enum):
    """What stands at a path; the value is the byte that goes into the hash."""

    DIRECTORY = b"d"
    FILE = b"f"
    SYMLINK = b"l"
    OTHER = b"o"


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One entry below the root of a tree.

    Attributes:
        path: relative to the root, POSIX separators, as bytes (what the kernel sees).
        type: file, directory, symlink; OTHER is a device, fifo or socket, which no bundle brings.
        executable: the owner's executable bit; false for all but files.
        size: bytes of content, or of the link's target; 0 for directories.
        content: SHA-256 of the content, or of the link's target; of nothing for directories.
    """

    path: bytes
    type: EntryType
    executable: bool
    size: int
    content: bytes


def hash_entries(entries: Iterable[TreeEntry]) -> str:
    """The tree hash of a list of entries, in any order; see `tree_hash`."""
    total = hashlib.sha256(_DOMAIN)
    for entry in sorted(entries, key=lambda entry: entry.path):
        total.update(len(entry.path).to_bytes(4, "big") + entry.path)
        total.update(entry.type.value + (b"x" if entry.executable else b"-"))
        total.update(entry.size.to_bytes(8, "big") + entry.content)
    return total.hexdigest()


def tree_hash(directory: Path) -> str:
    r"""Hash all that is below a directory: names, types, executable bits, contents, link targets.

    Nothing else counts: not times, owners, the other permission bits, hard links or the directory's own
    name, so that unpacking the same bundle on any host, as any user, under any umask gives the same hash.

    The algorithm: SHA-256 over the line "hotswap-tree-1\n", then for each entry, ordered by the bytes of
    its relative path, the concatenation of

    1. the path's length (4 bytes, big-endian) and the path, relative, with "/" between components;
    2. the type, one byte: "d", "f", "l", or "o" for anything else;
    3. "x" if it is a file that its owner may execute, otherwise "-";
    4. the size (8 bytes, big-endian): of a file's content or a link's target, otherwise 0;
    5. the SHA-256 (32 bytes) of a file's content or a link's target, otherwise of nothing.

    Lengths and fixed widths make it injective; symlinks are never followed.

    Args:
        directory: the root; itself not part of the hash.

    Returns:
        64 lower-case hexadecimal digits.

    Raises:
        OSError: the directory is not there, or something in it cannot be read or vanished meanwhile.
    """
    return hash_entries(_scan(os.fsencode(directory)))


def _scan(root: bytes) -> Iterator[TreeEntry]:
    pending = [(root, b"")]
    while pending:
        directory, prefix = pending.pop()
        with os.scandir(directory) as found:
            for item in found:
                entry = _read(item, prefix + item.name)
                yield entry
                if entry.type is EntryType.DIRECTORY:
                    pending.append((item.path, entry.path + b"/"))


def _read(item: os.DirEntry[bytes], path: bytes) -> TreeEntry:
    mode = item.stat(follow_symlinks=False).st_mode
    if stat.S_ISDIR(mode):
        return directory_entry(path)
    if stat.S_ISLNK(mode):
        target = os.readlink(item.path)  # noqa: PTH115 - Path.readlink normalises the target
        return symlink_entry(path, target)
    if stat.S_ISREG(mode):
        size, content = _hash_file(item.path)
        return TreeEntry(path, EntryType.FILE, bool(mode & stat.S_IXUSR), size, content)
    return TreeEntry(path, EntryType.OTHER, False, 0, _OF_NOTHING)


def directory_entry(path: bytes) -> TreeEntry:
    """The entry of a directory: its name is all that counts."""
    return TreeEntry(path, EntryType.DIRECTORY, False, 0, _OF_NOTHING)


def symlink_entry(path: bytes, target: bytes) -> TreeEntry:
    """The entry of a symlink: its target counts as its content."""
    return TreeEntry(path, EntryType.SYMLINK, False, len(target), hashlib.sha256(target).digest())


def _hash_file(path: bytes) -> tuple[int, bytes]:
    """Size and SHA-256 of what was read, so that the two agree even if the file changes meanwhile."""
    digest = hashlib.sha256()
    size = 0
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while chunk := os.read(descriptor, CHUNK_BYTES):
            size += len(chunk)
            digest.update(chunk)
    finally:
        os.close(descriptor)
    return size, digest.digest()
