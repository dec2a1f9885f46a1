"""One module per figure: ``measure(grounds)`` gives the figure. The order here is that of the report."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from bench.figure import Figure
from bench.ground import Grounds

Measure = Callable[[Grounds], Figure]

MEASURES: Mapping[str, Measure] = MappingProxyType({})
