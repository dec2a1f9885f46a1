"""All migrations of this release, and one more."""

from operations import migrations

__path__ = [*migrations.__path__, *__path__]
