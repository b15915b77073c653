"""New settings for a running bus: read, compared, and applied with as little stopped as can be.

First everything that can be wrong is found (settings, ports), with nothing touched. Then what is
not wanted any more stops, feeds are told of their symbols, changed processes are replaced and new
ones started layer by layer, and who stays is told. A feed that cannot be told is replaced.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bus.clock import monotonic_ns, now_ns
from bus.config import Settings
from bus.config.bridge import BridgeSettings
from bus.config.field import range_of
from bus.errors import ConfigError, Problem
from bus.runtime.log import set_level
from bus.supervision.commands import CommandError
from bus.supervision.events import Happening
from bus.supervision.plan import layers
from bus.supervision.replacement import has_left, replace, settled
from bus.supervision.settings_diff import (
    Change,
    Consequences,
    SymbolChange,
    consequences,
    keep_ports,
)
from bus.supervision.status import reason_of
from bus.supervision.symbols import ADD, REMOVE
from bus.supervision.token_keys import check_keys
from bus.supervision.unit import Unit

if TYPE_CHECKING:
    from bus.supervision.supervisor import Supervisor

TAKE_SETTINGS: Final = "settings"
"""The command that tells a process to read its settings file again: ``{"config": path}``."""
SET_LOG_LEVEL: Final = "log_level"
_MOST_KEYS: Final = 6


@dataclass(slots=True)
class Outcome:
    """What a reload did: one entry a process, ``ok`` False when one did not come out as wanted."""

    steps: list[dict[str, str]] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)
    ok: bool = True

    def add(self, process: str, action: str, note: str = "", *, ok: bool = True) -> None:
        """Note that ``action`` was done to ``process``."""
        self.steps.append({"process": process, "action": action, "note": note})
        self.ok = self.ok and ok


def expected(wanted: Consequences, units: Mapping[str, Unit]) -> Outcome:
    """What a reload would do, in the form of what it did."""

    def takes(name: str, *verbs: str) -> bool:
        unit = units.get(name)
        return unit is not None and unit.serving and {*verbs} <= {*unit.vitals.verbs}

    symbols = {f"feed.{feed}" for feed in wanted.symbols}
    untold = {name for name in symbols if not takes(name, ADD, REMOVE)}
    untold |= {name for name in wanted.informed if not takes(name, TAKE_SETTINGS)}
    everybody = units.keys() - wanted.stopped - wanted.replaced
    outcome = Outcome()
    for names, action in (
        (wanted.stopped, "stop"),
        (symbols - untold, "change symbols"),
        (wanted.replaced | untold, "restart"),
        (wanted.started, "start"),
        (everybody if wanted.log_level else frozenset(), "change the log level"),
        (wanted.informed - untold, "tell the new settings"),
    ):
        for name in sorted(names):
            outcome.add(name, action)
    return outcome


async def reload(supervisor: Supervisor, *, dry_run: bool, timeout_s: float) -> dict[str, Any]:
    """Read the operator's file again and run with it.

    The result has ``changes`` (key, old, new), ``steps``, ``refused`` (symbols), ``ok`` and
    ``applied``. Raises `ConfigError` with every problem, and `MdbusError` kinds for a busy port;
    then nothing has changed.
    """
    origin = supervisor.origin
    if origin is None:
        raise ConfigError.of("", "this bus was not started from settings that can be read again")
    async with supervisor.settings_lock:
        if not dry_run:
            await supervisor.premises.renew_code()
        current = supervisor.settings
        wanted = keep_ports(await asyncio.to_thread(origin.read), current)
        if wanted.run_path.absolute() != current.run_path:
            raise ConfigError(
                [
                    Problem(
                        str(origin.file),
                        "run_dir",
                        "cannot change while the bus runs",
                        "mdbus down, then mdbus up",
                    )
                ]
            )
        wanted = dataclasses.replace(wanted, run_dir=current.run_dir)
        return await _change(supervisor, wanted, dry_run=dry_run, timeout_s=timeout_s)


async def scale(supervisor: Supervisor, count: int, timeout_s: float) -> dict[str, Any]:
    """Have ``count`` bridges run until the next reload says otherwise; the result is `reload`'s.

    Raises `ConfigError` for a count that the settings do not allow; then nothing has changed.
    """
    async with supervisor.settings_lock:
        await supervisor.premises.renew_code()
        current = supervisor.settings
        at_least, at_most = range_of(BridgeSettings, "workers")
        if not at_least <= count <= at_most:
            raise ConfigError.of("bridge.workers", f"must be from {at_least:g} to {at_most:g}")
        bridge = dataclasses.replace(current.bridge, workers=count)
        wanted = dataclasses.replace(current, bridge=bridge)
        return await _change(supervisor, wanted, dry_run=False, timeout_s=timeout_s)


async def _change(
    supervisor: Supervisor, wanted: Settings, *, dry_run: bool, timeout_s: float
) -> dict[str, Any]:
    following = consequences(supervisor.settings, wanted, supervisor.planner)
    outcome = expected(following, supervisor.units)
    if dry_run:
        check_keys(wanted)  # as it would be refused for them
    if following.changes and not dry_run:
        supervisor.manager.reloading(monotonic_ns())
        try:
            outcome = await _Application(supervisor, following, timeout_s).apply(wanted)
        finally:
            supervisor.manager.ready("reloaded")
    return {
        "changes": [asdict(change) for change in following.changes],
        "applied": bool(following.changes) and not dry_run,
        **asdict(outcome),
    }


def changed_keys(changes: Sequence[Change]) -> str:
    """The keys that differ, as many as a line of events has room for."""
    keys = [change.key for change in changes[:_MOST_KEYS]]
    more = len(changes) - len(keys)
    return ", ".join(keys) + (f" and {more} more" if more else "")


class _Application:
    """One reload under way."""

    def __init__(self, supervisor: Supervisor, wanted: Consequences, timeout_s: float) -> None:
        self._supervisor = supervisor
        self._wanted = wanted
        self._timeout_s = timeout_s
        self._outcome = Outcome()

    async def apply(self, settings: Settings) -> Outcome:
        supervisor, wanted = self._supervisor, self._wanted
        supervisor.change(settings)
        supervisor.tell(
            Happening(now_ns(), "note", "", f"new settings: {changed_keys(wanted.changes)}")
        )
        await self._stop(wanted.stopped)
        replaced = set(wanted.replaced)
        for feed, change in wanted.symbols.items():
            if not await self._tell_symbols(feed, change):
                replaced.add(f"feed.{feed}")
        for layer in layers(supervisor.specs):
            names = [spec.name for spec in layer]
            for spec in layer:
                if spec.name in wanted.started:
                    supervisor.add(spec)
            rolling = [spec.name for spec in layer if spec.slot is not None]
            await asyncio.gather(
                *(self._replace(name) for name in names if name in replaced - {*rolling}),
                *(self._start(name) for name in names if name in wanted.started),
            )
            for name in rolling:
                if name in replaced:
                    await self._replace(name)
            units = [supervisor.units[name] for name in rolling]
            await asyncio.gather(*(unit.rid(self._timeout_s) for unit in units))
        if wanted.log_level:
            await self._tell_level(supervisor.settings.log_level)
        for name in sorted(wanted.informed - replaced):
            if not await inform(supervisor, name, self._timeout_s):
                await self._replace(name)
            else:
                self._outcome.add(name, "told the new settings")
        return self._outcome

    async def _stop(self, names: Iterable[str]) -> None:
        units = [self._supervisor.units[name] for name in names]

        async def one(unit: Unit) -> None:
            async with unit.operator_lock:
                unit.stop()
                stopped = await unit.until(has_left, self._timeout_s)
            if not stopped:
                self._outcome.add(unit.name, "stop", "has not stopped in time", ok=False)
                unit.kill()
                await unit.until(has_left, self._timeout_s)
            else:
                self._outcome.add(unit.name, "stopped")
            unit.is_dismissed = True
            del self._supervisor.units[unit.name]

        for layer in reversed(layers([unit.spec for unit in units])):
            own = {spec.name for spec in layer}
            await asyncio.gather(*(one(unit) for unit in units if unit.name in own))

    async def _start(self, name: str) -> None:
        unit = self._supervisor.units[name]
        async with unit.operator_lock:
            unit.start()
            await unit.until(settled, self._timeout_s)
        self._conclude(unit, "started")

    async def _replace(self, name: str) -> None:
        """Replace a process; one that the operator stopped stays stopped."""
        unit = self._supervisor.units[name]
        if not unit.state.wanted:
            self._outcome.add(name, "left stopped", "it starts with the new settings")
            return
        why = await replace(unit, self._timeout_s)
        if why:
            self._outcome.add(name, "not restarted", why, ok=False)
            return
        self._conclude(unit, "restarted")

    def _conclude(self, unit: Unit, action: str) -> None:
        reason = reason_of(unit)
        self._outcome.add(unit.name, action, reason, ok=not reason)

    async def _tell_symbols(self, feed: str, change: SymbolChange) -> bool:
        """Whether the running feed took its new symbols; if not, it must be replaced."""
        name = f"feed.{feed}"
        unit = self._supervisor.units[name]
        if not unit.serving:
            return False
        try:
            for verb, symbols in ((REMOVE, change.removed), (ADD, change.added)):
                if symbols:
                    result = await self._supervisor.commands.ask(
                        unit, verb, {"symbols": list(symbols)}, self._timeout_s
                    )
                    refused = result.get("refused") or []
                    self._outcome.refused += [dict(each, process=name) for each in refused]
                    self._outcome.ok = self._outcome.ok and not refused
        except CommandError as error:
            self._supervisor.tell(Happening(now_ns(), "note", name, f"{error.why}; replacing it"))
            return False
        counts = f"{len(change.added)} added, {len(change.removed)} removed"
        self._outcome.add(name, "changed symbols", counts)
        return True

    async def _tell_level(self, level: str) -> None:
        set_level(level)
        for unit in list(self._supervisor.units.values()):
            if unit.serving and SET_LOG_LEVEL in unit.vitals.verbs:
                try:
                    await self._supervisor.commands.ask(
                        unit, SET_LOG_LEVEL, {"level": level}, self._timeout_s
                    )
                except CommandError as error:
                    self._outcome.add(unit.name, "log level", error.why, ok=False)
                else:
                    self._outcome.add(unit.name, f"logs at level {level}")


async def inform(supervisor: Supervisor, name: str, timeout_s: float) -> bool:
    """Tell a process that its settings file has changed; False when it cannot be told."""
    unit = supervisor.units.get(name)
    if unit is None or not unit.serving or TAKE_SETTINGS not in unit.vitals.verbs:
        return False
    arguments = {"config": str(supervisor.premises.directory.effective_config)}
    try:
        await supervisor.commands.ask(unit, TAKE_SETTINGS, arguments, timeout_s)
    except CommandError as error:
        supervisor.tell(Happening(now_ns(), "note", name, error.why))
        return False
    return True
