"""Our grammar of image references beside the one of a real daemon: no reference that we accept is refused there."""

from collections import Counter
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtimes.containers.docker.client import BoundedClient
from runtimes.exceptions import StartConfigInvalidError
from runtimes.image_refs import MAX_NAME_LENGTH, check_image_ref, full_name, qualify_image_ref, split_image_ref

# The pieces of references, most of them right and some of them wrong in one character.
_names = st.sampled_from(["game", "a", "0", "a-b", "a--b", "a__b", "a.b", "a_b", "latest", "sha256"])
_odd_names = st.sampled_from(["A", "MyOrg", "a..b", "a___b", "a_.b", "-a", "a-", ".a", "a.", "é", "", "..", "a b"])
_parts = st.one_of(_names, _names, _names, _odd_names)
_long = st.integers(225, 262).map(lambda length: "a" * length)
_paths = st.one_of(
    *[st.lists(_parts, min_size=1, max_size=3).map("/".join)] * 4, _long, _long.map(lambda one: f"l/{one}")
)
_registries = st.sampled_from(
    ["", "", "docker.io/", "index.docker.io/", "localhost/", "LOCALHOST/", "r.example/", "R.Example:5000/", "r:5000/",
     "10.0.0.1:5000/", "[::1]:5000/", "[2001:db8::1]/", "r_x.example/", "r.example:/", "r.example:x/", "-r.example/",
     "r..example/", "r.example:65535/"]
)  # fmt: skip
_tags = st.sampled_from(
    ["", ":1.0.0", ":1.0.0", ":", ":-1", ":.1", ":_1", ":A", ":1+2", ":" + "a" * 128, ":" + "a" * 129, ":1:2"]
)
_digests = st.sampled_from(
    ["", "", "", "@", "@sha256:" + "a" * 64, "@sha256:" + "a" * 63, "@sha256:" + "A" * 64, "@sha512:" + "0" * 128,
     "@sha384:" + "0" * 96, "@md5:" + "a" * 32]
)  # fmt: skip
_references = st.tuples(_registries, _paths, _tags, _digests).map("".join)


@pytest.fixture(scope="module")
def daemon(docker_host: str) -> Iterator[BoundedClient]:
    client = BoundedClient(docker_host, version="auto", timeout=20)
    yield client
    client.close()


def _is_taken(daemon: BoundedClient, text: str) -> bool:
    """Whether the daemon's grammar takes it. Asks for a local image, so no registry is involved."""
    answer = daemon.get(
        f"{daemon.base_url}/v{daemon.api_version}/images/{quote(text, safe='/:@')}/json", allow_redirects=False
    )
    # A path with an empty part is redirected before any reference is read.
    assert answer.status_code in {requests.codes.not_found, requests.codes.bad_request, requests.codes.moved}, (
        answer.text
    )
    return bool(answer.status_code == requests.codes.not_found)


def _is_refused_on_purpose(text: str) -> bool:
    """Taken by this daemon perhaps, but not by every supported one, or of no use: what we refuse beyond its grammar."""
    repository, _tag, _digest = split_image_ref(text)
    first = repository.partition("/")[0]
    is_not_everywhere = "[" in first or first != first.lower() or len(full_name(repository)) > MAX_NAME_LENGTH
    # The daemon takes the second one for a part of the path, though it looks like a host.
    return is_not_everywhere or text.startswith("sha256:") or ("_" in first and "." in first)


def test_docker_takes_every_reference_that_we_accept(daemon: BoundedClient) -> None:
    seen: Counter[tuple[bool, bool]] = Counter()

    @settings(
        max_examples=600, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(_references)
    def compare(text: str) -> None:
        try:
            check_image_ref(text)
            is_accepted = True
        except StartConfigInvalidError:
            is_accepted = False
        is_taken = _is_taken(daemon, qualify_image_ref(text))
        seen[is_accepted, is_taken] += 1
        if is_accepted:
            assert is_taken, f"we accept {text!r}, the daemon refuses it"
        elif is_taken:
            assert _is_refused_on_purpose(text), f"we refuse {text!r} without need: the daemon takes it"

    compare()

    # Neither side of the comparison is empty.
    assert seen[True, True] > 50
    assert seen[False, False] > 50
