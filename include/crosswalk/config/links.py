"""How the files of an import goal hang together: the state of each link, and which files have many rows per row."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from crosswalk.config.goals import ImportGoal
from crosswalk.core.names import display


@dataclass(frozen=True)
class LinkState:
    """One link between two files of a goal.

    Attributes:
        goal: the goal's name.
        file: the file that hangs on another one.
        column: its column; None when the file has no link.
        target: ``file.column`` of the other file; None when the file has no link.
        status: ``clear`` when it is complete and valid, else ``red``; a red link stops the run.
        reason: why it is red.
    """

    goal: str
    file: str
    column: str | None
    target: str | None
    status: Literal["clear", "red"]
    reason: str = ""


def link_states(goal: ImportGoal, headers: Mapping[str, Collection[str]] | None = None) -> list[LinkState]:
    """The state of every link of a goal (row S-22).

    Args:
        goal: the goal.
        headers: columns of the files whose header is known, by the file's name; those are checked too.
    """
    return [state for index in range(len(goal.files)) for _, state in links_of(goal, index, headers or {})]


def links_of(
    goal: ImportGoal, index: int, headers: Mapping[str, Collection[str]]
) -> Iterator[tuple[str | None, LinkState]]:
    """Each link of one file block, with the YAML key it stands under."""
    file = goal.files[index]
    if index == 0:
        reason = "the first file is the primary file and hangs on no other"
        for column, target in file.link.items():
            yield column, LinkState(goal.name, file.name, column, target, "red", reason)
        return
    if not file.link:
        reason = "not linked: add link: {column: file.column} to a column of an earlier file"
        yield None, LinkState(goal.name, file.name, None, None, "red", reason)
    for column, target in file.link.items():
        reason = _link_problem(goal, index, column, target, headers)
        yield column, LinkState(goal.name, file.name, column, target, "red" if reason else "clear", reason)


def _link_problem(
    goal: ImportGoal, index: int, column: str, target: str, headers: Mapping[str, Collection[str]]
) -> str:
    earlier = [file.name for file in goal.files[:index]]
    name, _, other = target.partition(".")
    if not column or not name or not other:
        return "incomplete: both sides are needed, as in column: file.column"
    if name == goal.files[index].name:
        return "a file cannot be linked to itself"
    if name not in earlier:
        if name in {file.name for file in goal.files}:
            return f"`{display(name)}` comes later; link to an earlier file, or change the order"
        return f"there is no earlier file `{display(name)}`; there are {', '.join(earlier)}"
    for file, wanted in ((goal.files[index].name, column), (name, other)):
        if file in headers and wanted not in headers[file]:
            return f"file {file} has no column `{display(wanted)}`"
    return ""


def nested_files(goal: ImportGoal) -> set[str]:
    """Names of the files with possibly many rows per primary row: nested ones and what hangs on those."""
    nested: set[str] = set()
    for file in goal.files[1:]:
        parents = {target.partition(".")[0] for target in file.link.values()}
        if file.nested or parents & nested:
            nested.add(file.name)
    return nested
