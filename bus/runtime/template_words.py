"""What the supervisor and the template say to each other; see `bus.runtime.template`."""

from __future__ import annotations

from typing import Final

FORK: Final = b"fork"
FORK_SPARE: Final = b"spare"
CHECK: Final = b"check"
IMPORTED: Final = b"imported"
CURRENT: Final = b"current"
CHANGED: Final = b"changed"
MAX_WORD_BYTES: Final = 64
