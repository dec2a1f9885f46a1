"""Files for the tools of others: alert rules, dashboards and the workflow of a hosted CI."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from rtmanager.monitoring.metrics.gauges import CATALOGUE
from tests.meta.source import document

_METRIC = re.compile(r"\brtmanager_\w+")
_LABEL_LISTS = re.compile(r"\b(?:by|without)\s*\(([^)]*)\)")
_SELECTORS = re.compile(r"(\brtmanager_\w+)\{([^}]*)\}")
_OF_PROMETHEUS = {"job", "instance", "le"}

RULES: list[dict[str, Any]] = yaml.safe_load(document("deploy/prometheus/alerts.yaml"))["groups"][0]["rules"]


def queries(node: Any) -> Iterator[str]:
    """Every ``expr`` of a dashboard, however deep."""
    if isinstance(node, dict):
        if isinstance(node.get("expr"), str):
            yield node["expr"]
        for child in node.values():
            yield from queries(child)
    elif isinstance(node, list):
        for child in node:
            yield from queries(child)


EXPRESSIONS = [*(rule["expr"] for rule in RULES), *queries(json.loads(document("deploy/grafana/rtmanager.json")))]


def family(name: str) -> str:
    """The metric of a sample: histograms have samples of three names."""
    return name if name in CATALOGUE else re.sub(r"_(bucket|sum|count)$", "", name)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_that_is_asked_for_exists_with_its_labels(expression: str) -> None:
    names = {family(name) for name in _METRIC.findall(expression)} - {"rtmanager"}
    known = _OF_PROMETHEUS.union(*(CATALOGUE[name] for name in names & set(CATALOGUE)))

    grouped = {label.strip() for labels in _LABEL_LISTS.findall(expression) for label in labels.split(",")}
    selected = {
        label for name, inside in _SELECTORS.findall(expression) for label in re.findall(r"(\w+)\s*[=!]", inside)
        if label not in {*CATALOGUE.get(family(name), ()), *_OF_PROMETHEUS}
    }  # fmt: skip

    assert names - set(CATALOGUE) == set()
    assert grouped - known == set()
    assert selected == set()


def test_the_dashboard_shows_every_metric_worth_looking_at() -> None:
    shown = {family(name) for expression in EXPRESSIONS for name in _METRIC.findall(expression)}

    # Shown by another figure, or of no use to operators.
    assert set(CATALOGUE) - shown == {
        "rtmanager_docker_event_age_seconds", "rtmanager_lease_overdue_seconds",
        "rtmanager_outbox_oldest_age_seconds", "rtmanager_counter_increments",
    }  # fmt: skip


def test_every_alert_says_what_is_wrong_and_has_its_part_of_the_runbook() -> None:
    runbook = document("docs/runbook.md")
    sections = set(re.findall(r"^### (Rtm\w+)$", runbook, re.MULTILINE))

    assert {rule["alert"] for rule in RULES} == sections
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["labels"]["severity"] in {"critical", "warning"}


def test_the_hosted_workflow_runs_what_every_ci_runs() -> None:
    (job,) = yaml.safe_load(document(".github/workflows/ci.yaml"))["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]

    assert "bash .ci/run" in commands
    assert job["timeout-minutes"] == 90
