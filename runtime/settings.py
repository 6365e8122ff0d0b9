"""What each process of the control plane must be told, and where it may stand.

Every setting is an environment variable `HOTSWAP_<NAME>`, a line `HOTSWAP_<NAME>=value` in the file that
HOTSWAP_SETTINGS_FILE names, a file of that name in the directory that HOTSWAP_SECRETS_DIRECTORY names, or a
key of a secret in Vault (runtime.vault); the earlier of these wins. All processes may share them. A name that
no process knows stops the start, as do missing files, weak database passwords and (outside the development
profile) keys that everyone may read: a typing mistake must not turn a protection off.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar
from urllib.parse import unquote, urlsplit

import yaml
from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    FilePath,
    IPvAnyNetwork,
    ValidationError,
    model_validator,
)
from pydantic_settings import SettingsConfigDict

from domain.base import in_words
from domain.errors import InvalidInput
from domain.hook_settings import HookSettings
from domain.networks import AgentNetworks
from domain.provider_settings import ProviderSettings
from runtime import vault
from runtime.limit_settings import LimitSettings
from runtime.oidc_settings import OidcSettings
from runtime.strength import is_weak
from runtime.telemetry_settings import TelemetrySettings
from runtime.tenant_settings import TenantSettings
from runtime.vault import VaultSettings

PREFIX: Final = "HOTSWAP_"
FILE_VARIABLE: Final = "HOTSWAP_SETTINGS_FILE"
DIRECTORY_VARIABLE: Final = "HOTSWAP_SECRETS_DIRECTORY"
# The command line reads these; they mean nothing to a process of the control plane and do no harm there.
CLIENT_VARIABLES: Final = ("HOTSWAP_URL", "HOTSWAP_TOKEN", "HOTSWAP_SIGN_IN", "HOTSWAP_TENANT")
# `python -m store upgrade` alone reads this one: the URL of the role that owns the tables.
MIGRATION_VARIABLE: Final = "HOTSWAP_MIGRATION_DATABASE_URL"
MEBIBYTE: Final = 1024 * 1024
_PASSWORD_LENGTH = 16
# Settings that name files end so; a store of secrets holds the content instead.
_FILES: Final = ("_file", "_ca", "_certificate", "_key")


class Profile(StrEnum):
    """Which rules apply. Whatever is not development, is production."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


def _known_or_production(value: Any) -> Any:
    return value if value == Profile.DEVELOPMENT else Profile.PRODUCTION


Port = Annotated[int, Field(ge=1, le=65535)]
WebAddress = Annotated[str, Field(pattern=r"^https?://[^\s/]+[^\s]*$")]


class Settings(TelemetrySettings):
    """What every process of the control plane needs."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    profile: Annotated[Profile, BeforeValidator(_known_or_production)] = Field(
        default=Profile.PRODUCTION,
        description="`development` relaxes rules for a machine of one's own; all else means production.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe log line that is written."
    )

    database_url: str = Field(
        repr=False,
        pattern=r"^postgresql\+psycopg://",
        description="PostgreSQL as the application's role: an SQLAlchemy URL that begins postgresql+psycopg://.",
    )
    database_pool: Annotated[int, Field(ge=1, le=500)] = Field(
        default=20, description="Connections to the database that a process opens at most, and keeps."
    )
    database_pool_wait: Annotated[float, Field(gt=0, le=300)] = Field(
        default=10.0, description="Seconds that a request waits for a free connection before it is refused."
    )
    temporal_address: str = Field(
        default="127.0.0.1:7233",
        pattern=r"^[^\s/]+:\d{1,5}$",
        description="host:port of Temporal's frontend.",
    )
    temporal_namespace: str = Field(
        default="default", description="The Temporal namespace of this installation."
    )
    temporal_tls_ca: FilePath | None = Field(
        default=None, description="PEM roots of Temporal's certificate; naming one switches TLS on."
    )
    temporal_tls_certificate: FilePath | None = Field(
        default=None, description="PEM client certificate for Temporal; goes with temporal_tls_key."
    )
    temporal_tls_key: FilePath | None = Field(default=None, description="PEM key of that certificate.")
    temporal_api_key_file: FilePath | None = Field(
        default=None, description="File with Temporal's API key; naming one switches TLS on."
    )
    temporal_ui_url: WebAddress = Field(
        default="http://127.0.0.1:8233",
        description="Temporal's console, as people reach it; shown, never called.",
    )

    bundle_directory: Path = Field(description="Where bundles are kept by digest; API and workers share it.")
    trust_directory: Path = Field(description="Directory of PEM roots that bundles must be signed under.")
    max_bundle_bytes: int = Field(
        default=256 * MEBIBYTE, gt=0, description="The largest bundle that is accepted, in bytes."
    )

    tls_ca: FilePath = Field(description="PEM CA that agents' certificates are issued by.")
    tls_certificate: FilePath = Field(
        description="PEM client certificate that agents know the control plane by."
    )
    tls_key: FilePath = Field(description="PEM key of that certificate.")
    agent_networks: list[IPvAnyNetwork] = Field(
        default=[],
        description="Networks (JSON list) that agents may be in, and no others. Without: anywhere but at "
        "link-local, metadata and multicast addresses, and on this machine in development only.",
    )
    jwt_public_key_file: FilePath = Field(description="PEM Ed25519 key that tokens are checked with.")

    @model_validator(mode="after")
    def _temporal_certificate_and_key_go_together(self) -> Self:
        if (self.temporal_tls_certificate is None) != (self.temporal_tls_key is None):
            raise ValueError("temporal_tls_certificate and temporal_tls_key go together")
        return self

    @model_validator(mode="after")
    def _production_rules(self) -> Self:
        if self.profile is Profile.DEVELOPMENT:
            return self
        password = unquote(urlsplit(self.database_url).password or "")
        if len(password) < _PASSWORD_LENGTH:
            raise ValueError(f"database_url needs a password of {_PASSWORD_LENGTH} characters or more")
        if is_weak(password):
            raise ValueError("database_url has a password that is easy to guess")
        for name, path in self.private_files().items():
            if path.stat().st_mode & stat.S_IROTH:
                raise ValueError(f"{name}: everyone may read {path}; take that right away (chmod o-r)")
        for name, path in self.trusted_files().items():
            if path.exists() and path.stat().st_mode & stat.S_IWOTH:
                raise ValueError(f"{name}: everyone may write {path}; take that right away (chmod o-w)")
        return self

    def where_agents_may_be(self) -> AgentNetworks:
        """The networks that agents are looked for in."""
        return AgentNetworks(
            networks=tuple(self.agent_networks), loopback=self.profile is Profile.DEVELOPMENT
        )

    def private_files(self) -> dict[str, Path]:
        """The files that hold secrets, by the name of their setting."""
        named = {
            "tls_key": self.tls_key,
            "temporal_tls_key": self.temporal_tls_key,
            "temporal_api_key_file": self.temporal_api_key_file,
        }
        return {name: path for name, path in named.items() if path is not None}

    def trusted_files(self) -> dict[str, Path]:
        """Files and directories that say whom to believe, by the name of their setting."""
        named = {
            "trust_directory": self.trust_directory,
            "tls_ca": self.tls_ca,
            "jwt_public_key_file": self.jwt_public_key_file,
        }
        return {**self.private_files(), **named}


class ApiSettings(OidcSettings, LimitSettings, TenantSettings, Settings):
    """What the API needs besides."""

    api_host: str = Field(default="127.0.0.1", description="The address that the API listens on.")
    api_port: Port = Field(default=8080, description="The port that the API listens on.")
    jwt_private_key_file: FilePath = Field(description="PEM Ed25519 key that tokens are signed with.")

    def private_files(self) -> dict[str, Path]:
        """The files that hold secrets, by the name of their setting."""
        return {**super().private_files(), "jwt_private_key_file": self.jwt_private_key_file}


class WorkerSettings(Settings):
    """What a worker needs besides. It cannot sign tokens: it has the public key only."""

    worker_metrics_host: str = Field(
        default="127.0.0.1", description="The address that the worker answers /metrics on."
    )
    worker_metrics_port: Port | None = Field(
        default=None, description="The port that the worker answers /metrics on; it does not without."
    )

    def metrics_address(self) -> str | None:
        """host:port of /metrics, if it is answered."""
        return f"{self.worker_metrics_host}:{self.worker_metrics_port}" if self.worker_metrics_port else None

    providers_file: FilePath | None = Field(
        default=None,
        description="YAML: addresses, commands and plug-ins that policies may measure with; none without.",
    )

    hooks_file: FilePath | None = Field(
        default=None,
        description="YAML: hosts, networks, signing keys and commands of hooks; without, public https only.",
    )

    def private_files(self) -> dict[str, Path]:
        """The files that hold secrets, by the name of their setting."""
        own = {"providers_file": self.providers_file, "hooks_file": self.hooks_file}
        return {**super().private_files(), **{name: path for name, path in own.items() if path is not None}}

    def hooks(self) -> HookSettings:
        """What hooks may call.

        Raises:
            InvalidInput: the file is no YAML, or not of the documented form.
        """
        return _content(self.hooks_file, HookSettings, "hooks_file")

    def providers(self) -> ProviderSettings:
        """What the providers file allows.

        Raises:
            InvalidInput: it is no YAML, or not of the documented form.
        """
        return _content(self.providers_file, ProviderSettings, "providers_file")


Content = TypeVar("Content", bound=BaseModel)


def _content(path: Path | None, kind: type[Content], field: str) -> Content:
    """What a YAML file says; what holds without a file."""
    if path is None:
        return kind()
    try:
        return kind.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except yaml.YAMLError as error:
        raise InvalidInput(f"{path}: {error}", field=field) from error
    except ValidationError as error:
        raise InvalidInput(f"{path}: {in_words(error)}", field=field) from error


ALL: Final = (ApiSettings, WorkerSettings)
AnySettings = TypeVar("AnySettings", bound=Settings)


def known_names() -> frozenset[str]:
    """Every environment variable of ours that means something."""
    fields = {name for settings in (*ALL, VaultSettings) for name in settings.model_fields}
    return frozenset(
        {
            FILE_VARIABLE,
            DIRECTORY_VARIABLE,
            MIGRATION_VARIABLE,
            *CLIENT_VARIABLES,
            *(PREFIX + name.upper() for name in fields),
        }
    )


def load(kind: type[AnySettings]) -> AnySettings:
    """Read the settings of one kind of process: environment, file, directory, Vault; the earlier wins.

    Raises:
        InvalidInput: a name is unknown, a value is missing or wrong, or a production rule is broken;
            `field` names the setting, the message all that is wrong.
    """
    file = os.environ.get(FILE_VARIABLE)
    if file is not None and not Path(file).is_file():
        raise InvalidInput(f"{FILE_VARIABLE} names no file: {file}", field=FILE_VARIABLE)
    in_environment = [name for name in os.environ if name.upper().startswith(PREFIX)]
    given = [*in_environment, *(dotenv_values(file) if file else ())]
    in_directory = _from_directory()
    _refuse_unknown([*given, *(PREFIX + name for name in in_directory)])
    try:
        in_vault = vault.read(VaultSettings(_env_file=file))
        _refuse_unknown([PREFIX + name for name in in_vault])
        elsewhere = {**_as_files(_own(kind, in_vault)), **_own(kind, in_directory)}
        said = {name.upper() for name in given}
        missing = {name: value for name, value in elsewhere.items() if (PREFIX + name).upper() not in said}
        return kind(_env_file=file, **missing)
    except ValidationError as error:
        faults = [(".".join(str(part) for part in each["loc"]), each["msg"]) for each in error.errors()]
        told = "; ".join(
            f"{PREFIX}{name.upper()}: {message}" if name else message for name, message in faults
        )
        raise InvalidInput(f"settings: {told}", field=faults[0][0] or None) from error


def _refuse_unknown(names: Sequence[str]) -> None:
    known = known_names()
    unknown = [name for name in names if name.upper() not in known]
    if unknown:
        raise InvalidInput(f"unknown settings: {', '.join(unknown)}", field=unknown[0])


def _from_directory() -> dict[str, str]:
    """One setting per file, as orchestrators mount secrets; a setting that names a file is that file."""
    directory = os.environ.get(DIRECTORY_VARIABLE)
    if directory is None:
        return {}
    if not Path(directory).is_dir():
        raise InvalidInput(f"{DIRECTORY_VARIABLE} names no directory: {directory}", field=DIRECTORY_VARIABLE)
    found = {}
    for path in sorted(Path(directory).iterdir()):
        name = path.name.lower().removeprefix(PREFIX.lower())
        if path.is_file() and not path.name.startswith("."):
            found[name] = str(path) if name.endswith(_FILES) else path.read_text(encoding="utf-8").strip()
    return found


def _own(kind: type[Settings], values: Mapping[str, str]) -> dict[str, str]:
    """The values that this kind of process reads; others are for the others."""
    return {name: value for name, value in values.items() if name in kind.model_fields}


def _as_files(values: Mapping[str, str]) -> dict[str, Any]:
    return dict(vault.as_files(values, frozenset(name for name in values if name.endswith(_FILES))))
