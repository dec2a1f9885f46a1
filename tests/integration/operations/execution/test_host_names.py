"""Ids that differ only in case: host names have no case, so only one of such games may have a container."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, connection

from operations.models import Operation, OutboxEvent
from operations.reconcile.survey import reconcile_all, survey
from operations.states import OperationKind, OperationSource, Topic
from runtimes.containers.base import Container
from runtimes.models import ONE_CONTAINER_PER_HOST_NAME, Runtime
from tests.integration.harness import IMAGE, Rig

BEFORE = "0004_ended_by"
AFTER = "0005_one_container_per_host_name"


@pytest.mark.parametrize("more", [{}, {"no_start": True}])
@pytest.mark.parametrize("source", [OperationSource.LOBBY_STREAM, OperationSource.ADMIN_REST])
def test_the_second_start_is_a_conflict_that_names_the_first_game_before_docker_is_asked(
    rig: Rig, source: OperationSource, more: dict[str, Any]
) -> None:
    rig.start("Alpha")
    calls = dict(rig.engine.calls)

    refused = rig.start("alpha", source=source, **more)

    assert (refused.outcome, refused.error_code) == ("failure", "conflict")
    assert "game Alpha" in refused.error_message
    assert refused.steps == []
    assert rig.engine.calls == calls
    assert not Runtime.objects.filter(game_id="alpha").exists()


def test_the_stream_gets_one_failure_result_and_no_notification(rig: Rig) -> None:
    rig.start("Alpha")

    rig.start("ALPHA")

    results = OutboxEvent.objects.filter(game_id="ALPHA", topic=Topic.JOB_RESULTS)
    assert [one.fields["error_code"] for one in results] == ["conflict"]
    assert not OutboxEvent.objects.filter(topic=Topic.NOTIFICATION_INTENTS).exists()


def test_a_stopped_game_keeps_its_host_name_and_a_removed_one_gives_it_back(rig: Rig) -> None:
    rig.start("Alpha")
    rig.stop("Alpha")
    while_stopped = rig.start("alpha")
    rig.cleanup("Alpha")

    after_cleanup = rig.start("alpha")
    first_again = rig.start("Alpha")

    assert [one.error_code for one in (while_stopped, after_cleanup, first_again)] == ["conflict", "", "conflict"]
    assert "game alpha" in first_again.error_message


def test_a_game_created_without_a_start_has_its_host_name_too(rig: Rig) -> None:
    rig.start("Alpha", no_start=True)

    assert rig.start("aLPHA").error_code == "conflict"


def test_of_two_first_starts_at_the_same_moment_one_succeeds_and_the_other_leaves_nothing_behind(rig: Rig) -> None:
    inner: list[Operation] = []
    # The second start runs completely between the claim of the first one and its container.
    rig.engine.on_call("create", lambda: inner.append(rig.start("alpha")))

    outer = rig.start("Alpha")

    assert (inner[0].outcome, inner[0].error_code) == ("success", "")
    assert (outer.outcome, outer.error_code) == ("failure", "conflict")
    assert "game alpha" in outer.error_message
    assert [one.game_id for one in Runtime.objects.all()] == ["alpha"]
    assert [one.game_id for one in rig.engine.containers.values()] == ["alpha"]


def test_a_live_container_with_the_host_name_of_another_game_is_reported_and_not_adopted(rig: Rig) -> None:
    strange = _strange(rig, "alpha")
    rig.start("Alpha")
    rig.engine.containers.update(strange)

    (finding,) = survey()[0]
    reconcile_all()

    assert (finding.game_id, finding.op_kind) == ("alpha", None)
    assert "game Alpha" in finding.reason
    assert not Operation.objects.filter(op_kind=OperationKind.RECONCILE_ADOPT).exists()
    assert len(rig.engine.containers) == 2


def test_of_two_unrecorded_containers_with_one_host_name_one_is_adopted(rig: Rig) -> None:
    rig.engine.containers.update({**_strange(rig, "Beta"), **_strange(rig, "beta")})

    findings = {one.game_id: one.op_kind for one in survey()[0]}

    assert findings == {"Beta": OperationKind.RECONCILE_ADOPT, "beta": None}


def test_an_adoption_that_was_asked_for_before_the_other_game_started_is_refused(rig: Rig) -> None:
    strange = _strange(rig, "alpha")
    rig.engine.containers.update(strange)
    reconcile_all()
    adoption = Operation.objects.get(op_kind=OperationKind.RECONCILE_ADOPT)
    rig.start("Alpha")

    refused = rig.do(adoption)

    assert (refused.outcome, refused.error_code) == ("failure", "conflict")
    assert set(strange) <= set(rig.engine.containers)


def test_the_database_refuses_a_second_container_with_the_same_host_name(rig: Rig) -> None:
    rig.start("Alpha")
    twin = Runtime.objects.get()
    twin.pk, twin.current_container_id = "ALPHA", "f" * 64

    with pytest.raises(IntegrityError, match=ONE_CONTAINER_PER_HOST_NAME):
        twin.save(force_insert=True)


def test_the_claim_finds_the_other_game_by_the_index(rig: Rig) -> None:
    rig.start("Alpha")
    query = (
        "SELECT game_id FROM runtimes_runtime AS other WHERE lower(other.game_id COLLATE \"C\") = 'alpha'"
        " AND other.game_id <> 'alpha' AND other.current_container_id IS NOT NULL"
    )
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(f"EXPLAIN (FORMAT json) {query}")
        plan = cursor.fetchone()[0]
        cursor.execute("RESET enable_seqscan")

    assert ONE_CONTAINER_PER_HOST_NAME in json.dumps(plan)


@pytest.mark.usefixtures("rig")
def test_existing_pairs_stop_the_migration_with_advice_before_it_changes_anything() -> None:
    call_command("migrate", "runtimes", BEFORE, verbosity=0)
    try:
        for number, game_id in enumerate(("Alpha", "alpha", "gamma")):
            _insert_stopped(game_id, f"{number:064}")

        with pytest.raises(CommandError, match=r"\n  Alpha and alpha\n") as refused:
            call_command("migrate", "runtimes", AFTER, verbosity=0, stdout=StringIO())

        assert "gamma" not in str(refused.value)
        assert "clean it up" in str(refused.value)
        Runtime.objects.filter(game_id="alpha").delete()
    finally:
        call_command("migrate", verbosity=0)
    _insert_stopped("delta", "d" * 64)
    with pytest.raises(IntegrityError):
        _insert_stopped("Delta", "e" * 64)


def _insert_stopped(game_id: str, container_id: str) -> None:
    """A record with a container, written past the model, whose later columns the table may lack."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO runtimes_runtime (game_id, current_container_id, status, image_id, engine_endpoint,"
            " state_path, docker_network, ended_by, fence, last_op_at, created_at)"
            " VALUES (%s, %s, 'stopped', '', '', '', '', '', 0, now(), now())",
            [game_id, container_id],
        )


def _strange(rig: Rig, game_id: str) -> dict[str, Container]:
    """A live container of our stack that no record knows."""
    before = dict(rig.engine.containers)
    made = rig.start(game_id)
    Runtime.objects.filter(game_id=game_id).delete()
    assert made.image_ref == IMAGE
    new = {key: one for key, one in rig.engine.containers.items() if key not in before}
    for key in new:
        del rig.engine.containers[key]
    Operation.objects.filter(game_id=game_id).delete()
    return new
