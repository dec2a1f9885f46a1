"""requirements.txt is what is installed: all of it pinned, and in agreement with pyproject.toml."""

import re

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.meta.source import document, project

_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[a-z0-9,_-]+\])?==(?P<version>[^\s;#]+)(\s*;.*?)?\s*(#.*)?$")


def lines() -> list[str]:
    return [line for line in document("requirements.txt").splitlines() if line.strip() and not line.startswith("#")]


def pins() -> dict[str, str]:
    found = [_PINNED.match(line) for line in lines()]
    return {canonicalize_name(match["name"]): match["version"] for match in found if match}


def wanted() -> list[Requirement]:
    stated = project()["project"]
    extras = [text for group in stated["optional-dependencies"].values() for text in group]
    return [Requirement(text) for text in [*stated["dependencies"], *extras]]


def test_every_requirement_is_pinned() -> None:
    assert [line for line in lines() if not _PINNED.match(line)] == []


def test_everything_the_project_asks_for_is_pinned_to_what_it_allows() -> None:
    versions = pins()

    missing = [
        str(requirement)
        for requirement in wanted()
        if not requirement.specifier.contains(versions.get(canonicalize_name(requirement.name), "0"))
        or canonicalize_name(requirement.name) not in versions
    ]

    assert missing == []


def test_nothing_names_a_registry_or_a_place_on_somebodys_machine() -> None:
    texts = {name: document(name) for name in ("requirements.txt", "pyproject.toml")}

    assert [name for name, text in texts.items() if re.search(r"--(index-url|find-links)|file://", text)] == []
