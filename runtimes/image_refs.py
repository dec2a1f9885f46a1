"""Image references: Docker's grammar, their parts, and the version rule of a patch. Pure."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from semver import Version

from runtimes.exceptions import ImageRefNotSemverError, SemverPatchOnlyError, StartConfigInvalidError

MAX_NAME_LENGTH = 255
MAX_TAG_LENGTH = 128
MAX_PORT = 65535
_MAX_LENGTH = MAX_NAME_LENGTH + MAX_TAG_LENGTH + len(":@sha512:") + 128

# The grammar of Docker 20.10, the oldest supported version. Newer versions also accept IPv6 addresses as registries,
# and a registry with upper-case letters.
_DOMAIN_PART = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*(?::(?P<port>[0-9]+))?")
_PATH_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PATH_PART}(?:/{_PATH_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}")
# With fewer digits, a short repository name could be mistaken for an id.
_ID_DIGITS = re.compile(r"[a-f0-9]{6,64}")
_IMAGE_ID = re.compile(r"[a-f0-9]{64}|sha256(?::.*)?")
_ALLOWED_ENTRY = re.compile(r"[A-Za-z0-9*][A-Za-z0-9*._-]*(?::[0-9]+)?(?:/[a-z0-9*][a-z0-9*._-]*)*")
_HUB = "docker.io"
_HUB_ALIAS = "index.docker.io"


def split_image_ref(text: str) -> tuple[str, str, str]:
    """Split into repository (with its registry), tag and digest; missing parts are empty. No validation."""
    rest, _, digest = text.partition("@")
    repository, _, tag = rest.rpartition(":")
    # A colon before a slash introduces the port of a registry, not a tag.
    if not repository or "/" in tag:
        return rest, "", digest
    return repository, tag, digest


def qualify_image_ref(text: str) -> str:
    """Append ``latest`` if the reference has neither tag nor digest, like Docker.

    Without a tag, Docker would take a word of hexadecimal digits for the prefix of an image id.
    """
    _, tag, digest = split_image_ref(text)
    return text if tag or digest else f"{text}:latest"


def is_id_of(text: str, image_id: str) -> bool:
    """Whether the text is the id of this image or a prefix of it, as ``docker run`` accepts it."""
    digits = text.removeprefix("sha256:")
    return bool(_ID_DIGITS.fullmatch(digits)) and image_id.removeprefix("sha256:").startswith(digits)


def split_registry(repository: str) -> tuple[str, str]:
    """Split into registry and path, like Docker; the registry is empty if Docker uses its default.

    The first part is a registry only if it has a dot or a colon, or is ``localhost``. No validation.
    """
    first, separator, path = repository.partition("/")
    is_registry = separator and (first == "localhost" or "." in first or ":" in first)
    return (first, path) if is_registry else ("", repository)


def full_name(repository: str) -> str:
    """The name whose length Docker limits, with the implied ``docker.io/`` and ``library/``. No validation."""
    registry, path = split_registry(repository)
    if registry not in {"", _HUB, _HUB_ALIAS}:
        return repository
    return f"{_HUB}/{path}" if "/" in path else f"{_HUB}/library/{path}"


def check_image_ref(text: str) -> None:
    """Check that every supported Docker version accepts the reference.

    Raises StartConfigInvalidError with what to change.
    """
    if problem := next(_problems(text), ""):
        shown = text if len(text) <= MAX_NAME_LENGTH else f"{text[:MAX_NAME_LENGTH]}…"
        raise StartConfigInvalidError(f"image reference {shown!r} cannot be used: {problem}")


def is_allowed(text: str, allowed: Sequence[str]) -> bool:
    """Whether an entry allows the repository of this reference. Without entries, all references are allowed.

    An entry is a registry (``registry.example:5000``), or a repository with its registry. ``*`` stands for any
    characters of one part; ``/*`` at the end, for everything below. Docker's short names are compared in full.
    """
    repository, _tag, _digest = split_image_ref(text)
    return not allowed or any(_entry_pattern(entry).fullmatch(full_name(repository)) for entry in allowed)


def check_allowed(text: str, allowed: Sequence[str]) -> None:
    """Raise StartConfigInvalidError unless an entry of RTMANAGER_ALLOWED_REGISTRIES allows this reference."""
    if not is_allowed(text, allowed):
        message = (
            f"image reference {text!r} cannot be used: RTMANAGER_ALLOWED_REGISTRIES allows only {', '.join(allowed)}; "
            "use an image from there, or add its registry to that setting"
        )
        raise StartConfigInvalidError(message)


def check_allowed_entry(entry: str) -> None:
    """Raise ValueError with what to change if this is no entry for ``is_allowed``."""
    if not _ALLOWED_ENTRY.fullmatch(entry):
        message = f"{entry!r} is not a registry or repository; write for example registry.example/team/*"
        raise ValueError(message)


@lru_cache(maxsize=256)
def _entry_pattern(entry: str) -> re.Pattern[str]:
    if entry == "*":
        return re.compile(r".+")
    name = entry.removesuffix("/*").replace(_HUB_ALIAS, _HUB)
    is_registry = split_registry(f"{name}/") == (name, "")
    base = name if is_registry else full_name(entry).removesuffix("/*")
    below = "/.+" if is_registry or name != entry else ""
    return re.compile(re.escape(base).replace(r"\*", "[^/]*") + below)


def _problems(text: str) -> Iterator[str]:
    """What is wrong and what to change. A check relies on the earlier ones: only the first problem counts."""
    repository, tag, digest = split_image_ref(text)
    if not text:
        yield "it is empty; write for example registry.example/game:1.0.0"
    if len(text) > _MAX_LENGTH:
        yield f"it has {len(text)} characters; no reference is longer than {_MAX_LENGTH}"
    if any(map(str.isspace, text)):
        yield "it contains white space; remove it"
    if "://" in text:
        yield "it starts with a URL scheme; start with the registry's host name instead"
    if _IMAGE_ID.fullmatch(text):
        yield "it is a bare image id; use the repository's name, with a tag or a digest"
    yield from _name_problems(repository)
    if text.partition("@")[0] != repository and not _TAG.fullmatch(tag):
        yield f"{tag!r} is not a tag; use letters, digits, '_', '.' and '-', not starting with '.' or '-'"
    if len(tag) > MAX_TAG_LENGTH:
        yield f"its tag is longer than {MAX_TAG_LENGTH} characters"
    if "@" in text and not _DIGEST.fullmatch(digest):
        yield f"{digest!r} is not a digest; after '@' write sha256: and 64 lower-case hexadecimal digits"


def _name_problems(repository: str) -> Iterator[str]:
    registry, path = split_registry(repository)
    domain = _DOMAIN.fullmatch(registry)
    if not repository:
        yield "the repository's name is missing"
    if registry.startswith("["):
        yield f"the registry {registry!r} is an IPv6 address, which Docker 20.10 does not accept; use a host name"
    if registry and not domain:
        yield f"{registry!r} is not the address of a registry; write for example registry.example:5000"
    # Docker accepts any number here, and fails when it connects.
    if domain and domain["port"] and not 0 < int(domain["port"]) <= MAX_PORT:
        yield f"the registry {registry!r} has no port between 1 and {MAX_PORT}"
    if not _PATH.fullmatch(path) and path != path.lower():
        yield (
            f"the repository name {path!r} has upper-case letters; only lower-case ones are allowed there. "
            "A registry in front of it needs a dot or a port in its name"
        )
    if not _PATH.fullmatch(path):
        yield (
            f"{path!r} is not a repository name; use lower-case letters and digits, single separators "
            "'.', '_' or '-' between them, and '/' between the parts"
        )
    measured = full_name(repository)
    if len(measured) > MAX_NAME_LENGTH:
        implied = f" with the implied {measured.removesuffix(path)}" if measured != repository else ""
        yield f"its name has {len(measured)} characters{implied}; Docker allows {MAX_NAME_LENGTH}"


def check_patch(*, old_image_ref: str, new_image_ref: str) -> None:
    """Check that both versions differ at most in the patch level, in either direction.

    Raises ImageRefNotSemverError if a reference has no tag, or its tag is not a semantic version (a leading ``v`` is
    allowed). Raises SemverPatchOnlyError if major or minor differ.
    """
    old, new = _version(old_image_ref), _version(new_image_ref)
    if (old.major, old.minor) != (new.major, new.minor):
        raise SemverPatchOnlyError(
            f"{old_image_ref} and {new_image_ref} differ in more than the patch level; "
            f"stop the game and start it with the other image instead"
        )


def _version(image_ref: str) -> Version:
    _repository, tag, _digest = split_image_ref(image_ref)
    try:
        return Version.parse(tag.removeprefix("v"))
    except ValueError:
        reason = f"its tag is {tag!r}" if tag else "it has no tag"
        raise ImageRefNotSemverError(
            f"image reference {image_ref} has no semantic version like 1.4.2: {reason}"
        ) from None
