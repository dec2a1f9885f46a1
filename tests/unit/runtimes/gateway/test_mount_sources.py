"""The directories that Docker mounts: real ones below the state root."""

from pathlib import Path

import pytest

from runtimes.gateway.calls import CallRefusedError, Reason
from runtimes.gateway.mount_sources import check_sources


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "games"
    (root / "g1" / ".volumes" / "data").mkdir(parents=True)
    (root / "g2").mkdir()
    return root


def is_accepted(root: str, *sources: str) -> bool:
    try:
        check_sources(root, sources)
    except CallRefusedError:
        return False
    return True


def test_a_state_directory_and_its_volumes_are_accepted(root: Path) -> None:
    assert is_accepted(str(root), f"{root}/g1", f"{root}/g1/.volumes", f"{root}/g1/.volumes/data")
    assert is_accepted(f"{root}/", f"{root}/g1")
    assert not is_accepted(str(root), f"{root}/g1", "/etc")


def test_the_root_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)

    assert is_accepted(str(tmp_path / "link"), f"{tmp_path}/link/g1")


@pytest.mark.parametrize(
    "source", ["", "/", "/etc", "{root}", "{root}/", "{root}x/g1", "{root}/g1/..", "{root}/./g1", "{root}//g1"]
)
def test_any_other_path_is_refused(root: Path, source: str) -> None:
    with pytest.raises(CallRefusedError, match="not below the state root") as refused:
        check_sources(str(root), [source.replace("{root}", str(root))])

    assert refused.value.reason == Reason.STATE_DIRECTORY


@pytest.mark.parametrize("target", ["/", "{root}/g2", "../g2"])
@pytest.mark.parametrize("link", ["g3", "g1/.volumes/x", "g1/y"])
def test_a_symbolic_link_is_refused_wherever_it_leads(root: Path, link: str, target: str) -> None:
    (root / link).symlink_to(target.replace("{root}", str(root)))

    for source in (f"{root}/{link}", f"{root}/{link}/below"):
        with pytest.raises(CallRefusedError, match="symbolic link"):
            check_sources(str(root), [f"{root}/g1", source])


def test_a_file_and_a_missing_directory_are_refused(root: Path) -> None:
    (root / "file").write_text("")

    with pytest.raises(CallRefusedError, match="or a file"):
        check_sources(str(root), [f"{root}/file"])
    with pytest.raises(CallRefusedError, match="bind source path does not exist"):
        check_sources(str(root), [f"{root}/missing"])
