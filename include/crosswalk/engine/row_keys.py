"""What identifies a row across imports, and what tells that it changed.

- *Row key*: md5 over the fields of ``row_key``; a row in which all of them are empty has no such name and is
  identified by its content. Without ``row_key``: md5 over the source file and the content of the used fields; equal
  rows of one file count by occurrence, the second one by the md5 of the first one's key and its number, and so on.
- *Row hash*: md5 over the used fields after processors. Where the content is the key, both are the same bytes.
- *Used fields*: those of ``row_key``, identifiers, consent and mappings. A row that changed elsewhere did not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crosswalk.config.connection import ImportProfiles
from crosswalk.engine.functions import md5_bytes, row_text
from crosswalk.engine.session import Session
from crosswalk.engine.template import Node, all_of, name, parquet, render, sql, texts
from crosswalk.engine.values import missing_cell


def used_fields(goal: ImportProfiles) -> list[str]:
    """Every field that decides about the outcome, once, in a fixed order."""
    fields = [*goal.row_key, *(link.field for link in goal.identifiers), *(column.field for column in goal.consent)]
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


def content_text(goal: ImportProfiles, cells: Cells) -> Node:
    """Injective text of the used fields."""
    return row_text([(cells.cell(field), cells.is_nested(field)) for field in used_fields(goal)])


def key_columns(goal: ImportProfiles, cells: Cells, sources: Sequence[str]) -> dict[str, Node]:
    """``row_key``, ``by_content`` (the row has no name of its own) and ``row_hash``, before equal rows are told apart.

    ``row_hash`` is left out where the key is it.
    """
    content = content_text(goal, cells)
    path = sql("list_extract($sources, file_index + 1)", sources=texts(sources))
    by_content = md5_bytes(sql("concat($path, chr(31), $content)", path=path, content=content))
    if not goal.row_key:
        return {"row_key": by_content, "by_content": sql("true")}
    fields = [(cells.cell(field), cells.is_nested(field)) for field in goal.row_key]
    empty = all_of([sql("coalesce($cell, '') = ''", cell=cell) for cell, is_list in fields if not is_list])
    key = sql(
        "CASE WHEN $empty THEN $other ELSE $key END", empty=empty, other=by_content, key=md5_bytes(row_text(fields))
    )
    return {"row_key": key, "by_content": empty, "row_hash": md5_bytes(content)}
