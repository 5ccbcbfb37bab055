from __future__ import annotations

import sys
from decimal import Decimal

import pytest

from crosswalk.core.errors import ConfigError
from crosswalk.core.registry import Registry


def test_a_class_is_found_by_its_name_and_imported_only_then(tmp_path, monkeypatch):
    (tmp_path / "lazy_acme.py").write_text("class Acme:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    kinds = Registry("connection kind", [("acme", "lazy_acme:Acme"), ("decimal", "decimal:Decimal")])
    assert "lazy_acme" not in sys.modules
    assert kinds.get("acme").__name__ == "Acme"
    assert kinds.get("decimal") is Decimal


def test_names_are_sorted_and_countable():
    kinds = Registry("processor", {"trim": "a:B", "case": "a:C"})
    assert kinds.names == ("case", "trim")
    assert list(kinds) == ["case", "trim"]
    assert len(kinds) == 2
    assert "trim" in kinds
    assert "hash" not in kinds


def test_a_name_given_twice_is_an_error():
    with pytest.raises(ConfigError, match="registered twice: a:B and c:D"):
        Registry("processor", [("trim", "a:B"), ("trim", "c:D")])


def test_an_unknown_name_is_refused_with_the_nearest_and_all_known_names():
    with pytest.raises(ConfigError) as raised:
        Registry("connection kind", {"sftp": "a:B", "copernica": "a:C"}).get("Stfp")
    assert raised.value.code == "unknown_connection_kind"
    assert 'There is no connection kind "Stfp". Did you mean "sftp"? Known: copernica, sftp.' in str(raised.value)


@pytest.mark.parametrize("target", ["no_such_module_x:Thing", "decimal:NoSuchThing"])
def test_a_class_that_cannot_be_loaded_is_a_configuration_error(target):
    with pytest.raises(ConfigError, match="could not be loaded"):
        Registry("processor", {"broken": target}).get("broken")


@pytest.mark.parametrize("target", ["decimal", "decimal.Decimal", ":X", "a:b.c", "os:system('x')"])
def test_a_target_of_another_form_is_refused(target):
    with pytest.raises(ConfigError, match="module:Class"):
        Registry("processor", {"broken": target})
