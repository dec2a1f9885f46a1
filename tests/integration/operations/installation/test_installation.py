"""The row with the facts about the installation as a whole."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connection

from runtimes.models import Installation


def test_the_installation_is_one_row_however_often_it_is_read() -> None:
    Installation.load()
    again = Installation.load()
    assert (Installation.objects.count(), again.id, again.state_root_id, again.restored_at) == (1, 1, "", None)


def test_the_database_refuses_a_second_installation() -> None:
    with pytest.raises(IntegrityError, match="installation_only_one"):
        Installation.objects.create(id=2)


def test_two_readers_of_an_empty_table_get_the_same_row() -> None:
    Installation.objects.all().delete()

    def read(_: int) -> int:
        try:
            return Installation.load().id
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(4))) == [1, 1, 1, 1]
