import stat
from pathlib import Path

import pytest

import agent.config
from agent.identity import CONTROL_PLANE
from runtime.embedded import bootstrap, choices
from runtime.embedded.stack import open_directory
from runtime.settings import ApiSettings, Profile, WorkerSettings, load


@pytest.fixture
def made(tmp_path):
    # A path with what shells, dotenv files and TOML treat specially.
    directory = open_directory(tmp_path / 'o\'brien #1 "x"' / ".hotswap")
    chosen = choices.decide(directory.choices, nodes=2, environment="qa", running=(), free=lambda _: True)
    bootstrap.ensure_keys(directory, chosen)
    bootstrap.write_settings(directory, chosen)
    return directory, chosen


def test_the_agents_own_reader_accepts_what_we_write(made):
    directory, chosen = made
    for name in chosen.node_names:
        config = agent.config.load(bootstrap.agent_file(directory, name))
        assert config.node == name
        assert config.listen == f"127.0.0.1:{chosen.ports[name]}"
        assert config.control_plane == bootstrap.api_url(chosen)
        assert config.stop_modules_on_exit
        assert all(path.is_file() for path in (config.tls_ca, config.tls_certificate, config.tls_key))
        assert [path.name for path in config.trust.iterdir()] == ["root.pem"]


def test_api_and_worker_accept_what_we_write(made, monkeypatch, no_hotswap_environment):
    directory, chosen = made
    monkeypatch.setenv("HOTSWAP_SETTINGS_FILE", str(directory.settings))
    settings = load(ApiSettings)
    assert settings.profile is Profile.DEVELOPMENT
    assert settings.bundle_directory == directory.bundles
    assert settings.api_port == chosen.ports["api"]
    assert load(WorkerSettings).temporal_address == f"127.0.0.1:{chosen.ports['temporal']}"


def test_agents_take_orders_from_our_control_plane():
    assert bootstrap.CONTROL_PLANE == CONTROL_PLANE


def test_nothing_is_readable_by_others(made):
    directory, _ = made
    assert stat.S_IMODE(directory.root.stat().st_mode) == 0o700
    files = [path for path in directory.root.rglob("*") if path.is_file()]
    assert len(files) > 15
    assert [path for path in files if stat.S_IMODE(path.stat().st_mode) != 0o600] == []


def test_keys_and_passwords_are_made_once(made):
    directory, chosen = made

    def secrets() -> dict[Path, bytes]:
        found = [
            *directory.root.rglob("*.key"),
            *directory.root.rglob("*.pem"),
            *directory.root.glob("*password"),
        ]
        return {path: path.read_bytes() for path in found}

    before = secrets()
    bootstrap.ensure_keys(directory, chosen)
    bootstrap.write_settings(directory, chosen)
    assert secrets() == before
    assert len(set(before.values())) == len(before) - 1  # the signing root lies in trust/ too


def test_labels_spread_zones_and_roles():
    labels = [bootstrap.labels(index) for index in range(6)]
    assert {(each["zone"], each["role"]) for each in labels} == {
        (z, r) for z in "abc" for r in ("edge", "core")
    }


def test_what_a_person_lays_beside_it_goes_to_the_worker(made, monkeypatch, no_hotswap_environment):
    directory, chosen = made
    hooks = directory.root / "hooks.yaml"
    hooks.write_text("networks: [127.0.0.0/8]\n")
    bootstrap.write_settings(directory, chosen)
    monkeypatch.setenv("HOTSWAP_SETTINGS_FILE", str(directory.settings))
    settings = load(WorkerSettings)
    assert settings.hooks_file == hooks
    assert settings.providers_file is None
