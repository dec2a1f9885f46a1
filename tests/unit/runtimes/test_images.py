"""Image references: what is taken, what is refused and how it is explained."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtimes.exceptions import StartConfigInvalidError
from runtimes.images import check_image_ref, qualify_image_ref, split_image_ref

DIGEST = f"sha256:{'0123456789abcdef' * 4}"

_ALNUM = "abcdefghijklmnopqrstuvwxyz0123456789"
_words = st.text(_ALNUM, min_size=1, max_size=8)
_path_parts = st.tuples(_words, st.sampled_from([".", "_", "__", "-", "---"]), _words).map("".join) | _words
_paths = st.lists(_path_parts, min_size=1, max_size=3).map("/".join)
_hosts = st.lists(_words, min_size=2, max_size=3).map(".".join) | st.sampled_from(["localhost", "[::1]"])
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
        ("a" * 256, "longer than 255"),
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
        ("registry.example:port/game", "is not a repository name"),
        ("../game", "is not a repository name"),
        ("gäme:1.0.0", "is not a repository name"),
    ],
)
def test_a_refusal_says_what_to_change(text: str, advice: str) -> None:
    with pytest.raises(StartConfigInvalidError, match=advice):
        check_image_ref(text)


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
