"""``python -m bus.feeds --config FILE --name feed.binance``: one feed as a process."""

from __future__ import annotations

import sys

from bus.feeds.process import main
from bus.feeds.rest import prepare_requests


def prepare() -> None:
    """Do what is slow the first time only."""
    prepare_requests()


if __name__ == "__main__":
    sys.exit(main())
