"""Trees to pack: a small one by hand, and any that hypothesis thinks of."""

from pathlib import Path

from hypothesis import strategies as st

MANIFEST = 'name = "web-site"\nversion = "1.2.3"\nkind = "files"\n'

# What an entry is: bytes and the executable bit of a file, None for a directory, a name for a link.
Entry = tuple[bytes, bool] | None | str

_names = st.text(
    st.characters(
        min_codepoint=0x21, max_codepoint=0x2FFF, exclude_characters="/\x7f", exclude_categories=["Cc", "Cs"]
    ),
    min_size=1,
    max_size=40,
).filter(lambda name: name not in {".", "..", "hotswap.toml"})
_paths = st.lists(_names, min_size=1, max_size=4).map(tuple)
_entries = st.one_of(st.tuples(st.binary(max_size=2000), st.booleans()), st.none(), _names)
trees = st.dictionaries(_paths, _entries, max_size=12)


def write(root: Path, tree: dict[tuple[str, ...], Entry]) -> Path:
    """Make the tree below `root`, with a manifest; what is below no directory is left out."""
    root.mkdir()
    (root / "hotswap.toml").write_text(MANIFEST)
    for parts, entry in sorted(tree.items(), key=lambda item: (len(item[0]), item[0])):
        path = root.joinpath(*parts)
        if any(parent.is_symlink() or parent.is_file() for parent in path.parents if parent != root):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or path.exists():
            continue
        if entry is None:
            path.mkdir()
        elif isinstance(entry, str):
            path.symlink_to(entry)
        else:
            path.write_bytes(entry[0])
            path.chmod(0o755 if entry[1] else 0o644)
    return root


def site(root: Path) -> Path:
    """A small tree with everything that a bundle may hold."""
    return write(
        root,
        {
            ("index.html",): (b"<h1>hello</h1>", False),
            ("bin", "reload"): (b"#!/bin/sh\n", True),
            ("static", "empty"): None,
            ("static", "current.css"): "v1.css",
            ("static", "v1.css"): (b"", False),
            ("static", "r\u00e9sum\u00e9 " + "x" * 120, "y" * 120): (b"long names", False),
        },
    )
