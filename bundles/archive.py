"""Bundles: a module's tree as one deterministic, gzipped tar; packed, inspected and unpacked.

`tarfile` reads the headers and nothing more: every rule about names, links, types and sizes is in
bundles/reader.py. The extraction filters of PEP 706 are not relied on: they came with Python 3.11.4, and
their verdict on some symlinks changed between patch releases, while API and nodes must agree on a bundle.
"""

import gzip
import os
import shutil
import stat
import tarfile
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bundles.manifest import MANIFEST_NAME, parse_manifest, read_manifest
from bundles.reader import SPECIAL_BITS, Limits, Sink, read_archive
from domain.errors import BundleInvalid
from domain.manifest import Manifest
from domain.release import ReleaseRef

__all__ = ["DEFAULT_LIMITS", "Limits", "inspect", "pack", "unpack"]

DEFAULT_LIMITS = Limits()
_COMPRESSION = 6


def pack(source: Path, destination: Path, limits: Limits = DEFAULT_LIMITS) -> ReleaseRef:
    """Write the tree below `source`, which has a `hotswap.toml` at its root, as a bundle.

    Equal trees (by `bundles.tree.tree_hash`) give equal bytes with the same zlib: entries are sorted,
    times and owners zero, modes 755 for directories and executables, 644 for the rest. The finished
    bundle is inspected as every receiver will, then moved to `destination` in one step.

    Args:
        source: the module's tree; never changed.
        destination: the bundle to write, outside `source`; replaced if it exists.
        limits: what a receiver will accept.

    Raises:
        BundleInvalid: the manifest or an entry of the tree breaks a rule; `field` names it.
        BundleTooLarge: the bundle would be over a limit.
        OSError: a file cannot be read or written.
    """
    if not source.is_dir():
        raise BundleInvalid(f"{source} is not a directory", field="source")
    if destination.resolve().is_relative_to(source.resolve()):
        raise BundleInvalid("the bundle must be written outside the tree that it packs", field="destination")
    read_manifest(source)
    descriptor, name = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name}.")
    temporary = Path(name)
    try:
        with open(descriptor, "wb") as out:  # noqa: PTH123 - an open descriptor, not a path
            _write_archive(source, out)
            os.fchmod(descriptor, 0o644)
        _, release = inspect(temporary, limits)
        temporary.replace(destination)
    finally:
        temporary.unlink(missing_ok=True)
    return release


def inspect(bundle: Path, limits: Limits = DEFAULT_LIMITS) -> tuple[Manifest, ReleaseRef]:
    """Validate all of a bundle without writing anything, in one pass over its bytes.

    Returns:
        The manifest, and the release with digest and tree hash computed from what was read.

    Raises:
        BundleInvalid: the archive or its manifest breaks a rule; `field` names the manifest's field,
            or is "bundle" for the archive itself.
        BundleTooLarge: it is over a limit.
        OSError: the bundle cannot be read.
    """
    return _read(bundle, limits, _Nowhere())


def unpack(bundle: Path, destination: Path, limits: Limits = DEFAULT_LIMITS) -> tuple[Manifest, ReleaseRef]:
    """Validate a bundle and write its tree to `destination`, durably: all of it, or nothing.

    The tree grows in a hidden directory beside `destination` (".NAME.unpack-*"; one that a crash left
    behind may be deleted), each file and directory is fsynced, and one rename makes it appear. What is
    returned was computed from the same bytes that were written.

    Args:
        bundle: the bundle.
        destination: must not exist; its parent must.
        limits: refuse a bundle beyond these.

    Raises:
        BundleInvalid, BundleTooLarge: as `inspect`; nothing is left behind.
        FileExistsError: `destination` exists.
        OSError: the disk is full, the bundle cannot be read; nothing is left behind.
    """
    if os.path.lexists(destination):
        raise FileExistsError(f"{destination} exists")
    growing = Path(tempfile.mkdtemp(dir=destination.parent, prefix=f".{destination.name}.unpack-"))
    try:
        disk = _Disk(growing)
        found = _read(bundle, limits, disk)
        disk.sync()
        growing.rename(destination)
    except BaseException:
        shutil.rmtree(growing)
        raise
    _sync_directory(destination.parent)
    return found


def _read(bundle: Path, limits: Limits, sink: Sink) -> tuple[Manifest, ReleaseRef]:
    contents = read_archive(bundle, limits, sink)
    if contents.manifest is None:
        raise BundleInvalid(f"the bundle has no {MANIFEST_NAME} at its root", field=MANIFEST_NAME)
    manifest = parse_manifest(contents.manifest)
    release = ReleaseRef(
        module=manifest.name, version=manifest.version, digest=contents.digest, tree=contents.tree
    )
    return manifest, release


def _write_archive(source: Path, out: BinaryIO) -> None:
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=out, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive,
    ):
        for path in sorted(source.rglob("*"), key=lambda path: os.fsencode(path.relative_to(source))):
            _add(archive, path, path.relative_to(source).as_posix())


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """Add one entry; the inspection of the finished bundle judges names and links."""
    status = path.lstat()
    if status.st_mode & SPECIAL_BITS:
        raise BundleInvalid(f"{name!r} has a setuid, setgid or sticky bit", field="source")
    info = tarfile.TarInfo(name)
    info.mode = 0o755
    if stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    elif stat.S_ISLNK(status.st_mode):
        info.type = tarfile.SYMTYPE
        info.linkname = os.readlink(path)  # noqa: PTH115 - Path.readlink normalises the target
        archive.addfile(info)
    elif stat.S_ISREG(status.st_mode):
        info.size = status.st_size
        info.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
        with path.open("rb") as content:
            archive.addfile(info, content)
    else:
        raise BundleInvalid(f"{name!r} is not a file, a directory or a symlink", field="source")


class _Nowhere:
    """Takes the entries of a bundle that is only looked at."""

    def directory(self, path: str) -> None:
        """Forget a directory."""

    def symlink(self, path: str, target: str) -> None:
        """Forget a link."""

    def file(self, path: str, executable: bool, chunks: Iterator[bytes]) -> None:
        """Read a file's content to its end."""
        deque(chunks, maxlen=0)


class _Disk:
    """Writes entries below a directory of our own.

    The reader has seen to it that every parent is a directory which this object made and that no path
    comes twice, so nothing here can follow a link.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._directories = [root]
        root.chmod(0o755)

    def directory(self, path: str) -> None:
        made = self._root / path
        made.mkdir()
        made.chmod(0o755)  # whatever the umask
        self._directories.append(made)

    def symlink(self, path: str, target: str) -> None:
        (self._root / path).symlink_to(target)

    def file(self, path: str, executable: bool, chunks: Iterator[bytes]) -> None:
        with (self._root / path).open("xb") as out:
            for chunk in chunks:
                out.write(chunk)
            out.flush()
            os.fchmod(out.fileno(), 0o755 if executable else 0o644)
            os.fsync(out.fileno())

    def sync(self) -> None:
        """Make the names durable too; file contents already are."""
        for directory in reversed(self._directories):
            _sync_directory(directory)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
