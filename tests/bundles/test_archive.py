"""Bundles: packed deterministically, unpacked whole or not at all, refused when they could do harm."""

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles.archive import Limits, inspect, pack, unpack
from bundles.tree import tree_hash
from domain.errors import BundleInvalid, BundleTooLarge
from tests.bundles.trees import MANIFEST, Entry, site, trees, write

Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return site(tmp_path / "tree")


@pytest.fixture
def bundle(tree: Path, tmp_path: Path) -> Path:
    pack(tree, tmp_path / "bundle.tar.gz")
    return tmp_path / "bundle.tar.gz"


def test_what_is_unpacked_is_what_was_packed(tree: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.tar.gz"
    packed = pack(tree, bundle)
    assert str(packed) == "web-site@1.2.3"
    assert packed.digest == hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert packed.tree == tree_hash(tree)
    manifest, seen = inspect(bundle)
    assert (manifest.name, seen) == ("web-site", packed)
    assert unpack(bundle, tmp_path / "out") == (manifest, packed)
    assert tree_hash(tmp_path / "out") == packed.tree


def test_modes_do_not_depend_on_the_umask(bundle: Path, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        unpack(bundle, tmp_path / "out")
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(tmp_path)): path.stat().st_mode & 0o7777
        for path in (
            tmp_path / "out",
            *(tmp_path / "out").glob("[bi]*/**"),
            *(tmp_path / "out").glob("bin/*"),
        )
    }
    assert modes == {"out": 0o755, "out/bin": 0o755, "out/bin/reload": 0o755}
    assert (tmp_path / "out" / "index.html").stat().st_mode & 0o7777 == 0o644


@settings(max_examples=40, deadline=None)
@given(tree=trees)
def test_packing_is_deterministic_and_unpacking_its_inverse(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[tuple[str, ...], Entry]
) -> None:
    root = tmp_path_factory.mktemp("pack")
    first = write(root / "first", tree)
    second = write(root / "second", dict(reversed(tree.items())))
    os.utime(second / "hotswap.toml", (1, 1))
    (second / "hotswap.toml").chmod(0o600)
    release = pack(first, root / "1.tar.gz")
    assert pack(second, root / "2.tar.gz") == release
    assert (root / "1.tar.gz").read_bytes() == (root / "2.tar.gz").read_bytes()
    unpack(root / "1.tar.gz", root / "out")
    assert tree_hash(root / "out") == release.tree == tree_hash(first)


def test_the_standard_tools_read_a_bundle_and_ours_reads_theirs(tree: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours.tar.gz"
    release = pack(tree, ours)
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xzf", ours, "-C", tmp_path / "out"], check=True)
    assert tree_hash(tmp_path / "out") == release.tree
    for archive_format in ("gnu", "pax"):
        theirs = tmp_path / f"{archive_format}.tar.gz"
        subprocess.run(["tar", f"--format={archive_format}", "-czf", theirs, "-C", tree, "."], check=True)
        assert inspect(theirs)[1].tree == release.tree


def test_unpacking_never_touches_what_is_there(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError):
        unpack(bundle, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def setuid(tree: Path) -> None:
    (tree / "index.html").chmod(0o4755)


def fifo(tree: Path) -> None:
    os.mkfifo(tree / "pipe")


def absolute_link(tree: Path) -> None:
    (tree / "passwd").symlink_to("/etc/passwd")


def newline(tree: Path) -> None:
    (tree / "two\nlines").touch()


def not_unicode(tree: Path) -> None:
    Path(os.fsdecode(os.fsencode(tree) + b"/\xff")).touch()


@pytest.mark.parametrize("spoil", [setuid, fifo, absolute_link, newline, not_unicode])
def test_a_tree_that_receivers_would_refuse_is_not_packed(
    tree: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(tree)
    with pytest.raises(BundleInvalid):
        pack(tree, tmp_path / "bundle.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_a_bundle_is_not_written_into_the_tree_that_it_packs(tree: Path) -> None:
    with pytest.raises(BundleInvalid) as refused:
        pack(tree, tree / "static" / "bundle.tar.gz")
    assert refused.value.field == "destination"


# Archives by hand: each of these is wrong in one way.


def entry(name: str, content: bytes = b"", **header: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in header.items():
        setattr(info, key, value)
    return info, content


def archive(path: Path, members: Members, *, tail: bytes = b"") -> Path:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    path.write_bytes(gzip.compress(out.getvalue() + tail))
    return path


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.SYMTYPE, linkname=target)


def directory(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.DIRTYPE, mode=0o755)


TOML = entry("hotswap.toml", MANIFEST.encode())
HOSTILE: dict[str, Members] = {
    "path traversal": [entry("../evil")],
    "path traversal below": [entry("a/../../evil")],
    "traversal that stays": [entry("a/../b")],
    "absolute path": [entry("/etc/evil")],
    "doubled separator": [entry("a//b")],
    "dot in the middle": [entry("a/./b")],
    "file called dot": [entry(".")],
    "newline in a name": [entry("a\nb")],
    "name that is not UTF-8": [entry("\udcff")],
    "name that is too long": [entry("x" * 256)],
    "path that is too long": [entry("/".join(["x" * 200] * 6))],
    "absolute link": [link("a", "/etc/passwd")],
    "link out": [link("a", "../evil")],
    "link out from below": [link("a/b", "../../evil")],
    "empty link": [link("a", "")],
    "link up through a link": [link("d/up", ".."), link("d/out", "up/../evil")],
    "file below a link": [link("a", "b"), entry("a/evil")],
    "file below a link to a directory": [directory("b"), link("a", "b"), entry("a/evil")],
    "directory in place of a link": [link("a", "b"), directory("a")],
    "link in place of a directory": [entry("a/b"), link("a", "b")],
    "file below a file": [entry("a"), entry("a/b")],
    "hard link": [entry("a"), entry("b", type=tarfile.LNKTYPE, linkname="a")],
    "character device": [entry("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "block device": [entry("disk", type=tarfile.BLKTYPE, devmajor=8)],
    "fifo": [entry("pipe", type=tarfile.FIFOTYPE)],
    "contiguous file": [entry("a", type=tarfile.CONTTYPE)],
    "unknown type": [entry("a", type=b"Z")],
    "setuid": [entry("a", mode=0o4755)],
    "setgid directory": [entry("a", type=tarfile.DIRTYPE, mode=0o2755)],
    "sticky": [entry("a", mode=0o1644)],
    "duplicate": [entry("a"), entry("a")],
    "duplicate by another spelling": [entry("a"), entry("./a")],
    "duplicate directory": [directory("a"), directory("a")],
    "second manifest": [TOML],
    "pax header without end": [entry("a", pax_headers={"comment": "x" * 100_000})],
    "pax header that renames": [entry("a", pax_headers={"path": "../evil"})],
    "pax header with another size": [entry("a", b"x", pax_headers={"size": "-1024"})],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    bundle = archive(tmp_path / "bundle", [TOML, *HOSTILE[name]])
    with pytest.raises(BundleInvalid) as refused:
        inspect(bundle)
    assert refused.value.field == "bundle"
    with pytest.raises(BundleInvalid):
        unpack(bundle, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [bundle]


@pytest.mark.parametrize(
    "members",
    [
        [link("a", "b"), entry("b")],
        [link("a", "./b/"), directory("b")],
        [link("d/a", "../b"), entry("b")],
        [link("dangling", "nowhere")],
        [entry("a/b/c"), directory("a"), directory("a/b")],
        [entry("./a")],
        [entry("..a"), entry("a..")],
    ],
)
def test_what_stays_in_the_tree_is_accepted(tmp_path: Path, members: Members) -> None:
    bundle = archive(tmp_path / "bundle", [TOML, *members])
    _, release = unpack(bundle, tmp_path / "out")
    assert tree_hash(tmp_path / "out") == release.tree
    for path in (tmp_path / "out").rglob("*"):
        assert path.resolve().is_relative_to(tmp_path / "out")
    if hasattr(tarfile, "data_filter"):  # whatever we accept, PEP 706 accepts
        for info, _ in members:
            tarfile.data_filter(info, str(tmp_path / "out"))


def test_a_header_that_does_not_parse_is_not_the_end(tmp_path: Path, bundle: Path) -> None:
    plain = bytearray(gzip.decompress(bundle.read_bytes()))
    second = plain.index(b"bin/reload\0")
    plain[second : second + 10] = b"bin/rel0ad"  # the checksum no longer fits
    bundle.write_bytes(gzip.compress(bytes(plain)))
    with pytest.raises(BundleInvalid):
        inspect(bundle)


def test_data_after_the_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleInvalid):
        inspect(archive(tmp_path / "bundle", [TOML], tail=b"more"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"",
        lambda content: b"PK\x03\x04 a zip",
        lambda content: content + b"garbage",
        lambda content: content[:-9],
        lambda content: content[: len(content) // 2],
        lambda content: gzip.compress(b""),
        lambda content: gzip.compress(bytes(512)[:100]),
        lambda content: gzip.compress(gzip.decompress(content).rstrip(b"\0")),
        gzip.decompress,
    ],
)
def test_what_is_no_whole_gzipped_tar_is_refused(bundle: Path, spoil: Callable[[bytes], bytes]) -> None:
    bundle.write_bytes(spoil(bundle.read_bytes()))
    with pytest.raises(BundleInvalid):
        inspect(bundle)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_damage_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("damage")
    pack(site(root / "tree"), root / "bundle")
    plain = bytearray(gzip.decompress((root / "bundle").read_bytes()))
    for _ in range(data.draw(st.integers(1, 4))):
        plain[data.draw(st.integers(0, len(plain) - 1))] = data.draw(st.integers(0, 255))
    (root / "bundle").write_bytes(gzip.compress(bytes(plain)))
    try:
        _, found = unpack(root / "bundle", root / "out")
    except BundleInvalid:
        assert sorted(path.name for path in root.iterdir()) == ["bundle", "tree"]
    else:
        assert tree_hash(root / "out") == found.tree


# Limits.


def numbered(count: int) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    return (entry(f"f{number}") for number in range(count))


@pytest.mark.parametrize(
    ("limits", "members"),
    [
        (Limits(max_bundle_bytes=100), [TOML]),
        (Limits(max_entries=10), [TOML, *numbered(10)]),
        (Limits(max_entries=10), [TOML, entry("/".join("abcdefghijk"))]),
        (Limits(max_unpacked_bytes=100_000), [TOML, entry("zeros", bytes(100_000))]),
        (Limits(max_ratio=10), [TOML, entry("zeros", bytes(17 * 1024 * 1024))]),
    ],
)
def test_a_bundle_beyond_a_limit_is_too_large(tmp_path: Path, limits: Limits, members: Members) -> None:
    bundle = archive(tmp_path / "bundle", members)
    for read in (lambda: inspect(bundle, limits), lambda: unpack(bundle, tmp_path / "out", limits)):
        with pytest.raises(BundleTooLarge):
            read()
    assert list(tmp_path.iterdir()) == [bundle]
    inspect(bundle, Limits(max_ratio=2000))


def test_a_size_that_is_only_claimed_costs_nothing(tmp_path: Path) -> None:
    info = tarfile.TarInfo("huge")
    info.size = 1 << 62
    bundle = tmp_path / "bundle"
    bundle.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    with pytest.raises(BundleInvalid):
        inspect(bundle)


# Manifests.


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        (None, "hotswap.toml"),
        (b"name = ", "hotswap.toml"),
        (b"\xff", "hotswap.toml"),
        (b"x = " + b"[" * 100_000, "hotswap.toml"),
        (b"#" * 300_000, "hotswap.toml"),
        (b'version = "1.0.0"\nkind = "files"\n', "name"),
        (b'name = "Web"\nversion = "1.0.0"\nkind = "files"\n', "name"),
        (b'name = "web"\nversion = "1.0"\nkind = "files"\n', "version"),
        (b'name = "web"\nversion = "1.0.0"\nkind = "vm"\n', "kind"),
        (b'name = "web"\nversion = "1.0.0"\nkind = "files"\ncolour = "red"\n', "colour"),
        (b'name = "web"\nversion = "1.0.0"\nkind = "process"\n', "process"),
        (b'name = "web"\nversion = "1.0.0"\nkind = "process"\n[process]\n', "process.command"),
        (
            b'name = "web"\nversion = "1.0.0"\nkind = "process"\n[process]\ncommand = ["x"]\n'
            b'sockets = [{name = "a"}, {name = "b", port = 0}]\n',
            "process.sockets.1.port",
        ),
        (
            b'name = "web"\nversion = "1.0.0"\nkind = "process"\n[process]\ncommand = ["x"]\n'
            b'[probe]\nsocket = "a"\n',
            "probe",
        ),
    ],
)
def test_a_wrong_manifest_is_refused_by_field(tmp_path: Path, manifest: bytes | None, field: str) -> None:
    members = [entry("a")] if manifest is None else [entry("hotswap.toml", manifest)]
    with pytest.raises(BundleInvalid) as refused:
        unpack(archive(tmp_path / "bundle", members), tmp_path / "out")
    assert refused.value.field == field
    assert not (tmp_path / "out").exists()


def test_a_manifest_has_to_be_a_file_of_the_bundle(tmp_path: Path) -> None:
    members = [entry("real.toml", MANIFEST.encode()), link("hotswap.toml", "real.toml")]
    with pytest.raises(BundleInvalid) as refused:
        inspect(archive(tmp_path / "bundle", members))
    assert refused.value.field == "hotswap.toml"
