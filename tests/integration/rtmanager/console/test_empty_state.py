"""The check box that accepts an empty state directory is reachable from the page of the game that needs it."""

import shutil

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.integration.harness import Rig


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.mark.parametrize(
    ("is_removed", "reachable", "disabled"),
    [(False, ["start", "restart"], ["patch"]), (True, ["start"], ["restart", "patch"])],
)
def test_the_forms_with_the_check_box_stay_reachable_after_a_refusal(
    admin: Client, rig: Rig, *, is_removed: bool, reachable: list[str], disabled: list[str]
) -> None:
    rig.start()
    rig.stop()
    if is_removed:
        rig.cleanup()
    shutil.rmtree(rig.state_root / "g1")
    assert rig.start().error_code == "start_config_invalid"

    page = admin.get(reverse("console:game-state", args=["g1"])).content.decode()
    forms = {verb: f"{reverse('console:action', args=[verb])}?game=g1" for verb in [*reachable, *disabled]}

    assert [verb for verb in forms if forms[verb] in page] == reachable
    for verb in reachable:
        assert "accept_empty_state" in admin.get(forms[verb]).content.decode()
