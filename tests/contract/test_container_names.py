"""What the container port promises about names, held by both adapters."""

from dataclasses import replace

import pytest

from runtimes.containers.base import NameTakenError, NoSuchContainerError
from tests.contract.container_backends import Lab

NO_ID = "f" * 64


@pytest.mark.parametrize("is_running", [True, False])
def test_a_renamed_container_is_found_by_its_new_name_alone(lab: Lab, *, is_running: bool) -> None:
    spec = lab.spec()
    container_id = lab.direct.create(replace(spec, name=f"{spec.name}-x"))
    if is_running:
        lab.containers.start(container_id)
    before = lab.containers.find(container_id)

    lab.containers.rename(container_id, spec.name)

    assert before is not None
    assert lab.containers.find(f"{spec.name}-x") is None
    assert lab.containers.find(spec.name) == replace(before, name=spec.name)


def test_renaming_a_container_to_the_name_that_it_has_changes_nothing(lab: Lab) -> None:
    spec = lab.spec()
    container_id = lab.containers.create(spec)

    lab.containers.rename(container_id, spec.name)

    found = lab.containers.find(container_id)
    assert found is not None
    assert found.name == spec.name


def test_a_container_does_not_get_the_name_of_another_one(lab: Lab) -> None:
    spec, other = lab.spec(), lab.spec()
    container_id = lab.direct.create(replace(spec, name=f"{spec.name}-x"))
    other_id = lab.direct.create(replace(other, name=spec.name))

    with pytest.raises(NameTakenError, match=spec.name):
        lab.containers.rename(container_id, spec.name)

    assert [one.name for one in lab.containers.list_by_ids([container_id, other_id])].count(spec.name) == 1
    found = lab.containers.find(f"{spec.name}-x")
    assert found is not None
    assert found.id == container_id


def test_renaming_a_container_that_is_gone_says_so(lab: Lab) -> None:
    with pytest.raises(NoSuchContainerError):
        lab.containers.rename(NO_ID, f"{lab.game_id_prefix}-renamed")
