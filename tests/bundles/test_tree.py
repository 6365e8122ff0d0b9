"""The tree hash: what changes it, what does not, and that its definition stays what it is."""

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given

from bundles.tree import tree_hash
from tests.bundles.trees import Entry, site, trees, write


def rename(tree: Path) -> None:
    (tree / "index.html").rename(tree / "index.htm")


def same_size(tree: Path) -> None:
    (tree / "index.html").write_bytes(b"<h1>hullo</h1>")


def executable(tree: Path) -> None:
    (tree / "index.html").chmod(0o744)


def new_directory(tree: Path) -> None:
    (tree / "static" / "more").mkdir()


def relink(tree: Path) -> None:
    (tree / "static" / "current.css").unlink()
    (tree / "static" / "current.css").symlink_to("./v1.css")


def link_to_file(tree: Path) -> None:
    (tree / "static" / "current.css").unlink()
    (tree / "static" / "current.css").write_text("v1.css")


def directory_to_file(tree: Path) -> None:
    (tree / "static" / "empty").rmdir()
    (tree / "static" / "empty").touch()


def fifo(tree: Path) -> None:
    os.mkfifo(tree / "pipe")


def unix_socket(tree: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tree / "s"))


CHANGES = (
    rename, same_size, executable, new_directory, relink, link_to_file, directory_to_file, fifo, unix_socket,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_the_content_changes_the_hash(tmp_path: Path, change: Callable[[Path], None]) -> None:
    tree = site(tmp_path / "t")
    before = tree_hash(tree)
    change(tree)
    assert tree_hash(tree) != before


def test_times_umask_bits_owners_and_place_do_not_count(tmp_path: Path) -> None:
    tree = site(tmp_path / "t")
    before = tree_hash(tree)
    os.utime(tree / "index.html", (1, 1))
    (tree / "index.html").chmod(0o600)
    (tree / "bin" / "reload").chmod(0o700)
    (tree / "static").chmod(0o711)
    os.link(tree / "index.html", tmp_path / "second-name")
    if os.geteuid() == 0:
        os.chown(tree / "index.html", 12345, 12345)
    assert tree_hash(tree.rename(tmp_path / "elsewhere")) == before


def test_the_definition(tmp_path: Path) -> None:
    """Written out by hand: nodes and control planes of different releases have to agree on it."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").write_bytes(b"xy")
    (tmp_path / "a" / "f").chmod(0o755)
    (tmp_path / "a-l").symlink_to("a/f")
    expected = (
        b"hotswap-tree-1\n"
        + (b"\0\0\0\x01a" + b"d-" + bytes(8) + hashlib.sha256(b"").digest())
        + (b"\0\0\0\x03a-l" + b"l-" + bytes(7) + b"\x03" + hashlib.sha256(b"a/f").digest())
        + (b"\0\0\0\x03a/f" + b"fx" + bytes(7) + b"\x02" + hashlib.sha256(b"xy").digest())
    )
    assert tree_hash(tmp_path) == hashlib.sha256(expected).hexdigest()


def test_a_tree_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tree_hash(tmp_path / "none")


@given(first=trees, second=trees)
def test_equal_hashes_mean_equal_trees(
    tmp_path_factory: pytest.TempPathFactory,
    first: dict[tuple[str, ...], Entry],
    second: dict[tuple[str, ...], Entry],
) -> None:
    root = tmp_path_factory.mktemp("trees")
    one, two = write(root / "one", first), write(root / "two", second)
    assert (tree_hash(one) == tree_hash(two)) == (listing(one) == listing(two))


def listing(tree: Path) -> set[tuple[object, ...]]:
    found: set[tuple[object, ...]] = set()
    for path in tree.rglob("*"):
        name = path.relative_to(tree)
        if path.is_symlink():
            found.add((name, os.readlink(path)))  # noqa: PTH115 - Path.readlink normalises
        elif path.is_dir():
            found.add((name,))
        else:
            found.add((name, path.read_bytes(), bool(path.stat().st_mode & 0o100)))
    return found
