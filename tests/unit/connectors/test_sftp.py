"""Which files a block selects and how they are finished, over a session that holds its files in memory."""

from __future__ import annotations

import posixpath
import random

import pytest

from crosswalk.config.connection import ExportProfiles, ImportProfiles, SourceFile
from crosswalk.config.file_selection import compile_regex, folder_of
from crosswalk.connectors import KINDS, create
from crosswalk.connectors.base import ConnectionDetails, Connector, RemoteFile, local_name
from crosswalk.connectors.sftp import SftpConnector
from crosswalk.core.errors import ConfigError, SourceChangedError

DETAILS = ConnectionDetails("shop", host="h", login="u")


class FakeSession:
    """Files by path, each with size and time; folders exist by being named."""

    def __init__(self, files: dict[str, tuple[int, int]], folders: set[str] = frozenset()) -> None:
        self.files = dict(files)
        self.folders = set(folders) | {posixpath.dirname(path) or "." for path in files}

    def _missing(self, path: str) -> ConfigError:
        return ConfigError(f"has no {path}.", code="no_such_path")

    def stat(self, path: str) -> RemoteFile:
        if path in self.files:
            return RemoteFile(path, posixpath.basename(path), *self.files[path])
        if path in self.folders:
            return RemoteFile(path, posixpath.basename(path), 0, 0, is_regular=False)
        raise self._missing(path)

    def list(self, folder: str) -> list[RemoteFile]:
        if folder not in self.folders:
            raise self._missing(folder)
        found = [self.stat(path) for path in self.files if (posixpath.dirname(path) or ".") == folder]
        found += [self.stat(path) for path in self.folders if posixpath.dirname(path) == folder and path != folder]
        random.shuffle(found)
        return found

    def exists(self, path: str) -> bool:
        return path in self.files or path in self.folders

    def mkdir(self, path: str) -> None:
        self.folders.add(path)

    def rename(self, old: str, new: str) -> None:
        if old not in self.files:
            raise self._missing(old)
        if new in self.files:
            raise ConfigError("taken", code="name_taken")
        self.files[new] = self.files.pop(old)


def connector(files: dict[str, tuple[int, int]], folders: set[str] = frozenset()) -> SftpConnector:
    made = SftpConnector(DETAILS)
    made._session = FakeSession(files, folders)
    return made


def source(path: str, **more: str) -> SourceFile:
    return SourceFile(name="orders", path=path, **more)


def names(files: list[RemoteFile]) -> list[str]:
    return [file.name for file in files]


IN = {
    "/in/orders_20260101.csv": (10, 300),
    "/in/orders_20260102.csv": (10, 200),
    "/in/orders_20260103.csv": (10, 200),
    "/in/orders_x.csv": (10, 100),
    "/in/Orders_20260104.csv": (10, 100),
    "/in/orders_20260101.csv.done": (10, 1),
    "/in/orders_20260101.csv.done.2": (10, 1),
    "/in/orders_20260105.csv.part": (10, 1),
    "/in/.orders_20260106.csv": (10, 1),
    "/in/orders_20260107.csv.bak": (10, 1),
    "/in/products.csv": (10, 100),
    "/in/sub/orders_20260108.csv": (10, 1),
}
DATED = ["orders_20260102.csv", "orders_20260103.csv", "orders_20260101.csv"]


def test_a_wildcard_and_a_regular_expression_pick_the_same_files() -> None:
    by_wildcard = connector(IN).list_files(source("/in/orders_????????.csv"))
    by_regex = connector(IN).list_files(source("/in/", regex=r"^orders_\d{8}\.csv$"))

    assert names(by_wildcard) == DATED
    assert by_regex == by_wildcard


@pytest.mark.parametrize("path", ["/in", "/in/"])
def test_a_regular_expression_must_match_the_whole_name(path: str) -> None:
    assert names(connector(IN).list_files(source(path, regex=r"orders_\d{8}\.csv"))) == DATED


def test_files_come_oldest_first_then_by_name() -> None:
    assert names(connector(IN).list_files(source("/in/orders_*.csv"))) == ["orders_x.csv", *DATED]


def test_a_folder_means_every_plain_file_in_it_and_none_below() -> None:
    found = names(connector(IN).list_files(source("/in/")))

    assert found == ["orders_20260107.csv.bak", "Orders_20260104.csv", "orders_x.csv", "products.csv", *DATED]


@pytest.mark.parametrize("pattern", ["/in/*", "/in/*.done", "/in/*.part", "/in/*.2"])
def test_handled_and_unfinished_files_never_match(pattern: str) -> None:
    found = names(connector(IN).list_files(source(pattern)))

    assert not [name for name in found if ".done" in name or name.endswith(".part") or name.startswith(".")]


def test_a_regular_expression_finds_no_handled_file_either() -> None:
    assert names(connector(IN).list_files(source("/in", regex=r".*(done|part|done\.2)"))) == []


def test_a_hidden_file_is_found_only_when_the_pattern_begins_with_its_dot() -> None:
    assert names(connector(IN).list_files(source("/in/.orders*"))) == [".orders_20260106.csv"]
    assert names(connector(IN).list_files(source("/in/*orders_20260106*"))) == []


def test_an_exact_name_is_found_alone() -> None:
    assert names(connector(IN).list_files(source("/in/products.csv"))) == ["products.csv"]


def test_a_missing_file_is_no_error_and_a_missing_folder_is() -> None:
    assert connector(IN).list_files(source("/in/none.csv")) == []
    for path in ("/none/x.csv", "/none/*.csv", "/none/"):
        with pytest.raises(ConfigError, match="/none"):
            connector(IN).list_files(source(path))


def test_a_folder_named_without_its_slash_says_so() -> None:
    with pytest.raises(ConfigError, match="End a path with /"):
        connector(IN).list_files(source("/in/sub"))


def test_brackets_and_dots_in_a_wildcard_mean_themselves() -> None:
    files = {"/in/a[1].csv": (1, 1), "/in/a1.csv": (1, 1), "/in/a[1]xcsv": (1, 1)}

    assert names(connector(files).list_files(source("/in/*[1].csv"))) == ["a[1].csv"]


@pytest.mark.parametrize(("path", "folder"), [("x.csv", "."), ("/x.csv", "/"), ("in/x.csv", "in"), ("/in/", "/in")])
def test_the_folder_of_a_path(path: str, folder: str) -> None:
    assert folder_of(source(path)) == folder


def test_files_of_the_login_folder_keep_a_relative_path() -> None:
    assert [file.path for file in connector({"x.csv": (1, 1)}).list_files(source("*.csv"))] == ["x.csv"]


@pytest.mark.parametrize("path", ["/in/*/x.csv", "/i?/x.csv"])
def test_a_wildcard_in_a_folder_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="wildcard in a folder"):
        folder_of(source(path))


@pytest.mark.parametrize("pattern", [r"(?=x)y", r"(a)\1", "(", "[z-a]", "a{5000}"])
def test_a_pattern_that_re2_does_not_take_is_refused_with_the_reason(pattern: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_regex(source("/in", regex=pattern))

    assert caught.value.code == "bad_regex"
    assert "b'" not in str(caught.value)


def test_an_evil_pattern_costs_no_time() -> None:
    files = {f"/in/{'a' * 200}!": (1, 1)}

    assert connector(files).list_files(source("/in", regex="(a+)+$")) == []


def test_a_name_that_is_no_text_is_left_out_and_harms_no_other() -> None:
    files = {"/in/f\udcfcr.csv": (1, 1), "/in/ok.csv": (1, 1)}

    assert names(connector(files).list_files(source("/in/*.csv"))) == ["ok.csv"]


def test_files_that_change_grow_or_vanish_between_two_looks_are_not_stable() -> None:
    made = connector({f"/in/{name}": (10, 100) for name in "abcd"})
    files = made.list_files(source("/in/"))
    waited = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        made.session.files["/in/b"] = (11, 100)
        made.session.files["/in/c"] = (10, 101)
        del made.session.files["/in/d"]

    look = made.stable_files(files, 2.5, wait)

    assert names(look.stable) == ["a"]
    assert names(look.moving) == ["b", "c", "d"]
    assert waited == [2.5]


def test_without_a_time_nothing_is_waited_for() -> None:
    made = connector({"/in/a": (10, 100)})

    look = made.stable_files(made.list_files(source("/in/")), 0, lambda _: pytest.fail("waited"))

    assert names(look.stable) == ["a"]


def test_a_done_name_that_is_taken_gets_a_number() -> None:
    made = connector({"/in/x": (1, 1), "/in/x.done": (9, 9), "/in/x.done.1": (9, 9)})

    assert made.mark_done("/in/x") == "/in/x.done.2"
    assert sorted(made.session.files) == ["/in/x.done", "/in/x.done.1", "/in/x.done.2"]


def test_marking_again_after_a_crash_finds_the_renamed_file() -> None:
    made = connector({"/in/x": (1, 7), "/in/x.done": (9, 9)})
    file = made.session.stat("/in/x")

    assert made.mark_done(file) == "/in/x.done.1"
    assert made.mark_done(file) == "/in/x.done.1"
    assert sorted(made.session.files) == ["/in/x.done", "/in/x.done.1"]


def test_a_newer_file_of_the_same_name_is_not_marked() -> None:
    made = connector({"/in/x": (1, 7)})
    file = made.session.stat("/in/x")
    made.session.files["/in/x"] = (2, 8)

    with pytest.raises(SourceChangedError, match="newer"):
        made.mark_done(file)
    assert sorted(made.session.files) == ["/in/x"]


def test_a_newer_file_does_not_hide_that_the_old_one_was_marked() -> None:
    made = connector({"/in/x": (1, 7)})
    file = made.session.stat("/in/x")
    made.mark_done(file)
    made.session.files["/in/x"] = (2, 8)

    assert made.mark_done(file) == "/in/x.done"
    assert made.session.files["/in/x"] == (2, 8)


@pytest.mark.parametrize("as_file", [True, False])
def test_a_file_that_is_gone_cannot_be_marked(as_file: bool) -> None:
    made = connector({"/in/x.done": (9, 9)})

    with pytest.raises(SourceChangedError):
        made.mark_done(RemoteFile("/in/x", "x", 1, 7) if as_file else "/in/x")


def test_archiving_makes_the_folder_and_never_replaces() -> None:
    made = connector({"/in/x": (1, 7), "/in/y": (1, 7)}, {"/"})

    assert made.archive("/in/x", "/old/") == "/old/x"
    made.session.files["/in/x"] = (2, 8)
    assert made.archive("/in/x", "/old") == "/old/x.1"
    assert made.session.files["/old/x"] == (1, 7)


def test_archiving_again_after_a_crash_finds_the_file() -> None:
    made = connector({"/in/x": (1, 7)})
    file = made.session.stat("/in/x")

    assert made.archive(file, "/old") == made.archive(file, "/old") == "/old/x"


def test_the_kind_is_registered_and_keeps_the_protocol() -> None:
    assert KINDS.names == ("sftp",)
    assert isinstance(create("sftp", DETAILS), SftpConnector)
    assert isinstance(create("sftp", DETAILS), Connector)
    with pytest.raises(ConfigError, match="Known: sftp"):
        create("ftp", DETAILS)


def test_a_connector_does_nothing_before_it_is_opened() -> None:
    made = create("sftp", ConnectionDetails("shop"))

    made.close()
    with pytest.raises(ConfigError, match="host"):
        made.open()


def test_check_answers_with_failures_instead_of_raising() -> None:
    [login] = SftpConnector(ConnectionDetails("shop", host="h")).check()

    assert (login.name, login.ok) == ("login", False)
    assert "login is missing" in login.message
    assert isinstance(login.error, ConfigError)


def test_local_names_are_unique_by_the_whole_path_and_keep_the_ending() -> None:
    paths = ["/in/a.csv.gz", "/out/a.csv.gz", "/in/A.csv.gz", "a.csv.gz"]
    made = [local_name(RemoteFile(path, "a", 0, 0)) for path in paths]

    assert len({name.lower() for name in made}) == 4
    assert all(name.endswith(".csv.gz") and "/" not in name for name in made)


def test_the_goal_of_a_connection_names_what_is_written() -> None:
    from crosswalk.connectors.sftp import _written

    def goal(**more: object) -> ImportProfiles:
        files = [{"name": "a", "path": "/in/a.csv"}, {"name": "b", "path": "/ref/b.csv", "link": {"x": "a.x"}}]
        identifiers = [{"field": "a.e", "property": "email"}]
        return ImportProfiles(import_profiles="g", files=files, identifiers=identifiers, **more)

    assert _written(goal()) == set()
    assert _written(goal(mark_done=True)) == {"/in"}
    assert _written(goal(mark_done="all")) == {"/in", "/ref"}
    assert _written(goal(archive="/old/")) == {"/in", "/old"}


@pytest.mark.parametrize(("directory", "folder"), [("/out", "/out"), ("/out/", "/out"), ("/", "/")])
def test_an_export_needs_the_right_to_write_in_its_folder(directory: str, folder: str) -> None:
    from crosswalk.connectors.sftp import _written

    name, columns = {"custom": "a.csv"}, [{"property": "email"}]
    goal = ExportProfiles(export_profiles="g", segment="s", directory=directory, file_name=name, columns=columns)
    assert _written(goal) == {folder}
