from __future__ import annotations

from collections.abc import Iterator

import pytest

from crosswalk.engine.session import Session, open_session


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with open_session(tmp_path_factory.mktemp("engine"), memory_mb=256, threads=2) as opened:
        yield opened
