"""Reads every import of the program and fails where a layer rule is broken (see docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "include" / "crosswalk"

LAYERS = {
    "core": 0,
    "config": 1,
    "transport": 1,
    "engine": 2,
    "store": 2,
    "connectors": 3,
    "processors": 3,
    "steps": 4,
    "operators": 5,
    "hooks": 5,
    "dag_builder": 5,
    "cli": 5,
    "web": 5,
    "airflow_settings": 5,
}
TOP = 5
AIRFLOW_PARTS = {"operators", "hooks", "dag_builder", "web"}
# Paths that the Task SDK replaced; `airflow.sdk` offers the same things.
OLD_AIRFLOW = ("airflow.models", "airflow.decorators", "airflow.operators", "airflow.hooks", "airflow.utils.task_group")
# Outside a task the SDK sees no metadata database; the command line has to ask Airflow's own model there.
OLD_AIRFLOW_ALLOWED = {("crosswalk.hooks.credentials", "airflow.models.connection")}
OWNERS = {
    "duckdb": {"engine/session.py"},
    "asyncssh": {"transport/"},
    "paramiko": set(),
    "adbc_driver_sqlite": {"store/sqlite.py"},
    "adbc_driver_postgresql": {"store/postgres.py"},
    "sqlite3": set(),
    "psycopg": set(),
    "psycopg2": set(),
}
# A DAG file is parsed again and again, and each task pays for what the file imports.
HEAVY = {"pandas", "numpy", "duckdb", "pyarrow", "asyncssh", "sqlglot", "adbc_driver_sqlite", "adbc_driver_postgresql"}
PURE = {"engine", "processors"}
IMPURE_MODULES = {"random", "secrets", "socket", "ssl", "urllib", "http", "requests", "httpx", "smtplib", "subprocess"}
IMPURE_CALLS = {"now", "utcnow", "today", "time", "time_ns", "uuid1", "uuid4", "urandom"}
IMPURE_OWNERS = {"datetime", "date", "time", "uuid", "os", "dt", "pd", "Timestamp"}


@dataclass(frozen=True)
class Import:
    """One imported module: where, what, and when it is imported."""

    line: int
    module: str
    lazy: bool
    typing_only: bool


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _walk(node: ast.AST, lazy: bool = False, typing_only: bool = False) -> Iterator[tuple[ast.AST, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        only = typing_only or _is_type_checking(child)
        yield child, inside, only
        yield from _walk(child, inside, only)


def imports(source: str, module: str) -> list[Import]:
    """Every import of a source text; ``from x import y`` counts as ``x.y`` as well as ``x``."""
    found = []
    for node, lazy, only in _walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [Import(node.lineno, alias.name, lazy, only) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")[: -node.level]
                base = ".".join([*parts, *([base] if base else [])])
            found.append(Import(node.lineno, base, lazy, only))
            found += [Import(node.lineno, f"{base}.{alias.name}", lazy, only) for alias in node.names]
    return found


def _part(module: str) -> str | None:
    """``crosswalk.engine.read`` -> ``engine``; None outside the package and for the package itself."""
    pieces = module.split(".")
    return pieces[1] if pieces[0] == "crosswalk" and len(pieces) > 1 and pieces[1] != "__version__" else None


def layer_breaches(module: str, source: str) -> list[str]:
    """Imports of a higher layer, or of another package on the same layer."""
    part = _part(module)
    own = LAYERS.get(part or "", TOP)
    breaches = []
    for item in imports(source, module):
        other = _part(item.module)
        if other is None or other == part or other not in LAYERS:
            continue
        if LAYERS[other] > own or (LAYERS[other] == own and own < TOP):
            breaches.append(f"{module}:{item.line} (layer {own}) imports {item.module} (layer {LAYERS[other]})")
    return breaches


def airflow_breaches(module: str, source: str) -> list[str]:
    """Airflow outside the parts that speak to it, or through a path that ``airflow.sdk`` replaced."""
    breaches = []
    for item in imports(source, module):
        if item.module.split(".")[0] != "airflow":
            continue
        if _part(module) not in AIRFLOW_PARTS and module.startswith("crosswalk"):
            breaches.append(f"{module}:{item.line} imports {item.module}")
        elif (module, item.module.removesuffix(".Connection")) in OLD_AIRFLOW_ALLOWED:
            continue
        elif item.module.startswith(OLD_AIRFLOW) and not item.typing_only:
            breaches.append(f"{module}:{item.line} imports {item.module}; use airflow.sdk")
    return breaches


def owner_breaches(path: str, module: str, source: str) -> list[str]:
    """Drivers imported outside the file that owns them."""
    breaches = []
    for item in imports(source, module):
        owners = OWNERS.get(item.module.split(".")[0])
        if owners is not None and not any(path.startswith(owner) for owner in owners):
            breaches.append(f"{path}:{item.line} imports {item.module}; owned by {sorted(owners) or 'nobody'}")
    return breaches


def purity_breaches(module: str, source: str) -> list[str]:
    """Clock, chance and network inside what must depend on its input alone."""
    if _part(module) not in PURE:
        return []
    breaches = [
        f"{module}:{item.line} imports {item.module}"
        for item in imports(source, module)
        if item.module.split(".")[0] in IMPURE_MODULES
    ]
    for node, _, _ in _walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in IMPURE_CALLS:
            owner = ast.unparse(node.func.value).split(".")[-1]
            if owner in IMPURE_OWNERS:
                breaches.append(f"{module}:{node.lineno} calls {owner}.{node.func.attr}()")
    return breaches


def connector_breaches(module: str, source: str) -> list[str]:
    """A connector that knows the store or another connector."""
    if _part(module) != "connectors":
        return []
    breaches = []
    for item in imports(source, module):
        pieces = item.module.split(".")
        if _part(item.module) == "store":
            breaches.append(f"{module}:{item.line} imports the store")
        own = module.split(".")[-1] in {"connectors", "base"}
        another = pieces[:2] == ["crosswalk", "connectors"] and len(pieces) > 2 and pieces[2] not in {"base", "create"}
        if another and not own and pieces[2] != module.split(".")[2]:
            breaches.append(f"{module}:{item.line} imports another connector, {item.module}")
    return breaches


def _sources() -> dict[str, tuple[str, str]]:
    """Module name -> (path inside the package, source)."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        pieces = [*relative.parts[:-1]] if path.name == "__init__.py" else [*relative.parts[:-1], relative.stem]
        found[".".join(["crosswalk", *pieces])] = (relative.as_posix(), path.read_text(encoding="utf-8"))
    return found


SOURCES = _sources()


def _graph(*, lazy: bool) -> dict[str, set[str]]:
    """Which module of the package imports which, at run time."""
    graph: dict[str, set[str]] = {}
    for module, (_, source) in SOURCES.items():
        graph[module] = {
            item.module
            for item in imports(source, module)
            if item.module in SOURCES
            and not item.typing_only
            and (lazy or not item.lazy)
            # A module's own package is imported before it in any case.
            and not f"{module}.".startswith(f"{item.module}.")
        }
    return graph


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Every import cycle that a depth-first search meets."""
    done: set[str] = set()
    found: list[list[str]] = []

    def visit(module: str, trail: list[str]) -> None:
        if module in trail:
            found.append([*trail[trail.index(module) :], module])
            return
        if module in done:
            return
        for other in sorted(graph.get(module, ())):
            visit(other, [*trail, module])
        done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return found


def test_every_part_of_the_package_has_a_layer() -> None:
    parts = {part for module in SOURCES if (part := _part(module))}
    assert parts - LAYERS.keys() == set(), "give the new part a layer in this test and in docs/architecture.md"


def test_no_module_imports_a_higher_layer_or_a_neighbour() -> None:
    assert [b for m, (_, s) in SOURCES.items() for b in layer_breaches(m, s)] == []


def test_airflow_is_imported_only_where_it_is_spoken_to() -> None:
    found = [b for m, (_, s) in SOURCES.items() for b in airflow_breaches(m, s)]
    for folder in ("dags", "plugins"):
        for path in sorted((ROOT / folder).glob("*.py")):
            found += airflow_breaches(f"{folder}.{path.stem}", path.read_text(encoding="utf-8"))
    assert found == []


def test_drivers_are_imported_only_by_the_file_that_owns_them() -> None:
    assert [b for m, (p, s) in SOURCES.items() for b in owner_breaches(p, m, s)] == []


def test_the_engine_and_the_processors_depend_on_their_input_alone() -> None:
    assert [b for m, (_, s) in SOURCES.items() for b in purity_breaches(m, s)] == []


def test_connectors_know_neither_the_store_nor_each_other() -> None:
    assert [b for m, (_, s) in SOURCES.items() for b in connector_breaches(m, s)] == []


def test_no_import_cycle() -> None:
    assert cycles(_graph(lazy=True)) == []


def test_building_a_dag_imports_nothing_heavy() -> None:
    graph = _graph(lazy=False)
    reached: set[str] = set()
    waiting = [m for m in SOURCES if _part(m) in {"operators", "hooks", "dag_builder"}]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            parents = {module.rsplit(".", n)[0] for n in range(1, module.count(".") + 1)} & SOURCES.keys()
            waiting += [*graph[module], *parents]
    heavy = [
        f"{module}:{item.line} imports {item.module}"
        for module in sorted(reached)
        for item in imports(SOURCES[module][1], module)
        if not item.lazy and not item.typing_only and item.module.split(".")[0] in HEAVY
    ]
    assert heavy == []


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (layer_breaches, "crosswalk.core.names", "from crosswalk.config.loader import load"),
        (layer_breaches, "crosswalk.engine.read", "from crosswalk.store.base import Store"),
        (layer_breaches, "crosswalk.engine.read", "def f():\n    import crosswalk.connectors.sftp"),
        (layer_breaches, "crosswalk.engine.read", "from ..store import base"),
        (airflow_breaches, "crosswalk.steps.scan", "def f():\n    from airflow.sdk import Context"),
        (airflow_breaches, "crosswalk.operators.scan", "from airflow.models import BaseOperator"),
        (purity_breaches, "crosswalk.engine.mapping", "import random"),
        (purity_breaches, "crosswalk.engine.mapping", "import datetime\ndatetime.datetime.now()"),
        (connector_breaches, "crosswalk.connectors.acme", "from crosswalk.store import open_store"),
        (connector_breaches, "crosswalk.connectors.acme", "from crosswalk.connectors import sftp"),
    ],
)
def test_a_planted_breach_is_found(rule, module, source) -> None:
    assert rule(module, source)


def test_a_planted_driver_import_and_a_planted_cycle_are_found() -> None:
    assert owner_breaches("steps/join.py", "crosswalk.steps.join", "import duckdb")
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}})


def test_a_legal_import_is_no_breach() -> None:
    source = "from crosswalk.core.errors import ConfigError\nfrom crosswalk.store.base import Store"
    assert layer_breaches("crosswalk.steps.apply", source) == []
    assert connector_breaches("crosswalk.connectors.acme", "from crosswalk.connectors.base import Connector") == []
