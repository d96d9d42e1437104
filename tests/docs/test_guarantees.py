"""Guarantees: every test that the page names exists, and is marked slow where the page says so."""

import ast
import re

import pytest
from pages import ROOT

PAGE = ROOT / "docs" / "reference" / "guarantees.md"
NAMED = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`( \(slow)?", PAGE.read_text(encoding="utf-8"))


def test_the_page_names_tests():
    assert len(NAMED) > 20


@pytest.mark.parametrize("path, name, slow", sorted(set(NAMED)))
def test_a_named_test_exists(path, name, slow):
    text = (ROOT / path).read_text(encoding="utf-8")
    tests = {n.name: n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)}
    assert name in tests or not name
    marks = [ast.unparse(mark) for mark in tests[name].decorator_list] if name else []
    module = re.search(r"^pytestmark = .*pytest\.mark\.slow", text, re.MULTILINE)
    assert bool(slow) == ("pytest.mark.slow" in marks or module is not None)


@pytest.mark.parametrize(
    "row", [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
)
def test_every_promise_has_a_test(row):
    assert "`tests/" in row or row == "| promise | test |"
