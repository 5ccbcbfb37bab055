"""The documentation is held against the program: examples load, and nothing that a user can meet is undocumented."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from crosswalk.cli.main import build_parser
from crosswalk.config import connection as connection_model
from crosswalk.config import tenant as tenant_model
from crosswalk.config.checks import check_connection, check_tenant
from crosswalk.config.loader import load_connection, load_tenant
from crosswalk.config.model import Model, keys_of
from crosswalk.processors import PROCESSORS, processor_names
from crosswalk.processors.own import own_processors
from crosswalk.steps.result import EXIT_CODES, RUN_STATES

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "include" / "crosswalk"
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "dags/**/*.md", "include/**/*.md", "demo/**/*.md")
    for path in ROOT.glob(pattern)
    if not {".venv", ".demo", "node_modules"} & set(path.parts)
)
SUBJECTS = set(tenant_model.Tenant.model_fields)
CONNECTION_KEYS = set(connection_model.Connection.model_fields)
GOAL_KINDS = connection_model.GOAL_KINDS
OTHER_YAML = {"services", "x-airflow", "x-common", "volumes"}


def text_of(page: Path) -> str:
    """A page's text."""
    return page.read_text(encoding="utf-8")


def docs_text() -> str:
    """All pages that users read, in one text."""
    return "\n".join(text_of(page) for page in PAGES if "adr" not in page.parts)


# -- the YAML examples ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """One fenced YAML block."""

    page: Path
    line: int
    text: str

    @property
    def name(self) -> str:
        """Where it is, for the test's name."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def examples() -> list[Example]:
    """Every block that is fenced as YAML."""
    found = []
    for page in PAGES:
        text = text_of(page)
        for match in re.finditer(r"^```ya?ml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            found.append(Example(page, text.count("\n", 0, match.start()) + 1, match.group(1)))
    return found


def _fragments(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key), inner
            yield from _fragments(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _fragments(inner)


def wanted_properties(document: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The properties that a connection's goals name, with a type that fits how they are used."""
    found: dict[str, dict[str, str]] = {}
    for goal in document["goals"]:
        mappings = goal.get("mappings") or {}
        for item in mappings.get("fields") or []:
            kind = "decimal" if item.get("strategy") == "sum" else "datetime" if item.get("date") else "text"
            found[f"{mappings.get('prefix') or ''}{item['property']}"] = {"type": kind}
        for item in goal.get("columns") or []:
            if "property" in item:
                found[item["property"]] = {"type": "text"}
        for item in goal.get("identifiers") or []:
            kind = "email" if item["property"] == "email" else "text"
            found[item["property"]] = {"type": kind, "identifier": "unique"}
    return found


def wanted_files(goal: dict[str, Any]) -> list[dict[str, Any]]:
    """File blocks for the ``file.column`` names that a fragment without files uses."""
    names: list[str] = []
    for key, value in _fragments(goal):
        texts = value if isinstance(value, list) else [value]
        if key in {"field", "fields", "row_key", "to", "from", "with", "by", "keep_first_of"}:
            names += [t.split(".")[0] for t in texts if isinstance(t, str) and re.fullmatch(r"[A-Za-z]\w*\.\S.*", t)]
    ordered = list(dict.fromkeys(names)) or ["customers"]
    first, *others = [{"name": name, "path": f"/in/{name}.csv"} for name in ordered]
    return [first, *({**block, "link": {"id": f"{first['name']}.id"}} for block in others)]


def whole_connection(value: Any) -> dict[str, Any]:
    """A connection around a fragment: goal keys, connection keys, or a list of processors or mappings."""
    if isinstance(value, list):
        first = value[0]
        if set(first) & set(GOAL_KINDS):
            value = {"goals": value}
        elif set(first) & set(PROCESSORS.names):
            value = {"processors": value}
        elif "objective" in first:
            value = {"consent": value}
        elif "path" in first:
            value = {"files": value}
        else:
            value = {"mappings": {"fields": value}}
    if "kind" in value:
        return dict(value)
    document: dict[str, Any] = {"kind": "sftp", "title": "An example", "conn_id": "example_sftp"}
    if set(value) <= CONNECTION_KEYS - {"guards"}:
        document |= value
        value = {}
    if "goals" not in document:
        goal = {"import_profiles": "example", **value}
        goal.setdefault("files", wanted_files(goal))
        primary = goal["files"][0]["name"]
        goal.setdefault("identifiers", [{"field": f"{primary}.email", "property": "email"}])
        document["goals"] = [goal]
    return document


def tenant_of(document: dict[str, Any], declared: dict[str, Any]) -> dict[str, Any]:
    """A tenant model with everything that a connection names; the page's own declarations win."""
    properties: dict[str, Any] = wanted_properties(document)
    objectives = {str(name): {} for name in document.get("objectives") or []}
    segments = {}
    for goal in document["goals"]:
        objectives |= {item["objective"]: {} for item in goal.get("consent") or []}
        if goal.get("segment") and goal["segment"] != tenant_model.ALL_PROFILES:
            segments[goal["segment"]] = {"all": [{"property": "email", "has_value": "true"}]}
    wanted = {"properties": properties, "objectives": objectives, "segments": segments, **GROUPS}
    subjects = {*wanted, *declared} - {"merge_rules"}
    return {subject: {**wanted.get(subject, {}), **declared.get(subject, {})} for subject in subjects}


# What the pages about goals take for granted, beside what they declare themselves.
GROUPS = {
    "group_types": {
        "household": {
            "properties": {
                "household_id": {"type": "text", "identifier": "unique"},
                "household_city": {"type": "text"},
                "household_income": {"type": "text"},
            }
        }
    }
}
PEOPLE: dict[str, Any] = {
    "email": {"type": "email", "identifier": "unique"},
    "shop_city": {"type": "text"},
    "shop_revenue": {"type": "decimal"},
    "shop_last_order": {"type": "datetime"},
    "household": {"type": "text", "group_type": "household"},
}


def declared_on(page: Path) -> dict[str, Any]:
    """What all tenant model examples of a page declare together."""
    found: dict[str, Any] = {}
    for example in examples():
        value = yaml.load(example.text, Loader=yaml.BaseLoader) if example.page == page else None
        if isinstance(value, dict) and set(value) <= SUBJECTS:
            for subject, content in value.items():
                found[subject] = content if isinstance(content, list) else {**found.get(subject, {}), **content}
    return found


def write_tenant(folder: Path, model: dict[str, Any]) -> Path:
    """A folder with the files of a tenant model."""
    folder.mkdir()
    for subject, declared in model.items():
        text = yaml.safe_dump({subject: with_nulls(declared)}, allow_unicode=True)
        (folder / f"{subject}.yaml").write_text(text, encoding="utf-8")
    return folder


def with_nulls(value: Any) -> Any:
    """What was read as nothing but text, with null for the word."""
    if isinstance(value, dict):
        return {key: with_nulls(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_nulls(inner) for inner in value]
    return None if value == "null" else value


def problems_of(example_text: str, folder: Path, declared: dict[str, Any] | None = None) -> list[str]:
    """Errors that the real loader and the real checks find in an example; an empty list is good.

    Args:
        example_text: the YAML.
        folder: for the files that are needed.
        declared: what the tenant model examples beside it declare.
    """
    value = yaml.load(example_text, Loader=yaml.BaseLoader)
    if isinstance(value, dict) and set(value) & OTHER_YAML:
        return []
    if isinstance(value, dict) and set(value) <= SUBJECTS:
        model = {"properties": PEOPLE, "objectives": {"newsletter": {}}, **GROUPS} | (declared or {}) | value
        model["properties"] = {**PEOPLE, **model["properties"]}
        found = check_tenant(load_tenant(write_tenant(folder / "tenant", model)))
        return [str(finding) for finding in found if finding.severity == "error"]
    document = whole_connection(value)
    file = folder / "example.yaml"
    text = example_text if document == value else yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    file.write_text(text, encoding="utf-8")
    loaded = load_connection(file)
    tenant = load_tenant(write_tenant(folder / "tenant", tenant_of(document, declared or {})))
    found = check_connection(loaded, tenant, processors=processor_names())
    return [str(item) for item in found if item.severity == "error"]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_a_yaml_example_loads_and_passes_the_checks(example: Example, tmp_path: Path) -> None:
    assert problems_of(example.text, tmp_path, declared_on(example.page)) == []


@pytest.mark.parametrize(
    "text",
    [
        "kind: sftp\ntitle: T\nconn_id: c\nsurprise: 1\ngoals: []\n",
        "mappings: {fields: [{field: a.b, property: c, strategy: replace}]}\n",
        "files:\n  - {name: a, path: /in/a.csv}\n  - {name: b, path: /in/b.csv}\n",
        "- no_such_processor: {field: a.b}\n",
        "properties:\n  x: {type: boolean}\n",
        "segments:\n  x: {all: [{property: nowhere, has_value: true}]}\n",
        "group_types:\n  home: {properties: {city: {}}}\n",
        "- {export_profiles: a, segment: b, directory: /o, file_name: {custom: c.csv}, columns: [{text: d}]}\n",
    ],
)
def test_a_wrong_example_would_be_noticed(text: str, tmp_path: Path) -> None:
    try:
        found = problems_of(text, tmp_path)
    except Exception:  # noqa: BLE001 - any refusal will do
        return
    assert found


def shipped_connections() -> list[Path]:
    """The demo's connection and those of the examples."""
    return sorted([*ROOT.glob("demo/connections/*.yaml"), *ROOT.glob("examples/*/connection.yaml")])


@pytest.mark.parametrize("path", shipped_connections(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_shipped_connection_passes_the_checks_with_its_own_tenant_model(path: Path) -> None:
    tenant = ROOT / "demo" / "tenant" if "demo" in path.parts else path.parent / "tenant"
    known = {*processor_names(), *own_processors(path.parent / "processors")}
    found = check_connection(load_connection(path), load_tenant(tenant), processors=known)
    assert [str(finding) for finding in found if finding.severity in {"error", "warning"}] == []


# -- everything a user can meet is on a page --------------------------------------------------------------------------


def model_keys() -> set[str]:
    """The keys of all models of connection files and of the tenant model."""
    found: set[str] = set()
    waiting: list[type[BaseModel]] = [Model]
    while waiting:
        model = waiting.pop()
        waiting += model.__subclasses__()
        found |= keys_of(model).keys() if model.__module__.startswith("crosswalk.config.") else set()
    return found


def test_every_yaml_key_is_documented() -> None:
    text = docs_text()
    keys = model_keys()
    assert {"nested", "as", "file_name", "inverse_of", "same", "retention_days", "is"} <= keys
    assert sorted(key for key in keys if not re.search(rf"`{{?{key}[:`]", text)) == []


def error_codes(source: str) -> set[str]:
    """Every code that an error or a finding of this source can carry."""
    found: set[object] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            found |= {k.value.value for k in node.keywords if k.arg == "code" and isinstance(k.value, ast.Constant)}
            if ast.unparse(node.func).split(".")[-1] in {
                "Finding",
                "Problem",
                "add",
                "_add",
                "_error",
                "_refuse",
                "_give_up",
            }:
                found |= {arg.value for arg in node.args[:3] if isinstance(arg, ast.Constant)}
        elif isinstance(node, ast.ClassDef):
            found |= {
                item.value.value
                for item in node.body
                if isinstance(item, ast.Assign)
                and ast.unparse(item.targets[0]) == "code"
                and isinstance(item.value, ast.Constant)
            }
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CODE":
            found.add(ast.literal_eval(node.value))
        elif isinstance(node, ast.Tuple) and any(getattr(item, "id", "").endswith("Error") for item in node.elts):
            # Tables of what a driver's errors mean: (text, class, message, remedy, code).
            found |= {item.value for item in node.elts[-1:] if isinstance(item, ast.Constant)}
    plain = {code for code in found if isinstance(code, str) and re.fullmatch(r"[a-z]+[a-z0-9]*(_[a-z0-9]+)*", code)}
    return plain - {"error", "warning", "info"}


def test_every_error_code_is_explained() -> None:
    page = text_of(ROOT / "docs" / "troubleshooting.md")
    codes = {code for path in PACKAGE.rglob("*.py") for code in error_codes(text_of(path))}
    assert {"unknown_key", "host_key_changed", "store_locked", "yaml_alias", "secret_in_yaml"} <= codes
    assert sorted(code for code in codes if f"`{code}`" not in page) == []


def test_every_warning_about_a_file_is_explained() -> None:
    page = text_of(ROOT / "docs" / "troubleshooting.md")
    sources = [text_of(PACKAGE / "engine" / f"{name}.py") for name in ("read", "decode", "dialect")]
    names = {name for source in sources for name in re.findall(r"""["']([a-z]+_[a-z_]+): [A-Z{]""", source)}
    assert {"separator_doubtful", "duplicate_header", "rows_quarantined", "encoding_doubtful"} <= names
    assert sorted(name for name in names if f"`{name}`" not in page) == []


def reasons() -> set[str]:
    """Every reason for which something is set aside: the keys of the engine's tables of messages."""
    found: set[str] = set()
    for path in [*(PACKAGE / "engine").glob("*.py"), *(PACKAGE / "processors").glob("*.py")]:
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if ast.unparse(target) in {"MESSAGES", "REASONS"}:
                    found |= {ast.literal_eval(key) for key in node.value.keys if isinstance(key, ast.Constant)}
    return found


def test_every_reason_is_explained() -> None:
    page = text_of(ROOT / "docs" / "troubleshooting.md")
    assert {"unclosed_quote", "ambiguous_match", "invalid_email"} <= reasons()
    assert sorted(reason for reason in reasons() if f"`{reason}`" not in page) == []


def test_every_processor_is_documented() -> None:
    page = text_of(ROOT / "docs" / "processors.md")
    assert sorted(name for name in PROCESSORS.names if f"`{name}`" not in page) == []


def test_every_state_and_exit_code_is_documented() -> None:
    page = text_of(ROOT / "docs" / "runs-and-states.md")
    assert sorted(state for state in RUN_STATES if f"| `{state}` |" not in page) == []
    for state, code in EXIT_CODES.items():
        assert re.search(rf"\| `{state}` \|.*\| {code}\b", page), f"{state}: exit code {code}"


def commands() -> dict[str, argparse.ArgumentParser]:
    """Every command of the command line, those of sub-commands as ``profile show``."""
    found: dict[str, argparse.ArgumentParser] = {}

    def collect(parser: argparse.ArgumentParser, prefix: str) -> None:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, inner in action.choices.items():
                    nested = any(isinstance(item, argparse._SubParsersAction) for item in inner._actions)
                    if not nested:
                        found[f"{prefix}{name}"] = inner
                    collect(inner, f"{prefix}{name} ")

    collect(build_parser(), "")
    return found


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_and_option_is_documented(command: str) -> None:
    page = text_of(ROOT / "docs" / "command-line.md")
    line = next((line for line in page.splitlines() if re.match(rf"\| `{command}\b", line)), None)
    assert line is not None, f"no line for {command}"
    hidden = {"--help", "--json"}
    for action in commands()[command]._actions:
        for option in action.option_strings:
            if option.startswith("--") and option not in hidden and action.help != argparse.SUPPRESS:
                assert option in line, f"{command}: {option}"


def test_every_documented_command_exists() -> None:
    page = text_of(ROOT / "docs" / "command-line.md")
    documented = re.findall(r"^\| `([a-z][a-z -]*?)(?: [\[A-Z-].*)?`", page, re.MULTILINE)
    assert sorted(set(documented) - set(commands())) == []


def test_every_command_in_an_example_exists() -> None:
    known = {name.split()[0] for name in commands()} | {"--version", "--help"}
    used = {
        (page.name, word)
        for page in PAGES
        for word in re.findall(r"(?:^|bin/|`)crosswalk ([a-z-]+)", text_of(page), re.MULTILINE)
    }
    assert sorted(item for item in used if item[1] not in known) == []


def test_every_environment_setting_is_documented() -> None:
    page = text_of(ROOT / "docs" / "command-line.md")
    used = {name for path in PACKAGE.rglob("*.py") for name in re.findall(r"CROSSWALK_[A-Z_]+[A-Z]", text_of(path))}
    assert sorted(name for name in used if f"`{name}`" not in page) == []


def make_targets() -> set[str]:
    """The targets of the Makefile that ``make help`` lists."""
    return set(re.findall(r"^([a-z]+):.*## ", text_of(ROOT / "Makefile"), re.MULTILINE))


def test_every_documented_make_target_exists() -> None:
    used = {
        (page.name, target)
        for page in PAGES
        for target in re.findall(r"(?:`|^)make ([a-z]+)", text_of(page), re.MULTILINE)
    }
    assert sorted(item for item in used if item[1] not in make_targets()) == []
    assert {"install", "demo", "stop", "test", "check", "bench", "campaign", "lock", "help"} <= make_targets()


# -- links ------------------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        wrong_anchor = anchor and file.suffix == ".md" and file.is_file() and anchor not in anchors(text_of(file))
        if not file.exists() or wrong_anchor:
            broken.append(target)
    assert broken == []
