"""Every processor's docstring holds examples, and they are true."""

from __future__ import annotations

import doctest
import importlib

import pytest

from crosswalk.processors import PROCESSORS


@pytest.mark.parametrize("name", PROCESSORS.names)
def test_the_examples_of_a_processor_are_true(name: str) -> None:
    kind = PROCESSORS.get(name)
    module = importlib.import_module(kind.__module__)
    finder = doctest.DocTestFinder(recurse=False)
    tests = [test for test in finder.find(kind, kind.__name__, module=module) if test.examples]
    assert tests, f"{kind.__name__} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF)
    for test in tests:
        output: list[str] = []
        runner.run(test, out=output.append)
        assert not output, "".join(output)
