"""A running feed's symbols, changed by an operator: the feed told, the settings in force kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from bus.clock import now_ns
from bus.config import Settings
from bus.errors import MdbusError
from bus.supervision import exit_codes
from bus.supervision.commands import CommandError
from bus.supervision.events import Happening
from bus.supervision.reload import inform
from bus.supervision.symbols import (
    ADD,
    lines_to_keep,
    published_elsewhere,
    reported_symbols,
    with_symbols,
)
from bus.supervision.unit import Unit

if TYPE_CHECKING:
    from bus.supervision.supervisor import Supervisor


async def change_symbols(
    supervisor: Supervisor, unit: Unit, verb: str, arguments: dict[str, Any], timeout_s: float
) -> dict[str, Any]:
    """Add or remove symbols of the feed ``unit``; what it accepted is in force from now on.

    ``arguments`` is ``{"symbols": [text, …]}``. The result has ``process``, ``result`` (the feed's
    ``symbols`` and ``refused``), ``recorded`` (whether the next start of the feed has them too),
    ``unrecorded`` (what went wrong when it has not), ``changed`` (whether any came or went),
    ``file`` (the operator's own, None when there is none) and ``lines`` (what it must say to have
    them after the next `up`), and ``uninformed``, the bridges that go on with their old list of
    symbols. Raises `CommandError` when the feed did nothing.
    """
    symbols = arguments.get("symbols")
    if not isinstance(symbols, list) or not all(isinstance(each, str) for each in symbols):
        raise CommandError(unit.name, "symbols must be a list of texts", exit_codes.USAGE)
    feed = unit.spec.feed
    async with supervisor.settings_lock:
        taken = published_elsewhere(supervisor.settings, feed, symbols) if verb == ADD else []
        barred = {each["symbol"] for each in taken}
        wanted = [symbol for symbol in symbols if symbol not in barred]
        if not wanted and taken:
            _tell(supervisor, unit, (), (), barred)
            raise CommandError(unit.name, "; ".join(_in_words(each) for each in taken))
        before = (
            supervisor.settings.feeds[feed].symbols if feed in supervisor.settings.feeds else ()
        )
        result = await supervisor.commands.ask(unit, verb, {"symbols": wanted}, timeout_s)
        result["refused"] = [*(result.get("refused") or []), *taken]
        now = reported_symbols(result)
        recorded = now is not None and feed in supervisor.settings.feeds
        changed = now is not None and set(now) != set(before)
        uninformed: list[str] = []
        unrecorded = ""
        refused = [str(each.get("symbol")) for each in result["refused"]]
        _tell(supervisor, unit, before, before if now is None else now, refused)
        if now is not None and recorded and changed:
            unrecorded = _record(supervisor, unit, with_symbols(supervisor.settings, feed, now))
            recorded = not unrecorded
            bridges = [u.name for u in supervisor.units.values() if u.spec.kind == "bridge"]
            for name in bridges if recorded else ():
                if not await inform(supervisor, name, timeout_s):
                    uninformed.append(name)
    return {
        "process": unit.name,
        "result": result,
        "recorded": recorded,
        "unrecorded": unrecorded,
        "changed": changed,
        "file": _settings_file(supervisor),
        "lines": lines_to_keep(feed, now) if now is not None else None,
        "uninformed": uninformed,
    }


def _record(supervisor: Supervisor, unit: Unit, wanted: Settings) -> str:
    """Have the next start of the feed know; the reason when it will not, as on a full disk."""
    try:
        supervisor.change(wanted)
    except MdbusError as error:
        text = f"its next start goes back to the symbols it had: {error}"
        supervisor.tell(Happening(now_ns(), "note", unit.name, text))
        return str(error)
    return ""


def _tell(
    supervisor: Supervisor,
    unit: Unit,
    before: Collection[str],
    now: Collection[str],
    refused: Iterable[str],
) -> None:
    """One event that says which symbols came, went and were refused; none when nothing did."""
    words = [f"+ {symbol}" for symbol in now if symbol not in before]
    words += [f"- {symbol}" for symbol in before if symbol not in now]
    words += [f"refused {symbol}" for symbol in refused]
    if words:
        supervisor.tell(Happening(now_ns(), "note", unit.name, ", ".join(words)))


def _settings_file(supervisor: Supervisor) -> str | None:
    """The operator's own file, when there is one."""
    origin = supervisor.origin
    return str(origin.file) if origin is not None and origin.file.exists() else None


def _in_words(refused: dict[str, str]) -> str:
    return f"{refused['symbol']}: {refused['reason']}"
