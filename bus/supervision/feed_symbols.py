"""A running feed's symbols, changed by an operator: the feed told, the settings in force kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bus.clock import now_ns
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
    ``file`` and ``lines`` (what the operator's own file must say to have them after the next
    `up`), and ``uninformed``, the bridges that go on with their old list of symbols. Raises
    `CommandError` when the feed did nothing.
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
            raise CommandError(unit.name, "; ".join(_in_words(each) for each in taken))
        result = await supervisor.commands.ask(unit, verb, {"symbols": wanted}, timeout_s)
        result["refused"] = [*(result.get("refused") or []), *taken]
        now = reported_symbols(result)
        recorded = now is not None and feed in supervisor.settings.feeds
        uninformed: list[str] = []
        if now is not None and recorded:
            supervisor.change(with_symbols(supervisor.settings, feed, now))
            supervisor.tell(
                Happening(now_ns(), "note", unit.name, f"has {len(now)} symbols: {verb}")
            )
            bridges = [u.name for u in supervisor.units.values() if u.spec.kind == "bridge"]
            for name in bridges:
                if not await inform(supervisor, name, timeout_s):
                    uninformed.append(name)
    return {
        "process": unit.name,
        "result": result,
        "recorded": recorded,
        "file": str(supervisor.origin.file) if supervisor.origin else None,
        "lines": lines_to_keep(feed, now) if now is not None else None,
        "uninformed": uninformed,
    }


def _in_words(refused: dict[str, str]) -> str:
    return f"{refused['symbol']}: {refused['reason']}"
