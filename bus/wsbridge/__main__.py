"""``python -m bus.wsbridge --config FILE --name bridge.1``: one worker of the WebSocket bridge."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bus.runtime import run_async
from bus.wsbridge.http import Pages
from bus.wsbridge.process import body


def prepare() -> None:
    """Do what is slow the first time only."""
    Pages()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bridge; the exit code."""
    return run_async(body, argv)


if __name__ == "__main__":
    sys.exit(main())
