"""Adds lines to a YAML file that a person wrote, and leaves every other character of it alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from crosswalk.core.errors import ConfigError
from crosswalk.core.staging import durable

Step = str | int


def node_at(text: str, path: Sequence[Step]) -> yaml.Node | None:
    """The node at a path of keys and positions; None where there is none."""
    node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    for step in path:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
        else:
            return None
    return node


def append_lines(text: str, path: Sequence[Step], lines: Sequence[str]) -> str | None:
    """The text with lines behind the last entry of the list or mapping at a path.

    Args:
        text: YAML.
        path: where the list or mapping is.
        lines: one entry each, without indentation.

    Returns:
        None where the place is not written as a block, or is empty, so that a person must do it.
    """
    node = node_at(text, path)
    if not isinstance(node, (yaml.SequenceNode, yaml.MappingNode)) or not node.value:
        return _fill_empty(text, node, lines)
    if node.flow_style:
        return None
    rows = text.splitlines(keepends=True)
    last = _last_line(node)
    indent = " " * node.start_mark.column
    if last < len(rows) and not rows[last].endswith("\n"):
        rows[last] += "\n"
    return "".join([*rows[: last + 1], *(f"{indent}{line}\n" for line in lines), *rows[last + 1 :]])


def _fill_empty(text: str, node: yaml.Node | None, lines: Sequence[str]) -> str | None:
    """``fields: []`` and the lines below it, two blanks deeper than its key."""
    if not isinstance(node, (yaml.SequenceNode, yaml.MappingNode)):
        return None
    rows = text.splitlines(keepends=True)
    row = node.start_mark.line
    found = re.match(r"( *)[A-Za-z_]+:(?= *(?:\[\]|\{\}) *(?:#.*)?$)", rows[row].rstrip("\r\n"))
    if not found:
        return None
    rest = rows[row][node.end_mark.column :]
    rows[row] = f"{found.group(0)}{rest if rest.endswith(chr(10)) else rest + chr(10)}"
    return "".join([*rows[: row + 1], *(f"{found.group(1)}  {line}\n" for line in lines), *rows[row + 1 :]])


def _last_line(node: yaml.Node) -> int:
    """The line on which the last text of a node ends; the end of a block itself lies behind its comments."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return max(_last_line(part) for part in last) if isinstance(last, tuple) else _last_line(last)
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return int(node.end_mark.line) - 1
    return int(node.end_mark.line)


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is whole or unchanged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with durable(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def by_hand(path: Path, lines: Sequence[str]) -> ConfigError:
    """The error for a file that only a person can change, with the lines to paste."""
    return ConfigError(
        f"{path} is not written in a way that lines can be added to. Paste these:\n" + "\n".join(lines),
        code="paste_by_hand",
    )
