"""Which migrations a version ships, and which version is newer."""

import pytest
from django.db.migrations.loader import MigrationLoader

from operations.installation.schema import as_numbers, shipped_migrations


def test_the_migrations_are_found_without_loading_them() -> None:
    assert shipped_migrations() == set(MigrationLoader(None).disk_migrations)


@pytest.mark.parametrize(
    ("older", "newer"), [("", "0.1.0"), ("0.1.0", "0.2.0"), ("0.9.1", "0.10.0"), ("0.2", "0.2.1"), ("0.2.0", "1")]
)
def test_versions_are_compared_as_numbers(older: str, newer: str) -> None:
    assert as_numbers(older) < as_numbers(newer)
