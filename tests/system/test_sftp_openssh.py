"""Transfers and rights against a real OpenSSH server."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crosswalk.config.connection import ImportProfiles, SourceFile
from crosswalk.connectors.base import ConnectionDetails, local_name
from crosswalk.connectors.sftp import SftpConnector
from crosswalk.core.errors import AuthenticationError, ConfigError, RetryableError, SourceChangedError
from crosswalk.hooks.credentials import resolve
from crosswalk.transport import sftp_transfer
from crosswalk.transport.part_file import PartFile
from crosswalk.transport.sftp import SftpSession
from tests.simulators import openssh

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not openssh.is_available(), reason=openssh.MISSING),
]
DATA = random.Random(11).randbytes(3_000_017)
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openssh.OpenSsh]:
    with openssh.running(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture
def remote(server: openssh.OpenSsh, request: pytest.FixtureRequest) -> Iterator[Path]:
    folder = server.root / f"t{abs(hash(request.node.name))}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def details_of(
    server: openssh.OpenSsh, monkeypatch: pytest.MonkeyPatch, *, port: int | None = None, **extra: object
) -> ConnectionDetails:
    monkeypatch.setenv("AIRFLOW_CONN_SYSTEM", server.connection_json(port=port, **extra))
    return resolve("system")


@pytest.fixture
def details(server: openssh.OpenSsh, monkeypatch: pytest.MonkeyPatch) -> ConnectionDetails:
    return details_of(server, monkeypatch)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
@pytest.mark.parametrize("passphrase", ["", "geheim geheim"])
@pytest.mark.parametrize("pem", [False, True])
def test_keys_made_by_openssh_log_in_with_escaped_line_breaks(
    server: openssh.OpenSsh,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kind: str,
    passphrase: str,
    pem: bool,
) -> None:
    key = openssh.make_key(tmp_path / "key", kind, passphrase=passphrase, pem=pem)
    server.authorize(key)
    text = key.read_text().replace("\n", "\\n")
    extra = {"key_file": None, "private_key": text, "private_key_passphrase": passphrase or None}

    with SftpSession.open(details_of(server, monkeypatch, auth_method="public_key", **extra)) as session:
        assert session.list(str(server.root)) is not None


def test_a_key_that_is_not_allowed_is_refused_with_its_cause(
    server: openssh.OpenSsh, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stranger = openssh.make_key(tmp_path / "stranger")

    with (
        pytest.raises(AuthenticationError) as caught,
        SftpSession.open(details_of(server, monkeypatch, key_file=str(stranger))),
    ):
        pass

    assert caught.value.code == "login_refused"
    assert "private key" in str(caught.value)
    assert '"system"' in str(caught.value)


def test_a_listing_shows_size_time_and_kind(details: ConnectionDetails, remote: Path) -> None:
    (remote / "a.csv").write_bytes(b"12345")
    os.utime(remote / "a.csv", (1_700_000_000, 1_700_000_001))
    (remote / "folder").mkdir()
    (remote / "link.csv").symlink_to(remote / "a.csv")
    (remote / "dangling.csv").symlink_to(remote / "none")
    os.mkfifo(remote / "pipe.csv")

    with SftpConnector(details) as connector:
        listed = {file.name: file for file in connector.session.list(str(remote))}
        chosen = connector.list_files(SourceFile(name="x", path=f"{remote}/*"))

    assert (listed["a.csv"].size, listed["a.csv"].modified) == (5, 1_700_000_001)
    assert listed["link.csv"].version == listed["a.csv"].version
    assert "dangling.csv" not in listed
    assert [file.name for file in chosen] == ["a.csv", "link.csv"]


@pytest.mark.parametrize("size", [0, 1, 32 * 1024, 255 * 1024, 255 * 1024 + 1, len(DATA)])
def test_what_arrives_is_what_was_there(details: ConnectionDetails, remote: Path, tmp_path: Path, size: int) -> None:
    (remote / "a.csv").write_bytes(DATA[:size])

    with SftpSession.open(details) as session:
        got = session.download(f"{remote}/a.csv", tmp_path / "here" / "a.csv")
        sent = session.upload(tmp_path / "here" / "a.csv", f"{remote}/b.csv", read_back=True)

    assert (got.size, got.sha256, sent) == (size, hashlib.sha256(DATA[:size]).hexdigest(), size)
    assert (remote / "b.csv").read_bytes() == DATA[:size]
    assert names(tmp_path / "here") == ["a.csv"]
    assert names(remote) == ["a.csv", "b.csv"]


def test_a_server_without_extensions_is_served_with_small_blocks_and_never_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = "limits,posix-rename,fsync"
    with openssh.running(tmp_path / "old", sftp_arguments=f"-P {denied}") as server:
        (server.root / "a.csv").write_bytes(DATA)
        with SftpSession.open(details_of(server, monkeypatch)) as session:
            assert session.download(f"{server.root}/a.csv", tmp_path / "a.csv").sha256 == SHA
            session.upload(tmp_path / "a.csv", f"{server.root}/new.csv")
            (tmp_path / "other.csv").write_bytes(b"other")
            with pytest.raises(ConfigError) as caught:
                session.upload(tmp_path / "other.csv", f"{server.root}/new.csv")
        assert caught.value.code == "name_taken"
        assert (server.root / "new.csv").read_bytes() == DATA
        assert names(server.root) == ["a.csv", "new.csv"]


def test_an_upload_replaces_in_one_step_or_refuses(details: ConnectionDetails, remote: Path, tmp_path: Path) -> None:
    (remote / "x.csv").write_bytes(b"old")
    (tmp_path / "x.csv").write_bytes(b"new")

    with SftpSession.open(details) as session:
        with pytest.raises(ConfigError):
            session.upload(tmp_path / "x.csv", f"{remote}/x.csv", overwrite=False)
        assert (remote / "x.csv").read_bytes() == b"old"
        session.upload(tmp_path / "x.csv", f"{remote}/x.csv")

    assert (remote / "x.csv").read_bytes() == b"new"
    assert names(remote) == ["x.csv"]


def test_an_upload_that_arrives_short_is_never_shown(
    details: ConnectionDetails, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.csv").write_bytes(DATA)
    compare = sftp_transfer.Uploader._compare

    async def cut_short(self: object, temporary: str, size: int, sha256: str | None) -> None:
        os.truncate(temporary, size - 1)
        await compare(self, temporary, size, sha256)

    monkeypatch.setattr(sftp_transfer.Uploader, "_compare", cut_short)
    with SftpSession.open(details) as session, pytest.raises(RetryableError, match="not stored whole"):
        session.upload(tmp_path / "x.csv", f"{remote}/x.csv")

    assert names(remote) == []


def test_an_upload_that_arrives_damaged_is_seen_when_it_is_read_back(
    details: ConnectionDetails, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.csv").write_bytes(DATA)
    compare = sftp_transfer.Uploader._compare

    async def damage(self: object, temporary: str, size: int, sha256: str | None) -> None:
        with Path(temporary).open("r+b") as file:
            file.seek(1000)
            file.write(b"damaged")
        await compare(self, temporary, size, sha256)

    monkeypatch.setattr(sftp_transfer.Uploader, "_compare", damage)
    with SftpSession.open(details) as session, pytest.raises(RetryableError, match="not what was sent"):
        session.upload(tmp_path / "x.csv", f"{remote}/x.csv", read_back=True)

    assert names(remote) == []


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path: Path) -> None:
    path.write_bytes(DATA[::-1])
    os.utime(path, (1_800_000_000, 1_800_000_000))


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(DATA[::-1])
    os.utime(other, (1_800_000_000, 1_800_000_000))
    other.replace(path)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (grow, "source_changed"),
        (lambda path: os.truncate(path, 10), "source_changed"),
        (rewrite, "source_changed"),
        (replace, "source_changed"),
        (Path.unlink, "source_vanished"),
    ],
    ids=["grows", "shrinks", "is rewritten", "is replaced", "vanishes"],
)
def test_a_file_that_changes_while_it_is_read_is_not_taken(
    details: ConnectionDetails,
    remote: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object],
    code: str,
) -> None:
    path = remote / "a.csv"
    path.write_bytes(DATA)
    write, changes = PartFile.write, [change]

    def write_and_change(self: PartFile, chunk: bytes) -> None:
        write(self, chunk)
        if changes:
            changes.pop()(path)

    monkeypatch.setattr(PartFile, "write", write_and_change)
    with SftpSession.open(details) as session, pytest.raises(SourceChangedError) as caught:
        session.download(str(path), tmp_path / "here" / "a.csv")

    assert caught.value.code == code
    assert names(tmp_path / "here") == []


def test_a_file_that_is_not_the_listed_version_any_more_is_not_fetched(
    details: ConnectionDetails, remote: Path, tmp_path: Path
) -> None:
    (remote / "a.csv").write_bytes(DATA)
    (remote / "b.csv").write_bytes(DATA)
    with SftpConnector(details) as connector:
        first, second = connector.list_files(SourceFile(name="x", path=f"{remote}/"))
        grow(remote / first.name)
        (remote / second.name).unlink()

        with pytest.raises(SourceChangedError, match="changed"):
            connector.fetch(first, tmp_path / "here" / local_name(first))
        with pytest.raises(SourceChangedError, match="vanished"):
            connector.fetch(second, tmp_path / "here" / local_name(second))

    assert not list(tmp_path.rglob("*.csv*"))


def test_a_broken_download_is_resumed_unless_the_file_is_another(
    details: ConnectionDetails, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = remote / "a.csv"
    path.write_bytes(DATA)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    write = PartFile.write

    def stop_midway(self: PartFile, chunk: bytes) -> None:
        if self.have > len(DATA) // 2:
            raise RetryableError("stopped")
        write(self, chunk)

    def broken(session: SftpSession) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(PartFile, "write", stop_midway)
            with pytest.raises(RetryableError, match="stopped"):
                session.download(str(path), tmp_path / "here" / "a.csv")
        assert [name.partition(".csv")[2][:1] for name in names(tmp_path / "here")] == ["."]

    with SftpSession.open(details) as session:
        broken(session)
        again = session.download(str(path), tmp_path / "here" / "a.csv")
        assert again.sha256 == SHA
        assert again.resumed_at > len(DATA) // 2

        (tmp_path / "here" / "a.csv").unlink()
        broken(session)
        changed = DATA[:1000] + b"#" + DATA[1001:]
        path.write_bytes(changed)
        os.utime(path, (1_700_000_000, 1_700_000_000))  # same size, same time: only the content tells
        anew = session.download(str(path), tmp_path / "here" / "a.csv")

    assert anew.resumed_at == 0
    assert (tmp_path / "here" / "a.csv").read_bytes() == changed
    assert names(tmp_path / "here") == ["a.csv"]


def test_a_disk_without_room_is_named_before_anything_is_fetched(
    details: ConnectionDetails, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (remote / "a.csv").write_bytes(DATA)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))

    with SftpSession.open(details) as session, pytest.raises(RetryableError) as caught:
        session.download(f"{remote}/a.csv", tmp_path / "here" / "a.csv")

    assert caught.value.code == "disk_full"
    assert "1,000 bytes are free" in str(caught.value)
    assert str(tmp_path / "here") in str(caught.value)
    assert names(tmp_path / "here") == []


def test_a_folder_that_is_missing_is_named(details: ConnectionDetails, remote: Path) -> None:
    with SftpConnector(details) as connector:
        for path in (f"{remote}/none/", f"{remote}/none/*.csv", f"{remote}/none/x.csv"):
            with pytest.raises(ConfigError, match="none") as caught:
                connector.list_files(SourceFile(name="x", path=path))
            assert caught.value.code == "no_such_path"


def test_a_folder_is_not_fetched_as_a_file(details: ConnectionDetails, remote: Path, tmp_path: Path) -> None:
    with SftpSession.open(details) as session, pytest.raises(ConfigError, match="is a folder"):
        session.download(str(remote), tmp_path / "x")


def take(connector: SftpConnector, folder: Path, local: Path) -> None:
    [file] = connector.list_files(SourceFile(name="x", path=f"{folder}/*"))
    connector.fetch(file, local)


@pytest.mark.parametrize("denied", ["opendir", "open"])
def test_a_missing_right_to_list_or_to_read_names_user_and_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, denied: str
) -> None:
    with openssh.running(tmp_path / "ssh", sftp_arguments=f"-P {denied}") as server:
        (server.root / "a.csv").write_bytes(b"x")
        with SftpConnector(details_of(server, monkeypatch)) as connector, pytest.raises(ConfigError) as caught:
            take(connector, server.root, tmp_path / "a.csv")

    assert caught.value.code == "no_permission"
    assert server.user in str(caught.value)
    assert str(server.root) in str(caught.value)


def goal(folder: Path, **more: object) -> ImportProfiles:
    identifiers = [{"field": "x.email", "property": "email"}]
    return ImportProfiles(
        import_profiles="g", files=[{"name": "x", "path": f"{folder}/*.csv"}], identifiers=identifiers, **more
    )


def test_check_proves_login_listing_and_writing_and_leaves_nothing(details: ConnectionDetails, remote: Path) -> None:
    with SftpConnector(details) as connector:
        rights = connector.check([goal(remote, mark_done=True, archive=f"{remote}/old")])

    assert [(right.name, right.ok) for right in rights] == [
        ("login", True),
        (f"list {remote}", True),
        (f"write {remote}", True),
        (f"write {remote}/old", True),
    ]
    assert "made at first use" in rights[-1].message
    assert "SHA256:" in rights[0].message
    assert names(remote) == []


def test_check_names_each_missing_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        openssh.running(tmp_path / "ssh", sftp_arguments="-R") as server,
        SftpConnector(details_of(server, monkeypatch)) as connector,
    ):
        rights = connector.check([goal(server.root, mark_done=True), goal(server.root / "none")])
        unwritten = connector.check([goal(server.root, mark_done=True)], try_writing=False)

    assert [(right.name, right.ok) for right in rights] == [
        ("login", True),
        (f"list {server.root}", True),
        (f"list {server.root}/none", False),
        (f"write {server.root}", False),
    ]
    assert all("Have" in right.message or "Correct" in right.message for right in rights if not right.ok)
    assert [right.name for right in unwritten] == ["login", f"list {server.root}"]


def test_done_names_are_never_taken_from_another_file(details: ConnectionDetails, remote: Path) -> None:
    (remote / "x.csv").write_bytes(b"new")
    (remote / "x.csv.done").write_bytes(b"older")

    with SftpConnector(details) as connector:
        [file] = connector.list_files(SourceFile(name="x", path=f"{remote}/*"))
        assert connector.mark_done(file) == f"{remote}/x.csv.done.1"
        assert connector.mark_done(file) == f"{remote}/x.csv.done.1"
        assert connector.list_files(SourceFile(name="x", path=f"{remote}/*")) == []

    assert {path.name: path.read_bytes() for path in remote.iterdir()} == {
        "x.csv.done": b"older",
        "x.csv.done.1": b"new",
    }


def test_a_file_is_archived_into_a_folder_that_is_made(details: ConnectionDetails, remote: Path) -> None:
    (remote / "x.csv").write_bytes(b"x")

    with SftpConnector(details) as connector:
        [file] = connector.list_files(SourceFile(name="x", path=f"{remote}/*"))
        assert connector.archive(file, f"{remote}/old") == f"{remote}/old/x.csv"

    assert names(remote / "old") == ["x.csv"]


def test_names_in_the_servers_own_encoding_need_a_setting(
    server: openssh.OpenSsh, monkeypatch: pytest.MonkeyPatch, remote: Path, tmp_path: Path
) -> None:
    Path(os.fsdecode(os.fsencode(remote) + b"/f\xfcr.csv")).write_bytes(b"x")
    (remote / "ok.csv").write_bytes(b"y")
    source = SourceFile(name="x", path=f"{remote}/*.csv")

    with SftpConnector(details_of(server, monkeypatch)) as connector:
        assert [file.name for file in connector.list_files(source)] == ["ok.csv"]
    with SftpConnector(details_of(server, monkeypatch, path_encoding="latin-1")) as connector:
        files = connector.list_files(source)
        assert sorted(file.name for file in files) == ["für.csv", "ok.csv"]
        for file in files:
            connector.fetch(file, tmp_path / local_name(file))


def test_a_login_without_sftp_session_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        openssh.running(tmp_path / "ssh", options=["MaxSessions 0"]) as server,
        pytest.raises(RetryableError) as caught,
        SftpSession.open(details_of(server, monkeypatch)),
    ):
        pass

    assert caught.value.code == "no_sftp_session"


def test_a_session_outlives_a_break_of_the_caller_and_new_session_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with openssh.running(tmp_path / "ssh", options=["RekeyLimit 1M", "ClientAliveInterval 1"]) as server:
        (server.root / "a.csv").write_bytes(DATA)
        with SftpSession.open(details_of(server, monkeypatch)) as session:
            for _ in range(2):
                assert session.download(f"{server.root}/a.csv", tmp_path / "a.csv", resume=False).sha256 == SHA


def test_an_error_in_the_block_of_the_caller_comes_through_and_closes(details: ConnectionDetails) -> None:
    with pytest.raises(ZeroDivisionError), SftpSession.open(details) as session:
        raise ZeroDivisionError
    with pytest.raises(RetryableError, match="not open"):
        session.list("/")
