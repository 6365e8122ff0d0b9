"""Where the control plane is and who is asking.

In this order: `--url`/`--token` (HOTSWAP_URL, HOTSWAP_TOKEN); a profile that `hotswap login` saved in
$XDG_CONFIG_HOME/hotswap; `.hotswap/client.json` of an embedded stack, in the working directory or above it.
Files that hold a token or name a password are readable by their owner only.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints, ValidationError

from cli.errors import CommandFailed, NotSignedIn, why
from domain.base import Frozen
from runtime import files

STACK_FILE = Path(".hotswap") / "client.json"
DEFAULT_PROFILE = "default"

ProfileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class Target(Frozen):
    """A control plane and the identity to use there.

    Attributes:
        url: the API's base, without /api/v1.
        source: where this was found, in words.
        token: a bearer token to use as it is; None signs in with the password.
        password_file: holds the user's password on its first line.
        tenant: the tenant that an admin of the platform chooses; None for one's own.
        temporal_ui_url, temporal_address: of the console and the frontend, when they are known.
    """

    url: str
    source: str
    username: str | None = None
    token: str | None = None
    password_file: Path | None = None
    temporal_ui_url: str | None = None
    temporal_address: str | None = None
    tenant: str | None = None


class Profile(Frozen):
    """What `hotswap login` keeps: a token, never the password."""

    name: ProfileName
    url: str
    username: str
    token: str
    temporal_ui_url: str | None = None
    temporal_address: str | None = None


class Choice(Frozen):
    """What the command line and the environment say."""

    url: str | None = None
    token: str | None = None
    profile: str | None = None
    tenant: str | None = None


def find_target(choice: Choice, *, environment: Mapping[str, str], directory: Path) -> Target:
    """Where to go, by the order above.

    Raises:
        NotSignedIn: nothing says where.
        CommandFailed: the named profile or a found file cannot be used.
    """
    if choice.url is not None:
        address = choice.url.rstrip("/")
        return Target(url=address, source="--url", token=choice.token, tenant=choice.tenant)
    saved = _from_profile(choice.profile, environment) or _from_stack(directory)
    if saved is None:
        raise NotSignedIn(
            "no control plane: start one with 'hotswap up', or sign in with 'hotswap login --url'"
        )
    given = {"token": choice.token, "tenant": choice.tenant}
    return saved.model_copy(update={name: value for name, value in given.items() if value})


def _from_profile(name: str | None, environment: Mapping[str, str]) -> Target | None:
    path = profile_path(name or DEFAULT_PROFILE, environment)
    if not path.exists():
        if name is not None:
            raise CommandFailed(f"no profile {name!r}: make it with 'hotswap login --profile {name}'")
        return None
    profile = _read(path)
    return Target(source=f"profile {profile.name}", **profile.model_dump(exclude={"name"}))


def _from_stack(directory: Path) -> Target | None:
    for folder in (directory, *directory.parents):
        path = folder / STACK_FILE
        if path.exists():
            return stack_target(path)
    return None


def stack_target(path: Path) -> Target:
    """The target that an embedded stack's client.json describes."""
    try:
        content = json.loads(path.read_text())
        target = Target.model_validate({**content, "source": str(path)})
    except (OSError, ValueError, TypeError) as error:
        raise CommandFailed(f"{path} is not readable as a stack's description: {error}") from error
    if target.password_file is not None:
        return target.model_copy(update={"password_file": path.parent / target.password_file})
    return target


def profile_path(name: str, environment: Mapping[str, str]) -> Path:
    """The file of a profile.

    Raises:
        CommandFailed: the name is none.
    """
    try:
        Profile(name=name, url="", username="", token="")
    except ValidationError as error:
        raise CommandFailed(f"{name!r} is not a profile name", field="profile") from error
    base = environment.get("XDG_CONFIG_HOME") or str(
        Path(environment.get("HOME", "~")).expanduser() / ".config"
    )
    return Path(base) / "hotswap" / f"{name}.json"


def save_profile(profile: Profile, environment: Mapping[str, str]) -> Path:
    """Keep a profile, readable by its owner only; the file it went to."""
    path = profile_path(profile.name, environment)
    files.replace(path, profile.model_dump_json(indent=2).encode())
    return path


def _read(path: Path) -> Profile:
    try:
        return Profile.model_validate_json(path.read_text())
    except (OSError, ValidationError) as error:
        raise CommandFailed(
            f"{path} cannot be read: {why(error)}; sign in again with 'hotswap login'"
        ) from error
