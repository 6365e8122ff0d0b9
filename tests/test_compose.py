"""docker-compose.yml against the settings that the code reads: it cannot be run here."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from agent.config import AgentConfig
from runtime.settings import ApiSettings, Profile, Settings, WorkerSettings, known_names, load

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
READERS = {"api": ApiSettings, "worker": WorkerSettings, "migrate": Settings}
GIVEN = {
    "DATABASE_PASSWORD": "r7Kq-2mZx9-wLp4tV",
    "DATABASE_OWNER_PASSWORD": "0f1e2d3c4b5a6978",
    "TEMPORAL_DATABASE_PASSWORD": "fedcba9876543210",
}
VARIABLE = re.compile(r"\$\{(\w+)(?::?([-?])([^}]*))?\}")


def interpolated(value: str, given: dict[str, str]) -> str:
    """As compose does it: ${NAME:-default} and ${NAME:?message}."""
    return VARIABLE.sub(lambda found: given.get(found[1], found[3] if found[2] == "-" else ""), value)


def test_every_hotswap_variable_is_one_that_the_code_reads():
    for name, service in SERVICES.items():
        ours = {each for each in service.get("environment", {}) if each.startswith("HOTSWAP_")}
        assert ours <= known_names(), name
        assert bool(ours) == (name in READERS), name


@pytest.mark.parametrize("name", READERS)
def test_each_process_starts_with_what_it_is_given(name, tmp_path, monkeypatch, no_hotswap_environment):
    service = SERVICES[name]
    for secret in service["secrets"]:
        (tmp_path / secret).touch(mode=0o600)
    for variable, value in service["environment"].items():
        inside = interpolated(value, GIVEN).replace("/run/secrets", str(tmp_path))
        monkeypatch.setenv(variable, inside)
    settings = load(READERS[name])
    assert settings.profile is Profile.PRODUCTION
    assert settings.database_url == "postgresql+psycopg://hotswap:r7Kq-2mZx9-wLp4tV@postgresql:5432/hotswap"


def test_only_the_api_can_sign_tokens():
    assert [name for name, service in SERVICES.items() if "token.key" in service.get("secrets", ())] == [
        "api"
    ]


@pytest.mark.parametrize("name", ["node-01", "node-02"])
def test_the_agents_own_reader_accepts_their_configuration(name):
    config = AgentConfig.model_validate(tomllib.loads(COMPOSE["configs"][name]["content"]))
    assert config.node == name
    secrets = {f"/run/secrets/{secret}" for secret in SERVICES[name]["secrets"]}
    named = {config.tls_ca, config.tls_certificate, config.tls_key, config.token_file}
    assert {str(path) for path in named} == secrets
    targets = [volume.rsplit(":", 2)[1] for volume in SERVICES[name]["volumes"] if volume.endswith(":ro")]
    assert targets == [str(config.trust)]


def test_no_password_is_in_the_file():
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|PWD|SECRET", variable):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), (name, variable)
            assert not re.search(r"//\w+:[^$@]+@", value), (name, variable)


def test_images_are_pinned():
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[\w./-]+:\d+\.\d+[\w.-]*", service["image"]), name


def test_whatever_is_referred_to_is_there():
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", ())) <= set(SERVICES), name
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"]), name
        assert {config["source"] for config in service.get("configs", ())} <= set(COMPOSE["configs"]), name
        named = [
            volume.split(":")[0]
            for volume in service.get("volumes", ())
            if not volume.startswith(("$", "/", "."))
        ]
        assert set(named) <= set(COMPOSE["volumes"]), name
