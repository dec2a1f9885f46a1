"""The house rules that no linter knows: sizes, names, docstrings, and tests that test something."""

import ast
from pathlib import Path

import pytest

from tests.meta.source import PACKAGES, Function, functions, modules, name_of, syntax

LONGEST_MODULE = 400
LONGEST_FUNCTION = 60
EMPTY_NAMES = {"services.py", "utils.py", "helpers.py", "common.py", "manager.py", "misc.py"}

OWN = modules(*PACKAGES, "bench")
EVERYTHING = [*OWN, *modules("tests")]
TESTS = [path for path in modules("tests") if path.name.startswith("test_")]


def test_no_module_is_longer_than_400_lines() -> None:
    sizes = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in EVERYTHING}

    assert {name: size for name, size in sizes.items() if size > LONGEST_MODULE} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    sizes = {
        f"{name_of(path)}:{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in EVERYTHING
        for function in functions(path)
    }

    assert {name: size for name, size in sizes.items() if size > LONGEST_FUNCTION} == {}


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert [name_of(path) for path in EVERYTHING if path.name in EMPTY_NAMES] == []


def test_every_module_with_code_says_what_it_is_for() -> None:
    silent = [path for path in OWN if syntax(path).body and not ast.get_docstring(syntax(path))]

    assert [name_of(path) for path in silent] == []


def test_nothing_is_left_to_be_done() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    marked = [
        f"{name_of(path)}:{number}"
        for path in EVERYTHING
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if any(f"# {mark}" in line for mark in marks)
    ]

    assert marked == []


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_every_test_asserts_something(path: Path) -> None:
    asserting = {function.name for function in functions(path) if _asserts(function)}

    idle = [
        function.name
        for function in functions(path)
        if function.name.startswith("test_") and not _asserts(function) and not _called(function) & asserting
    ]

    assert idle == []


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_no_test_sleeps(path: Path) -> None:
    sleeping = [function.name for function in functions(path) if "sleep" in _called(function)]

    assert sleeping == []


def _asserts(function: Function) -> bool:
    has_assert = any(isinstance(node, ast.Assert) for node in ast.walk(function))
    return has_assert or any(name in {"raises", "fail"} or name.startswith("assert_") for name in _called(function))


def _called(function: Function) -> set[str]:
    """The last names of everything it calls: ``raises`` for ``pytest.raises(...)``."""
    targets = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    plain = {target.id for target in targets if isinstance(target, ast.Name)}
    return plain | {target.attr for target in targets if isinstance(target, ast.Attribute)}
