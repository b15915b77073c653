"""One reading of a bridge worker, before anybody writes it as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figures:
    """One reading. ``labelled`` counters: name to (label, counts by its value).

    ``lag`` is (upper bound in µs, messages up to it) in rising order, and the sum in µs.
    """

    worker: str
    gauges: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, float] = field(default_factory=dict)
    labelled: Mapping[str, tuple[str, Mapping[str, float]]] = field(default_factory=dict)
    lag: Sequence[tuple[int, int]] = ()
    lag_sum_us: int = 0
