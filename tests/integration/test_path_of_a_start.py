"""The path of a start is short: few files to read, and few calls between the Celery task and Docker."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from operations import runner
from runtimes.containers.fake.adapter import FakeAdapter
from tests.integration.harness import Rig
from tests.meta.source import PACKAGES
from tests.paths import ROOT

MOST_FILES = 30
MOST_CALLS = 5


class Recorder:
    """Records the product's files that run, and how many calls below ``runner.run`` each call to Docker is made."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.depths: dict[str, int] = {}

    @contextmanager
    def recording(self) -> Iterator["Recorder"]:
        """Record inside the block, in this thread."""
        sys.setprofile(self._on_event)
        try:
            yield self
        finally:
            sys.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, _argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event != "call" or not path.is_relative_to(ROOT):
            return
        name = path.relative_to(ROOT).as_posix()
        if name.split("/")[0] in PACKAGES:
            self.files.add(name)
        if frame.f_code in {FakeAdapter.create.__code__, FakeAdapter.start.__code__}:
            self.depths[frame.f_code.co_name] = _calls_below(frame, runner.run.__code__)


def _calls_below(frame: FrameType | None, task: object) -> int:
    calls = 0
    while frame is not None and frame.f_code is not task:
        calls, frame = calls + 1, frame.f_back
    return calls


def test_a_start_runs_few_files_and_its_effect_is_near_its_task(rig: Rig) -> None:
    operation = rig.ask_start("g-warm-up")
    rig.do(operation)
    operation = rig.ask_start()

    with Recorder().recording() as recorder:
        runner.run(operation.pk)

    assert rig.container() is not None
    assert len(recorder.files) <= MOST_FILES, sorted(recorder.files)
    assert {name: depth <= MOST_CALLS for name, depth in recorder.depths.items()} == {"create": True, "start": True}
