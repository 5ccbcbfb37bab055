"""The chained join against a plain-Python model (F4): 2 to 5 files, repeats, empty keys, lists, many sources."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crosswalk.config.connection import ImportProfiles
from crosswalk.core.errors import ConfigError
from tests.unit.engine.join_case import Table, goal_of, join

BLANKS = " \t\r\n\v\f\u00a0"
# Few values, so that they meet; near misses, blanks around, odd texts.
KEYS = ["", " ", "1", " 1", "1\t", "01", "1.0", "a", "A", "a\u00a0", "é", "e\u0301", "NULL", "a'b", 'a"b', "\\", "a b"]
COLUMNS = ["k", "v", 'w"; DROP TABLE x; --', "a.b", "ключ", "x[0]", "select", "ligne 1\nsuite", ":p", "$1 {y} ?"]
LIMIT = 6

Record = dict[str, str | None]
Shape = tuple[ImportProfiles, dict[str, list[Table]], list[str]]


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Files that hang together in some way, and fields to hand on."""
    count = draw(st.integers(2, 5))
    columns: dict[str, list[str]] = {}
    blocks: list[dict[str, Any]] = []
    host: dict[str, str | None] = {}
    for position in range(count):
        name = f"f{position}"
        columns[name] = draw(st.lists(st.sampled_from(COLUMNS), min_size=2, max_size=4, unique=True))
        block: dict[str, Any] = {"name": name}
        if position:
            first = draw(st.sampled_from(list(host)))
            peers = [other for other in host if host[other] == host[first]]
            pairs = draw(st.integers(1, 2))
            own = draw(st.permutations(columns[name]))[:pairs]
            others = [first, *(draw(st.sampled_from(peers)) for _ in range(pairs - 1))]
            block["link"] = {
                mine: f"{other}.{draw(st.sampled_from(columns[other]))}"
                for mine, other in zip(own, others, strict=True)
            }
            block["nested"] = host[first] is None and draw(st.booleans())
            block["duplicates"] = draw(st.sampled_from(["first", "last"]))
            host[name] = name if block["nested"] else host[first]
        else:
            host[name] = None
        blocks.append(block)
    tables = {name: draw(st.lists(_tables(header), min_size=1, max_size=3)) for name, header in columns.items()}
    every = [f"{name}.{column}" for name, header in columns.items() for column in header]
    fields = draw(st.lists(st.sampled_from(every), unique=True, max_size=8))
    return goal_of(blocks, identifiers=[{"field": "made", "property": "p"}]), tables, fields


def _tables(header: list[str]) -> st.SearchStrategy[Table]:
    row = st.lists(st.sampled_from(KEYS), min_size=len(header), max_size=len(header))
    return st.tuples(st.permutations(header), st.lists(row, max_size=4))


class Model:
    """The join in plain Python: record by record, in the order file, record."""

    def __init__(self, goal: ImportProfiles, tables: dict[str, list[Table]]) -> None:
        self.goal = goal
        self.records = {
            name: [dict(zip(header, row, strict=True)) for header, rows in sources for row in rows]
            for name, sources in tables.items()
        }
        self.blocks = {block.name: block for block in goal.files}
        self.host: dict[str, str | None] = {}
        for block in goal.files:
            targets = [self.host[target.split(".", 1)[0]] for target in block.link.values()]
            self.host[block.name] = block.name if block.nested else next((h for h in targets if h), None)

    def key(self, name: str, record: Record) -> tuple[str, ...] | None:
        values = [str(record[column]).strip(BLANKS) for column in self.blocks[name].link]
        return tuple(values) if all(values) else None

    def taking_part(self, name: str) -> list[Record]:
        """Records with a link value; one per value unless nested."""
        if not self.blocks[name].link:
            return self.records[name]
        kept = [record for record in self.records[name] if self.key(name, record)]
        if self.blocks[name].nested:
            return kept
        chosen: dict[tuple[str, ...] | None, Record] = {}
        for record in kept:
            if self.blocks[name].duplicates == "last" or self.key(name, record) not in chosen:
                chosen[self.key(name, record)] = record
        return [record for record in kept if chosen[self.key(name, record)] is record]

    def asked(self, name: str, row: dict[str, Record | None]) -> tuple[str, ...] | None:
        values = []
        for target in self.blocks[name].link.values():
            other, column = target.split(".", 1)
            record = row.get(other)
            values.append("" if record is None else str(record[column]).strip(BLANKS))
        return tuple(values) if all(values) else None

    def grain(self, root: str) -> list[dict[str, Any]]:
        """The rows of one grain: block -> record, or None; nested block -> its list of rows."""
        host = None if root == self.goal.files[0].name else root
        rows: list[dict[str, Any]] = [{root: record} for record in self.taking_part(root)]
        for block in self.goal.files:
            if block.name == root or not block.link:
                continue
            if block.nested and host is None:
                inner = self.grain(block.name)
                for row in rows:
                    value = self.asked(block.name, row)
                    found = [item for item in inner if value and self.key(block.name, item[block.name]) == value]
                    row[block.name + "*"] = found or None
            elif self.host[block.name] == host and not block.nested:
                index = {self.key(block.name, record): record for record in self.taking_part(block.name)}
                for row in rows:
                    value = self.asked(block.name, row)
                    row[block.name] = index.get(value) if value else None
        return rows

    def rows(self, fields: list[str]) -> list[dict[str, Any]]:
        result = []
        for number, row in enumerate(self.grain(self.goal.files[0].name), start=1):
            cells: dict[str, Any] = {"row_id": number}
            for field in fields:
                name, column = field.split(".", 1)
                host = self.host[name]
                if host is None:
                    cells[field] = None if row[name] is None else row[name][column]
                else:
                    items = row[host + "*"]
                    values = None if items is None else [item[name] and item[name][column] for item in items]
                    cells[field] = values
            result.append(cells)
        return result

    def counts(self) -> dict[str, dict[str, int]]:
        unmatched, orphans, duplicates = {}, {}, {}
        for block in self.goal.files[1:]:
            name = block.name
            root = self.goal.files[0].name if self.host[name] in (None, name) else str(self.host[name])
            grain = self.grain(root)
            member = name + "*" if block.nested else name
            unmatched[name] = sum(row[member] is None for row in grain)
            keyed = [record for record in self.records[name] if self.key(name, record)]
            part = self.taking_part(name)
            duplicates[name] = len(keyed) - len(part)
            targets = {target.split(".", 1)[0] for target in block.link.values()}
            if len(targets) == 1:
                (target,) = targets
                asking = [self.asked(name, {target: record}) for record in self.taking_part(target)]
            else:
                asking = [self.asked(name, row) for row in grain]
            used = [record for record in part if self.key(name, record) in asking]
            orphans[name] = len(self.records[name]) - duplicates[name] - len(used)
        return {"unmatched": unmatched, "orphans": orphans, "duplicates": duplicates}

    def explodes(self) -> bool:
        for block in self.goal.files[1:]:
            if block.nested:
                rows = self.grain(self.goal.files[0].name)
                if any(len(row[block.name + "*"] or []) > LIMIT for row in rows):
                    return True
        return False


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(shapes())
def test_the_join_equals_the_plain_model(shape: Shape) -> None:
    goal, tables, fields = shape
    model = Model(goal, tables)
    with tempfile.TemporaryDirectory() as folder:
        if model.explodes():
            with pytest.raises(ConfigError, match="may match one row"):
                join(Path(folder), goal, tables, fields, max_rows_per_match=LIMIT)
            return
        result, rows = join(Path(folder), goal, tables, fields, max_rows_per_match=LIMIT)
    for row in rows:
        del row["file_index"], row["line"]
    assert rows == model.rows(fields)
    assert result.rows == len(rows)
    assert result.counts == model.counts()
