"""Unpacks gzip, zip and zstd while streaming, under limits; nothing is ever written under a name from an archive.

Reasons to reject a file: ``not_an_archive``, ``archive_truncated``, ``archive_damaged``, ``archive_encrypted``,
``archive_entries`` (not exactly one data file, too many entries, nested or overlapping ones), ``archive_bomb``.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NoReturn

import zstandard

from crosswalk.core.errors import RejectedError

MAX_RATIO = 100
RATIO_FROM = 16 * 1024 * 1024  # the ratio counts only above this many unpacked bytes
MAX_ENTRIES = 1_000
STEP = 512 * 1024
ENDINGS = {".gz": "gzip", ".gzip": "gzip", ".zip": "zip", ".zst": "zstd", ".zstd": "zstd"}
MAGIC = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\x28\xb5\x2f\xfd": "zstd"}


def compression_of(name: str, setting: str) -> str:
    """``none``, ``gzip``, ``zip`` or ``zstd``: as set, else by the ending of the file's name."""
    return ENDINGS.get(PurePosixPath(name).suffix.lower(), "none") if setting == "auto" else setting


def packed_as(head: bytes) -> str | None:
    """The compression whose signature these first bytes bear; used only to explain why a file is refused."""
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None)


def _refuse(file: str, code: str, message: str, remedy: str) -> NoReturn:
    raise RejectedError(message, remedy=remedy, code=code, file=file)


def unpack(path: Path, name: str, compression: str) -> Iterator[bytes]:
    """The unpacked bytes of a file, chunk by chunk.

    Args:
        path: the file on this machine.
        name: its name in messages.
        compression: ``none``, ``gzip``, ``zip`` or ``zstd``.

    Raises:
        RejectedError: see the module.
    """
    if compression == "none":
        with path.open("rb") as handle:
            while chunk := handle.read(STEP):
                yield chunk
        return
    limit = int(os.environ.get("CROSSWALK_ARCHIVE_RATIO", str(MAX_RATIO)))
    size, total = max(path.stat().st_size, 1), 0
    if size == 1 and not path.stat().st_size:
        return
    for chunk in {"gzip": _gzip, "zip": _zip, "zstd": _zstd}[compression](path, name):
        total += len(chunk)
        if total > RATIO_FROM and total > size * limit:
            _refuse(
                name,
                "archive_bomb",
                f"The archive unpacks to more than {limit} times its size.",
                "If that is right, raise CROSSWALK_ARCHIVE_RATIO or deliver the file unpacked.",
            )
        yield chunk


def _not_an_archive(name: str, kind: str) -> NoReturn:
    _refuse(
        name,
        "not_an_archive",
        f"The file is no {kind} archive.",
        "Set `compression: none` if it is plain text, or deliver it packed as its name says.",
    )


def _gzip(path: Path, name: str) -> Iterator[bytes]:
    with path.open("rb") as handle:
        if handle.read(2) != b"\x1f\x8b":
            _not_an_archive(name, "gzip")
        handle.seek(0)
        try:
            yield from _gzip_members(handle, name)
        except zlib.error as error:
            raise RejectedError(
                "The gzip data are damaged.", remedy="Deliver the file again.", code="archive_damaged", file=name
            ) from error


def _gzip_members(handle: BinaryIO, name: str) -> Iterator[bytes]:
    data = handle.read(STEP)
    while data:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            if not data and not (data := handle.read(STEP)):
                _refuse(name, "archive_truncated", "The gzip data end too early.", "Deliver the whole file again.")
            piece = member.decompress(data, STEP)
            data = member.unconsumed_tail
            if piece:
                yield piece
        data = _after_member(handle, member.unused_data, name)


def _after_member(handle: BinaryIO, data: bytes, name: str) -> bytes:
    """What follows a gzip member: another one, or zero padding up to the end."""
    while True:
        data = data.lstrip(b"\0")
        if len(data) < 2 and (more := handle.read(STEP)):
            data += more
            continue
        if data and not data.startswith(b"\x1f\x8b"):
            _refuse(name, "archive_damaged", "Something that is no gzip data follows.", "Deliver the file again.")
        return data


def _zstd(path: Path, name: str) -> Iterator[bytes]:
    with path.open("rb") as handle:
        if packed_as(handle.read(4)) != "zstd":
            _not_an_archive(name, "zstd")
        handle.seek(0)
        engine = zstandard.ZstdDecompressor(max_window_size=2**27)
        frame = engine.decompressobj()
        started = False
        try:
            # A block may unpack to thousands of times its size: small steps bound the memory.
            while data := handle.read(2048):
                while data:
                    started = True
                    if piece := frame.decompress(data):
                        yield piece
                    data = b""
                    if frame.eof:
                        data, frame, started = frame.unused_data, engine.decompressobj(), False
        except zstandard.ZstdError as error:
            raise RejectedError(
                "The zstd data are damaged or need more than 128 MB of memory.",
                remedy="Deliver the file again.",
                code="archive_damaged",
                file=name,
            ) from error
        if started:
            _refuse(name, "archive_truncated", "The zstd data end too early.", "Deliver the whole file again.")


def _zip(path: Path, name: str) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            entry = _only_entry(archive, name)
            with archive.open(entry) as handle:
                while chunk := handle.read(STEP):
                    yield chunk
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError) as error:
        with path.open("rb") as handle:
            if packed_as(handle.read(4)) != "zip":
                _not_an_archive(name, "zip")
        raise RejectedError(
            "The zip archive is damaged or cut off.",
            remedy="Deliver the file again.",
            code="archive_damaged",
            file=name,
        ) from error


def _only_entry(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        _refuse(name, "archive_entries", f"The archive has {len(entries)} entries.", "Pack one data file per archive.")
    data = [entry for entry in entries if _is_data(entry)]
    if len(data) != 1:
        _refuse(
            name,
            "archive_entries",
            f"The archive holds {len(data)} data files where one is expected.",
            "Pack one data file per archive, and select several archives with a wildcard.",
        )
    entry = data[0]
    spans = sorted((e.header_offset, e.header_offset + e.compress_size) for e in entries if e.compress_size)
    if any(first[1] > second[0] for first, second in pairwise(spans)):
        _refuse(name, "archive_entries", "Entries of the archive overlap.", "Deliver an archive made by a usual tool.")
    if entry.flag_bits & 0x1:
        _refuse(name, "archive_encrypted", "The archive is encrypted.", "Deliver it without a password.")
    if PurePosixPath(entry.filename).suffix.lower() in ENDINGS:
        _refuse(name, "archive_entries", "The archive holds another archive.", "Pack the data file itself.")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        _refuse(name, "archive_damaged", "The archive uses an unusual compression.", "Pack it with deflate.")
    return entry


def _is_data(entry: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
    return not entry.is_dir() and bool(parts) and "__MACOSX" not in parts and not parts[-1].startswith(".")
