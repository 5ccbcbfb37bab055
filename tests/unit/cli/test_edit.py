"""Lines are added to a person's YAML, and nothing else of it changes."""

from __future__ import annotations

import pytest
import yaml

from crosswalk.cli.edit import append_lines

NEW = "- {field: p.new, property: new}   # why"


@pytest.mark.parametrize(
    ("text", "path", "wanted"),
    [
        ("a:\n  b:\n    - 1 #1\n    - 2\n#\nc: 3\n", ("a", "b"), "a:\n  b:\n    - 1 #1\n    - 2\n    NEW\n#\nc: 3\n"),
        ("a:\n- 1\nc: 3\n", ("a",), "a:\n- 1\nNEW\nc: 3\n"),
        ("a:\n  - x: |\n      t\n      m\n\nc: 3\n", ("a",), "a:\n  - x: |\n      t\n      m\n\n  NEW\nc: 3\n"),
        ("a:\n  - 1", ("a",), "a:\n  - 1\n  NEW\n"),
        ("a:\n  fields: []   # none\n  d: 1\n", ("a", "fields"), "a:\n  fields:   # none\n    NEW\n  d: 1\n"),
        ("a:\n  - {b: 1,\n     c: 2}\nd: 1\n", ("a",), "a:\n  - {b: 1,\n     c: 2}\n  NEW\nd: 1\n"),
    ],
)  # fmt: skip
def test_lines_stand_behind_the_last_entry(text: str, path: tuple[str, ...], wanted: str) -> None:
    changed = append_lines(text, path, [NEW])
    assert changed == wanted.replace("NEW", NEW)
    node = yaml.safe_load(changed)
    for step in path:
        node = node[step]
    assert node[-1] == {"field": "p.new", "property": "new"}


@pytest.mark.parametrize("text", ["a: [1, 2]\n", "a: {b: [1]}\n", "b: 1\n", "x: {a: []}\n"])
def test_what_is_not_written_as_a_block_is_left_to_a_person(text: str) -> None:
    assert append_lines(text, ("a",), [NEW]) is None
