"""Image references: what is taken, what is refused and how it is explained."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtimes.exceptions import StartConfigInvalidError
from runtimes.image_refs import (
    check_allowed,
    check_allowed_entry,
    check_image_ref,
    full_name,
    is_allowed,
    is_id_of,
    qualify_image_ref,
    split_image_ref,
)

DIGEST = f"sha256:{'0123456789abcdef' * 4}"

_ALNUM = "abcdefghijklmnopqrstuvwxyz0123456789"
_names = st.text(_ALNUM, min_size=1, max_size=8)
_path_parts = st.tuples(_names, st.sampled_from([".", "_", "__", "-", "---"]), _names).map("".join) | _names
_paths = st.lists(_path_parts, min_size=1, max_size=3).map("/".join)
_hosts = st.lists(_names, min_size=2, max_size=3).map(".".join) | st.just("localhost")
_registries = st.tuples(_hosts, st.just("") | st.integers(1, 65535).map(lambda port: f":{port}")).map("".join)
_repositories = st.one_of(_paths, st.tuples(_registries, _paths).map("/".join))
_tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)


@settings(deadline=None)
@given(_repositories, st.just("") | _tags, st.sampled_from(["", DIGEST]))
def test_every_reference_of_the_grammar_is_taken_and_split_into_its_parts(
    repository: str, tag: str, digest: str
) -> None:
    text = repository + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")

    check_image_ref(text)

    assert split_image_ref(text) == (repository, tag, digest)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_other_text_is_refused_by_our_own_error_alone(text: str) -> None:
    with suppress(StartConfigInvalidError):
        check_image_ref(text)

        assert text.isascii()
        assert not any(character.isspace() for character in text)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "it is empty"),
        (" game:1.0.0", "white space"),
        ("game:1.0.0\n", "white space"),
        ("https://registry.example/game:1.0.0", "URL scheme"),
        ("Game:1.0.0", "upper-case"),
        ("registry.example/Game:1.0.0", "upper-case"),
        ("game:", "is not a tag"),
        ("game:-1", "is not a tag"),
        ("game:1.0.0+build", "is not a tag"),
        ("game:" + "a" * 129, "longer than 128"),
        ("a" * 238, "has 256 characters with the implied docker.io/library/"),
        ("l/" + "a" * 244, "has 256 characters with the implied docker.io/"),
        ("index.docker.io/" + "a" * 238, "has 256 characters with the implied docker.io/library/"),
        ("r.example/" + "a" * 246, "has 256 characters; Docker allows 255"),
        ("a" * 5000, "no reference is longer"),
        ("game@", "is not a digest"),
        ("game@sha256:abc", "is not a digest"),
        (f"game@{DIGEST.upper()}", "is not a digest"),
        ("a" * 64, "image id"),
        ("sha256:" + "a" * 64, "image id"),
        ("sha256:abc", "image id"),
        (":1.0.0", "is not a repository name"),
        ("@" + DIGEST, "name is missing"),
        ("/game:1.0.0", "is not a repository name"),
        ("game/:1.0.0", "is not a repository name"),
        ("a//b", "is not a repository name"),
        ("a..b", "is not a repository name"),
        ("a___b", "is not a repository name"),
        ("-game", "is not a repository name"),
        ("registry.example:port/game", "is not the address of a registry"),
        ("registry.example:/game", "is not the address of a registry"),
        ("-r.example/game", "is not the address of a registry"),
        ("../game", "is not the address of a registry"),
        ("registry.example:0/game", "port between 1 and 65535"),
        ("registry.example:65536/game", "port between 1 and 65535"),
        ("[::1]:5000/x:1", "is an IPv6 address"),
        ("[2001:db8::1]/a:1", "is an IPv6 address"),
        ("MyOrg/engine:1.0.0", "upper-case letters; .* needs a dot or a port"),
        ("LOCALHOST/a:1", "upper-case"),
        ("A/b", "upper-case"),
        ("localhost/A", "upper-case"),
        ("gäme:1.0.0", "is not a repository name"),
    ],
)
def test_a_refusal_says_what_to_change(text: str, advice: str) -> None:
    with pytest.raises(StartConfigInvalidError, match=advice):
        check_image_ref(text)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 237, "l/" + "a" * 243, "r.example/" + "a" * 245, "index.docker.io/" + "a" * 237, "docker.io/a",
        "Registry.Example/game", "REGISTRY:5000/game", "localhost/a", "10.0.0.1:5000/a", "a__b", "a---b",
        "x:" + "a" * 128, "sha256/x",
    ],
)  # fmt: skip
def test_what_the_grammar_of_docker_allows_at_its_limits_is_taken(text: str) -> None:
    check_image_ref(text)

    assert len(full_name(split_image_ref(text)[0])) <= 255


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("game", ("game", "", "")),
        ("localhost:5000/game", ("localhost:5000/game", "", "")),
        ("localhost:5000/game:1", ("localhost:5000/game", "1", "")),
        (f"localhost:5000/game@{DIGEST}", ("localhost:5000/game", "", DIGEST)),
        (f"r.example/a/b:1.0.0@{DIGEST}", ("r.example/a/b", "1.0.0", DIGEST)),
    ],
)
def test_the_port_of_a_registry_is_no_tag(text: str, parts: tuple[str, str, str]) -> None:
    assert split_image_ref(text) == parts


@pytest.mark.parametrize(
    ("text", "qualified"),
    [
        ("cafe", "cafe:latest"),
        ("localhost:5000/game", "localhost:5000/game:latest"),
        ("game:1", "game:1"),
        (f"game@{DIGEST}", f"game@{DIGEST}"),
    ],
)
def test_a_reference_without_tag_means_latest(text: str, qualified: str) -> None:
    assert qualify_image_ref(text) == qualified


@given(st.from_regex(r"[0-9a-f]{64}", fullmatch=True), st.integers(0, 64), st.booleans())
def test_an_id_is_known_by_its_beginning(digits: str, length: int, prefixed: bool) -> None:  # noqa: FBT001 - drawn
    text = ("sha256:" if prefixed else "") + digits[:length]

    assert is_id_of(text, f"sha256:{digits}") == (length >= 6)


@pytest.mark.parametrize("text", ["", "sha256:", "engine", "engine:1.0.0", "feed", "ABCDEF", f"x@sha256:{'a' * 64}"])
def test_a_reference_is_no_id(text: str) -> None:
    assert not is_id_of(text, f"sha256:{'abcdef' * 10}abcd")


@pytest.mark.parametrize(
    ("entry", "reference"),
    [
        ("*", "any/game:1"),
        ("registry.example", "registry.example/team/game:1.0.0"),
        ("registry.example:5000", f"registry.example:5000/game@{DIGEST}"),
        ("registry.example/team/*", "registry.example/team/game"),
        ("registry.example/team/*", "registry.example/team/deep/game"),
        ("registry.example/team/game-*", "registry.example/team/game-chess:2"),
        ("registry.example/*/engine", "registry.example/chess/engine:1"),
        ("*.registry.example", "eu.registry.example/game"),
        ("game", "game:1.0.0"),
        ("game", "docker.io/library/game:1.0.0"),
        ("library/*", "game"),
        ("docker.io", "team/game"),
        ("docker.io/*", "team/game"),
        ("docker.io", "index.docker.io/team/game"),
        ("index.docker.io/team/*", "team/game"),
        ("localhost/game", "localhost/game:1"),
    ],
)
def test_an_entry_allows_the_references_that_it_covers(entry: str, reference: str) -> None:
    check_allowed_entry(entry)

    assert is_allowed(reference, ["other.example", entry])


@pytest.mark.parametrize(
    ("entry", "reference"),
    [
        ("registry.example", "registry.example.attacker.example/game"),
        ("registry.example", "game:registry.example"),
        ("registry.example", "attacker.example/registry.example/game"),
        ("registry.example", "registry.example:5000/game"),
        ("registry.example/team/*", "registry.example/team"),
        ("registry.example/team/*", "registry.example/team2/game"),
        ("registry.example/team", "registry.example/team/game"),
        ("registry.example/*/engine", "registry.example/a/b/engine"),
        ("*.registry.example", "attacker.example/a.registry.example/game"),
        ("*.registry.example", "registry.example/game"),
        ("game", "team/game"),
        ("docker.io", "registry.example/team/game"),
        ("team/*", "registry.example/team/game"),
    ],
)
def test_an_entry_allows_no_other_reference(entry: str, reference: str) -> None:
    check_image_ref(reference)

    assert not is_allowed(reference, [entry])
    with pytest.raises(StartConfigInvalidError, match="RTMANAGER_ALLOWED_REGISTRIES"):
        check_allowed(reference, [entry])


@pytest.mark.parametrize(
    "entry", ["https://registry.example", "registry.example/game:1", "a b", "/game", "game/", "a//b"]
)
def test_an_entry_that_cannot_match_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a registry or repository"):
        check_allowed_entry(entry)
