r"""The lines of exported files: the engine joins the cells of a row to one text, which goes to the file as it is.

Lines end in ``\n``. Quotes stand only around cells that need them. One look at the whole line finds out whether any
does, so most lines are never looked at cell by cell. Without quotes, what a line cannot carry (a separator, a line
break) is replaced by a blank, and the cells that lost something are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import pyarrow as pa
import pyarrow.compute as pc

from crosswalk.config.formats import ExportFormat
from crosswalk.engine.multi_value import literal_pattern
from crosswalk.engine.session import Session
from crosswalk.engine.template import Node, any_of, call, name, named, render, sql, sum_of, text

BATCH_LINES = 10_000


def as_cells(cells: Sequence[Node]) -> list[Node]:
    """The cells under the names that ``line_query`` reads."""
    return [named(cell, f"c{number}") for number, cell in enumerate(cells)]


def line_query(
    rows: Node, count: int, form: ExportFormat, *, keep: Sequence[str] = (), when: Node | None = None
) -> Node:
    """The rows with ``line`` and ``replaced`` (how many of its cells lost something).

    Args:
        rows: with the columns of ``as_cells``, a text or NULL each.
        count: how many cells.
        form: how to write.
        keep: further columns of the rows.
        when: which rows have a line; unset: all.
    """
    cells = [name(f"c{number}") for number in range(count)]
    is_unfit = [_holds_any(cell, _unfit(form)) for cell in cells]
    fitting = [
        sql("CASE WHEN $is_unfit THEN $changed ELSE $cell END", is_unfit=unfit, changed=_changed(cell, form), cell=cell)
        for cell, unfit in zip(cells, is_unfit, strict=True)
    ]
    line = sql(
        "CASE WHEN $without THEN NULL WHEN has_unfit THEN $fitting ELSE $line END",
        without=sql("NOT $when", when=when) if when is not None else sql("false"),
        fitting=_joined(fitting, form),
        line=_joined(cells, form),
    )
    lost = [sql("coalesce($unfit, false)::INTEGER", unfit=unfit) for unfit in is_unfit]
    replaced = sql("CASE WHEN has_unfit THEN $lost ELSE 0 END", lost=sum_of(lost)) if not form.quote else sql("0")
    return sql(
        "SELECT $columns FROM (SELECT *, $has_unfit AS has_unfit FROM (SELECT *, $joined AS joined FROM ($rows)))",
        columns=[*(name(column) for column in keep), named(line, "line"), named(replaced, "replaced")],
        has_unfit=_holds_any(name("joined"), _unfit(form)),
        joined=call("concat", *cells),
        rows=rows,
    )


def header_line(headers: Sequence[str], form: ExportFormat) -> bytes:
    """The first line of a file, in UTF-8."""
    if form.quote:
        marks = {form.separator[0], form.quote, "\r", "\n"}
        doubled = [header.replace(form.quote, form.quote * 2) for header in headers]
        cells = [
            f"{form.quote}{inside}{form.quote}" if marks & set(header) else header
            for header, inside in zip(headers, doubled, strict=True)
        ]
    else:
        cells = [header.replace(form.separator, " ").replace("\n", " ").replace("\r", " ") for header in headers]
    return f"{form.separator.join(cells)}\n".encode()


def _unfit(form: ExportFormat) -> list[str]:
    """What cannot stand in a cell as it is. A cell without the separator's begin never makes one."""
    return [form.separator[0], form.quote, "\r", "\n"] if form.quote else [form.separator, "\r", "\n"]


def _holds_any(cell: Node, marks: Sequence[str]) -> Node:
    """Whether a text holds one of the marks: several plain searches cost a fifth of a pattern."""
    return any_of([sql("contains($cell, $mark)", cell=cell, mark=text(mark)) for mark in marks])


def _changed(cell: Node, form: ExportFormat) -> Node:
    if not form.quote:
        unfit = "|".join(literal_pattern(mark) for mark in _unfit(form))
        return sql("regexp_replace($cell, $unfit, ' ', 'g')", cell=cell, unfit=text(unfit))
    quote = text(form.quote)
    return sql(
        "concat($quote, replace($cell, $quote, $doubled), $quote)", cell=cell, quote=quote, doubled=text(form.quote * 2)
    )


def _joined(cells: Sequence[Node], form: ExportFormat) -> Node:
    """The whole line; NULL is written as nothing."""
    parts: list[Node] = []
    for cell in cells:
        parts += [text(form.separator), cell]
    return call("concat", *parts[1:], sql("chr(10)"))


class LineFile:
    """A file of lines in UTF-8, written batch by batch.

    Attributes:
        rows: lines below the header.
        replaced: cells that lost something.
    """

    def __init__(self, path: Path, header: bytes) -> None:
        self._path, self._header = path, header
        self._handle: BinaryIO | None = None
        self.rows = self.replaced = 0

    def __enter__(self) -> Self:
        self._handle = self._path.open("wb")
        self._handle.write(self._header)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the lines of a batch with ``line`` and ``replaced``."""
        lines = batch.column("line")
        if self._handle is None or lines.null_count == len(lines):
            return
        size = pc.sum(pc.binary_length(lines)).as_py()
        # The texts of a column stand one after the other in memory: there they are the file's content already.
        self._handle.write(memoryview(lines.buffers()[2])[:size])
        self.rows += len(lines) - lines.null_count
        self.replaced += pc.sum(batch.column("replaced")).as_py()


def line_batches(session: Session, query: Node) -> pa.RecordBatchReader:
    """The result of ``line_query``. Texts of more than 2 GiB in a batch are fine."""
    session.execute("SET arrow_large_buffer_size = true")
    return session.sql(render(query)).to_arrow_reader(BATCH_LINES)
