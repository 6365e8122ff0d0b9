"""A module's directories on the node.

```
<module>/current      → releases/<slot>: a symlink, replaced by one rename(2): the commit point of a switch
<module>/releases/    immutable release trees
<module>/log/         what the processes print, one file per slot
<module>/data/        the module's own; no release and no operation touches it
```
"""

import shutil
from collections.abc import Collection
from pathlib import Path

from agent.journal import sync_directory

_POINTER_DRAFT = ".current"


class ModuleDirectory:
    """All calls are blocking disk work, for a thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.releases = root / "releases"
        self.pointer = root / "current"
        self.logs = root / "log"
        self.data = root / "data"

    def prepare(self) -> None:
        """Make the directories, durably."""
        for directory in (self.root, self.releases, self.logs, self.data):
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        sync_directory(self.root)
        sync_directory(self.root.parent)

    def release(self, slot: str) -> Path:
        """The directory of a slot's tree."""
        return self.releases / slot

    def slot_of(self, path: str) -> str | None:
        """The slot that a path lies in, if it lies in one."""
        try:
            inside = Path(path).relative_to(self.releases.resolve())
        except ValueError:
            return None
        return inside.parts[0] if inside.parts else None

    def current(self) -> str | None:
        """The slot behind the pointer; None when the module is not installed."""
        try:
            return self.pointer.readlink().name
        except FileNotFoundError:
            return None

    def point(self, slot: str | None) -> None:
        """Move the pointer, or remove it, durably: the old one or the new one is there at any instant."""
        if slot is None:
            self.pointer.unlink(missing_ok=True)
        else:
            draft = self.root / _POINTER_DRAFT
            draft.unlink(missing_ok=True)
            draft.symlink_to(Path(self.releases.name) / slot)
            draft.replace(self.pointer)
        sync_directory(self.root)

    def sweep(self, keep: Collection[str]) -> None:
        """Delete every release tree and log that belongs to none of these slots."""
        for entry in list(self.releases.iterdir()):
            if entry.name not in keep:
                remove_tree(entry)
        for log in list(self.logs.iterdir()):
            if log.name.removesuffix(".old").removesuffix(".log") not in keep:
                log.unlink(missing_ok=True)

    def log(self, slot: str) -> Path:
        """Where the processes of a slot print to."""
        return self.logs / f"{slot}.log"


def remove_tree(path: Path) -> None:
    """Delete a tree, read-only directories included."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    path.chmod(0o700)
    for directory in path.rglob("*"):
        if directory.is_dir() and not directory.is_symlink():
            directory.chmod(0o700)
    shutil.rmtree(path)
