"""Whether this version fits the tables of the database: what a process checks when it starts.

The tables of a newer version serve an older one too, until a migration says otherwise (``oldest_version``, see
CONTRIBUTING). So processes of two versions run side by side during an upgrade.
"""

import re
from importlib import import_module
from pkgutil import iter_modules

import structlog
from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from runtimes.models import Installation

log = structlog.get_logger(__name__)

_SHOWN = 3

MigrationName = tuple[str, str]


def refuse_unfit_schema() -> None:
    """Raise CommandError if migrations are missing, or if the database needs a newer version of RTM.

    Returns if the database does not respond: a process waits for it. Closes its connection.
    """
    try:
        refusal = why_unfit()
    except (DatabaseError, InterfaceError) as error:
        log.info("schema_not_checked", error=str(error).strip())
        return
    finally:
        connection.close()
    if refusal:
        raise CommandError(refusal)


def why_unfit() -> str:
    """Return why a process of this version must not run on this database; empty if it may. One or two queries."""
    shipped, applied = shipped_migrations(), set(MigrationRecorder(connection).applied_migrations())
    if missing := sorted(shipped - applied):
        return f"the database lacks {_listed(missing)}; run: manage.py migrate"
    newer = sorted((app, name) for app, name in applied - shipped if app in {known for known, _name in shipped})
    if not newer:
        return ""
    oldest = Installation.objects.values_list("oldest_version", flat=True).first() or ""
    if as_numbers(oldest) > as_numbers(settings.RTM_VERSION):
        return (
            f"the database needs version {oldest} or newer, this is {settings.RTM_VERSION}; install that version, or "
            "restore the backup from before the upgrade"
        )
    log.info("database_is_newer", migrations=[f"{app}.{name}" for app, name in newer])
    return ""


def shipped_migrations() -> set[MigrationName]:
    """The migrations of all installed applications, found by their file names, without loading them."""
    found: set[MigrationName] = set()
    for config in apps.get_app_configs():
        name, _is_explicit = MigrationLoader.migrations_module(config.label)
        try:
            package = import_module(name) if name else None
        except ModuleNotFoundError:
            package = None
        found |= {(config.label, module.name) for module in iter_modules(package.__path__ if package else [])}
    return {(app, name) for app, name in found if name[0] not in "_~"}


def as_numbers(version: str) -> tuple[int, ...]:
    """``0.10.2`` as numbers that can be compared; an empty text is older than every version."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _listed(missing: list[MigrationName]) -> str:
    names = ", ".join(f"{app}.{name}" for app, name in missing[:_SHOWN])
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return f"{len(missing)} migration{'s' * (len(missing) > 1)} of this version ({names}{more})"
