"""The documentation against the code: settings, states, metrics, log events, commands and links."""

import re
from itertools import pairwise

import pytest

from operations.monitoring.component_status import ServiceStats, current_limits, evaluate
from rtmanager.config import PREFIX, Config
from rtmanager.monitoring.metrics.gauges import CATALOGUE
from runtimes.states import INITIAL_STATUSES, TRANSITIONS
from tests.meta.source import PACKAGES, document, modules, name_of
from tests.paths import ROOT

_ROW = re.compile(r"^\|(.+)\|\s*$", re.MULTILINE)
PAGES = sorted((ROOT / "docs").rglob("*.md"))
_ALIASES = {"RTMANAGER_POSTGRES_PRIMARY_DSN"}


def table_rows(page: str) -> list[list[str]]:
    """The cells of every table row of a page, back-ticks and blanks taken off."""
    return [[cell.strip() for cell in row.split("|")] for row in _ROW.findall(document(page))]


def documented_settings() -> dict[str, str]:
    """Variable → documented default."""
    rows = [row for row in table_rows("docs/settings.md") if row[0].startswith(f"`{PREFIX}")]
    return {row[0].strip("`"): row[1].strip("`") for row in rows}


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    existing = {f"{PREFIX}{field.upper()}" for field in Config.model_fields}

    assert set(documented_settings()) - _ALIASES == existing


@pytest.mark.parametrize("field", Config.model_fields)
def test_the_documented_default_is_the_default(field: str) -> None:
    written = documented_settings().get(f"{PREFIX}{field.upper()}", "(not documented)")

    documented = Config.model_validate({field: "" if written == '""' else written})

    assert getattr(documented, field) == Config.model_fields[field].default


def test_the_documented_transitions_are_the_transitions() -> None:
    documented = {
        (row[0].strip("`"), row[1].strip("`"))
        for row in table_rows("docs/states.md")
        if len(row) == 3 and all(re.fullmatch(r"`\w+`", cell) for cell in row[:2])
    }

    assert documented == {(old.value, new.value) for old, after in TRANSITIONS.items() for new in after}


def test_the_documented_initial_statuses_are_the_initial_statuses() -> None:
    (line,) = re.findall(r"^Initial statuses:.*$", document("docs/states.md"), re.MULTILINE)

    assert set(re.findall(r"`(running|stopped|removed)`", line)) == {status.value for status in INITIAL_STATUSES}


def test_the_documented_metrics_are_the_metrics() -> None:
    rows = [row for row in table_rows("docs/metrics.md") if row[0].startswith("`rtmanager_")]
    documented = {row[0].strip("`"): tuple(re.findall(r"\w+", row[1])) for row in rows}

    assert documented == CATALOGUE


def test_the_runbook_has_a_fix_for_every_component() -> None:
    _before, _title, after = document("docs/runbook.md").partition("## readyz shows a component that is not ok")
    section = after.partition("\n## ")[0]
    documented = {row.split("|")[0].strip().strip("`") for row in _ROW.findall(section)}

    assert documented - {"component", "---"} == set(
        evaluate(ServiceStats(), {}, limits=current_limits(), uptime_seconds=0.0)
    )


def test_the_runbook_explains_every_warning_and_error_of_the_log() -> None:
    call = re.compile(r"\blog\.(?:warning|error|critical|exception)\(\s*\"(\w+)\"")
    written = {event for path in modules(*PACKAGES) for event in call.findall(path.read_text(encoding="utf-8"))}
    _before, _title, after = document("docs/runbook.md").partition("## Warnings and errors")
    section = after.partition("\n### Good to know")[0]
    rows = [row.split("|") for row in _ROW.findall(section)]
    explained = {event for row in rows if len(row) == 4 for event in re.findall(r"`(\w+)`", row[0])}

    assert written - explained == set()


def test_every_management_command_is_documented() -> None:
    commands = {
        path.stem
        for path in modules(*PACKAGES)
        if path.parts[-3:-1] == ("management", "commands") and path.stem != "__init__"
    }
    pages = "\n".join(path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *PAGES])

    assert sorted(command for command in commands if command not in pages) == []


def test_links_between_the_pages_have_a_target() -> None:
    pages = [*ROOT.glob("*.md"), *PAGES]

    dead = [
        f"{page.name} -> {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]

    assert dead == []


def test_the_changelog_is_in_order() -> None:
    dates = re.findall(r"^## .*?(\d{4}-\d{2}-\d{2})", document("CHANGELOG.md"), re.MULTILINE)

    assert all(newer >= older for newer, older in pairwise(dates))


def test_the_architecture_page_lists_every_module() -> None:
    listed, folder = set(), ""
    for line in document("docs/architecture.md").partition("\n## Modules")[2].splitlines():
        if heading := re.fullmatch(r"### `([\w/]+/)`", line):
            folder = heading[1]
        elif row := re.fullmatch(r"\| `(\w+\.py)` \| .+ \|", line):
            listed.add(f"{folder}{row[1]}")

    assert listed == {name_of(path) for path in modules(*PACKAGES) if path.name != "__init__.py"}


def test_the_glossary_has_at_most_25_entries() -> None:
    terms = [row[0] for row in table_rows("docs/glossary.md") if row[0].startswith("*")]

    assert 0 < len(terms) <= 25
