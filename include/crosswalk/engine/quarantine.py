"""What every step writes about input it sets aside: one schema for all stages."""

from __future__ import annotations

import pyarrow as pa

ROW, VALUE = "row", "value"

QUARANTINE_SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),  # the joined row, NULL when the record never became one
        ("file", pa.string()),  # path on the source
        ("line", pa.int64()),  # physical line (1-based) where the record begins
        ("field", pa.string()),  # column concerned, NULL when it is the whole record
        ("stage", pa.string()),  # read, join, process, link, map
        ("scope", pa.string()),  # row: the whole row is set aside; event: only its event; value: only this value
        ("reason", pa.string()),  # stable code, documented in docs/troubleshooting.md
        ("message", pa.string()),  # one sentence for a person; no personal value in it
        ("raw", pa.string()),  # the raw record or value, at most 64 KiB
    ]
)
