"""How a stack may differ from the usual one; the chaos run and the benchmark make use of it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is special about a stack. The default is that of ``make run`` and ``make demo``.

    ``own_engine``: a Docker engine of its own even where the machine offers one, and one that can be killed: its
    containerd is a process beside it, so that games live on; without ``live_restore`` they do not, and it can be a
    swarm. ``split``: the loops in processes of their own, as big installations have them, instead of all in one.
    ``copies``: how many processes of a kind, by program name. ``settings``: values of settings, without the prefix,
    that overrule the environment's. ``python``: the interpreter that runs the service.
    """

    own_engine: bool = False
    live_restore: bool = True
    split: bool = False
    copies: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable


USUAL = Shape()
