"""What the calls share that ask Docker about the container a game has right now."""

from collections.abc import Iterator
from contextlib import contextmanager

from runtimes.api.views import find_runtime
from runtimes.containers.base import NoSuchContainerError
from runtimes.exceptions import RuntimeNotFoundError
from runtimes.games import check_game_id


def container_of(game_id: str) -> str:
    """The recorded container of a game. Raises RuntimeNotFoundError when there is no record, or none with one."""
    check_game_id(game_id)
    container_id = find_runtime(game_id).current_container_id
    if not container_id:
        message = f"game {game_id} has no container; its black boxes tell of those it had"
        raise RuntimeNotFoundError(message)
    return container_id


@contextmanager
def present(game_id: str) -> Iterator[None]:
    """Tell a container that has gone from Docker as what it is over HTTP: nothing is there."""
    try:
        yield
    except NoSuchContainerError as error:
        message = f"the container of game {game_id} is gone from Docker; the next reconcile tells"
        raise RuntimeNotFoundError(message) from error
