"""Options of a stack, for the chaos run and the benchmark."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """Options of a stack. The defaults are those of ``make run`` and ``make demo``.

    - ``own_docker``: start a private Docker daemon even if the machine has one. A test can kill it: its containerd is a
      separate process, so games keep running. Without ``live_restore`` they stop, and the daemon can be a swarm.
    - ``split``: run each loop in its own process, as large installations do.
    - ``copies``: number of processes per program name.
    - ``settings``: settings without the prefix; they override the environment.
    - ``python``: the interpreter that runs the service.
    """

    own_docker: bool = False
    live_restore: bool = True
    split: bool = False
    copies: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable


DEFAULT = StackOptions()
