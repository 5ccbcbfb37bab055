r"""Write an exported file: the engine writes the text, then it is encoded and packed while it streams by.

Quotes stand only where they are needed, lines end in ``\n``. What a format cannot carry (a separator in a file without
quotes, a character that the encoding lacks) is replaced by a blank or ``?`` and counted.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

import zstandard

from crosswalk.config.formats import ExportFormat
from crosswalk.core.staging import durable
from crosswalk.engine.multi_value import literal_pattern
from crosswalk.engine.session import Session, literal
from crosswalk.engine.template import name, named, parquet, render, sql, text

CHUNK = 1 << 20
# Levels at which packing costs less than writing the text did.
GZIP_LEVEL, ZSTD_LEVEL = 1, 3
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Rendered:
    """A file that is ready to be sent.

    Attributes:
        rows: lines below the header.
        size: bytes.
        sha256: of its content.
        replaced: characters that the format could not carry.
    """

    rows: int
    size: int
    sha256: str
    replaced: int


def render_file(
    session: Session, selected: Path, headers: Sequence[str], form: ExportFormat, out: Path, member: str
) -> Rendered:
    """Write the exported profiles of a selection as one file.

    Args:
        session: the engine.
        selected: what ``select.py`` wrote.
        headers: the columns' names in order.
        form: how to write.
        out: the file; whole or absent.
        member: the name inside a zip archive.
    """
    plain = out.with_name(f"{out.name}.text")
    try:
        with durable(out) as temporary:
            is_final = form.compress == "none" and _is_utf8(form.encoding)
            target = temporary if is_final else plain
            rows, replaced = _write_text(session, selected, headers, form, target)
            if is_final:
                sha256, size = _digest(temporary)
            else:
                sha256, size, lost = _pack(plain, temporary, form, member)
                replaced += lost
    finally:
        plain.unlink(missing_ok=True)
    return Rendered(rows, size, sha256, replaced)


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def _write_text(
    session: Session, selected: Path, headers: Sequence[str], form: ExportFormat, target: Path
) -> tuple[int, int]:
    """The file as UTF-8 text; how many lines and how many cells that lost something."""
    cells = [name(f"c{number}") for number in range(len(headers))]
    exported = sql("SELECT * FROM $selected WHERE outcome = 'exported'", selected=parquet(selected))
    replaced = 0
    if not form.quote:
        unfit = "|".join([literal_pattern(form.separator), "[\\r\\n]"])
        checks = [
            sql("coalesce(regexp_matches($cell, $unfit), false)::INTEGER", cell=cell, unfit=text(unfit))
            for cell in cells
        ]
        total = checks[0]
        for check in checks[1:]:
            total = sql("$total + $check", total=total, check=check)
        row = session.execute(
            render(sql("SELECT coalesce(sum($total), 0) FROM ($rows)", total=total, rows=exported))
        ).fetchone()
        replaced = int(row[0]) if row else 0
        if replaced:
            cells = [sql("regexp_replace($cell, $unfit, ' ', 'g')", cell=cell, unfit=text(unfit)) for cell in cells]
        headers = [_without(header, form.separator) for header in headers]
    query = sql(
        "SELECT $cells FROM ($rows)",
        cells=[named(cell, header) for cell, header in zip(cells, headers, strict=True)],
        rows=exported,
    )
    options = f"FORMAT csv, HEADER true, DELIMITER {literal(form.separator)}, QUOTE {literal(form.quote)}"
    session.execute(f"COPY ({render(query)}) TO {literal(target)} ({options}, ESCAPE {literal(form.quote)})")
    row = session.fetchone()
    return (int(row[0]) if row else 0), replaced


def _without(header: str, separator: str) -> str:
    return header.replace(separator, " ").replace("\n", " ").replace("\r", " ")


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        return digest, handle.tell()


def _pack(plain: Path, target: Path, form: ExportFormat, member: str) -> tuple[str, int, int]:
    """Encode and compress; the digest, the size, and how many characters the encoding lacks."""
    losses = _Losses()
    with target.open("wb") as handle, _packer(handle, form.compress, member) as sink:
        for chunk in _encoded(plain, form.encoding, losses):
            sink.write(chunk)
    sha256, size = _digest(target)
    return sha256, size, losses.count


class _Losses:
    """Counts characters that an encoding lacks; each becomes a question mark."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        self.count += error.end - error.start
        return "?" * (error.end - error.start), error.end


def _encoded(plain: Path, encoding: str, losses: _Losses) -> Iterator[bytes]:
    if _is_utf8(encoding):
        with plain.open("rb") as source:
            while chunk := source.read(CHUNK):
                yield chunk
        return
    codecs.register_error("crosswalk_question_mark", losses)
    encoder = codecs.getincrementalencoder(encoding)("crosswalk_question_mark")
    with plain.open("r", encoding="utf-8", newline="") as lines:
        while piece := lines.read(CHUNK):
            yield encoder.encode(piece)
    yield encoder.encode("", True)


@contextmanager
def _packer(handle: BinaryIO, compress: str, member: str) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """A sink that packs what is written to it; the same text gives the same bytes."""
    with ExitStack() as stack:
        if compress == "gzip":
            yield stack.enter_context(gzip.GzipFile("", "wb", GZIP_LEVEL, handle, mtime=0))
        elif compress == "zstd":
            packer = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
            yield stack.enter_context(packer.stream_writer(handle, closefd=False))
        elif compress == "zip":
            archive = stack.enter_context(zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED, compresslevel=GZIP_LEVEL))
            entry = zipfile.ZipInfo(member, _ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            yield stack.enter_context(archive.open(entry, "w", force_zip64=True))
        else:
            yield handle
