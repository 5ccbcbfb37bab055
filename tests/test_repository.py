"""What must hold for the repository as a whole: files, pins, no machine's traces, no secret."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from detect_secrets.core.plugins import initialize
from detect_secrets.settings import transient_settings

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "Makefile",
    "pyproject.toml",
    "requirements.in",
    "requirements.txt",
    ".ci/run",
    "docker-compose.yaml",
    "dags/connections.py",
    "dags/connections/README.md",
    "docs/adr/0001-one-dag-per-connection-file.md",
]
TEXT_ENDINGS = {".py", ".md", ".yaml", ".yml", ".toml", ".txt", ".in", ".cfg", ".sh", ".sql", ".json", ".csv", ""}
# Assembled, so that this file does not find itself.
MACHINE_TRACES = re.compile(
    "|".join(
        [
            r"/ro" + r"ot/",
            r"/ho" + r"me/[a-z]",
            r"/Us" + r"ers/[a-z]",
            r"(?<![\w./-])/wo" + r"rk/",
            r"files\.python" + r"hosted",
            r"pypi\.(org|python)",
            r"registry\.npm" + r"js",
            r"index-" + r"url\s*=",
            r"deb\.debian\.org",
        ]
    )
)
# Recognised by their own form, wherever they stand.
TOKENS = (
    "AWSKeyDetector",
    "AzureStorageKeyDetector",
    "GitHubTokenDetector",
    "GitLabTokenDetector",
    "JwtTokenDetector",
    "NpmDetector",
    "PrivateKeyDetector",
    "PypiTokenDetector",
    "SendGridDetector",
    "SlackDetector",
    "StripeDetector",
    "TwilioKeyDetector",
)
# Recognised by what stands beside them; tests are full of planted ones.
WORDS = ("BasicAuthDetector", "KeywordDetector")
# Words that make plain that a value is made up; every example and planted secret carries one.
MADE_UP = re.compile(
    r"example|planted|canary|not-a-|dummy|fake|sample|secret-of-|wrong|hunter2|change-?me|correct|demo|test|s3cret|pragma",
    re.IGNORECASE,
)


def tracked() -> list[str]:
    """Paths of all files under version control; all files where there is no git."""
    if shutil.which("git") and (ROOT / ".git").exists():
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        return sorted(name for name in listing.decode().split("\0") if name and (ROOT / name).is_file())
    skip = {".venv", ".git", ".demo", ".airflow", ".crosswalk", "__pycache__", ".hypothesis"}
    paths = (p.relative_to(ROOT) for p in ROOT.rglob("*") if p.is_file())
    return sorted(p.as_posix() for p in paths if not skip & set(p.parts))


def texts() -> list[tuple[str, str]]:
    """Path and content of every text file under version control."""
    found = []
    for name in tracked():
        if Path(name).suffix in TEXT_ENDINGS:
            found.append((name, (ROOT / name).read_bytes().decode("utf-8", "replace")))
    return found


def pin_problems(requirements: str) -> list[str]:
    """Lines that are no exact pin: ranges, addresses, paths, options."""
    problems = []
    for number, line in enumerate(requirements.splitlines(), start=1):
        plain = line.split(" #")[0].split(";")[0].strip()
        if plain and not plain.startswith("#") and not re.fullmatch(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==[\w.!+]+", plain):
            problems.append(f"line {number}: {line.strip()}")
    return problems


def machine_traces(text: str) -> list[str]:
    """Paths of one person's machine and addresses of package registries."""
    return [match.group(0) for match in MACHINE_TRACES.finditer(text)]


def detectors(names: tuple[str, ...]) -> list[Any]:
    """Detectors of detect-secrets by their class names."""
    with transient_settings({"plugins_used": [{"name": name} for name in names]}):
        return [initialize.from_plugin_classname(name) for name in names]


def secrets_in(paths: list[Path], *, words: bool = True) -> list[str]:
    """What detect-secrets finds in files; made-up values, prose and the word "password" itself are none."""
    tokens, beside = detectors(TOKENS), detectors(WORDS) if words else []
    found = []
    for path in paths:
        text = path.read_bytes().decode("utf-8", "replace")
        # Over the whole text first: nearly all files hold nothing, and line by line would take ten times as long.
        suspects = [item for item in tokens if any(item.analyze_string(text))] + beside
        for number, line in enumerate(text.splitlines() if suspects else [], start=1):
            found += [
                f"{path}:{number}: {secret.type}"
                for detector in suspects
                for secret in detector.analyze_line(filename=str(path), line=line, line_number=number)
                if not _is_made_up(secret, line)
            ]
    return sorted(set(found))


def _is_made_up(secret: Any, line: str) -> bool:
    value = secret.secret_value or ""
    is_prose = secret.type == "Secret Keyword" and (" " in value or value.lower() == "password")
    is_word = secret.type == "Basic Auth Credentials" and value.lower() == "password"
    is_place = re.search(r"[{}$<>*]", value) is not None and secret.type != "Private Key"
    return bool(MADE_UP.search(line)) or is_prose or is_word or is_place


@pytest.mark.parametrize("name", REQUIRED)
def test_a_file_that_people_look_for_is_there(name: str) -> None:
    assert (ROOT / name).is_file(), f"{name} is missing"


def test_every_package_is_pinned_to_one_version() -> None:
    assert pin_problems((ROOT / "requirements.txt").read_text(encoding="utf-8")) == []


def test_everything_asked_for_is_pinned() -> None:
    def names(text: str) -> set[str]:
        found = re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)", text, re.MULTILINE)
        return {re.sub(r"[-_.]+", "-", name).lower() for name in found}

    asked = names((ROOT / "requirements.in").read_text(encoding="utf-8"))
    assert asked - names((ROOT / "requirements.txt").read_text(encoding="utf-8")) == set()


def test_no_file_names_a_machine_or_a_package_registry() -> None:
    found = [f"{name}: {trace}" for name, text in texts() for trace in machine_traces(text)]
    assert found == []


def test_no_secret_is_in_the_tree() -> None:
    ours = [name for name, _ in texts() if not name.startswith("tests/")]
    tests = [name for name, _ in texts() if name.startswith("tests/")]
    found = secrets_in([ROOT / name for name in ours]) + secrets_in([ROOT / name for name in tests], words=False)
    assert found == []


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="needs the history")
def test_no_private_key_is_in_the_history() -> None:
    pattern = "-----BEGIN [A-Z ]*PRIVATE" + " KEY-----"
    log = subprocess.run(
        ["git", "log", "--all", "--pickaxe-regex", f"-S^{pattern}", "--format=%h %s", "--name-only"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert log.stdout.strip() == ""


def test_everything_a_run_leaves_behind_is_ignored() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert {".venv/", ".demo/", ".airflow/", ".crosswalk/"} <= set(ignored)
    assert not [name for name in tracked() if "__pycache__" in name or name.endswith((".pyc", ".db", ".sqlite"))]


def test_a_planted_pin_problem_is_found() -> None:
    planted = "duckdb>=2.0\nairflow @ file:///tmp/airflow.whl\n--extra-option x\nrich\npandas==3.0.5\n"
    assert len(pin_problems(planted)) == 4


def test_a_planted_machine_trace_is_found() -> None:
    assert machine_traces("see /ho" + "me/maria/data and https://pypi" + ".org/simple")


def test_a_planted_secret_is_found(tmp_path: Path) -> None:
    file = tmp_path / "settings.py"
    file.write_text('password = "Vg7kQ2mZ9xLp"\n' + "key = '''-----BEGIN OPENSSH PRIVATE" + " KEY-----\nb3BlbnNz'''\n")
    assert {finding.split(": ")[1] for finding in secrets_in([file])} == {"Private Key", "Secret Keyword"}
