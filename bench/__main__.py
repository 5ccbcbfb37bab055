"""All measurements, one after the other: ``python -m bench``. Give ``--small`` for a tenth of the size."""

from __future__ import annotations

import subprocess
import sys

MEASUREMENTS: list[tuple[str, list[str], list[str]]] = [
    ("bench.import_orders", [], ["--rows", "500000"]),
    ("bench.import_again", [], ["--rows", "200000"]),
    ("bench.apply_profiles", [], []),
    ("bench.export_profiles", [], ["--profiles", "200000"]),
    ("bench.segment_count", [], ["--profiles", "500000"]),
    ("bench.import_events", [], ["--rows", "500000"]),
    ("bench.undo", [], ["--rows", "100000"]),
    ("bench.dag_parse", [], []),
    ("bench.scheduler_overhead", [], []),
    ("bench.sftp_transfer", [], ["--megabytes", "100"]),
]


def main() -> int:
    """Run every measurement; returns 1 when one of them failed or missed its bar."""
    small = "--small" in sys.argv[1:]
    codes = []
    for module, full, reduced in MEASUREMENTS:
        print(f"\n== {module}", flush=True)
        codes.append(
            subprocess.run([sys.executable, "-m", module, *(reduced if small else full)], check=False).returncode
        )
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
