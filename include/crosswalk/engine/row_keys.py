"""What identifies a row across imports, and what tells that it changed.

- *Row key*: md5 over the fields of ``row_key``; a row in which all of them are empty has no such name and is
  identified by its content. Without ``row_key``: md5 over the source file and the content of the used fields; equal
  rows of one file count by occurrence, the second one by the md5 of the first one's key and its number, and so on.
- *Row hash*: md5 over the used fields after processors. Where the content is the key, both are the same bytes.
- *Used fields*: those of ``row_key``, identifiers, consent, events and mappings. A row that changed elsewhere did
  not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crosswalk.config.connection import ImportGoal, ImportProfiles
from crosswalk.engine import functions
from crosswalk.engine.session import Session
from crosswalk.engine.template import Node, all_of, name, named, parquet, render, sql, texts
from crosswalk.engine.values import missing_cell


def used_fields(goal: ImportGoal) -> list[str]:
    """Every field that decides about the outcome, once, in a fixed order."""
    fields = [*goal.row_key, *(link.field for link in goal.identifiers)]
    if isinstance(goal, ImportProfiles):
        fields += [column.field for column in goal.consent]
        fields += [field for event in goal.events for field in event.used_fields()]
    fields += [mapping.field for mapping in goal.mappings.fields]
    return list(dict.fromkeys(fields))


@dataclass(frozen=True)
class Cells:
    """The columns that the staged rows have.

    Attributes:
        nested: each column and whether it holds lists.
    """

    nested: dict[str, bool]

    @classmethod
    def of(cls, session: Session, rows: Path) -> Cells:
        """Look at a staged file."""
        described = session.execute(f"DESCRIBE {render(sql('SELECT * FROM $rows', rows=parquet(rows)))}").fetchall()
        return cls({str(column[0]): str(column[1]).endswith("[]") for column in described})

    def cell(self, field: str) -> Node:
        """The raw cell of a field; one that the files lack is absent in every row."""
        return name(field) if field in self.nested else missing_cell()

    def is_nested(self, field: str) -> bool:
        """Whether the field holds a list per row."""
        return self.nested.get(field, False)


def place_column() -> Node:
    """File and line of a row in one number: the file's index, then 40 bits of line."""
    return sql("file_index::BIGINT * 1099511627776 + coalesce(line, 0)")


def place_file(place: Node, sources: Sequence[str]) -> Node:
    """The source path of a place."""
    return sql("list_extract($sources, $place // 1099511627776 + 1)", sources=texts(sources), place=place)


def place_line(place: Node) -> Node:
    """The line of a place; NULL where it was not known."""
    return sql("nullif($place % 1099511627776, 0)", place=place)


def keyed_rows(goal: ImportGoal, cells: Cells, sources: Sequence[str], rows: Node, identifiers: Sequence[Node]) -> Node:
    """row_id, place, ``row_key``, ``by_content`` (the row has no name of its own), ``row_hash``, and the identifiers.

    In levels, for a text that is used twice must be a column. Equal rows are not told apart yet.

    Args:
        goal: the goal.
        cells: the columns of the rows.
        sources: source paths by file index.
        rows: the staged rows.
        identifiers: further output columns, over the cells.
    """
    fields = used_fields(goal)
    flat = [_flat(cells, field) for field in fields]
    columns = [named(cell, f"f{index}") for index, cell in enumerate(flat)]
    path = sql("list_extract($sources, file_index + 1)", sources=texts(sources))
    first = sql(
        "SELECT row_id, $place AS place, $path AS path, $identifiers, $columns FROM $rows",
        place=place_column(),
        path=path,
        identifiers=identifiers,
        columns=columns,
        rows=rows,
    )
    content = [name(f"f{index}") for index in range(len(fields))]
    key = [name(f"f{fields.index(field)}") for field in goal.row_key]
    second = sql(
        "SELECT *, $content AS joined, $key AS joined_key FROM ($first)",
        content=functions.joined_cells(content),
        key=functions.joined_cells(key) if key else sql("''"),
        first=first,
    )
    text = functions.row_text(content, name("joined"))
    by_content = functions.md5_bytes(sql("concat(path, chr(31), $text)", text=text))
    kept = [name(str(column.alias)) for column in identifiers]
    if not goal.row_key:
        third = sql(
            "SELECT row_id, place, $key AS row_key, $kept FROM ($second)", key=by_content, kept=kept, second=second
        )
        return sql("SELECT *, true AS by_content, row_key AS row_hash FROM ($third)", third=third)
    empty = all_of([sql("coalesce($cell, '') = ''", cell=cell) for cell in key])
    return sql(
        "SELECT row_id, place, CASE WHEN $empty THEN $other ELSE $key END AS row_key, $empty AS by_content, $hash "
        "AS row_hash, "
        "$kept FROM ($second)",
        empty=empty,
        other=by_content,
        key=functions.md5_bytes(functions.row_text(key, name("joined_key"))),
        hash=functions.md5_bytes(text),
        kept=kept,
        second=second,
    )


def _flat(cells: Cells, field: str) -> Node:
    """A cell as text; a list as JSON, in which the marks cannot occur."""
    cell = cells.cell(field)
    return sql("to_json($cell)::VARCHAR", cell=cell) if cells.is_nested(field) else cell
