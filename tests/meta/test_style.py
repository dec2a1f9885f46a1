"""The house rules that no linter knows: sizes, names, docstrings, and tests that test something."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.meta.source import PACKAGES, Function, functions, modules, name_of, syntax

LONGEST_MODULE = 400
LONGEST_FUNCTION = 60
MOST_MODULES_PER_FOLDER = 12
MOST_BROAD_EXCEPTS = 8
EMPTY_NAMES = {"services.py", "utils.py", "helpers.py", "common.py", "manager.py", "misc.py"}

OWN = modules(*PACKAGES, "bench")
PRODUCT = modules(*PACKAGES)
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


def test_no_folder_of_the_product_or_the_benchmark_has_more_than_12_modules() -> None:
    sizes = Counter(name_of(path.parent) for path in OWN if path.name != "__init__.py")

    assert {folder: size for folder, size in sizes.items() if size > MOST_MODULES_PER_FOLDER} == {}


def test_the_product_has_at_most_8_broad_excepts() -> None:
    broad = [f"{name_of(path)}:{handler.lineno}" for path in PRODUCT for handler in _broad_excepts(syntax(path))]

    assert len(broad) <= MOST_BROAD_EXCEPTS, f"name the possible errors in one of: {', '.join(broad)}"


@pytest.mark.parametrize(
    ("clause", "is_broad"),
    [
        ("except:", True),
        ("except Exception:", True),
        ("except BaseException as error:", True),
        ("except (ValueError, Exception):", True),
        ("except builtins.Exception:", True),
        ("except ValueError:", False),
        ("except (ValueError, KeyError):", False),
    ],
)
def test_a_broad_except_is_recognised_in_each_form(clause: str, *, is_broad: bool) -> None:
    assert bool(_broad_excepts(ast.parse(f"try: ...\n{clause} ..."))) == is_broad


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


def _broad_excepts(tree: ast.Module) -> list[ast.ExceptHandler]:
    """The ``except`` clauses that catch all errors."""
    handlers = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]
    return [handler for handler in handlers if _caught(handler) & {"Exception", "BaseException", "everything"}]


def _caught(handler: ast.ExceptHandler) -> set[str]:
    """The last names of the types that a clause catches."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {ast.unparse(kind).split(".")[-1] if kind else "everything" for kind in kinds}


def _asserts(function: Function) -> bool:
    has_assert = any(isinstance(node, ast.Assert) for node in ast.walk(function))
    return has_assert or any(name in {"raises", "fail"} or name.startswith("assert_") for name in _called(function))


def _called(function: Function) -> set[str]:
    """The last names of everything it calls: ``raises`` for ``pytest.raises(...)``."""
    targets = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    plain = {target.id for target in targets if isinstance(target, ast.Name)}
    return plain | {target.attr for target in targets if isinstance(target, ast.Attribute)}
