"""Settings against the product: a setting that is documented is read, and a variable that is named exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtmanager.config import _RENAMED, PREFIX, Config
from tests.meta.source import PACKAGES, document, modules, name_of, syntax
from tests.paths import ROOT

_CONFIG = ROOT / "rtmanager" / "config.py"
_PRODUCT = [path for path in modules(*PACKAGES) if path != _CONFIG]
_VALIDATORS = {"field_validator", "model_validator"}
_DOUBTS = re.compile(
    r"\b(not (yet|used|read|implemented|supported|effective)|unused|no effect|has no (use|meaning)|planned|reserved|"
    r"to be implemented|for future)\b|\byet\b",
    re.IGNORECASE,
)
_VARIABLE = re.compile(rf"\b{PREFIX}[A-Z0-9]+(?:_[A-Z0-9]+)*\b(?!\*|_)")
_ALIASES = {f"{PREFIX}POSTGRES_PRIMARY_DSN"}
# The changelog also names variables of earlier versions.
_NAMING = [
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "Dockerfile", "compose.yaml", "docs/*.*", "deploy/**/*")
    for path in sorted(ROOT.glob(pattern))
    if path.is_file() and path.suffix not in {".png", ".svg"}
]


def is_settings(node: ast.expr) -> bool:
    """Whether this expression is the settings themselves: ``settings.RTMANAGER``, or that name alone."""
    return (isinstance(node, ast.Attribute) and node.attr == "RTMANAGER") or (
        isinstance(node, ast.Name) and node.id == "RTMANAGER"
    )


def names_of_the_settings(tree: ast.AST) -> set[str]:
    """The local names of the settings in a module: what they are assigned to, and arguments of their type."""
    assigned = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and is_settings(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    arguments = {
        node.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.arg) and isinstance(node.annotation, ast.Name) and node.annotation.id == "Config"
    }
    return assigned | arguments


def read_attributes(tree: ast.AST) -> set[str]:
    """The attributes of the settings that a module reads."""
    names = names_of_the_settings(tree)
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and (is_settings(node.value) or (isinstance(node.value, ast.Name) and node.value.id in names))
    }


def derived_values(tree: ast.AST) -> dict[str, set[str]]:
    """Property of ``Config`` → what of ``self`` it reads. Validators only check: what they read is not used by that."""
    (config,) = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == "Config")
    return {
        function.name: {
            node.attr
            for node in ast.walk(function)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
        }
        for function in config.body
        if isinstance(function, ast.FunctionDef) and not _is_validator(function)
    }


def _is_validator(function: ast.FunctionDef) -> bool:
    calls = [one.func for one in function.decorator_list if isinstance(one, ast.Call)]
    return any(isinstance(call, ast.Name) and call.id in _VALIDATORS for call in calls)


def used_fields(read: set[str], derived: dict[str, set[str]]) -> set[str]:
    """What is read, directly or through properties."""
    used, new = set(read), set(read)
    while new := set().union(*(derived.get(name, set()) for name in new)) - used:
        used |= new
    return used


USED = used_fields(set().union(*(read_attributes(syntax(path)) for path in _PRODUCT)), derived_values(syntax(_CONFIG)))


@pytest.mark.parametrize("field", Config.model_fields)
def test_every_setting_is_read_by_the_product(field: str) -> None:
    assert field in USED, f"{PREFIX}{field.upper()} is checked and documented, and decides nothing"


def test_a_setting_that_is_only_validated_counts_as_unused() -> None:
    config = ast.parse(
        "class Config:\n"
        "    @field_validator('a')\n"
        "    def _check(cls, value): return self.a\n"
        "    @property\n"
        "    def url(self): return self.b\n"
    )
    module = ast.parse("config = settings.RTMANAGER\nother = thing.a\nuse(config.url)\n")

    assert used_fields(read_attributes(module), derived_values(config)) == {"url", "b"}


def test_the_page_of_settings_promises_no_future() -> None:
    doubtful = [line for line in document("docs/settings.md").splitlines() if _DOUBTS.search(line)]

    assert doubtful == []


def named_variables(text: str) -> set[str]:
    """Each variable of ours in a text; names of groups such as ``RTMANAGER_*_STREAM`` are none."""
    return set(_VARIABLE.findall(text))


def strings_of(path: Path) -> Iterator[str]:
    """Every string of a module: its messages and its documentation."""
    return (
        node.value for node in ast.walk(syntax(path)) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


KNOWN = {f"{PREFIX}{field.upper()}" for field in Config.model_fields} | _ALIASES


@pytest.mark.parametrize("path", _NAMING, ids=name_of)
def test_a_page_names_only_variables_that_exist(path: Path) -> None:
    # The page of settings also lists the new names of renamed variables; a value under an old name stops the process.
    known = KNOWN | set(_RENAMED) if name_of(path) == "docs/settings.md" else KNOWN

    assert named_variables(path.read_text(encoding="utf-8")) - known == set()


def test_a_message_of_the_product_names_only_variables_that_exist() -> None:
    unknown = {
        f"{name_of(path)}: {name}"
        for path in _PRODUCT
        for text in strings_of(path)
        for name in named_variables(text) - KNOWN
    }

    assert unknown == set()
