"""What a new stack is given once: keys, certificates, passwords, and the files that tell each process."""

import json
from collections.abc import Mapping
from pathlib import Path

from runtime import files
from runtime.authority import Authority, Usage, ensure_token_keys
from runtime.embedded import postgres
from runtime.embedded.choices import Choices
from runtime.embedded.directory import StackDirectory
from runtime.embedded.postgres import Login

# The common name that agents take orders from.
CONTROL_PLANE = "hotswap-control-plane"
ADMIN = "admin"
DATABASE = "hotswap"
OWNER = "hotswap_owner"
HOST = "127.0.0.1"
_ZONES = ("a", "b", "c")
_ROLES = ("edge", "core")


def ensure_keys(directory: StackDirectory, choices: Choices) -> None:
    """Every key and certificate that is not there yet.

    Two roots: one for who may talk to whom, one for whose bundles are trusted.
    """
    for path in (directory.root, directory.logs, directory.bundles, directory.trust):
        files.private_directory(path)
    files.private_directory(directory.temporal_database.parent)
    network = Authority.ensure(directory.tls, "ca", "Hotswap local CA")
    network.issue(directory.tls, "control-plane", usage=Usage.CLIENT, common_name=CONTROL_PLANE)
    for name in choices.node_names:
        node = files.private_directory(directory.node(name))
        network.issue(node, "agent", usage=Usage.SERVER, common_name=name, hosts=[HOST, "localhost", name])
    signing = Authority.ensure(directory.signing, "root", "Hotswap local signing root")
    signing.issue(directory.signing, "signer", usage=Usage.CODE_SIGNING, common_name="Hotswap local signer")
    files.write_once(directory.trust / "root.pem", signing.root.certificate.read_bytes())
    ensure_token_keys(directory.tokens)
    files.secret(directory.admin_password)
    files.secret(directory.database_password)
    files.secret(directory.owner_password)


def write_settings(directory: StackDirectory, choices: Choices) -> None:
    """The settings of API and worker, the CLI's description of the stack, and each agent's configuration."""
    keys = ensure_token_keys(directory.tokens)
    ports, tls = choices.ports, directory.tls
    settings = {
        "PROFILE": "development",
        "DATABASE_URL": database_url(choices, application_login(directory)),
        "TEMPORAL_ADDRESS": f"{HOST}:{ports['temporal']}",
        "TEMPORAL_UI_URL": f"http://{HOST}:{ports['temporal-ui']}",
        "API_HOST": HOST,
        "API_PORT": ports["api"],
        # One person's own machine: commands in loops are no attack.
        "LIMIT_SIGN_IN": "600/minute",
        "LIMIT_SIGN_IN_ADDRESS": "600/minute",
        "LIMIT_READS": "60000/minute",
        "LIMIT_WRITES": "60000/minute",
        "LIMIT_TENANT": "600000/minute",
        "BUNDLE_DIRECTORY": directory.bundles,
        "TRUST_DIRECTORY": directory.trust,
        "TLS_CA": tls / "ca.pem",
        "TLS_CERTIFICATE": tls / "control-plane.pem",
        "TLS_KEY": tls / "control-plane.key",
        "JWT_PRIVATE_KEY_FILE": keys.private,
        "JWT_PUBLIC_KEY_FILE": keys.public,
        **{name: path for name, path in directory.own_files.items() if path.exists()},
    }
    lines = [f"HOTSWAP_{name}={_quoted(str(value))}\n" for name, value in settings.items()]
    files.replace(directory.settings, "".join(lines).encode())
    client = {
        "url": api_url(choices),
        "username": ADMIN,
        "password_file": str(directory.admin_password),
        "temporal_ui_url": settings["TEMPORAL_UI_URL"],
        "temporal_address": settings["TEMPORAL_ADDRESS"],
    }
    files.replace(directory.client, json.dumps(client, indent=2).encode())
    for name in choices.node_names:
        files.replace(agent_file(directory, name), _toml(_agent(directory, choices, name)).encode())


def application_login(directory: StackDirectory) -> Login:
    """The role that API and worker work as."""
    return Login(name=DATABASE, password=files.secret(directory.database_password))


def owner_login(directory: StackDirectory) -> Login:
    """The role that owns the tables."""
    return Login(name=OWNER, password=files.secret(directory.owner_password))


def database_url(choices: Choices, login: Login) -> str:
    """The application's database, as one of its roles."""
    return postgres.database_url(choices.ports["postgres"], login, DATABASE)


def api_url(choices: Choices) -> str:
    """The API's base."""
    return f"http://{HOST}:{choices.ports['api']}"


def agent_file(directory: StackDirectory, node: str) -> Path:
    """A node's agent.toml."""
    return directory.node(node) / "agent.toml"


def token_file(directory: StackDirectory, node: str) -> Path:
    """Where a node's heartbeat token is kept."""
    return directory.node(node) / "token"


def labels(index: int) -> dict[str, str]:
    """Labels of the index-th node: zones and roles cross, so that a planner has something to spread over."""
    return {"zone": _ZONES[index % len(_ZONES)], "role": _ROLES[index % len(_ROLES)]}


def _agent(directory: StackDirectory, choices: Choices, name: str) -> Mapping[str, str | float | bool]:
    node = directory.node(name)
    return {
        "node": name,
        "listen": f"{HOST}:{choices.ports[name]}",
        "directory": str(node / "data"),
        "bind_address": HOST,
        "tls_ca": str(directory.tls / "ca.pem"),
        "tls_certificate": str(node / "agent.pem"),
        "tls_key": str(node / "agent.key"),
        "trust": str(directory.trust),
        "control_plane": api_url(choices),
        "token_file": str(token_file(directory, name)),
        "heartbeat_seconds": 5.0,
        "sample_seconds": 1.0,
        "stop_modules_on_exit": True,
    }


def _toml(values: Mapping[str, str | float | bool]) -> str:
    # JSON's strings, numbers and booleans are TOML's too (toml.io/en/v1.0.0).
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def _quoted(value: str) -> str:
    # python-dotenv: between single quotes only the quote and the backslash are special.
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
