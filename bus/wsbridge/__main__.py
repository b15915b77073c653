"""``python -m bus.wsbridge --config FILE --name bridge.1``: one worker of the WebSocket bridge."""

from __future__ import annotations

import sys

from bus.runtime import run_async
from bus.wsbridge.server import body

if __name__ == "__main__":
    sys.exit(run_async(body))
