"""Docker's rejections: the kind of each real error text, and the message for the operator."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtimes.containers.refusals import (
    LONGEST_REASON,
    Refusal,
    classify,
    classify_final,
    failure_message,
    recognise,
    single_line,
)

OCI_20 = (
    "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
)
OCI_28 = f"failed to create task for container: {OCI_20}error during container init: "
LONG_ID = "71e2750268fde33e4ed2f9afad327bc22b74002802137705782dfaf2a907bee8"

# Responses of Docker 20.10.24 and 28.5.2, and one of Podman 5.8.6: status, error text.
ANSWERS = [
    (400, "invalid reference format: repository name must be lowercase", Refusal.INVALID_REFERENCE),
    (400, "invalid reference format: repository name (library/A) must be lowercase", Refusal.INVALID_REFERENCE),
    (400, "repository name must not be more than 255 characters", Refusal.INVALID_REFERENCE),
    (400, "client version 1.41 is too old. Minimum supported API version is 1.44", Refusal.API_VERSION),
    (500, f"no available IPv4 addresses on this network's address pools: net ({LONG_ID})", Refusal.NO_ADDRESS),
    (500, "failed to set up container networking: no available IPv4 addresses on this network's", Refusal.NO_ADDRESS),
    (500, "mkdir /var/lib/docker/overlay2/x-init: no space left on device", Refusal.NO_SPACE),
    (500, "write /var/lib/docker/containers/x/.tmp-config.v2.json1: disk quota exceeded", Refusal.NO_SPACE),
    (404, "network no-such-net not found", Refusal.NETWORK_MISSING),
    (404, "failed to set up container networking: network no-such-net not found", Refusal.NETWORK_MISSING),
    (400, 'invalid mount config for type "bind": bind source path does not exist: /s/g', Refusal.MOUNT_SOURCE_MISSING),
    (400, f'{OCI_28}error mounting "/s" to rootfs at "/bin/x": not a directory', Refusal.MOUNT_REFUSED),
    (400, "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", Refusal.CPU_LIMIT),
    (400, "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", Refusal.CPU_LIMIT),
    (400, "Minimum memory limit allowed is 6MB", Refusal.MEMORY_LIMIT),
    (
        500,
        f"{OCI_20}write /sys/fs/cgroup/pids/docker/{LONG_ID}/pids.max: invalid argument: unknown",
        Refusal.PIDS_LIMIT,
    ),
    (500, "[FATAL tini (1)] fork failed: Resource temporarily unavailable", Refusal.PIDS_LIMIT),
    (500, f"{OCI_28}error setting rlimit type 7: operation not permitted", Refusal.OPEN_FILES_LIMIT),
    (500, "unable to find user nobody: no matching entries in passwd file", Refusal.USER_UNKNOWN),
    (400, f'{OCI_20}exec: "/no/such": stat /no/such: no such file or directory: unknown', Refusal.COMMAND_UNUSABLE),
    (400, f'{OCI_28}exec: "/tmp": is a directory: permission denied', Refusal.COMMAND_UNUSABLE),
    (400, f"{OCI_28}exec /x: exec format error", Refusal.WRONG_PLATFORM),
    (500, f"{OCI_28}cgroup deleted", Refusal.CGROUP),
    (404, "No such image: game:1.0.0", Refusal.IMAGE_MISSING),
    (400, 'error looking up logging plugin k8s-file: plugin "k8s-file" not found', Refusal.LOG_DRIVER),
    (400, "unknown log opt 'mode' for log driver local", Refusal.LOG_DRIVER),
    (
        500,
        "container create: running container create option: invalid log driver: invalid argument",
        Refusal.LOG_DRIVER,
    ),
    (500, f'container {LONG_ID}: driver "overlay2" failed to remove root filesystem: busy', Refusal.NOT_REMOVABLE),
    (409, "removal of container x is already in progress", Refusal.REMOVAL_UNDER_WAY),
    (409, "cannot start a paused container, try unpause instead", Refusal.PAUSED),
    (403, "authorization denied by plugin opa: no", Refusal.ACCESS_DENIED),
    (403, "<h1>403 Forbidden</h1>", Refusal.ACCESS_DENIED),
    (500, f"{OCI_28}something new", Refusal.RUNTIME_FAILED),
    (400, "something new", Refusal.OTHER),
    (500, "something new", Refusal.OTHER),
]


@pytest.mark.parametrize(("status", "error_text", "refusal"), ANSWERS)
def test_each_real_error_response_has_its_kind(status: int, error_text: str, refusal: Refusal) -> None:
    assert classify_final(status, error_text) == refusal


@pytest.mark.parametrize(
    ("error_text", "refusal"),
    [
        ("pull access denied for x, repository does not exist or may require 'docker login'", Refusal.PULL_DENIED),
        ("manifest for r.example/x:1 not found: manifest unknown", Refusal.IMAGE_MISSING),
        ("manifest unknown: manifest unknown", Refusal.IMAGE_MISSING),
        ("toomanyrequests: You have reached your pull rate limit", Refusal.PULL_LIMIT),
        ('Get "https://r.example/v2/": dial tcp: lookup r.example: no such host', Refusal.REGISTRY_UNREACHABLE),
        ('Get "https://r:5000/v2/": http: server gave HTTP response to HTTPS client', Refusal.REGISTRY_UNREACHABLE),
        ("write /var/lib/docker/tmp/GetImageBlob1: no space left on device", Refusal.NO_SPACE),
        ("no matching manifest for linux/arm64 in the manifest list entries", Refusal.WRONG_PLATFORM),
    ],
)
def test_each_failure_of_a_pull_has_its_kind(error_text: str, refusal: Refusal) -> None:
    assert recognise(error_text, of_pull=True) == refusal


@pytest.mark.parametrize(
    ("status", "error_text"), [(500, "context canceled"), (503, "x"), (408, "x"), (429, "x"), (502, "x")]
)
def test_a_retryable_response_is_not_a_rejection(status: int, error_text: str) -> None:
    assert classify_final(status, error_text) is None


_error_texts = st.text(max_size=200) | st.sampled_from([error_text for _status, error_text, _refusal in ANSWERS])


@settings(deadline=None)
@given(st.integers(100, 599), _error_texts)
def test_a_4xx_answer_is_always_a_refusal_and_a_5xx_answer_is_one_for_final_calls_alone(
    status: int, error_text: str
) -> None:
    is_client_error = 400 <= status < 500 and status not in {408, 429}

    assert (classify(status, error_text) is not None) == is_client_error
    # What classify() rejects, classify_final() rejects too, unless the text says that the call can be retried.
    if classify(status, error_text) is not None and classify_final(status, error_text) is not None:
        assert classify(status, error_text) == classify_final(status, error_text)


@settings(deadline=None)
@given(st.text(max_size=1500), st.sampled_from(Refusal))
def test_any_error_text_becomes_one_printable_line_of_bounded_length(error_text: str, refusal: Refusal) -> None:
    message = failure_message("container x could not be started", error_text, refusal)

    assert message.isprintable()
    assert len(single_line(error_text)) <= LONGEST_REASON + 1
    assert message.endswith(refusal.advice)
    assert single_line(single_line(error_text)) == single_line(error_text) or len(error_text) > LONGEST_REASON


@pytest.mark.parametrize(
    ("error_text", "message"),
    [
        (f"net ({LONG_ID})", "net (71e2750268fd)"),
        (f"/docker/{LONG_ID}/pids.max: invalid argument: unknown", "/docker/71e2750268fd/pids.max: invalid argument"),
        (f"unlinkat /d/containers/{LONG_ID}/x: busy", f"unlinkat /d/containers/{LONG_ID}/x: busy"),
        (
            f"mkdir /d/overlay2/{LONG_ID}-init/merged: no space left",
            "mkdir /d/overlay2/71e2750268fd-init/merged: no space left",
        ),
        (f"write /d/overlay2/{LONG_ID}/diff/x: no space left", "write /d/overlay2/71e2750268fd/diff/x: no space left"),
        (f"unlinkat /d/overlay2/{LONG_ID}/merged: busy", f"unlinkat /d/overlay2/{LONG_ID}/merged: busy"),
        (f"No such image: game@sha256:{LONG_ID}", f"No such image: game@sha256:{LONG_ID}"),
        ("two\nlines.\n", "two lines"),
        ("<html><body><h1>403 Forbidden</h1>\n</body></html>", "403 Forbidden"),
    ],
)
def test_ids_are_short_and_references_stay_whole(error_text: str, message: str) -> None:
    assert single_line(error_text) == message


def test_every_kind_but_the_unknown_one_says_what_to_do() -> None:
    assert [kind for kind in Refusal if not kind.advice] == [Refusal.OTHER]
