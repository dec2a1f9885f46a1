"""Redrive of a dead letter: parse its entry again, with corrections if necessary, and accept the job."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import structlog
from django.db import DataError, IntegrityError, transaction
from django.db.models.functions import Now

from operations.dead_letters import store
from operations.intake import OperationRequest, accept
from operations.messages import JOB_FIELDS, StreamEntry, job_parsers
from operations.models import DeadLetter, Operation
from runtimes.exceptions import ConflictError, ErrorCode, InvalidRequestError, RuntimeManagerError

log = structlog.get_logger(__name__)


class DeadLetterNotFoundError(RuntimeManagerError):
    """There is no dead letter of this id."""

    code = ErrorCode.NOT_FOUND


@dataclass(frozen=True, slots=True)
class RedriveResult:
    """The dead letter and its operation. ``is_no_op``: an earlier redrive created the operation."""

    dead_letter: DeadLetter
    operation: Operation
    is_no_op: bool


def get_dead_letter(dead_letter_id: int, *, lock: bool = False) -> DeadLetter:
    """Return the dead letter with this id. Raises DeadLetterNotFoundError."""
    rows = DeadLetter.objects.select_for_update() if lock else DeadLetter.objects.all()
    dead_letter = rows.filter(pk=dead_letter_id).first()
    if dead_letter is None:
        message = f"there is no dead letter {dead_letter_id}; manage.py dead_letters --all lists them"
        raise DeadLetterNotFoundError(message)
    return dead_letter


def read_job(dead_letter: DeadLetter, corrected: Mapping[str, str]) -> OperationRequest:
    """Parse the job of a dead letter with corrected fields. Raises InvalidRequestError if it is still invalid.

    The job gets a new job key, because the key of the entry already has a result.
    """
    unknown = sorted(set(corrected) - JOB_FIELDS)
    if unknown:
        message = f"unknown job field {', '.join(unknown)}; the fields are {', '.join(sorted(JOB_FIELDS))}"
        raise InvalidRequestError(message)
    parse = job_parsers().get(dead_letter.stream)
    if parse is None:
        message = f"{dead_letter.stream} is no job stream of this installation; they are {', '.join(job_parsers())}"
        raise InvalidRequestError(message)
    # Further fields have no meaning for a job, and a corrected job has none that could be repeated.
    fields = {name: value for name, value in store.read_fields(dead_letter).items() if name in JOB_FIELDS}
    entry = StreamEntry(dead_letter.stream, dead_letter.entry_id, {**fields, **corrected})
    # The id alone is not unique: a restored database issues it again.
    return replace(parse(entry), job_key=f"dead_letter:{dead_letter.pk}:{dead_letter.entry_id}")


def redrive(dead_letter_id: int, *, corrected: Mapping[str, str], by: str, note: str = "") -> RedriveResult:
    """Accept the job of a dead letter after all operations accepted so far. Its result goes to the result stream.

    Idempotent: a second redrive returns the first operation. Raises InvalidRequestError if the job is still invalid,
    ConflictError if it was redriven as another job, and DeadLetterNotFoundError. Nothing is written then.
    """
    note = describe_corrections(corrected, note=note)
    try:
        with transaction.atomic():
            dead_letter = get_dead_letter(dead_letter_id, lock=True)
            if dead_letter.redriven_at is not None:
                return RedriveResult(dead_letter, _earlier_operation(dead_letter, corrected), is_no_op=True)
            (operation,) = accept([read_job(dead_letter, corrected)])
            DeadLetter.objects.filter(pk=dead_letter_id).update(
                redriven_at=Now(), redriven_by=by, redriven_as=operation, note=note
            )
    except (DataError, IntegrityError) as error:
        message = f"cannot be stored: {str(error).strip()}"
        raise InvalidRequestError(message) from error
    log.info("dead_letter_redriven", dead_letter_id=dead_letter_id, operation_id=operation.pk, by=by, note=note)
    return RedriveResult(dead_letter, operation, is_no_op=False)


def preview(dead_letter: DeadLetter, corrected: Mapping[str, str]) -> list[str]:
    """Describe what a redrive would do, in sentences. Raises InvalidRequestError like read_job. Changes nothing."""
    job = read_job(dead_letter, corrected)
    arguments = ", ".join(f"{name} {value}" for name, value in job.arguments.items())
    sentences = [f"Would {job.op_kind} game {job.game_id} ({arguments})."]
    if dead_letter.redriven_at is not None:
        sentences.append(f"But it was already redriven as operation {dead_letter.redriven_as_id}.")
    newer = Operation.objects.filter(game_id=job.game_id, accepted_at__gt=dead_letter.received_at).count()
    if newer:
        sentences.append(f"{newer} operation(s) of this game were accepted since it arrived; it would follow them.")
    return sentences


def read_corrections(texts: Iterable[str]) -> dict[str, str]:
    """Parse ``field=value`` texts into a mapping. Raises InvalidRequestError for a text of another form."""
    corrected = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            message = f"{text!r} is no correction; write field=value"
            raise InvalidRequestError(message)
        corrected[name.strip()] = value
    return corrected


def split_corrections(line: str) -> dict[str, str]:
    """Parse corrections from one line, quoted as in a shell."""
    try:
        return read_corrections(shlex.split(line))
    except ValueError as error:
        message = f"{line!r} cannot be parsed: {error}"
        raise InvalidRequestError(message) from None


def describe_corrections(corrected: Mapping[str, str], *, note: str = "") -> str:
    """Format the changed fields and the reason for the record."""
    changes = ", ".join(f"{name}={value!r}" for name, value in corrected.items())
    return "; ".join(filter(None, [changes and f"set {changes}", note]))


def _earlier_operation(dead_letter: DeadLetter, corrected: Mapping[str, str]) -> Operation:
    operation = dead_letter.redriven_as
    if operation is not None and (not corrected or _is_same_job(read_job(dead_letter, corrected), operation)):
        return operation
    message = (
        f"dead letter {dead_letter.pk} was already redriven by {dead_letter.redriven_by} as operation "
        f"{dead_letter.redriven_as_id} ({dead_letter.note or 'unchanged'}); a dead letter becomes one job only"
    )
    raise ConflictError(message)


def _is_same_job(request: OperationRequest, operation: Operation) -> bool:
    wanted = (request.game_id, request.op_kind, dict(request.arguments))
    return wanted == (operation.game_id, operation.op_kind, operation.arguments)
