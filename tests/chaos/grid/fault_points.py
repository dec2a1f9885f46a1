"""Names of the steps: a call of a port has the name of its method; an SQL statement has the name of its purpose."""

import json
import re
from typing import Any

# The first match names the statement; a statement without a name is not a step. Reads are not steps: a fault at a read
# equals a fault between the steps around it.
_NAMES: tuple[tuple[str, str], ...] = (
    (r"(SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO)", ""),
    (r"EXECUTE claim_next_operation", "claim next"),
    (r"UPDATE operations_operation AS mine.*mine\.id = ANY \(ARRAY", "notify next"),
    (r"EXECUTE claim_operation", "claim"),
    (r"EXECUTE renew_lease", "renew lease"),
    (r"EXECUTE complete_operation", "complete operation"),
    (r"EXECUTE accept_operations", "insert operation"),
    (r"EXECUTE find_next_operation", ""),
    (r"EXECUTE unpublished_events", ""),
    # Requeued: retried later, or waiting for its image.
    (r'UPDATE "operations_operation" SET "state"', "requeue"),
    (r"WITH no_op AS", "complete no-ops"),
    (r"INSERT INTO operations_outboxevent", "queue messages"),
    (r"UPDATE operations_outboxevent", "mark published"),
    (r'INSERT INTO "operations_deadletter"', "insert dead letter"),
    (r"SELECT .*pg_try_advisory_lock", "take leadership"),
    (r"SELECT pg_advisory_xact_lock", "lock game"),
    (r"INSERT INTO operations_imagepull", "start pull"),
    (r'UPDATE "operations_imagepull"', "finish pull"),
    (r"WITH woken AS", "wake waiting operations"),
    (r'INSERT INTO "?operations_heartbeat', "write heartbeat"),
    (r"LISTEN ", "listen"),
    (r"SELECT ", ""),
)
_COMPILED = tuple((re.compile(pattern, re.DOTALL), name) for pattern, name in _NAMES)


def name_of_statement(sql: str, params: Any) -> str:
    """Return the name of a statement, empty if it is not a step. The default is its verb and table."""
    text = sql.strip()
    for pattern, name in _COMPILED:
        if pattern.match(text):
            return f"{name} for {_last_step(params)}" if name == "renew lease" else name
    return " ".join(re.findall(r"\w+", text)[:3]).lower()


def _last_step(params: Any) -> str:
    """Return the step that the lease is renewed for: the last entry of the steps, which the renewal stores as JSON."""
    (steps,) = (each for each in params if isinstance(each, str) and each.startswith("["))
    return str(json.loads(steps)[-1]["name"])
