"""What the system denied an engine, from its last log lines: messages of libraries and languages, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.explain.log_denials import LINES, DenialKind, find_denial

DENIED, NOT_PERMITTED, READ_ONLY = (
    DenialKind.PERMISSION_DENIED,
    DenialKind.NOT_PERMITTED,
    DenialKind.READ_ONLY_FILESYSTEM,
)

MESSAGES = [
    # The C library: shells, coreutils, busybox, nginx
    ("/bin/sh: can't create /srv/world: Permission denied", DENIED, "/srv/world"),
    ("sh: can't create /data/world: Read-only file system", READ_ONLY, "/data/world"),
    ("sh: can't create world: Permission denied", DENIED, ""),
    ("bash: /srv/world: Permission denied", DENIED, "/srv/world"),
    ("/usr/bin/entrypoint.sh: line 3: /etc/engine.conf: Read-only file system", READ_ONLY, "/etc/engine.conf"),
    ("/bin/engine: line 4: can't create /var/lib/galaxy-game/turns.log: Permission denied", DENIED,
     "/var/lib/galaxy-game/turns.log"),
    ("/bin/engine: line 4: can't create turns.log: Permission denied", DENIED, ""),
    ("/opt/run: 4: cannot create /data/turns.log: Read-only file system", READ_ONLY, "/data/turns.log"),
    ("/opt/server: cannot open /srv/world: Permission denied", DENIED, "/srv/world"),
    ("/srv/world: Permission denied, see /var/log/engine", DENIED, "/srv/world"),
    ("mkdir: cannot create directory \u2018/data/my world\u2019: Permission denied", DENIED, "/data/my world"),
    ("mkdir: can't create directory '/data/': Read-only file system", READ_ONLY, "/data"),
    ("touch: cannot touch '/srv/x': Read-only file system", READ_ONLY, "/srv/x"),
    ("chown: /var/lib/game: Operation not permitted", NOT_PERMITTED, "/var/lib/game"),
    ("su-exec: setgroups: Operation not permitted", NOT_PERMITTED, ""),
    ('nginx: [emerg] mkdir() "/var/cache/nginx/client_temp" failed (13: Permission denied)', DENIED,
     "/var/cache/nginx/client_temp"),
    ('nginx: [emerg] mkdir() "/var/cache/nginx" failed (30: Read-only file system)', READ_ONLY, "/var/cache/nginx"),
    # Go
    ("open /var/lib/galaxy-game/world.db: permission denied", DENIED, "/var/lib/galaxy-game/world.db"),
    ("2026/11/21 03:12:09 mkdir /data: read-only file system", READ_ONLY, "/data"),
    ('level=fatal msg="cannot save" error="open /srv/w.db: permission denied"', DENIED, "/srv/w.db"),
    # Python
    ("PermissionError: [Errno 13] Permission denied: '/srv/world.json'", DENIED, "/srv/world.json"),
    ("OSError: [Errno 30] Read-only file system: '/data'", READ_ONLY, "/data"),
    ("PermissionError: [Errno 1] Operation not permitted: '/srv'", NOT_PERMITTED, "/srv"),
    # Java
    ("java.nio.file.AccessDeniedException: /var/lib/galaxy-game/level.dat", DENIED, "/var/lib/galaxy-game/level.dat"),
    ("Caused by: java.io.FileNotFoundException: /srv/server.log (Permission denied)", DENIED, "/srv/server.log"),
    ("java.nio.file.FileSystemException: /data/logs: Read-only file system", READ_ONLY, "/data/logs"),
    ("java.nio.file.ReadOnlyFileSystemException", READ_ONLY, ""),
    # Node
    ("Error: EACCES: permission denied, mkdir '/srv/data'", DENIED, "/srv/data"),
    ("Error: EROFS: read-only file system, open '/app/cache.json'", READ_ONLY, "/app/cache.json"),
    ("[Error: EPERM: operation not permitted, chown '/srv'] {", NOT_PERMITTED, "/srv"),
    # Rust, Ruby, .NET
    ('Error: Os { code: 13, kind: PermissionDenied, message: "Permission denied" }', DENIED, ""),
    ("failed to open /srv/w: Read-only file system (os error 30)", READ_ONLY, "/srv/w"),
    ("Permission denied @ dir_s_mkdir - /srv/data (Errno::EACCES)", DENIED, "/srv/data"),
    ("Unhandled exception. System.UnauthorizedAccessException: Access to the path '/srv/a b' is denied.", DENIED,
     "/srv/a b"),
    ("System.IO.IOException: Read-only file system : '/data'", READ_ONLY, "/data"),
]  # fmt: skip
NO_DENIALS = [
    "listen tcp :80: bind: permission denied",
    "Error: listen EACCES: permission denied 0.0.0.0:80",
    "connect: permission denied",
    "ERROR: permission denied for table players",
    "rpc error: code = PermissionDenied desc = permission denied",
    "git@example.org: Permission denied (publickey).",
    "lobby answered 403: permission denied",
    "https://lobby.example/api: permission denied",
    "player Bob: permission denied to use /fly because he is no moderator",
    "loaded world /srv/world in 13 ms",
    "Errno 130",
    "exit code: 30",
    "",
]


@pytest.mark.parametrize(("line", "kind", "path"), MESSAGES)
def test_the_message_of_a_denial_is_recognised_with_its_path(line: str, kind: DenialKind, path: str) -> None:
    found = find_denial(["loading", line, "bye"])

    assert found is not None
    assert (found.kind, found.path, found.line) == (kind, path, line)


@pytest.mark.parametrize("line", NO_DENIALS)
def test_what_is_no_denial_of_a_file_is_left_alone(line: str) -> None:
    assert find_denial(["loading", line]) is None


def test_the_last_denial_counts() -> None:
    found = find_denial(["open /a: permission denied", "mkdir /b: read-only file system", "fatal"])

    assert found is not None
    assert found.path == "/b"


def test_a_denial_is_found_above_a_stack_trace_and_not_in_it() -> None:
    trace = [f"\tat org.game.Store.save(Store.java:{number})" for number in range(60)]

    found = find_denial(["java.nio.file.AccessDeniedException: /srv/w", *trace])

    assert found is not None
    assert found.path == "/srv/w"
    assert find_denial(['  File "/app/permission denied.py", line 3, in save']) is None


def test_a_denial_long_before_the_end_does_not_count() -> None:
    assert find_denial(["open /a: permission denied", *["turn"] * LINES]) is None


@given(st.lists(st.text(max_size=200), max_size=20))
def test_any_log_is_read_without_an_error_and_a_path_is_absolute(lines: list[str]) -> None:
    found = find_denial(lines)

    assert found is None or found.path == "" or found.path.startswith("/")


@given(
    st.sampled_from([entry for entry in MESSAGES if entry[2]]),
    st.lists(st.sampled_from(["turn 1", "saved", "player joined"]), max_size=20),
)
def test_the_lines_around_a_denial_do_not_matter(entry: tuple[str, DenialKind, str], around: list[str]) -> None:
    line, kind, path = entry

    found = find_denial([*around, line, *around])

    assert found is not None
    assert (found.kind, found.path) == (kind, path)


def test_a_line_of_any_length_is_read_in_bounded_time() -> None:
    assert find_denial(["/" * 100_000, "'" * 100_000, "a " * 100_000]) is None
