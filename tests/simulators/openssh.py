"""A real OpenSSH server as a plain process: own configuration, own keys, own folder, any free port, SFTP only.

Passwords need the machine's own users, so this server takes keys; ``sftp_server.py`` takes passwords.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SSHD = shutil.which("sshd") or next((p for p in ("/usr/sbin/sshd", "/usr/local/sbin/sshd") if Path(p).exists()), None)
MISSING = "needs sshd and ssh-keygen of OpenSSH (Debian, Ubuntu: apt-get install openssh-server)"


def is_available() -> bool:
    """Whether this machine can run the server."""
    return SSHD is not None and shutil.which("ssh-keygen") is not None


def make_key(path: Path, kind: str = "ed25519", *, passphrase: str = "", pem: bool = False) -> Path:
    """Generate a key pair with OpenSSH's own tool; returns the private key's path."""
    bits = {"rsa": ["-b", "2048"], "ecdsa": ["-b", "256"]}.get(kind, [])
    form = ["-m", "PEM"] if pem else []
    command = ["ssh-keygen", "-q", "-t", kind, *bits, *form, "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    return path


def public_text(private: Path) -> str:
    """``type base64`` of a key pair."""
    return " ".join(private.with_name(private.name + ".pub").read_text().split()[:2])


@dataclass
class OpenSsh:
    """A running server.

    Attributes:
        port: where it listens, on 127.0.0.1.
        user: who logs in.
        root: the folder that tests use as the remote one (its real path is the remote path).
        key: a private key that may log in.
        host_keys: private host keys, in the order in which the server offers them.
        options: further lines of its configuration.
        sftp_arguments: for the SFTP part: ``-R`` (read only), ``-P opendir`` (that request is denied).
    """

    folder: Path
    port: int
    user: str
    root: Path
    key: Path
    host_keys: list[Path]
    process: subprocess.Popen | None = None
    options: tuple[str, ...] = ()
    sftp_arguments: str = ""
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / "sshd.log"

    @property
    def host_key(self) -> str:
        """``type base64`` of the first host key."""
        return public_text(self.host_keys[0])

    def authorize(self, *private: Path) -> None:
        """Let these keys log in, beside the server's own."""
        lines = [public_text(self.key), *(public_text(path) for path in private)]
        (self.folder / "authorized_keys").write_text("\n".join(lines) + "\n")

    def start(self, host_keys: Sequence[Path] | None = None) -> None:
        """Start listening; with other host keys when given."""
        self.host_keys = list(host_keys or self.host_keys)
        config = self.folder / "sshd_config"
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            *(f"HostKey {path}" for path in self.host_keys),
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            f"PidFile {self.folder}/sshd.pid",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PubkeyAuthentication yes",
            "PermitRootLogin prohibit-password",
            "AllowTcpForwarding no",
            "X11Forwarding no",
            "PrintMotd no",
            "UseDNS no",
            "LogLevel VERBOSE",
            "MaxStartups 100",
            *self.options,
            "Subsystem sftp internal-sftp",
            f"ForceCommand internal-sftp {self.sftp_arguments}".rstrip(),
        ]
        config.write_text("\n".join(lines) + "\n")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # compiled in; the server refuses to start without it
        command = [str(SSHD), "-D", "-e", "-f", str(config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True)
        self._await_banner()

    def _await_banner(self) -> None:
        limit = time.monotonic() + 20
        while time.monotonic() < limit:
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(f"sshd ended: {self.log.read_text(errors='replace')[-2000:]}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.settimeout(2)
                if probe.recv(4) == b"SSH-":
                    return
            time.sleep(0.02)
        raise RuntimeError("sshd did not answer in time")

    def stop(self) -> None:
        """End the server and every session it began."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=5)

    def connection_json(self, *, port: int | None = None, **extra: object) -> str:
        """The server as an Airflow connection in JSON; ``extra`` adds to or replaces extra settings."""
        settings = {"key_file": str(self.key), "host_key": self.host_key, **extra}
        fields = {"conn_type": "sftp", "host": "127.0.0.1", "port": port or self.port, "login": self.user}
        return json.dumps({**fields, "extra": {k: v for k, v in settings.items() if v is not None}})


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    folder: Path,
    *,
    host_key_types: Sequence[str] = ("ed25519",),
    options: Sequence[str] = (),
    sftp_arguments: str = "",
) -> Iterator[OpenSsh]:
    """A server in a folder of its own; stopped at the end of the ``with`` block."""
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / "data"
    root.mkdir(exist_ok=True)
    host_keys = [make_key(folder / f"host_{kind}", kind) for kind in host_key_types]
    server = OpenSsh(folder, 0, getpass.getuser(), root, make_key(folder / "user_key"), host_keys)
    server.options, server.sftp_arguments = tuple(options), sftp_arguments
    server.authorize()
    for attempt in range(5):
        server.port = free_port()
        try:
            server.start()
            break
        except RuntimeError:  # another process took the port
            server.stop()
            if attempt == 4:
                raise
    try:
        yield server
    finally:
        server.stop()
