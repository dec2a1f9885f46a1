"""The virtual environment that the Makefile sets up."""

from pathlib import Path

import pytest

from deploy.local import venv


def test_an_environment_behind_a_symbolic_link_is_not_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / ".stamp").write_text("of another clone")
    link = tmp_path / ".venv"
    link.symlink_to(shared)
    monkeypatch.setattr(venv, "_run", lambda command: pytest.fail(f"runs {command}"))

    with pytest.raises(SystemExit, match="symbolic link"):
        venv._make(venv.Environment(link, tmp_path / "requirements.txt"))

    assert (shared / ".stamp").read_text() == "of another clone"
