"""``python -m bus.simulator --config FILE --name simulator``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bus.runtime import run_async
from bus.simulator.process import body


def main(argv: Sequence[str] | None = None) -> int:
    """Run the simulator; the exit code."""
    return run_async(body, argv)


if __name__ == "__main__":
    sys.exit(main())
