"""``python -m bus.feeds --config FILE --name feed.binance``: one feed as a process."""

from __future__ import annotations

import sys

from bus.feeds.process import main

if __name__ == "__main__":
    sys.exit(main())
