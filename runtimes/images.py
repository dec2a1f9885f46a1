"""Image references: what Docker's grammar takes, and their parts. Pure."""

import re

from runtimes.exceptions import StartConfigInvalidError

MAX_NAME_LENGTH = 255
MAX_TAG_LENGTH = 128
_MAX_LENGTH = MAX_NAME_LENGTH + MAX_TAG_LENGTH + len(":@sha512:") + 128

_DOMAIN_PART = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[A-Fa-f0-9:]+\])(?::[0-9]+)?"
_PATH_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"(?:{_DOMAIN}/)?{_PATH_PART}(?:/{_PATH_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}")
_IMAGE_ID = re.compile(r"[a-f0-9]{64}|sha256(?::.*)?")


def split_image_ref(text: str) -> tuple[str, str, str]:
    """Repository (with its registry), tag and digest; the missing ones are empty. Does not check."""
    rest, _, digest = text.partition("@")
    repository, _, tag = rest.rpartition(":")
    # A colon left of a slash introduces the port of a registry, not a tag.
    if not repository or "/" in tag:
        return rest, "", digest
    return repository, tag, digest


def qualify_image_ref(text: str) -> str:
    """The reference with ``latest`` where it has neither tag nor digest, as Docker would read it.

    A bare word of hexadecimal digits would be taken for the beginning of an image id, of any image.
    """
    _, tag, digest = split_image_ref(text)
    return text if tag or digest else f"{text}:latest"


def check_image_ref(text: str) -> None:
    """Return when Docker would take the reference. Raises StartConfigInvalidError saying what to change."""
    problem = _whole_problem(text) or _part_problem(text)
    if problem:
        shown = text if len(text) <= MAX_NAME_LENGTH else f"{text[:MAX_NAME_LENGTH]}…"
        message = f"image reference {shown!r} cannot be used: {problem}"
        raise StartConfigInvalidError(message)


def _whole_problem(text: str) -> str:
    if not text:
        return "it is empty; write for example registry.example/game:1.0.0"
    if len(text) > _MAX_LENGTH:
        return f"it has {len(text)} characters; no reference is longer than {_MAX_LENGTH}"
    if any(character.isspace() for character in text):
        return "it contains white space; remove it"
    if "://" in text:
        return "it starts with a URL scheme; leave that out and begin with the registry's host name"
    if _IMAGE_ID.fullmatch(text):
        return "it is a bare image id; use the repository's name, with a tag or a digest"
    return ""


def _part_problem(text: str) -> str:
    repository, tag, digest = split_image_ref(text)
    if len(repository) > MAX_NAME_LENGTH:
        return f"its name is longer than {MAX_NAME_LENGTH} characters"
    if not _NAME.fullmatch(repository):
        return _name_problem(repository)
    if text.partition("@")[0] != repository and not _TAG.fullmatch(tag):
        return f"{tag!r} is not a tag; use letters, digits, '_', '.' and '-', not starting with '.' or '-'"
    if len(tag) > MAX_TAG_LENGTH:
        return f"its tag is longer than {MAX_TAG_LENGTH} characters"
    if "@" in text and not _DIGEST.fullmatch(digest):
        return f"{digest!r} is not a digest; after '@' write sha256: and 64 lower-case hexadecimal digits"
    return ""


def _name_problem(repository: str) -> str:
    if not repository:
        return "the repository's name is missing"
    path = repository.rpartition("/")[2]
    if path != path.lower():
        return f"the repository name {path!r} has upper-case letters; only lower-case ones are allowed"
    return (
        f"{repository!r} is not a repository name; use lower-case letters and digits, single separators "
        "'.', '_' or '-' between them, and '/' between the parts"
    )
