"""A small SFTP server for the demo and for password tests: one user, one folder, a generated host key, a diary.

Run as a program it serves until it is stopped::

    python -m tests.simulators.sftp_server --root FOLDER --state FOLDER [--port 0] [--user shop] [--password-file FILE]

The state folder receives ``host_key`` and ``user_key`` with their ``.pub`` (made once, then kept), and, once the server
listens, ``server.json`` with host, port, user, host_key, fingerprint, key_file and pid.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh


@dataclass
class Diary:
    """What the server was asked for: who logged in how, and which changes were made."""

    logins: list[tuple[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    changes: list[tuple[str, ...]] = field(default_factory=list)


class _Login(asyncssh.SSHServer):
    def __init__(self, user: str, password: str | None, authorized: Path | None, diary: Diary) -> None:
        self._user, self._password, self._authorized, self._diary = user, password, authorized, diary
        self._connection: asyncssh.SSHServerConnection | None = None
        self._method = "public_key"

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        if self._connection and self._authorized and username == self._user:
            self._connection.set_authorized_keys(str(self._authorized))
        return True

    def password_auth_supported(self) -> bool:
        return self._password is not None

    def validate_password(self, username: str, password: str) -> bool:
        if username == self._user and password == self._password:
            self._method = "password"
            return True
        self._diary.refused.append(username)
        return False

    def auth_completed(self) -> None:
        self._diary.logins.append((self._user, self._method))


class _Files(asyncssh.SFTPServer):
    def __init__(self, chan: asyncssh.SSHServerChannel, root: Path, diary: Diary) -> None:
        super().__init__(chan, chroot=str(root))
        self._diary = diary

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        if os.path.lexists(self.map_path(newpath)):
            raise asyncssh.SFTPFailure("The new name exists")
        super().rename(oldpath, newpath)
        self._diary.changes.append(("rename", oldpath.decode(), newpath.decode()))

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        super().posix_rename(oldpath, newpath)
        self._diary.changes.append(("replace", oldpath.decode(), newpath.decode()))

    def remove(self, path: bytes) -> None:
        super().remove(path)
        self._diary.changes.append(("remove", path.decode()))


@dataclass
class SftpServer:
    """A running server; made by ``running`` or ``serve``."""

    port: int
    user: str
    root: Path
    host_key: str
    fingerprint: str
    user_key: Path | None
    diary: Diary

    def connection_json(self, password: str | None = None, **extra: object) -> str:
        """The server as an Airflow connection in JSON."""
        settings: dict[str, object] = {"host_key": self.host_key}
        if password is None and self.user_key:
            settings["key_file"] = str(self.user_key)
        fields = {"conn_type": "sftp", "host": "127.0.0.1", "port": self.port, "login": self.user}
        settings = {k: v for k, v in {**settings, **extra}.items() if v is not None}
        return json.dumps({**fields, "password": password, "extra": settings})


def _kept_key(path: Path) -> asyncssh.SSHKey:
    if not path.exists():
        key = asyncssh.generate_private_key("ssh-ed25519")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(key.export_private_key())
        path.with_name(path.name + ".pub").write_bytes(key.export_public_key())
    return asyncssh.read_private_key(str(path))


async def serve(
    root: Path, state: Path, *, port: int = 0, user: str = "shop", password: str | None = None
) -> tuple[asyncssh.SSHAcceptor, SftpServer]:
    """Start a server in the running event loop.

    Args:
        root: the folder that is its ``/``.
        state: where its keys are kept.
        port: 0 for any free one.
        user: the one who may log in, with ``user_key`` of the state folder.
        password: lets the user in as well.
    """
    root.mkdir(parents=True, exist_ok=True)
    key = _kept_key(state / "host_key")
    _kept_key(state / "user_key")
    diary = Diary()
    authorized = state / "user_key.pub"
    acceptor = await asyncssh.listen(
        "127.0.0.1",
        port,
        server_host_keys=[key],
        server_factory=lambda: _Login(user, password, authorized, diary),
        sftp_factory=lambda chan: _Files(chan, root, diary),
        allow_scp=False,
        agent_forwarding=False,
        x11_forwarding=False,
        encryption_algs="^aes128-gcm@openssh.com",
        config=None,
    )
    text = " ".join(key.export_public_key().decode().split()[:2])
    server = SftpServer(acceptor.get_port(), user, root, text, key.get_fingerprint("sha256"), state / "user_key", diary)
    return acceptor, server


@contextmanager
def running(root: Path, state: Path, *, user: str = "shop", password: str | None = None) -> Iterator[SftpServer]:
    """A server in a thread of its own; stopped at the end of the ``with`` block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sftp-server", daemon=True)
    thread.start()

    def call(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result(timeout=30)

    acceptor, server = call(serve(root, state, user=user, password=password))

    async def stop() -> None:
        acceptor.close()
        await acceptor.wait_closed()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    try:
        yield server
    finally:
        call(stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


async def _serve_until_stopped(options: argparse.Namespace) -> None:
    password = options.password_file.read_text().strip() if options.password_file else None
    acceptor, server = await serve(options.root, options.state, port=options.port, user=options.user, password=password)
    facts = {
        "host": "127.0.0.1",
        "port": server.port,
        "user": server.user,
        "host_key": server.host_key,
        "fingerprint": server.fingerprint,
        "key_file": str(server.user_key),
        "pid": os.getpid(),
    }
    temporary = options.state / "server.json.part"
    temporary.write_text(json.dumps(facts, indent=1))
    temporary.replace(options.state / "server.json")
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    acceptor.close()
    await acceptor.wait_closed()


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="A local SFTP server for the demo.")
    parser.add_argument("--root", type=Path, required=True, help="folder that is the server's /")
    parser.add_argument("--state", type=Path, required=True, help="folder for keys and server.json")
    parser.add_argument("--port", type=int, default=0, help="0 for any free port")
    parser.add_argument("--user", default="shop")
    parser.add_argument("--password-file", type=Path, help="lets the user in with this password as well")
    asyncio.run(_serve_until_stopped(parser.parse_args()))


if __name__ == "__main__":
    main()
