"""All migrations of the next release, and one more."""

from tests.servers.releases.next import migrations

__path__ = [*migrations.__path__, *__path__]
