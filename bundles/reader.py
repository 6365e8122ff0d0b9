"""Reads a bundle in one forward pass, trusting nothing that it says, and refuses what could do harm."""

import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from pydantic import Field

from bundles.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES
from bundles.tree import CHUNK_BYTES, EntryType, TreeEntry, directory_entry, hash_entries, symlink_entry
from domain.base import Frozen
from domain.errors import BundleInvalid, BundleTooLarge

SPECIAL_BITS = 0o7000  # setuid, setgid, sticky
_MAX_PATH_BYTES = 1024
_MAX_NAME_BYTES = 255
# Below this much content no compression ratio is a threat: many small files compress well.
_RATIO_FREE_BYTES = 16 * 1024 * 1024


class Limits(Frozen):
    """How much a bundle may ask of its reader.

    Attributes:
        max_bundle_bytes: the bundle as it is sent.
        max_unpacked_bytes: the archive after decompression, headers included.
        max_entries: files, directories and links, parents that are only implied included.
        max_ratio: decompressed over compressed bytes; counts above 16 MiB of content.
    """

    max_bundle_bytes: int = Field(default=512 * 1024 * 1024, gt=0)
    max_unpacked_bytes: int = Field(default=2 * 1024 * 1024 * 1024, gt=0)
    max_entries: int = Field(default=100_000, gt=0)
    max_ratio: int = Field(default=100, gt=0)

    def unpacked_bytes(self, bundle_bytes: int) -> int:
        """How far a bundle of that size may grow."""
        return min(self.max_unpacked_bytes, max(_RATIO_FREE_BYTES, self.max_ratio * bundle_bytes))


class Sink(Protocol):
    """Where entries go, parents always before what they contain."""

    def directory(self, path: str) -> None:
        """Take a directory."""

    def symlink(self, path: str, target: str) -> None:
        """Take a link that stays in the tree."""

    def file(self, path: str, executable: bool, chunks: Iterator[bytes]) -> None:
        """Take a file; `chunks` has to be read to its end."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a bundle turned out to hold: digest of its bytes, tree hash, the manifest's bytes if there."""

    digest: str
    tree: str
    manifest: bytes | None


def read_archive(bundle: Path, limits: Limits, sink: Sink) -> Contents:
    """Read a gzipped tar from its first byte to its last, once, and pass its entries to `sink`.

    Digest and tree hash are of the very bytes that the sink got. Refused are: absolute, empty, ".." and
    otherwise non-canonical paths, names that are not UTF-8 or have control characters, entries below
    anything but a directory, duplicates, links that leave the tree, hard links, devices, fifos, sparse
    files, setuid, setgid and sticky bits, headers that do not parse, a missing end marker, anything after
    it, and more bytes, entries or compression than the limits allow.

    Raises:
        BundleInvalid, BundleTooLarge: with field "bundle".
        OSError: the bundle cannot be read or the sink cannot write.
    """
    with bundle.open("rb") as file:
        bundle_bytes = os.fstat(file.fileno()).st_size
        if bundle_bytes > limits.max_bundle_bytes:
            raise BundleTooLarge(
                f"the bundle has {bundle_bytes} bytes; {limits.max_bundle_bytes} are allowed", field="bundle"
            )
        hashed = _HashedFile(file)
        try:
            with gzip.GzipFile(fileobj=hashed, mode="rb") as plain:
                stream = _ForwardStream(plain, limits.unpacked_bytes(bundle_bytes))
                tree = _Tree(limits.max_entries, sink)
                for member in _open(stream):
                    tree.add(member, stream)
                stream.expect_only_zeros()
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
            raise _invalid(f"the bundle is not a gzipped tar: {error}") from error
    return Contents(hashed.digest(), hash_entries(tree.entries.values()), tree.manifest)


def _open(stream: "_ForwardStream") -> tarfile.TarFile:
    return tarfile.TarFile(
        fileobj=stream,  # type: ignore[arg-type]  # only read, never written or closed
        tarinfo=_Header,
        encoding="utf-8",
    )


class _HashedFile:
    """The bundle's bytes on their way to the decompressor, hashed as they pass."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        chunk = self._file.read(size)
        self._hash.update(chunk)
        return chunk

    def seek(self, offset: int) -> int:
        raise BundleInvalid(f"a bundle is read forward only, not at {offset}", field="bundle")

    def digest(self) -> str:
        return self._hash.hexdigest()


class _ForwardStream:
    """What `tarfile` reads: forward only, in small pieces, up to a limit.

    `tarfile` reads extended headers whole, as long as they claim to be, and would follow a negative size
    backwards for ever; neither gets past here.
    """

    def __init__(self, plain: gzip.GzipFile, limit: int) -> None:
        self._plain = plain
        self._limit = limit
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= CHUNK_BYTES:
            raise _invalid(f"the archive has a header of {size} bytes; {CHUNK_BYTES} are allowed")
        chunk = self._plain.read(size)
        self._position += len(chunk)
        if self._position > self._limit:
            raise BundleTooLarge(f"the bundle unpacks to more than {self._limit} bytes", field="bundle")
        return chunk

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, _whence: int = os.SEEK_SET) -> int:
        if offset < self._position:
            raise _invalid("an entry of the archive has an impossible size")
        while self._position < offset and self.read(min(CHUNK_BYTES, offset - self._position)):
            pass
        return self._position

    def chunks(self, size: int) -> Iterator[bytes]:
        while size > 0:
            chunk = self.read(min(CHUNK_BYTES, size))
            if not chunk:
                raise _invalid("the archive ends within a file")
            size -= len(chunk)
            yield chunk

    def expect_only_zeros(self) -> None:
        while chunk := self.read(CHUNK_BYTES):
            if chunk.strip(b"\0"):
                raise _invalid("the archive has data after its end")


class _Header(tarfile.TarInfo):
    """A header that must parse: where one does not, `TarFile` would take it for the archive's end."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except _END_OF_ARCHIVE:
            raise
        except _HEADER_ERROR as error:
            raise _invalid(f"the archive has a broken header: {error}") from error


_HEADER_ERROR = tarfile.HeaderError
_END_OF_ARCHIVE: type[Exception] = tarfile.EOFHeaderError  # type: ignore[attr-defined]  # missing in typeshed


class _Tree:
    """The tree as it grows; says whether the next entry may join it."""

    def __init__(self, max_entries: int, sink: Sink) -> None:
        self.entries: dict[str, TreeEntry] = {}
        self.manifest: bytes | None = None
        self._implied: set[str] = set()
        self._max_entries = max_entries
        self._sink = sink

    def add(self, member: tarfile.TarInfo, stream: _ForwardStream) -> None:
        if member.mode & SPECIAL_BITS:
            raise _invalid(f"{member.name!r} has a setuid, setgid or sticky bit")
        if member.isdir():
            self._add_directory(member.name)
        elif member.issym():
            self._add_symlink(_canonical(member.name), member.linkname)
        elif member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse():
            self._add_file(_canonical(member.name), member, stream)
        else:
            raise _invalid(f"{member.name!r} is not a plain file, a directory or a symlink")

    def _add_directory(self, name: str) -> None:
        if name.rstrip("/") == ".":
            return
        path = _canonical(name)
        if path in self._implied:
            self._implied.discard(path)
            return
        self._claim(path)
        self._make_directory(path)

    def _add_symlink(self, path: str, target: str) -> None:
        self._claim(path)
        if _leaves_tree(path, target):
            raise _invalid(f"the link {path!r} to {target!r} leaves the tree, or could")
        self._enter(path, symlink_entry(path.encode(), target.encode()))
        self._sink.symlink(path, target)

    def _add_file(self, path: str, member: tarfile.TarInfo, stream: _ForwardStream) -> None:
        self._claim(path)
        executable = bool(member.mode & 0o100)
        content = hashlib.sha256()
        kept = bytearray()
        if path == MANIFEST_NAME and member.size > MAX_MANIFEST_BYTES:
            raise BundleInvalid(f"{MANIFEST_NAME} is over {MAX_MANIFEST_BYTES} bytes", field=MANIFEST_NAME)

        def chunks() -> Iterator[bytes]:
            for chunk in stream.chunks(member.size):
                content.update(chunk)
                if path == MANIFEST_NAME:
                    kept.extend(chunk)
                yield chunk

        self._sink.file(path, executable, chunks())
        self._enter(path, TreeEntry(path.encode(), EntryType.FILE, executable, member.size, content.digest()))
        if path == MANIFEST_NAME:
            self.manifest = bytes(kept)

    def _claim(self, path: str) -> None:
        """Refuse a path that is taken or that has something other than directories above it."""
        if path in self.entries:
            raise _invalid(f"{path!r} is in the archive twice")
        missing = []
        parent = path.rpartition("/")[0]
        while parent and parent not in self.entries:
            missing.append(parent)
            parent = parent.rpartition("/")[0]
        if parent and self.entries[parent].type is not EntryType.DIRECTORY:
            raise _invalid(f"{path!r} lies below {parent!r}, which is not a directory")
        for directory in reversed(missing):
            self._implied.add(directory)
            self._make_directory(directory)

    def _make_directory(self, path: str) -> None:
        self._enter(path, directory_entry(path.encode()))
        self._sink.directory(path)

    def _enter(self, path: str, entry: TreeEntry) -> None:
        if len(self.entries) >= self._max_entries:
            raise BundleTooLarge(f"the bundle has more than {self._max_entries} entries", field="bundle")
        self.entries[path] = entry


def _canonical(name: str) -> str:
    """The path that a name means, without a leading "./"; anything unusual is refused."""
    path = name.removeprefix("./").removesuffix("/")
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise _invalid(f"the path {name!r} is absolute, empty or leaves the tree")
    _check_text(path)
    if len(path.encode()) > _MAX_PATH_BYTES or any(len(part.encode()) > _MAX_NAME_BYTES for part in parts):
        raise _invalid(f"the path {name[:80]!r}… is too long")
    return path


def _leaves_tree(path: str, target: str) -> bool:
    """Whether following the link could lead out of the tree (path_resolution(7)).

    What is above the link are directories, never links, so leading ".." climb as they read. After a
    name a ".." is refused: the name may be a link itself, and then ".." would climb from where it leads.
    """
    _check_text(target)
    if target.startswith("/") or not target or len(target.encode()) > _MAX_PATH_BYTES:
        return True
    depth = path.count("/")
    named = False
    for part in target.split("/"):
        if part == "..":
            depth -= 1
            if named or depth < 0:
                return True
        elif part not in ("", "."):
            named = True
    return False


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _invalid(f"{text!r} is not UTF-8") from error
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise _invalid(f"{text!r} has a control character")


def _invalid(message: str) -> BundleInvalid:
    return BundleInvalid(message, field="bundle")
