"""The names of the steps: a call on a port is called what the port calls it, a statement what it means."""

import json
import re
from typing import Any

# The first that matches names the statement; one without a name is no step. What only reads is none either: to be
# broken there is to be broken between its neighbours.
_NAMES: tuple[tuple[str, str], ...] = (
    (r"(SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO)", ""),
    (r"EXECUTE claim_next_operation", "claim next"),
    (r"UPDATE operations_operation AS mine.*mine\.id IN \(", "pass on"),
    (r"EXECUTE claim_operation", "claim"),
    (r"EXECUTE renew_lease", "renew lease"),
    (r"EXECUTE end_operation", "end operation"),
    (r"EXECUTE accept_operations", "insert operation"),
    (r"EXECUTE look_for_next_operation", ""),
    (r"EXECUTE unpublished_events", ""),
    # Back to the line: put off, or until its image is there.
    (r'UPDATE "operations_operation" SET "state"', "give back"),
    (r"WITH looked AS", "close replays"),
    (r"WITH record AS", "answer call"),
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
    (steps,) = (each for each in params if isinstance(each, str))
    return str(json.loads(steps)[-1]["name"])
