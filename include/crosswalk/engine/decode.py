"""From the bytes on disk to a stream of UTF-8, without guessing and without losing a byte.

Bytes that the declared encoding does not know are marked so that the line that holds them is found and quarantined:
the mark is the byte 0xFF, which no UTF-8 text can hold, followed by the bytes in hexadecimal.

Reasons to reject a file: ``encoding`` (the text plainly has another one) and those of ``archive.py``.
"""

from __future__ import annotations

import codecs
import errno
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from crosswalk.config.connection import Format
from crosswalk.core.errors import RejectedError, RetryableError
from crosswalk.engine.archive import compression_of, packed_as, unpack
from crosswalk.engine.dialect import BLOCK, codec_name

UTF8_MARK = codecs.BOM_UTF8
WIDE_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
MARK = "\udcff"


@dataclass(frozen=True)
class LocalFile:
    """A source file on this machine.

    Attributes:
        path: where it lies.
        name: its path on the source, for messages.
    """

    path: Path
    name: str


def _mark_invalid(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeDecodeError):
        return "".join(f"{MARK}{byte:02x}" for byte in error.object[error.start : error.end]), error.end
    if isinstance(error, UnicodeEncodeError):
        return b"\xff" * (error.end - error.start), error.end
    raise error


codecs.register_error("crosswalk.mark", _mark_invalid)


def show_invalid(line: str, encoding: str) -> str:
    """A line that holds invalid bytes as text that can be stored and shown: each such byte as backslash, x, two digits.

    Args:
        line: text whose invalid bytes are lone surrogates.
        encoding: the file's; another one than UTF-8 went through the mark of this module.
    """
    text = line if encoding == "utf-8" else line.replace(MARK, "\\x")
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@dataclass
class Prepared:
    """A file as plain UTF-8.

    Attributes:
        path: the file itself when it is UTF-8 and not packed, else a temporary copy.
        start: bytes of a mark at the beginning that are no text.
        temporary: the copy must be deleted after use.
        warnings: doubts about the encoding.
    """

    path: Path
    start: int = 0
    temporary: bool = False
    warnings: list[str] = field(default_factory=list)

    def chunks(self, size: int = BLOCK) -> Iterator[bytes]:
        """The text's bytes, without the mark."""
        with self.path.open("rb") as handle:
            handle.seek(self.start)
            while chunk := handle.read(size):
                yield chunk

    def remove(self) -> None:
        """Delete the temporary copy, if there is one."""
        if self.temporary:
            self.path.unlink(missing_ok=True)


def text_chunks(local: LocalFile, form: Format, warnings: list[str] | None = None) -> Iterator[bytes]:
    """The file unpacked and as UTF-8 without a mark; invalid input is marked, see the module.

    Raises:
        RejectedError: the file cannot be read as a whole.
    """
    encoding = codec_name(form.encoding)
    raw = unpack(local.path, local.name, compression_of(local.name, form.compression))
    head = b""
    for chunk in raw:
        head += chunk
        if len(head) >= 4096:
            break
    _check_head(head, encoding, local.name)
    chunks = _joined(head, raw)
    if encoding != "utf-8":
        chunks = _transcode(
            chunks, _with_byte_order(encoding, head), local.name, warnings if warnings is not None else []
        )
    first = True
    for chunk in chunks:
        text = chunk.removeprefix(UTF8_MARK) if first else chunk
        first = False
        if text:
            yield text


def prepare(local: LocalFile, form: Format, work: Path) -> Prepared:
    """Make a file readable as plain UTF-8; copies it into ``work`` only when it is packed or has another encoding.

    Raises:
        RejectedError: the file cannot be read as a whole.
        RetryableError: there is no room for the copy.
    """
    if codec_name(form.encoding) == "utf-8" and compression_of(local.name, form.compression) == "none":
        with local.path.open("rb") as handle:
            head = handle.read(4096)
        _check_head(head, "utf-8", local.name)
        return Prepared(local.path, len(UTF8_MARK) if head.startswith(UTF8_MARK) else 0)
    work.mkdir(parents=True, exist_ok=True)
    warnings: list[str] = []
    with tempfile.NamedTemporaryFile(dir=work, prefix="text-", suffix=".csv", delete=False) as copy:
        path = Path(copy.name)
        try:
            for chunk in text_chunks(local, form, warnings):
                copy.write(chunk)
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise RetryableError(
                    f"No room in {work} to unpack the file.",
                    remedy="Free space there, or point CROSSWALK_STAGING at a larger disk, and run again.",
                    code="disk_full",
                    file=local.name,
                ) from error
            raise
    return Prepared(path, 0, True, warnings)


def _joined(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


def reject_encoding(name: str, encoding: str, likely: str, line: int | None = None) -> RejectedError:
    """The error for a file whose text plainly has another encoding."""
    return RejectedError(
        f"The text is not {encoding}; it looks like {likely}.",
        remedy=f"Set `encoding: {likely}` in the file's format, or deliver the file as {encoding}.",
        code="encoding",
        file=name,
        line=line,
    )


def likely_encoding(sample: bytes) -> str:
    """A hint for the person who reads the error; never used to read a file."""
    for mark, wide in WIDE_MARKS.items():
        if sample.startswith(mark):
            return wide
    if sample.count(b"\0") * 4 > len(sample):
        return "utf-16"
    try:
        sample.decode("windows-1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "windows-1252"


def _is_utf8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return False
    return True


def _check_head(head: bytes, encoding: str, name: str) -> None:
    packed = packed_as(head)
    if packed:
        raise RejectedError(
            f"The file is packed ({packed}), not text.",
            remedy=f"Set `compression: {packed}` in the file's format; a spreadsheet must be saved as CSV.",
            code="compressed",
            file=name,
        )
    wide = encoding.startswith(("utf-16", "utf-32"))
    if not wide:
        mark = next((kind for mark, kind in WIDE_MARKS.items() if head.startswith(mark)), None)
        # In latin-1 and its like the two marks are letters (ÿþ), so zeros must confirm them.
        if mark and (encoding == "utf-8" or b"\0" in head):
            raise reject_encoding(name, encoding, mark, 1)
        if head.startswith(UTF8_MARK) and encoding != "utf-8":
            raise reject_encoding(name, encoding, "utf-8", 1)
        if head.count(b"\0") * 4 > len(head):
            raise reject_encoding(name, encoding, "utf-16", 1)
    elif head and b"\0" not in head and not head.startswith(tuple(WIDE_MARKS)) and _is_utf8(head):
        raise reject_encoding(name, encoding, "utf-8", 1)


def _with_byte_order(encoding: str, head: bytes) -> str:
    """UTF-16 and UTF-32 without a mark: the byte order in which the separators and line ends make sense."""
    if encoding not in ("utf-16", "utf-32") or head.startswith(tuple(WIDE_MARKS)):
        return encoding
    width = int(encoding[-2:]) // 8
    return f"{encoding}-be" if head[::width].count(0) > head[width - 1 :: width].count(0) else f"{encoding}-le"


def _transcode(chunks: Iterator[bytes], encoding: str, name: str, warnings: list[str]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(errors="crosswalk.mark")
    doubt = codecs.getincrementaldecoder("utf-8")()
    saw_letters, is_utf8 = False, not encoding.startswith(("utf", "ascii"))
    try:
        for chunk in chunks:
            if is_utf8 and not chunk.isascii():
                saw_letters = True
                try:
                    doubt.decode(chunk)
                except UnicodeDecodeError:
                    is_utf8 = False
            yield decoder.decode(chunk).encode("utf-8", "crosswalk.mark")
        yield decoder.decode(b"", True).encode("utf-8", "crosswalk.mark")
    except UnicodeError as error:
        raise RejectedError(
            f"The text cannot be read as {encoding}.",
            remedy="Set the file's `encoding` in its format.",
            code="encoding",
            file=name,
        ) from error
    if saw_letters and is_utf8:
        warnings.append(f"encoding_doubtful: The text is read as {encoding} but all of it is valid utf-8.")
