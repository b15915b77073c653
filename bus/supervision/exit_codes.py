"""Exit codes of ``mdbus``: a contract with scripts and probes."""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
"""Not healthy, or what was asked failed."""
USAGE: Final = 2
"""Wrong arguments or settings."""
NO_SUCH_PROCESS: Final = 3
NO_SUPERVISOR: Final = 4
TIMEOUT: Final = 5
