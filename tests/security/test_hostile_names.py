"""File names of the worst kind, from a real OpenSSH server and from a lying one: nothing leaves its folder."""

from __future__ import annotations

import os
import random
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import pytest

from crosswalk.config.connection import SourceFile
from crosswalk.connectors.base import RemoteFile, local_name
from crosswalk.connectors.sftp import SftpConnector
from crosswalk.core.errors import CrosswalkError
from crosswalk.hooks.credentials import resolve
from tests.simulators import openssh, sftp_server

pytestmark = pytest.mark.system
SEED = int(os.environ.get("CROSSWALK_SEED") or random.randrange(2**32))
PIECES = [
    *(
        "..",
        "...",
        "%2e%2e",
        "%2f",
        "~",
        "$HOME",
        "`id`",
        "$(id)",
        "|",
        "&",
        ";",
        "'",
        '"',
        "\\",
        "\\..\\",
        "C:\\",
        "*",
    ),
    *("?", "[a-z]", "{a,b}", "<script>", "=1+1", "@", "#", "-rf", "--", "\n", "\r", "\t", "\x1b[31m", "\x07", "\x7f"),
    *(
        "\u202e",
        "\u200b",
        "\ufeff",
        "\u2028",
        "e\u0301",
        "é",
        "ß",
        "\u017f",
        "İ",
        "😀",
        "\U000e0001",
        "CON",
        "nul",
        "a b",
        " ",
        ".",
    ),
    *(".csv", ".part", "orders", "x" * 120),
]
# Names that no file system holds; only a server that lies can send them.
LIES = [
    *("../escape", "../../escape", "/tmp/escape", "a/b", "..", ".", "a\0b", "\0", "./x", "x/../../escape", "/"),
    *("x" * 300 + ".csv", "../" * 40 + "escape", "..\\escape/", "a/"),
]


def hostile_names(count: int) -> list[str]:
    """Names that a Linux folder can hold: each hostile piece alone, then mixtures."""
    chance = random.Random(SEED)
    names: dict[str, None] = {}
    for piece in PIECES:
        for name in (piece, f"{piece}.csv", f"a{piece}b.csv"):
            names[name] = None
    while len(names) < 3 * count:
        names["".join(chance.choices(PIECES, k=chance.randint(2, 5)))] = None
    fits = [name for name in names if name not in ("", ".", "..") and len(name.encode()) <= 240]
    return fits[:count]


def tree(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.skipif(not openssh.is_available(), reason=openssh.MISSING)
def test_300_hostile_names_are_fetched_into_one_folder_and_finished_by_their_exact_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"CROSSWALK_SEED={SEED}")
    names = hostile_names(300)
    assert len(names) == 300
    local, watched = tmp_path / "work" / "files", tmp_path / "work"
    local.mkdir(parents=True)
    (watched / "sentinel").write_text("untouched")
    with openssh.running(tmp_path / "ssh") as server:
        folder = server.root / "in"
        folder.mkdir()
        for number, name in enumerate(names):
            (folder / name).write_bytes(f"{number}".encode())
        monkeypatch.setenv("AIRFLOW_CONN_HOSTILE", server.connection_json())
        with SftpConnector(resolve("hostile")) as connector:
            listed = {file.name: file for file in connector.session.list(str(folder))}
            assert set(listed) == set(names), "a name was not kept exactly"
            before = tree(watched)
            for number, name in enumerate(names):
                file = listed[name]
                connector.fetch(file, local / local_name(file))
                assert (local / local_name(file)).read_bytes() == f"{number}".encode()
            _only_in(local, watched, before, 300)
            for name in names:
                assert connector.mark_done(listed[name]) == f"{folder}/{name}.done"
        assert {path.name for path in folder.iterdir()} == {f"{name}.done" for name in names}


def _only_in(local: Path, watched: Path, before: dict[str, int], count: int) -> None:
    """Nothing changed below ``watched`` but plain files directly in ``local``."""
    new = tree(watched).keys() - before.keys()
    assert len(new) == count
    assert {Path(path).parent for path in new} == {local}
    assert all(Path(path).is_file() and not Path(path).is_symlink() for path in new)


def test_local_names_of_hostile_names_never_clash_nor_leave_their_folder() -> None:
    print(f"CROSSWALK_SEED={SEED}")
    alike = ["é.csv", "e\u0301.csv", "A.csv", "a.csv", "\u017f.csv", "s.csv", "f\udcfc.csv"]
    names = list(dict.fromkeys([*hostile_names(300), *LIES, *alike]))
    made = [local_name(RemoteFile(f"/in/{name}", name, 0, 0)) for name in names]

    folded = [unicodedata.normalize("NFKC", name).casefold() for name in made]
    assert len(set(folded)) == len(names)
    for name in made:
        assert Path("/x/y", name).resolve().parent == Path("/x/y")
        assert len(name.encode()) <= 200
        assert name.isascii()
        assert name.isprintable()
        assert not name.startswith((".", "-"))


class _Lying(asyncssh.SFTPServer):
    """Lists names that no folder holds, and answers for each of them."""

    async def scandir(self, path: bytes):
        attrs = asyncssh.SFTPAttrs(size=4, permissions=0o100644, uid=0, gid=0, atime=1, mtime=1)
        for name in [*LIES, "honest.csv"]:
            yield asyncssh.SFTPName(name.encode(), attrs=attrs)

    def stat(self, path: bytes) -> asyncssh.SFTPAttrs:
        return asyncssh.SFTPAttrs(size=4, permissions=0o100644, uid=0, gid=0, atime=1, mtime=1)

    lstat = stat

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        return path

    def fstat(self, file_obj: object) -> asyncssh.SFTPAttrs:
        return self.stat(b"")

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        return b"evil"[offset : offset + size]

    def close(self, file_obj: object) -> None:
        return None


@contextmanager
def lying_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sftp_server, "_Files", lambda chan, root, diary: _Lying(chan))
    with sftp_server.running(folder / "data", folder / "state") as server:
        monkeypatch.setenv("AIRFLOW_CONN_LIAR", server.connection_json())
        yield


def test_names_that_no_file_can_have_are_left_out_of_a_lying_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = tmp_path / "work" / "files"
    local.mkdir(parents=True)
    with lying_server(tmp_path / "sftp", monkeypatch), SftpConnector(resolve("liar")) as connector:
        for path in ("/in/", "/in/*"):
            files = connector.list_files(SourceFile(name="x", path=path))
            assert [file.name for file in files] == ["honest.csv", "x" * 300 + ".csv"]
        before = tree(tmp_path / "work")
        for file in files:
            assert connector.fetch(file, local / local_name(file)).size == 4
        _only_in(local, tmp_path / "work", before, 2)


def test_a_lying_listing_cannot_make_a_fetch_write_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = tmp_path / "work" / "files"
    local.mkdir(parents=True)
    before = tree(tmp_path / "work")
    fetched = 0
    with lying_server(tmp_path / "sftp", monkeypatch), SftpConnector(resolve("liar")) as connector:
        for name in LIES:
            file = RemoteFile(f"/in/{name}", name, 4, 1)
            try:
                connector.fetch(file, local / local_name(file))
            except CrosswalkError:  # refused with a cause of ours, which is as good
                continue
            fetched += 1
    _only_in(local, tmp_path / "work", before, fetched)
    assert fetched > len(LIES) / 2
    assert not (tmp_path / "escape").exists()
    assert not Path("/tmp/escape").exists()
