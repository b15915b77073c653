"""Our supervisor over the programs of ``argv[1]`` (JSON: name to argv), for `bench.managers`."""

from __future__ import annotations

import json
import sys

from bus.supervision.lean import import_asyncio


def main() -> int:
    """Run until stopped, with the imports of ``mdbus up``."""
    import_asyncio()
    import asyncio

    from bus.config import load
    from bus.runtime.log import configure
    from bus.supervision.plan import ProcessSpec
    from bus.supervision.supervisor import Supervisor

    commands = json.loads(sys.argv[1])
    specs = tuple(
        ProcessSpec(name, "bench", "", 0, command=tuple(command))
        for name, command in commands.items()
    )
    configure("supervisor", "warning")
    supervisor = Supervisor(load(None, sys.argv[2:]), planner=lambda _: specs)
    supervisor.prepare()
    asyncio.run(supervisor.run())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
