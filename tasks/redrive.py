"""Second life of a dead letter: read as a job again, mended if need be, and accepted like any other."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import structlog
from django.db import DataError, IntegrityError, transaction

from operations import dead_letters
from operations.intake import OperationRequest, accept
from operations.models import DeadLetter, Operation
from runtimes.exceptions import ConflictError, ErrorCode, InvalidRequestError, RuntimeManagerError
from tasks.bridge import job_parsers
from tasks.messages import JOB_FIELDS
from tasks.streams.base import StreamEntry

log = structlog.get_logger(__name__)


class NoSuchLetterError(RuntimeManagerError):
    """There is no dead letter of this id."""

    code = ErrorCode.NOT_FOUND


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of a letter. ``is_replay``: it had been redriven before, and this is what it became then."""

    letter: DeadLetter
    operation: Operation
    is_replay: bool


def find_letter(letter_id: int) -> DeadLetter:
    """The letter of this id. Raises NoSuchLetterError."""
    return _one(letter_id, DeadLetter.objects.filter(pk=letter_id).first())


def read_job(letter: DeadLetter, mended: Mapping[str, str]) -> OperationRequest:
    """The job in a letter, with some fields replaced. Raises InvalidRequestError, saying why it is none still.

    It is a new job with a name of its own: the entry's own name has had its result.
    """
    unknown = sorted(set(mended) - JOB_FIELDS)
    if unknown:
        message = f"no job has a field {', '.join(unknown)}; the fields are {', '.join(sorted(JOB_FIELDS))}"
        raise InvalidRequestError(message)
    parse = job_parsers().get(letter.stream)
    if parse is None:
        message = f"{letter.stream} is no job stream of this installation; they are {', '.join(job_parsers())}"
        raise InvalidRequestError(message)
    entry = StreamEntry(letter.stream, letter.entry_id, {**dead_letters.read_fields(letter), **mended})
    return replace(parse(entry), job_key=f"dead_letter:{letter.pk}")


def redrive(letter_id: int, *, mended: Mapping[str, str], by: str, note: str = "") -> Redriven:
    """Accept the job in a letter, after everything accepted before now; its result goes to the result stream.

    Idempotent: redriven again, the first operation is returned. Raises InvalidRequestError when it is no job still,
    ConflictError when it was redriven before as another job, NoSuchLetterError. Nothing is written then.
    """
    try:
        with transaction.atomic():
            letter = _one(letter_id, DeadLetter.objects.select_for_update().filter(pk=letter_id).first())
            if letter.redriven_at is not None:
                return Redriven(letter, _former(letter, mended), is_replay=True)
            operation = accept([read_job(letter, mended)])[0]
            note = dead_letters.describe_mending(mended, note=note)
            dead_letters.mark_redriven(letter, operation, by=by, note=note)
    except (DataError, IntegrityError) as error:
        message = f"cannot be stored: {str(error).strip()}"
        raise InvalidRequestError(message) from error
    log.info("dead_letter_redriven", letter_id=letter_id, operation_id=operation.pk, by=by, note=note)
    return Redriven(letter, operation, is_replay=False)


def foretell(letter: DeadLetter, mended: Mapping[str, str]) -> list[str]:
    """What a redrive would do, in sentences. Raises InvalidRequestError like read_job. Changes nothing."""
    job = read_job(letter, mended)
    words = ", ".join(f"{name} {value}" for name, value in job.arguments.items())
    told = [f"Would ask to {job.op_kind} game {job.game_id} ({words})."]
    if letter.redriven_at is not None:
        told.append(f"But it was redriven already, as operation {letter.redriven_as_id}.")
    newer = dead_letters.accepted_since(letter, job.game_id)
    if newer:
        told.append(f"{newer} operation(s) of this game were accepted since it came; it would follow them.")
    return told


def read_mending(words: Iterable[str]) -> dict[str, str]:
    """``field=value`` words as a mapping. Raises InvalidRequestError for a word of another form."""
    mended = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator:
            message = f"{word!r} changes nothing; write field=value"
            raise InvalidRequestError(message)
        mended[name.strip()] = value
    return mended


def split_mending(line: str) -> dict[str, str]:
    """The same from one line, quoted as in a shell."""
    try:
        return read_mending(shlex.split(line))
    except ValueError as error:
        message = f"{line!r} cannot be read: {error}"
        raise InvalidRequestError(message) from None


def _one(letter_id: int, letter: DeadLetter | None) -> DeadLetter:
    if letter is None:
        message = f"there is no dead letter {letter_id}; manage.py dead_letters --all lists them"
        raise NoSuchLetterError(message)
    return letter


def _former(letter: DeadLetter, mended: Mapping[str, str]) -> Operation:
    operation = letter.redriven_as
    if operation is None or (mended and not _is_job(read_job(letter, mended), operation)):
        message = (
            f"dead letter {letter.pk} was redriven already, by {letter.redriven_by}, as operation "
            f"{letter.redriven_as_id} ({letter.note or 'unchanged'}); a letter makes one job only"
        )
        raise ConflictError(message)
    return operation


def _is_job(request: OperationRequest, operation: Operation) -> bool:
    wanted = (request.game_id, request.op_kind, dict(request.arguments))
    return wanted == (operation.game_id, operation.op_kind, operation.arguments)
