"""Secrets from HashiCorp Vault's KV secrets engine, version 2, read once at the start.

One secret holds settings by their names in lower case (`database_url`, `jwt_private_key_file`, …). A setting
that names a file holds the file's content there; it is written to a directory that only this process's user
may enter.
"""

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

import hvac
import requests  # noqa: TID251 - what hvac raises
from hvac.exceptions import VaultDown, VaultError
from pydantic import Field, FilePath, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from domain.errors import InvalidInput
from runtime import files

TIMEOUT: Final = 10  # seconds per request
ATTEMPTS: Final = 4


class VaultSettings(BaseSettings):
    """Without `vault_address`, no Vault is asked."""

    model_config = SettingsConfigDict(env_prefix="HOTSWAP_", extra="ignore", frozen=True)

    vault_address: Annotated[str, Field(pattern=r"^https?://[^\s/]+$")] | None = Field(
        default=None, description="HashiCorp Vault, such as https://vault.example:8200; not asked without."
    )
    vault_mount: str = Field(default="secret", description="Where its KV engine (version 2) is mounted.")
    vault_path: str = Field(default="hotswap", description="The secret that holds our settings by name.")
    vault_token_file: FilePath | None = Field(default=None, description="File with a token that may read it.")
    vault_role_id: str | None = Field(
        default=None, description="AppRole to sign in with instead; goes with vault_secret_id_file."
    )
    vault_secret_id_file: FilePath | None = Field(
        default=None, description="File with the AppRole's secret id."
    )
    vault_ca: FilePath | None = Field(default=None, description="PEM roots of Vault's certificate.")

    @model_validator(mode="after")
    def _a_vault_needs_a_way_in(self) -> Self:
        by_role = self.vault_role_id is not None and self.vault_secret_id_file is not None
        if (self.vault_role_id is None) != (self.vault_secret_id_file is None):
            raise ValueError("vault_role_id and vault_secret_id_file go together")
        if self.vault_address is not None and (self.vault_token_file is None) != by_role:
            raise ValueError("vault_address needs either vault_token_file or an AppRole")
        return self


def read(settings: VaultSettings) -> dict[str, str]:
    """The settings that Vault holds.

    Raises:
        InvalidInput: Vault refuses, has no such secret, or does not answer; never with a value of it.
    """
    if settings.vault_address is None:
        return {}
    where = f"{settings.vault_mount}/{settings.vault_path}"
    patiently = Retrying(
        retry=retry_if_exception_type((requests.ConnectionError, requests.Timeout, VaultDown)),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        reraise=True,
    )
    try:
        found = patiently(_fetch, settings)
    except (VaultError, requests.RequestException) as error:
        kind = type(error).__name__
        raise InvalidInput(f"Vault does not give {where}: {kind}", field="vault_address") from error
    return {str(name): str(value) for name, value in found.items()}


def _fetch(settings: VaultSettings) -> Mapping[str, Any]:
    client = hvac.Client(
        url=settings.vault_address,
        timeout=TIMEOUT,
        verify=str(settings.vault_ca) if settings.vault_ca else True,
        token=settings.vault_token_file.read_text().strip() if settings.vault_token_file else None,
    )
    if settings.vault_role_id is not None and settings.vault_secret_id_file is not None:
        client.auth.approle.login(
            role_id=settings.vault_role_id, secret_id=settings.vault_secret_id_file.read_text().strip()
        )
    answer = client.secrets.kv.v2.read_secret_version(
        path=settings.vault_path, mount_point=settings.vault_mount, raise_on_deleted_version=True
    )
    data: Mapping[str, Any] = answer["data"]["data"]
    return data


def as_files(values: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
    """The values, those of `names` replaced by files with their content, which nobody else may read.

    They are gone when the process ends.
    """
    held = [name for name in values if name in names]
    if not held:
        return dict(values)
    directory = Path(tempfile.mkdtemp(prefix="hotswap-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    for name in held:
        files.replace(directory / name, values[name].encode())
    return {**values, **{name: str(directory / name) for name in held}}
