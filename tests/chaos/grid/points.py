"""The names of the steps: a call on a port is called what the port calls it, a statement what it means."""

import re
from typing import Any

# The first that matches names the statement; one without a name is no step. What only reads is none either: to be
# broken there is to be broken between its neighbours.
_NAMES: tuple[tuple[str, str], ...] = (
    (r"(SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO)", ""),
    (r"UPDATE operations_operation AS mine.*mine\.id = \(", "claim next"),
    (r"UPDATE operations_operation AS mine.*mine\.id IN \(", "pass on"),
    (r"UPDATE operations_operation AS mine", "claim"),
    (r'UPDATE "operations_operation" SET "lease_until"', "renew lease"),
    (r'UPDATE "operations_operation" SET "state"', "close operation"),
    (r"WITH looked AS", "close replays"),
    (r"WITH mine AS \(\s+INSERT INTO operations_operation", "insert operation"),
    (r"WITH record AS", "answer call"),
    (r'(INSERT INTO|UPDATE) "runtimes_runtime"', "write record"),
    (r'INSERT INTO "runtimes_healthsnapshot"', "write health"),
    (r"INSERT INTO operations_outboxevent", "queue messages"),
    (r"UPDATE operations_outboxevent", "mark published"),
    (r'INSERT INTO "operations_deadletter"', "keep dead letter"),
    (r"SELECT pg_try_advisory_lock", "take leadership"),
    (r"SELECT set_config\('idle_session_timeout'", "limit silence"),
    (r"SELECT pg_advisory_xact_lock", "lock game"),
    (r"INSERT INTO operations_imagepull", "begin pull"),
    (r'UPDATE "operations_imagepull"', "end pull"),
    (r"WITH woken AS", "wake who awaits it"),
    (r'INSERT INTO "?operations_pulse', "note the pulse"),
    (r"LISTEN ", "listen"),
    (r'SELECT 1 AS "a" FROM "operations_operation".*"state" = ', "look for the next"),
    (r"SELECT ", ""),
)
_COMPILED = tuple((re.compile(pattern, re.DOTALL), name) for pattern, name in _NAMES)


def name_of_statement(sql: str, params: Any) -> str:
    """What a statement is called in the grid, empty when it is no step. An unknown one goes by its verb and table."""
    text = sql.strip()
    for pattern, name in _COMPILED:
        if pattern.match(text):
            return f"{name} for {_last_step(params)}" if name == "renew lease" else name
    return " ".join(re.findall(r"\w+", text)[:3]).lower()


def _last_step(params: Any) -> str:
    """A renewal stores the timeline so far; its last entry is the step that the lease is renewed for."""
    (steps,) = (each.adapted for each in params if hasattr(each, "adapted"))
    return str(steps[-1]["name"])
