"""Make an exported file of its text: encoded, packed and hashed while it streams by.

A character that the encoding lacks is replaced by ``?`` and counted.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

import zstandard

from crosswalk.config.formats import ExportFormat
from crosswalk.core.staging import durable

CHUNK = 1 << 20
# Levels at which packing costs less than writing the text did.
GZIP_LEVEL, ZSTD_LEVEL = 1, 3
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Rendered:
    """A file that is ready to be sent.

    Attributes:
        path: where it lies.
        size: bytes.
        sha256: of its content.
        lost: characters that the encoding lacks.
    """

    path: Path
    size: int
    sha256: str
    lost: int


def render_file(lines: Path, form: ExportFormat, out: Path, member: str) -> Rendered:
    """Make the file; where its text needs nothing more, the text is the file.

    Args:
        lines: the text in UTF-8.
        form: how to write.
        out: the file; whole or absent.
        member: the name inside a zip archive.
    """
    if form.compress == "none" and _is_utf8(form.encoding):
        return Rendered(lines, *_digest(lines), lost=0)
    losses = _Losses()
    with durable(out) as temporary:
        with temporary.open("wb") as handle, _packer(handle, form.compress, member) as sink:
            for chunk in _encoded(lines, form.encoding, losses):
                sink.write(chunk)
        size, sha256 = _digest(temporary)
    return Rendered(out, size, sha256, losses.count)


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def _digest(path: Path) -> tuple[int, str]:
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        return handle.tell(), digest


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
