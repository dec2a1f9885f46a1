"""How tests run: the same generated cases in CI each time, no memory of failures, and no process with copied locks."""

import ast
import os

from hypothesis import settings

from tests.meta.source import modules, name_of, syntax
from tests.properties import cases

_ALWAYS_ALLOWED = {"derandomize": "True", "database": "None"}
# Derandomised in CI by the same variable; it must also hold when the module is run by itself.
_PROFILE = "tests/properties/cases.py"


def test_the_profile_of_ci_tries_the_same_cases_each_time() -> None:
    profile = settings.get_profile("ci")

    assert (profile.derandomize, profile.database) == (True, None)


def test_the_profile_in_use_is_that_of_this_environment() -> None:
    is_ci = os.environ.get("CI") == "true"

    assert (settings().derandomize, settings().database) == (is_ci, None)
    assert is_ci == cases.IS_CI


def test_no_property_is_random_in_ci_or_remembers_failures() -> None:
    opting_out = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules("tests")
        for node in ast.walk(syntax(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "settings" and _opts_out(node)
    ]

    assert [one for one in opting_out if not one.startswith(_PROFILE)] == []


def _opts_out(call: ast.Call) -> bool:
    given = {str(keyword.arg): ast.unparse(keyword.value) for keyword in call.keywords}
    return any(given.get(name, allowed) != allowed for name, allowed in _ALWAYS_ALLOWED.items())


def test_no_process_is_forked_from_one_that_has_threads() -> None:
    contexts = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules("rtmanager", "tasks", "operations", "runtimes", "tests", "bench")
        for node in ast.walk(syntax(path))
        if (isinstance(node, ast.Attribute) and ast.unparse(node) in _FORKS)
        or (isinstance(node, ast.Call) and _asks_for_fork(node))
    ]

    assert contexts == []


# The default context of multiprocessing forks up to Python 3.13.
_FORKS = {"os.fork", "os.forkpty", "multiprocessing.Process", "multiprocessing.Pool", "multiprocessing.Manager"}


def _asks_for_fork(call: ast.Call) -> bool:
    name = ast.unparse(call.func).rpartition(".")[2]
    if name == "ProcessPoolExecutor":
        return not any(keyword.arg == "mp_context" for keyword in call.keywords)
    return name in {"get_context", "set_start_method"} and [ast.unparse(one) for one in call.args] in (
        [], ["None"], ["'fork'"],
    )  # fmt: skip
