"""What is refused before anything is saved or brought back; tests/stack/test_backup_long.py does both."""

from pathlib import Path

import pytest

from domain.errors import Conflict
from runtime.embedded.backup import back_up, restore
from runtime.embedded.directory import StackDirectory
from runtime.embedded.stack import open_directory


def test_a_stack_that_is_not_up_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="not up"):
        back_up(open_directory(tmp_path / "stack"), tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_a_backup_does_not_lie_in_what_it_saves(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="lies in"):
        back_up(open_directory(tmp_path), tmp_path / "backup")


def test_what_is_no_backup_is_not_brought_back(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="no backup"):
        restore(tmp_path, StackDirectory(root=tmp_path / "stack"))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_brought_back_over_what_is_there(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "backup.json").write_text("{}")
    stack = open_directory(tmp_path / "stack")
    (stack.root / "stack.json").write_text("{}")
    with pytest.raises(Conflict, match="not empty"):
        restore(saved, stack)
    assert [path.name for path in stack.root.iterdir()] == ["stack.json"]
