"""A backup of a running stack, and a stack made from one.

Temporal is saved first, then the database, the bundles, the nodes. Whatever is saved later may know more than
what was saved before it, never less: a workflow that does again what the database has is recognised there, a
release has its bundle, a node that gets an order twice answers what it did. The other way round a workflow
would believe to have written what is lost. Votes and orders of the seconds in between may have to be given
again.
"""

import hashlib
import os
import secrets
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from domain.base import Frozen
from domain.errors import Conflict, HotswapError
from runtime import files
from runtime.embedded import postgres
from runtime.embedded.directory import StackDirectory
from runtime.embedded.stack import read_choices
from runtime.embedded.state import StackStatus, load

_LIST: Final = "backup.json"


class BackupBroken(HotswapError):
    """A backup is not what was made; the message names the first file that differs."""

    code = "backup-broken"


class Backup(Frozen):
    """What a backup holds.

    Attributes:
        at: when it was begun.
        root: the directory of the stack that it is of.
        hotswap: the version that made it.
        digests: SHA-256 of every file, by its path.
    """

    at: datetime
    root: Path
    hotswap: str
    digests: dict[str, str]


def back_up(directory: StackDirectory, target: Path) -> Backup:
    """Save a running stack into a new directory, which is there whole or not at all. It holds every secret.

    Raises:
        Conflict: the target is there already or lies in the stack's directory, or the stack does not run.
        PostgresUnavailable: the database could not be saved.
    """
    if target.is_relative_to(directory.root):
        raise Conflict(f"{target} lies in what is to be saved", field="target")
    began = datetime.now(tz=UTC)
    state = load(directory.state)
    if not state.supervised or state.status is not StackStatus.READY:
        raise Conflict(f"the stack in {directory.root} is not up: start it, or copy its directory as it lies")
    with _made_whole(target) as draft:
        copy = StackDirectory(root=draft)
        _save_temporal(directory.temporal_database, copy.temporal_database)
        cluster = postgres.of(directory.postgres)
        port = read_choices(directory).ports["postgres"]
        cluster.back_up(port, files.private_directory(copy.postgres) / cluster.data.name)
        left_out = (
            directory.state,
            directory.lock,
            directory.logs,
            cluster.data,
            directory.temporal_database,
        )
        _copy(directory.root, draft, frozenset((*left_out, *_beside(directory.temporal_database))))
        made = Backup(at=began, root=directory.root, hotswap=version("hotswap"), digests=_digests(draft))
        files.replace(draft / _LIST, made.model_dump_json(indent=1).encode())
    return made


def restore(source: Path, directory: StackDirectory) -> Backup:
    """Make the directory of a stack from a backup; its next start goes on from there.

    Raises:
        Conflict: there is something in the directory, no backup in the source, or its stack still runs here:
            its nodes' processes would have two agents.
        BackupBroken: the backup is not what was made.
    """
    if not (source / _LIST).is_file():
        raise Conflict(f"there is no backup in {source}")
    if directory.root.exists() and any(directory.root.iterdir()):
        raise Conflict(f"{directory.root} is not empty: a backup goes into a new directory")
    made = Backup.model_validate_json((source / _LIST).read_bytes())
    if load(StackDirectory(root=made.root).state).unfinished:
        raise Conflict(f"the stack in {made.root} still runs: stop it with 'hotswap down --dir {made.root}'")
    with _made_whole(directory.root) as draft:
        _copy(source, draft, frozenset((source / _LIST,)))
        copy = StackDirectory(root=draft)
        _compare(made.digests, _digests(draft))
        postgres.of(copy.postgres).take_over()
        files.replace(copy.restored, made.at.isoformat().encode())
    return made


@contextmanager
def _made_whole(target: Path) -> Iterator[Path]:
    """A private directory beside the target, which becomes it at the end."""
    if target.exists() and any(target.iterdir()):
        raise Conflict(f"{target} is not empty")
    draft = files.private_directory(target.with_name(f".{target.name}.{secrets.token_hex(4)}"))
    try:
        yield draft
        os.sync()
        draft.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _save_temporal(database: Path, target: Path) -> None:
    """SQLite's online backup (sqlite.org/backup.html) in one step: one state, whatever is written then."""
    files.private_directory(target.parent)
    reading = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    with closing(reading) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
    target.chmod(files.FILE_MODE)


def _beside(database: Path) -> tuple[Path, ...]:
    """SQLite's files beside a database, whose content its backup has."""
    return tuple(database.with_name(database.name + suffix) for suffix in ("-wal", "-shm"))


def _copy(source: Path, target: Path, left_out: frozenset[Path]) -> None:
    """Files, directories and links; no sockets. Nodes work on: what has gone meanwhile is not copied."""
    for path in sorted(source.iterdir()):
        place = target / path.name
        if path in left_out:
            continue
        try:
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                place.symlink_to(path.readlink())
            elif stat.S_ISREG(mode):
                shutil.copy2(path, place)
            elif stat.S_ISDIR(mode):
                place.mkdir(exist_ok=True)
                _copy(path, place, left_out)
                shutil.copystat(path, place)
        except FileNotFoundError:
            continue


def _digests(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                found[str(path.relative_to(root))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _compare(wanted: dict[str, str], found: dict[str, str]) -> None:
    differing = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    if differing:
        raise BackupBroken(f"{len(differing)} files are not as they were saved, the first is {differing[0]}")
