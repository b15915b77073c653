"""The program that `bench.supervision` has every process manager run: it serves, or it crashes.

It writes its pid to ``FILE.ready`` once it serves. It is a process like those of the bus (asyncio,
the runtime's link when a supervisor of ours started it, nothing of it under any other manager).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from bus.config import Settings
from bus.runtime import Life, run_async

STUBBORN = "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()"


async def body(life: Life, _: Settings) -> None:
    """Serve until stopped."""
    life.ready({})
    Path(f"{sys.argv[2]}.ready").write_text(str(os.getpid()))  # noqa: ASYNC240
    await life.stopping.wait()


def main() -> int:
    """Run; the exit code."""
    if not os.environ.get("MDBUS_LINK_FD"):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.argv[1] == "family":
        subprocess.Popen([sys.executable, "-c", STUBBORN])
    return run_async(body, ["--name", Path(sys.argv[2]).name], loop_kind="asyncio")


if __name__ == "__main__":
    raise SystemExit(main())
