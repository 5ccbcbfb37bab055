"""Finds out how a file is written, once, for a person who makes a connection file.

Runs never call this: what is found is written into the connection file, where a person can read and correct it. The
packing and the encoding follow from the bytes; separator, quote, preamble and header from the engine's own sniffer;
the reader of a run then reads the sample in the format that was found.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from crosswalk.config.connection import Format
from crosswalk.core.errors import CrosswalkError, RejectedError
from crosswalk.core.names import display
from crosswalk.engine.archive import compression_of, packed_as, unpack
from crosswalk.engine.decode import WIDE_MARKS, LocalFile, likely_encoding, text_chunks
from crosswalk.engine.dialect import SEPARATORS, codec_name, doubtful_separator
from crosswalk.engine.read import StagedFile, read_header, stage_file
from crosswalk.engine.session import BadInput, Session, literal

SAMPLE_BYTES = 4 * 1024 * 1024
SNIFFED_ROWS = 2_000
FEW = 10  # records that may be unreadable in any file


@dataclass(frozen=True)
class Detected:
    """How a file is written.

    Attributes:
        format: every setting of ``Format`` that the file decides, none left to a default.
        doubts: what a person should look at, as sentences.
        sample: the beginning of the file, read in this format by the reader of a run.
        is_whole: the sample is all of the file.
    """

    format: dict[str, Any]
    doubts: list[str]
    sample: StagedFile
    is_whole: bool


@dataclass
class _Text:
    """The beginning of a file as UTF-8, cut after a line, and the doubts so far."""

    path: Path
    is_whole: bool
    doubts: list[str] = field(default_factory=list)

    @property
    def local(self) -> LocalFile:
        return LocalFile(self.path, "sample.csv")


def detect_file(session: Session, local: LocalFile, folder: Path, separator: str | None = None) -> Detected:
    """Find out how a file is written, and read its beginning accordingly.

    Args:
        session: the engine.
        local: the file.
        folder: for the sample and what is read of it; kept until the caller removes it.
        separator: when a person knows it better.

    Raises:
        RejectedError: the file is damaged, or no text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    packed = _compression(local)
    encoding, doubts = _encoding(_first(unpack(local.path, local.name, packed), SAMPLE_BYTES)[0])
    text = _sample(local, Format.model_validate({"encoding": encoding, "compression": packed}), folder / "sample.csv")
    layout, unsure = _layout(session, text, separator)
    sample = _stage(session, text.local, _form(layout), folder)
    if sample.quarantined > max(sample.rows, FEW):
        raise RejectedError(
            f"Of the first {sample.rows + sample.quarantined:,} records {sample.quarantined:,} cannot be read.",
            remedy="Is it delimited text? When it is, say how it is separated with --separator.",
            code="no_table",
            file=local.name,
        )
    doubts += unsure + [_readable(warning) for warning in sample.warnings]
    return Detected({"encoding": encoding, "compression": packed, **layout}, doubts, sample, text.is_whole)


def _readable(warning: str) -> str:
    """A warning of the reader without its code, in a form that fits a comment."""
    return display(warning.partition(": ")[2] or warning, 300)


def _compression(local: LocalFile) -> str:
    with local.path.open("rb") as handle:
        found = packed_as(handle.read(16))
    return found or compression_of(local.name, "auto")


def _first(chunks: Iterable[bytes], most: int) -> tuple[bytes, bool]:
    """The first bytes, and whether they are all."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) > most:
            return head[:most], False
    return head, True


def _encoding(head: bytes) -> tuple[str, list[str]]:
    """The encoding that the bytes allow, and whether others would do as well."""
    wide = next((name for mark, name in WIDE_MARKS.items() if head.startswith(mark)), None)
    if wide:
        return codec_name(wide), []
    if head.count(b"\0") * 4 > len(head):
        return "utf-16", ["The text has no mark at its begin; its many zero bytes say that it is utf-16."]
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        likely = likely_encoding(head)
        return likely, [
            f"UNCERTAIN: the text is not utf-8 and is read as {likely}; look at the accents in `crosswalk preview`."
        ]
    return "utf-8", []


def _sample(local: LocalFile, form: Format, path: Path) -> _Text:
    """Write the beginning of the file as UTF-8, without a last line that was cut."""
    head, is_whole = _first(text_chunks(local, form), SAMPLE_BYTES)
    if not is_whole:
        head = head[: head.rfind(b"\n") + 1] or head
    path.write_bytes(head)
    return _Text(path, is_whole)


def _layout(session: Session, text: _Text, separator: str | None) -> tuple[dict[str, Any], list[str]]:
    """Separator, quote, escape, preamble and header of the sample."""
    found = _sniffed(session, text, separator)
    if found is None:
        layout, doubts = _by_count(text, separator)
    else:
        layout, doubts = found, []
        if separator is None and (wider := _wider(session, text, found)):
            doubts.append(
                f"UNCERTAIN: the rows also agree on {len(_names(text, found))} columns "
                f"between {SEPARATORS[found['separator']]}; the reading with more columns was taken."
            )
            layout = wider
    if layout.get("header"):
        doubts.append(
            "The first line looks like data, not like names, so the columns are numbered; write their names, or "
            "`header_rows: 1` instead of `header` when it is a header."
        )
    names = layout.get("header") or _names(text, layout)
    if len(names) == 1 and separator is None:
        doubts.append("Only one column was found; when there are more, say so with --separator.")
    return layout, doubts


def _sniffed(session: Session, text: _Text, separator: str | None) -> dict[str, Any] | None:
    """What the engine's sniffer says; None where it gives up, or where the reader does not find its columns."""
    delim = f", delim = {literal(separator)}" if separator else ""
    try:
        row = session.execute(f"""
            SELECT delimiter, quote, escape, skiprows, hasheader, len(columns)
            FROM sniff_csv({literal(text.path)}, sample_size = {SNIFFED_ROWS}, max_line_size = 4000000{delim})
            """).fetchone()
    except BadInput:
        return None
    if row is None:
        return None
    mark, quote, escape, skipped, has_header, width = row
    layout: dict[str, Any] = {
        "separator": separator or mark,
        "quote": quote if quote in ('"', "'") else '"',
        "header_rows": 1,
        "skip_lines": skipped,
    }
    if escape == "\\":
        layout["escape"] = "\\"
    names = _names(text, layout)
    if len(names) != width or (separator is None and doubtful_separator(names, mark)):
        return None
    return layout if has_header else _without_header(layout, width)


def _wider(session: Session, text: _Text, found: dict[str, Any]) -> dict[str, Any] | None:
    """The same layout with another usual separator that gives more columns, in which every row can be read."""
    if found["separator"] not in SEPARATORS or "header" in found:
        return None
    width = len(_names(text, found))
    for mark in SEPARATORS:
        layout = {**found, "separator": mark}
        if len(_names(text, layout)) > width:
            staged = _stage(session, text.local, _form(layout), text.path.parent)
            if staged.rows and not staged.quarantined:
                return layout
    return None


def _without_header(layout: dict[str, Any], width: int) -> dict[str, Any]:
    names = [f"column_{number}" for number in range(1, width + 1)]
    return {key: value for key, value in layout.items() if key != "header_rows"} | {"header": names}


def _by_count(text: _Text, separator: str | None) -> tuple[dict[str, Any], list[str]]:
    """The usual separator that the first line holds most often, for what the sniffer cannot read."""
    with text.path.open("rb") as handle:
        lines = (line.decode("utf-8", "replace") for line in chain(handle))
        first = next((line for line in lines if line.strip()), "")
    mark = separator or max(SEPARATORS, key=first.count)
    layout = {"separator": mark, "quote": '"', "header_rows": 1, "skip_lines": 0}
    return layout, ["The rows do not agree in shape, so the separator is the usual one that the first line holds most."]


def _names(text: _Text, layout: dict[str, Any]) -> list[str]:
    """The columns that the reader of a run sees; none where it refuses the header."""
    try:
        return read_header(text.local, _form(layout), text.path.parent)
    except CrosswalkError:
        return []


def _form(layout: dict[str, Any]) -> Format:
    return Format.model_validate({**layout, "encoding": "utf-8", "compression": "none"})


def read_sample(session: Session, local: LocalFile, form: Format, folder: Path) -> StagedFile:
    """The beginning of a file, read in the format that its connection says."""
    folder.mkdir(parents=True, exist_ok=True)
    text = _sample(local, form, folder / "sample.csv")
    plain = form.model_copy(update={"encoding": "utf-8", "compression": "none"})
    return _stage(session, text.local, plain, folder)


def _stage(session: Session, local: LocalFile, form: Format, folder: Path) -> StagedFile:
    return stage_file(
        session,
        local,
        form,
        out=folder / "sample.parquet",
        quarantine=folder / "sample.rejects.parquet",
        work=folder / "work",
    )
