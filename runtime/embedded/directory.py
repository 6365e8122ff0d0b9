"""What lies where under `.hotswap`. Nothing of it belongs into a repository."""

from pathlib import Path

from domain.base import Frozen


class StackDirectory(Frozen):
    """The paths of one embedded stack; `root` is absolute and open to its owner only."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.root / "supervisor.lock"

    @property
    def choices(self) -> Path:
        """Ports and nodes, as chosen at the first start."""
        return self.root / "stack.json"

    @property
    def state(self) -> Path:
        """What runs now: the supervisor and its parts, by pid and start time."""
        return self.root / "state.json"

    @property
    def restored(self) -> Path:
        """There from a restore until the first start after it."""
        return self.root / "restored"

    @property
    def client(self) -> Path:
        """What the CLI needs to find the API and to sign in."""
        return self.root / "client.json"

    @property
    def settings(self) -> Path:
        """The settings of API and worker, for HOTSWAP_SETTINGS_FILE."""
        return self.root / "settings.env"

    @property
    def own_files(self) -> dict[str, Path]:
        """What a person may lay here for the worker, by its setting; read at the stack's start."""
        return {"HOOKS_FILE": self.root / "hooks.yaml", "PROVIDERS_FILE": self.root / "providers.yaml"}

    @property
    def admin_password(self) -> Path:
        """The generated password of the first admin."""
        return self.root / "admin-password"

    @property
    def database_password(self) -> Path:
        """The password of the role that API and worker use."""
        return self.root / "database-password"

    @property
    def owner_password(self) -> Path:
        """The password of the role that owns the tables; migrations use it."""
        return self.root / "database-owner-password"

    @property
    def logs(self) -> Path:
        """One log per part, and supervisor.log."""
        return self.root / "logs"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor did, and when."""
        return self.logs / "supervisor.log"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's data and its superuser's password."""
        return self.root / "postgres"

    @property
    def temporal_database(self) -> Path:
        """Temporal's SQLite file."""
        return self.root / "temporal" / "temporal.db"

    @property
    def bundles(self) -> Path:
        """Bundles by digest, shared by API and worker."""
        return self.root / "bundles"

    @property
    def tls(self) -> Path:
        """The CA of agents and control plane, and the control plane's client certificate."""
        return self.root / "tls"

    @property
    def signing(self) -> Path:
        """The development signing root and the signer's certificate and key."""
        return self.root / "signing"

    @property
    def trust(self) -> Path:
        """The roots that bundles must be signed under; certificates only."""
        return self.root / "trust"

    @property
    def tokens(self) -> Path:
        """The key pair that API tokens are signed and checked with."""
        return self.root / "tokens"

    def node(self, name: str) -> Path:
        """Everything of one node: agent.toml, certificate, token, the agent's own data."""
        return self.root / "nodes" / name

    def log(self, part: str) -> Path:
        """What one part wrote to its output."""
        return self.logs / f"{part}.log"
