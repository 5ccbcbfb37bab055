"""Damaged files: the good rows load, each bad one is in quarantine with line and reason, nothing hangs or grows.

``CROSSWALK_MUTATIONS`` sets how many files (300; the campaign takes 10,000) and ``CROSSWALK_MUTATION_SEED`` the seed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from crosswalk.core.errors import RejectedError
from crosswalk.engine.session import Session, open_session
from tests.faults.mutators import MUTATORS, REJECTED_WHOLE, Case, make
from tests.unit.engine.reading import stage

COUNT = int(os.environ.get("CROSSWALK_MUTATIONS", "300"))
SEED = int(os.environ.get("CROSSWALK_MUTATION_SEED", "20261122"))
SLICES = 10
LONGEST_SECONDS = 10.0


def differences(session: Session, folder: Path, case: Case, *, engine: bool) -> list[str]:
    """What the reader makes of a damaged file, compared with what it must make of it."""
    try:
        result = stage(session, folder, case.data, engine=engine, **case.form)
    except RejectedError as error:
        return [] if error.code == case.rejected else [f"refused: {error.code} {error}"]
    if case.rejected:
        return [f"not refused as {case.rejected}"]
    found = []
    if list(zip(result.lines, result.rows, strict=True)) != case.rows:
        got = list(zip(result.lines, result.rows, strict=True))
        odd = [(a, b) for a, b in zip(got, case.rows, strict=False) if a != b][:2]
        found.append(f"rows: {len(got)} for {len(case.rows)}, {str(odd)[:500]}")
    if result.bad != case.bad:
        found.append(f"rejects: {result.bad[:5]} for {case.bad[:5]}")
    if any(not reject["message"] for reject in result.rejects):
        found.append("a reject without a message")
    return found


@pytest.mark.parametrize("part", range(SLICES))
def test_every_damaged_file_ends_as_its_damage_says(part: int, tmp_path: Path) -> None:
    failures = []
    with open_session(tmp_path / "engine", memory_mb=256, threads=2) as session:
        for number in range(part, COUNT, SLICES):
            case = make(SEED, number)
            begin = time.thread_time()
            for problem in differences(session, tmp_path, case, engine=number // len(MUTATORS) % 3 != 2):
                failures.append(f"seed {SEED} number {number} {case.kind}: {problem}")
            if time.thread_time() - begin > LONGEST_SECONDS:
                failures.append(f"seed {SEED} number {number} {case.kind}: took too long")
    assert not failures, "\n".join(failures[:10])


def test_the_series_holds_every_kind() -> None:
    kinds = Counter(mutator.__name__ for mutator in MUTATORS)
    assert len(kinds) == len(MUTATORS) >= 24
    assert set(REJECTED_WHOLE) <= set(kinds)
    assert len(MUTATORS) <= 300


MEMORY = """
import resource, sys
from pathlib import Path
from crosswalk.config.connection import Format
from crosswalk.core.errors import RejectedError
from crosswalk.engine.read import LocalFile, stage_file
from crosswalk.engine.session import open_session
folder = Path(sys.argv[1])
shapes = [
    b"a,b\\n" + b"\\n" * 10_000_000,
    b"a,b\\n" + b",\\n" * 5_000_000,
    b"a,b\\n1," + b"x" * 10_000_000 + b"\\n",
    b"a,b\\n1,2\\n" + b"," * 10_000_000,
    b"," * 10_000_000 + b"\\n1,2\\n",
    b'a,b\\n1,"' + b"a line of the open cell\\n" * 400_000,
    b"a,b\\n" + b'a cell of some length,"\\n' * 400_000,
    b"a,b\\n" + b"a cell of some length\\xff,1\\n" * 40 + b"a cell of some length,1\\n" * 400_000,
]
with open_session(folder / "engine", memory_mb=200, threads=2) as session:
    for data in shapes[int(sys.argv[2])::2]:
        (folder / "f.csv").write_bytes(data)
        try:
            stage_file(session, LocalFile(folder / "f.csv", "f.csv"), Format(), out=folder / "o.parquet",
                       quarantine=folder / "q.parquet", work=folder)
        except RejectedError:
            pass
# Not ru_maxrss: a child inherits the peak of the process that started it.
status = Path("/proc/self/status")
if status.exists():
    peak = int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1])
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak // 1024)
"""


@pytest.mark.parametrize("half", [0, 1])
def test_ten_megabytes_of_any_shape_need_less_than_half_a_gigabyte(tmp_path: Path, half: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path), str(half)],
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
        cwd=Path(__file__).parents[2],
    )
    assert int(done.stdout) < 512
