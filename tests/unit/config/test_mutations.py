"""Mutated connection files: each is refused with a line, or means what it says; nothing else ever happens."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from crosswalk.config.loader import LoadedConnection, load_connection
from crosswalk.core.errors import ConfigError
from tests.unit.config.conftest import GOOD

TRIALS = 300
ORIGINAL = (GOOD / "webshop_orders.yaml").read_text(encoding="utf-8")
# What YAML readers like to turn into something else.
IMPLICIT = [
    "NO",
    "yes",
    "1.10",
    "012",
    "0x1F",
    "1e5",
    "12:30:00",
    "2026-01-01",
    ".inf",
    ".nan",
    "1_000",
    "Null",
    "=",
    "on",
]
JINJA = ['"{{ var.value.x }}"', "'{% raw %}'", '"{{ 7 * 7 }}"', '"${HOME}"', '"{{ conn.x.password }}"']
Mutation = Callable[[random.Random, list[str]], list[str]]


def _line(rng: random.Random, lines: list[str]) -> int:
    return rng.randrange(1, len(lines))


def _insert_after_colon(text: str) -> Mutation:
    def mutate(rng: random.Random, lines: list[str]) -> list[str]:
        places = [n for n, line in enumerate(lines) if ": " in line and not line.startswith("#")]
        n = rng.choice(places)
        head, _, tail = lines[n].partition(": ")
        lines[n] = f"{head}: {text}{tail}"
        return lines

    return mutate


def _duplicate(rng: random.Random, lines: list[str]) -> list[str]:
    n = _line(rng, lines)
    lines.insert(n, lines[n])
    return lines


def _delete(rng: random.Random, lines: list[str]) -> list[str]:
    del lines[_line(rng, lines)]
    return lines


def _swap(rng: random.Random, lines: list[str]) -> list[str]:
    a, b = _line(rng, lines), _line(rng, lines)
    lines[a], lines[b] = lines[b], lines[a]
    return lines


def _indent(rng: random.Random, lines: list[str]) -> list[str]:
    n = _line(rng, lines)
    lines[n] = rng.choice([" ", "  ", "\t", ""]) + (lines[n] if rng.random() < 0.5 else lines[n].lstrip())
    return lines


def _character(rng: random.Random, lines: list[str]) -> list[str]:
    n = _line(rng, lines)
    at = rng.randrange(len(lines[n]) + 1)
    new = rng.choice([*"{}[],:#&*!|>'\"%@`\\\t\0\x07\x7f\u202e\ufeffé", "- ", ": ", "<<: ", "? "])
    lines[n] = lines[n][:at] + new + lines[n][at + rng.randrange(2) :]
    return lines


def _truncate(rng: random.Random, lines: list[str]) -> list[str]:
    text = "\n".join(lines)
    return text[: rng.randrange(len(text))].split("\n")


def _nest(rng: random.Random, lines: list[str]) -> list[str]:
    depth = rng.choice([5, 19, 25, 500, 20_000])
    lines.append("extra: " + rng.choice(["[", "{a: "]) * depth)
    return lines


def _scalar(values: list[str]) -> Mutation:
    def mutate(rng: random.Random, lines: list[str]) -> list[str]:
        key = rng.choice(["title", "description", "labels"])
        n = next(n for n, line in enumerate(lines) if line.startswith(f"{key}:"))
        value = rng.choice(values)
        lines[n] = f"{key}: [{value}]" if key == "labels" else f"{key}: {value}"
        return lines

    return mutate


def _anything(rng: random.Random, lines: list[str]) -> list[str]:
    n = _line(rng, lines)
    head, _, tail = lines[n].partition(": ")
    lines[n] = (
        f"{head}: {rng.choice(['', '~', '[]', '{}', '-1', '1e999', 'x' * 5000, '[[]]', '{a: b}', 'nan', tail[::-1]])}"
    )
    return lines


def _big(rng: random.Random, lines: list[str]) -> list[str]:
    lines.insert(_line(rng, lines), "# " + "x" * 1024 * 1024)
    return lines


MUTATIONS: dict[str, Mutation] = {
    "tag": _insert_after_colon("!!python/name:os.system "),
    "anchor": _insert_after_colon("&a "),
    "alias": _insert_after_colon("*a "),
    "duplicate": _duplicate,
    "merge": lambda rng, lines: [*lines, "<<: {title: x}"],
    "delete": _delete,
    "swap": _swap,
    "indent": _indent,
    "character": _character,
    "truncate": _truncate,
    "nest": _nest,
    "implicit": _scalar(IMPLICIT),
    "jinja": _scalar(JINJA),
    "anything": _anything,
    "big": _big,
}


def _expected_texts(lines: list[str]) -> dict[str, str]:
    """Title, description and first label as written in the mutated lines, quotes removed."""
    found = {}
    for line in lines:
        key, _, value = line.partition(": ")
        if key in ("title", "description", "labels"):
            found[key] = value.strip("[]").strip("'\"")
    return found


def _try(path, text: str) -> LoadedConnection | ConfigError:
    path.write_bytes(text.encode("utf-8"))
    try:
        return load_connection(path)
    except ConfigError as error:
        return error


@pytest.mark.parametrize("seed", range(TRIALS // len(MUTATIONS)))
@pytest.mark.parametrize("kind", MUTATIONS)
def test_a_mutated_file_is_refused_with_a_line_or_means_what_it_says(tmp_path, kind, seed):
    rng = random.Random(f"{kind}-{seed}")
    lines = MUTATIONS[kind](rng, ORIGINAL.split("\n"))
    outcome = _try(tmp_path / "mutated.yaml", "\n".join(lines))
    if isinstance(outcome, ConfigError):
        assert outcome.findings
        for finding in outcome.findings:
            assert finding.line is not None
            assert 1 <= finding.line <= len("\n".join(lines).split("\n")) + 1
            assert len(finding.message) < 1000
        assert kind not in ("implicit", "jinja")
        return
    assert kind not in ("tag", "anchor", "alias", "merge", "big")
    assert outcome.model.conn_id
    if kind in ("implicit", "jinja"):
        expected = _expected_texts(lines)
        assert outcome.model.title == expected["title"]
        assert outcome.model.description == expected["description"]
        assert outcome.model.labels[0] == expected["labels"].split(",")[0]


def test_the_unchanged_file_loads(tmp_path):
    assert isinstance(_try(tmp_path / "original.yaml", ORIGINAL), LoadedConnection)


def test_three_hundred_mutations_are_tried():
    assert TRIALS // len(MUTATIONS) * len(MUTATIONS) == 300
