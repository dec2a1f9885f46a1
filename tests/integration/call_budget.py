"""The table of costs: what each job asks of Docker, PostgreSQL and Redis, stage by stage, exactly."""

from types import MappingProxyType

from tests.integration.cost_harness import Cost, Costs

# What begins and ends in the same way, whatever the job is.

READ = {"XREADGROUP": 1, "XPENDING": 2, "MGET": 1, "TIME": 1}
ACCEPTED = Cost(
    sql=(
        "SELECT 1",
        "EXECUTE accept_operations",  # and whose turn it is
    ),
    redis={**READ, "XACK": 1},
)
ASKED = (
    "BEGIN",
    "SELECT pg_advisory_xact_lock",
    "SELECT operation",  # known by its key?
    "SELECT operation",  # busy?
    "EXECUTE accept_operations",
    "COMMIT",
    "SELECT operation",  # finished, after the wake-up
    "SELECT runtime",  # for the answer
)
CALLED = Cost(sql=("SELECT apitoken", *ASKED), redis={"SET": 1, "XREAD": 1})
HINTED = Cost(redis={"LPUSH": 1})
CLAIMED = ("EXECUTE claim_operation", "SELECT runtime")
REPLAYED = Cost(
    docker=("GET /containers/json",),
    sql=(
        "SELECT operation",
        "BEGIN",
        "UPDATE operation: complete no-ops",
        "INSERT outboxevent",
        "COMMIT",
        "SELECT operation",  # is there more of it?
        "UPDATE operation: notify next",
    ),
)
ANNOUNCED = {"XADD": 1, "EXPIRE": 1}
BOXED = ("SELECT exitreport", "SELECT healthsnapshot", "SELECT outboxevent", "BEGIN", "INSERT exitreport", "COMMIT")


def published(events: int) -> Cost:
    """By one transaction; the script of each event looks for its marker, adds it and leaves the marker."""
    each = dict.fromkeys(("EVAL", "GET", "XADD", "SET"), events)
    return Cost(sql=("EXECUTE unpublished_events", "UPDATE outboxevent"), redis={"MULTI": 1, "EXEC": 1, **each})


# The completion, and the query for the game's next job.
ENDED = ("EXECUTE complete_operation", "EXECUTE find_next_operation")


STARTED = Cost(
    # Creating by name detects an existing container; then it runs for START_SETTLE and is still alive.
    docker=(
        "GET /images/{ref}/json",
        "POST /containers/create",
        "POST /containers/{id}/start",
        "POST /containers/{id}/wait",
        "GET /containers/{id}/json",
    ),
    sql=(
        "EXECUTE claim_operation",  # it shows that there is no record to read
        "EXECUTE renew_lease",  # for the start
        *ENDED,
    ),
)
STREAM_START = {"bridge": ACCEPTED, "hint": HINTED, "relay": published(2)}

# Job → stage → what it asks for, exactly.
TABLE: Costs = MappingProxyType(
    {
        "first start on a network": {**STREAM_START, "worker": Cost(docker=("GET /networks",)) + STARTED},
        "start": {**STREAM_START, "worker": STARTED},
        "start without settling": {**STREAM_START, "worker": Cost(STARTED.docker[:-2], STARTED.sql)},
        "no-op start": {"bridge": ACCEPTED, "hint": HINTED, "worker": REPLAYED, "relay": published(1)},
        # Once for all of them, but for the publication.
        "50 no-op starts": {
            # Of those behind the first of their game it is asked after the commit whose turn it is.
            "bridge": ACCEPTED + Cost(sql=("SELECT operation",)),
            "hint": HINTED,
            "worker": REPLAYED,
            "relay": published(50),
        },
        "stop": {
            "bridge": ACCEPTED,
            "hint": HINTED,
            "worker": Cost(
                docker=("GET /containers/{id}/json", "POST /containers/{id}/stop"),
                sql=(
                    *CLAIMED,
                    "EXECUTE renew_lease",  # for the stop
                    *ENDED,
                ),
            ),
            "relay": published(1),
        },
        # The records alone show that a game does not run.
        "no-op stop": {"bridge": ACCEPTED, "hint": HINTED, "worker": Cost(sql=REPLAYED.sql), "relay": published(1)},
        "start by REST": {
            "call": CALLED,
            "hint": HINTED,
            "worker": STARTED + Cost(redis=ANNOUNCED),
            "relay": published(1),
        },
        "restart by REST": {
            "call": CALLED,
            "hint": HINTED,
            "worker": Cost(
                docker=(
                    # It disturbs a game, so everything is checked before.
                    "GET /networks",
                    "GET /containers/{id}/json",
                    "GET /images/{ref}/json",
                    "POST /containers/{id}/stop",
                    "DELETE /containers/{id}",
                    "POST /containers/create",
                    "POST /containers/{id}/start",
                    "POST /containers/{id}/wait",
                    "GET /containers/{id}/json",
                ),
                sql=(
                    *CLAIMED,
                    "EXECUTE renew_lease",  # for the stop
                    "SELECT healthsnapshot",  # was it well?
                    *["EXECUTE renew_lease"] * 3,  # for removal, creation and start
                    *ENDED,
                ),
                redis=ANNOUNCED,
            ),
            "relay": published(1),
        },
        "no-op start by REST": {
            "call": CALLED,
            "hint": HINTED,
            "worker": Cost(docker=("GET /containers/{id}/json",), sql=(*CLAIMED, *ENDED), redis=ANNOUNCED),
        },
        "no-op stop by REST": {
            "call": CALLED,
            "hint": HINTED,
            "worker": Cost(sql=(*CLAIMED, *ENDED), redis=ANNOUNCED),
        },
        "stop by REST": {
            "call": CALLED,
            "hint": HINTED,
            "worker": Cost(
                docker=("GET /containers/{id}/json", "POST /containers/{id}/stop"),
                sql=(
                    *CLAIMED,
                    "EXECUTE renew_lease",
                    *ENDED,
                ),
                redis=ANNOUNCED,
            ),
        },
        "cleanup by REST": {
            "call": CALLED,
            "hint": HINTED,
            "worker": Cost(
                docker=(
                    "GET /containers/{id}/json",
                    # What the exit report keeps.
                    "GET /containers/{id}/json",
                    "GET /containers/{id}/logs",
                    "GET /images/{ref}/json",
                    "DELETE /containers/{id}",
                ),
                sql=(
                    *CLAIMED,
                    *BOXED,
                    "EXECUTE renew_lease",  # for the removal
                    *ENDED,
                ),
                redis=ANNOUNCED,
            ),
        },
        # What finds nothing to do.
        "bridge": {"pass": Cost(sql=("SELECT 1",), redis=READ)},
        "relay": {"pass": Cost(sql=("EXECUTE unpublished_events",))},
        "sweep": {"pass": Cost(sql=("EXECUTE end_leases_without_worker", "UPDATE operation: sweep"))},
        # Every five seconds; it proves that the leader's connection lives, as SELECT 1 does.
        "bridge with its heartbeat": {"pass": Cost(sql=("INSERT heartbeat",), redis=READ)},
        "relay with its heartbeat": {"pass": Cost(sql=("INSERT heartbeat", "EXECUTE unpublished_events"))},
        "sweep with its heartbeat": {
            "pass": Cost(sql=("INSERT heartbeat", "EXECUTE end_leases_without_worker", "UPDATE operation: sweep"))
        },
        # Records before and after the list, who is busy, and whether a backup was restored: for any number of games.
        "reconcile": {
            "pass": Cost(
                docker=("GET /containers/json",),
                sql=("SELECT runtime", "SELECT operation", "SELECT runtime", "SELECT installation", "INSERT heartbeat"),
            )
        },
    }
)
