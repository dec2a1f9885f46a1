"""The command line of the benchmark."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from bench.plans import PLANS


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``engine``: the URL of a Docker daemon; empty for one of the benchmark's own."""

    only: list[str]
    engine: str
    fresh: bool
    quick: bool


def parse(words: Sequence[str]) -> Options:
    """Read the arguments; ends the process with a message if they are wrong. Figures keep the order of the plans."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure RTM next to other products.")
    parser.add_argument("--only", nargs="+", choices=list(PLANS), default=list(PLANS), metavar="NAME")
    parser.add_argument("--engine", default="", metavar="URL", help="measure on this Docker; default: one of its own")
    parser.add_argument("--fresh", action="store_true", help="do not continue an interrupted run")
    parser.add_argument("--quick", action="store_true", help="one small round of each, to show that all of it works")
    wanted = Options(**vars(parser.parse_args(words)))
    wanted.only.sort(key=list(PLANS).index)
    return wanted
