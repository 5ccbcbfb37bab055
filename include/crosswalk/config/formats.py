"""How the text of files is read and written: separators, marks, dates, encodings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from crosswalk.config.model import Model, Texts


class Dialect(Model):
    r"""What reading and writing have in common.

    Attributes:
        separator: between fields; one to four characters; ``\t`` for tab.
        decimal: the decimal mark of numbers.
        quote: the quote character; empty for none.
        date: strptime pattern of dates.
        timezone: zone of dates without offset.
        encoding: ``utf-8``, ``utf-16``, ``latin-1``, ``windows-1252`` and what Python's codecs know.
    """

    separator: Annotated[str, Field(min_length=1, max_length=4)] = ","
    decimal: Literal[".", ","] = "."
    quote: Literal['"', "'", ""] = '"'
    date: str | None = None
    timezone: str | None = None
    encoding: str = "utf-8"

    @field_validator("separator", "multi_value", mode="before", check_fields=False)
    @classmethod
    def _read_escapes(cls, value: Any) -> Any:
        return {"\\t": "\t", "tab": "\t", "\\x1f": "\x1f"}.get(value, value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _refuse_quote_in_separator(self) -> Dialect:
        if self.quote and self.quote in self.separator:
            raise ValueError("quote and separator must differ")
        return self


class Format(Dialect):
    """How the text of a file is read. A file's own ``format`` replaces single settings of its goal's.

    Attributes:
        thousands: the mark between groups of three digits. Unset: the other mark is accepted only where it cannot be
            the decimal mark (``1.234,56``); a lone ``1.234`` is then refused as ambiguous.
        escape: the character that escapes a quote inside quotes; unset: the quote is doubled.
        multi_value: splits one cell into several values.
        date: unset: ISO 8601 or epoch seconds or milliseconds.
        timezone: unset: the connection's.
        encoding: the mark at the begin of a ``utf-8`` file is removed.
        compression: unset: by the file name's ending.
        header: column names for files without a header line.
        header_rows: number of header lines; names of several lines are joined with a blank.
        skip_lines: lines before the header.
        skip_footer: lines at the end.
        comment: lines that begin with this text are left out.
        null_text: cells that mean "no value", beside the empty cell.
        extra_columns: what a row with more or fewer cells than the header means.
    """

    thousands: Literal[".", ",", " ", "'"] | None = None
    escape: Annotated[str, Field(max_length=1)] | None = None
    multi_value: Annotated[str, Field(min_length=1, max_length=4)] | None = None
    compression: Literal["auto", "none", "gzip", "zip", "zstd"] = "auto"
    header: list[str] | None = None
    header_rows: Annotated[int, Field(ge=0, le=10)] = 1
    skip_lines: Annotated[int, Field(ge=0)] = 0
    skip_footer: Annotated[int, Field(ge=0)] = 0
    comment: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    null_text: Texts = []
    extra_columns: Literal["reject", "ignore"] = "reject"

    @model_validator(mode="after")
    def _refuse_equal_marks(self) -> Format:
        if self.thousands == self.decimal:
            raise ValueError("thousands and decimal must differ")
        return self


EPOCH_MS = "epoch_ms"


class ExportFormat(Dialect):
    """How the text of exported files is written.

    Attributes:
        multi_value: joins several values in one cell; inside a value it is escaped with a backslash.
        date: strftime pattern of dates, or ``epoch_ms``; unset: ISO 8601 in UTC with milliseconds.
        timezone: zone of dates written by a pattern; unset: the connection's.
        compress: packs each file; the ending (``.gz``, ``.zip``, ``.zst``) is added to its name.
        ids: in columns that hold ids of segments, interactions, objectives or groups: the ``id``, or the ``name``
            where one is known.
        formula_guard: puts an apostrophe before texts that a spreadsheet would take for a formula.
    """

    multi_value: Annotated[str, Field(min_length=1, max_length=4)] = "|"
    compress: Literal["none", "gzip", "zip", "zstd"] = "none"
    ids: Literal["id", "name"] = "id"
    formula_guard: bool = False
