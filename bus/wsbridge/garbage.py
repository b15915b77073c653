"""When Python's garbage collector looks at everything: seldom, and mostly when it is quickly done.

A full collection looks at every object there is while nobody is served: 20 to 40 µs a client, so
with 10,000 of them every tick and every handshake waits for a third of a second. Python begins one
whenever there are a quarter more objects than at the last, which is in the middle of a crowd's
arrival. Nothing here depends on it: what a client leaves behind refers to nothing in a circle and
is freed at once (a test holds that). So the collector goes on looking at what is new, and at
everything only by the word of this module:

* once a minute while there are few clients, if anything has outlived the young generations;
* else after ``MOST_ENDED`` connections or ``MOST_NS``, whatever it costs, so that what a mistake of
  ours leaves behind has a bound too.
"""

from __future__ import annotations

import gc

from bus.clock import monotonic_ns
from bus.runtime import get_logger

FEW_CLIENTS = 300
FEW_EVERY_NS = 60_000_000_000
MOST_ENDED = 20_000
MOST_NS = 3_600_000_000_000
_NEVER = 2**31 - 1

_log = get_logger("wsbridge.garbage")


class Garbage:
    """The collector of this process: Python's own until :meth:`take_over`. Monotonic ns."""

    def __init__(self) -> None:
        self._thresholds: tuple[int, int, int] | None = None
        self._looked_ns = 0
        self._ended = 0
        self.collections = 0

    def take_over(self, now_ns: int) -> None:
        """From here on; what there is by now stays for good and is never looked at again."""
        if self._thresholds is None:
            self._thresholds = young, middle, _ = gc.get_threshold()
            gc.set_threshold(young, middle, _NEVER)
            gc.freeze()
            self._looked_ns = now_ns

    def give_back(self) -> None:
        """Let Python decide again, on what has come since. Idempotent."""
        if self._thresholds is not None:
            gc.set_threshold(*self._thresholds)
            self._thresholds = None

    def ended(self) -> None:
        """A connection is over."""
        self._ended += 1

    def tend(self, clients: int, now_ns: int) -> bool:
        """Collect if it is time to, with so many clients connected; whether that was done."""
        if self._thresholds is None or not self._is_time(clients, now_ns - self._looked_ns):
            return False
        self._looked_ns, self._ended = now_ns, 0
        self.collections += 1
        found = gc.collect()
        took_ms = (monotonic_ns() - now_ns) / 1e6
        _log.debug("garbage collected", found=found, took_ms=took_ms, clients=clients)
        return True

    def _is_time(self, clients: int, since_ns: int) -> bool:
        if not gc.get_count()[2]:
            return False
        if clients <= FEW_CLIENTS and since_ns >= FEW_EVERY_NS:
            return True
        return self._ended >= MOST_ENDED or since_ns >= MOST_NS
