"""Runs a supervisor over trivial children instead of the bus's own processes.

``driver.py PLAN SETTING…`` where PLAN is JSON: ``[[name, behaviour, layer, slot, feed], …]``, or
``[]`` for the plan that follows from the settings, each process played by the child of its kind.
The settings file is ``mdbus.toml`` in the run directory, when there is one. Each event is printed
as a line of JSON.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from pathlib import Path

from bus.config import Settings, load
from bus.errors import MdbusError
from bus.runtime.log import configure
from bus.supervision.events import Happening
from bus.supervision.origin import Origin
from bus.supervision.plan import ProcessSpec, plan
from bus.supervision.supervisor import Supervisor

CHILD = Path(__file__).with_name("child.py")


def spec_of(name: str, behaviour: str, layer: int, slot: int | None, feed: str) -> ProcessSpec:
    command: tuple[str, ...] = (sys.executable, str(CHILD), behaviour, "--name", name)
    if behaviour == "false":  # the cheapest crash
        command = ("false",)
    return ProcessSpec(name, "trivial", "", layer, slot=slot, feed=feed, command=command)


def show(happening: Happening) -> None:
    print(json.dumps(happening._asdict()), flush=True)


def played(settings: Settings) -> tuple[ProcessSpec, ...]:
    """The plan of these settings, with the broker and the simulator left out."""
    config = str(settings.run_path / "effective.toml")
    behaviour = {"bridge.1": "bridge", "bridge.2": "plain-bridge"}
    return tuple(
        dataclasses.replace(
            spec,
            command=(
                *(sys.executable, str(CHILD), behaviour.get(spec.name, spec.kind)),
                *("--name", spec.name, "--config", config),
            ),
        )
        for spec in plan(settings)
        if spec.kind in ("feed", "bridge")
    )


def main() -> int:
    overrides = tuple(sys.argv[2:])
    origin = Origin(load(None, overrides).run_path / "mdbus.toml", False, overrides)
    settings = origin.read()
    configure("supervisor", "info")
    specs = tuple(spec_of(*row) for row in json.loads(sys.argv[1]))
    planner = (lambda _: specs) if specs else played
    supervisor = Supervisor(settings, origin=origin, planner=planner)
    try:
        supervisor.prepare()
    except MdbusError as error:
        print(error, file=sys.stderr)
        return 1
    supervisor.events.listen(show)
    asyncio.run(supervisor.run())
    return supervisor.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
