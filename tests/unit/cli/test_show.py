"""How the command line prints."""

from __future__ import annotations

import json

import pytest

from crosswalk.cli.main import build_parser, main
from crosswalk.cli.show import Output, short_number


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0"), (999, "999"), (1000, "1.0K"), (9_999, "9.9K"), (103_412, "103K"), (2_500_000, "2.5M"), (10**9, "1.0B")],
)
def test_large_numbers_are_short_and_never_rounded_up(number: int, expected: str) -> None:
    assert short_number(number) == expected


def test_json_mode_prints_one_document_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=True)
    output.text("for people")
    output.table("title", ["a"], [[1]])
    output.progress("working")
    output.json({"state": "done"})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"state": "done"}
    assert captured.err == ""


def test_control_characters_of_a_file_name_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table("", ["file"], [["evil\x1b[31m.csv"]])
    assert "\x1b[31m" not in capsys.readouterr().out


def test_every_command_takes_json_and_has_help() -> None:
    commands = next(action for action in build_parser()._actions if action.dest == "command").choices
    assert set(commands) >= {
        *("check", "scan", "preview", "read", "plan", "apply", "run", "runs", "trust", "test-alert", "rejects"),
        *("profile", "products", "status", "init", "schema", "model"),
    }
    for name, command in commands.items():
        nested = [action.choices for action in command._actions if isinstance(action.choices, dict)]
        leaves = [leaf for choices in nested for leaf in choices.values()] or [command]
        assert all("--json" in leaf.format_help() for leaf in leaves if hasattr(leaf, "format_help")), name


def test_wrong_use_ends_with_exit_code_2() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["no-such-command"])
    assert caught.value.code == 2


def test_an_unknown_connection_is_wrong_use_with_the_known_names(
    capsys: pytest.CaptureFixture[str], tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSWALK_CONNECTIONS", str(tmp_path))
    assert main(["run", "nope"]) == 2
    assert 'There is no connection "nope"' in capsys.readouterr().err
