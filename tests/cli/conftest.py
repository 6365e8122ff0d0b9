"""What all tests of the CLI share."""

import pytest

from tests.cli.small_server import SmallServer


@pytest.fixture
def server():
    """A small real server that runs."""
    with SmallServer().running() as running:
        yield running


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nothing of the person who runs the tests is read or written."""
    for name in ("HOTSWAP_URL", "HOTSWAP_TOKEN", "HOTSWAP_PROFILE", "DEMO_EXIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path
