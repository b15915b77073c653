"""Runs a supervisor over trivial children instead of the bus's own processes.

``driver.py PLAN SETTING…`` where PLAN is JSON: ``[[name, behaviour, layer, slot, feed], …]``. Each
event is printed as a line of JSON.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from pathlib import Path

from bus.config import load
from bus.errors import MdbusError
from bus.runtime.log import configure
from bus.supervision.events import Happening
from bus.supervision.plan import ProcessSpec
from bus.supervision.supervisor import Supervisor

CHILD = Path(__file__).with_name("child.py")


def spec_of(name: str, behaviour: str, layer: int, slot: int | None, feed: str) -> ProcessSpec:
    command = (sys.executable, str(CHILD), behaviour, "--name", name)
    return ProcessSpec(name, "trivial", "", layer, slot=slot, feed=feed, command=command)


def show(happening: Happening) -> None:
    print(json.dumps(dataclasses.asdict(happening)), flush=True)


def main() -> int:
    settings = load(None, sys.argv[2:])
    configure("supervisor", "info")
    supervisor = Supervisor(settings, [spec_of(*row) for row in json.loads(sys.argv[1])])
    try:
        supervisor.prepare()
    except MdbusError as error:
        print(error, file=sys.stderr)
        return 1
    supervisor.events.listen(show)
    asyncio.run(supervisor.run())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
