"""Clearing a stack off its Docker host, for test stacks before a run. Records and state directories stay."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runtimes.containers.base import Container, Containers
from runtimes.exceptions import RuntimeManagerError


@dataclass(frozen=True, slots=True)
class Removal:
    """One container and why it could not be removed; an empty error means it is gone."""

    container: Container
    error: str = ""


def find_stack(containers: Containers, stack: str) -> list[Container]:
    """The containers with our owner label and exactly this stack, by name."""
    # The engine has filtered already; what is about to be killed is checked once more by our own rule.
    owned = [one for one in containers.list_owned(stack) if one.is_owned_by(stack)]
    return sorted(owned, key=lambda one: one.name)


def remove_all(containers: Containers, doomed: Sequence[Container]) -> Iterator[Removal]:
    """Remove each, killing it when alive; one that cannot be removed does not keep the others. Idempotent."""
    for container in doomed:
        try:
            containers.remove(container.id)
        except RuntimeManagerError as error:
            yield Removal(container, error.message)
        else:
            yield Removal(container)
