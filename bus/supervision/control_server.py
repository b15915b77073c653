"""The control socket: what an operator may ask of a running supervisor.

A unix stream socket, mode 0600, whose peers must have the supervisor's uid. One JSON object a
line each way: ``{"v": 1, "verb": …, …}`` in, ``{"v": 1, "ok": true, "result": …}`` or
``{"v": 1, "ok": false, "code": …, "error": …}`` out; ``code`` is the command line's exit code. No
verb can run a program that the configuration does not have; ``command`` passes a process only what
it said it takes. A request longer than
`MAX_REQUEST_BYTES`, or not complete within `IDLE_S`, ends its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bus.errors import ConfigError, MdbusError
from bus.runtime.log import get_logger
from bus.supervision import exit_codes
from bus.supervision.commands import CommandError
from bus.supervision.data_state import data_problems
from bus.supervision.feed_symbols import change_symbols
from bus.supervision.handover import try_out
from bus.supervision.nearest import nearest
from bus.supervision.policy import Phase
from bus.supervision.reload import reload, scale
from bus.supervision.replacement import DISMISSED, replace_all, settled
from bus.supervision.stacks import dump
from bus.supervision.status import bus_status, data_state, reason_of, unhealthy
from bus.supervision.symbols import ADD, REMOVE
from bus.supervision.unit import Unit

if TYPE_CHECKING:
    from bus.supervision.supervisor import Supervisor

CONTROL_VERSION: Final = 1
MAX_REQUEST_BYTES: Final = 64 * 1024
MAX_CONNECTIONS: Final = 64
IDLE_S: Final = 10.0
_MAX_WAIT_S: Final = 600.0
_QUERIES: Final = ("status", "check")
_KINDS: Final = ("bridge", "feed")
"""The kinds that may stand for several processes."""

_log = get_logger("supervision.control")


class _Refused(Exception):
    """A request that cannot be met; ``code`` is the exit code for the command line."""

    def __init__(self, code: int, message: str, **facts: Any) -> None:
        self.code = code
        self.facts = facts
        super().__init__(message)


class ControlServer:
    """Answers requests; every connection on its own, every process under its own lock."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._server: asyncio.Server | None = None
        self._open = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._verbs: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = {
            "status": self._status,
            "check": self._check,
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "down": self._down,
            "command": self._command,
            "reload": self._reload,
            "scale": self._scale,
            "dump": self._dump,
            "reexec": self._reexec,
        }

    async def open(self, path: Path) -> None:
        """Listen on ``path``, which must not exist; raises `OSError` when it cannot."""
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(
                self._serve, path, limit=MAX_REQUEST_BYTES
            )
        finally:
            os.umask(before)

    async def close(self) -> None:
        """Stop listening and drop what is still being answered."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._open < MAX_CONNECTIONS and _peer_uid(writer) in (os.getuid(), 0):
                self._open += 1
                try:
                    await self._converse(reader, writer)
                finally:
                    self._open -= 1
        except (ConnectionError, asyncio.CancelledError, TimeoutError):
            pass  # the peer left, was silent for too long, or the supervisor ends
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    line = await reader.readline()
            except ValueError:  # the stream's limit
                line = b""
                answer: dict[str, Any] = _error(exit_codes.USAGE, "the request is too long")
            else:
                if not line or self._supervisor.is_replaced:  # who takes our place is asked again
                    return
                answer = await self._answer(line)
            writer.write(json.dumps({"v": CONTROL_VERSION, **answer}).encode() + b"\n")
            await writer.drain()
            if not line:
                return

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return _error(exit_codes.USAGE, "the request is not JSON")
        if not isinstance(request, dict) or request.get("v") != CONTROL_VERSION:
            return _error(
                exit_codes.USAGE, f"this supervisor speaks version {CONTROL_VERSION} of control"
            )
        name = str(request.get("verb"))
        verb = self._verbs.get(name)
        if verb is None:
            return _error(exit_codes.USAGE, f"there is no verb {request.get('verb')!r}")
        try:
            with nullcontext() if name in _QUERIES else self._supervisor.succession.act():
                return {"ok": True, "result": await verb(request)}
        except _Refused as refusal:
            return _error(refusal.code, str(refusal), **refusal.facts)
        except CommandError as error:
            return _error(error.code, str(error))
        except ConfigError as error:
            return _error(exit_codes.USAGE, str(error))
        except MdbusError as error:
            return _error(exit_codes.FAILED, str(error))

    async def _status(self, _request: dict[str, Any]) -> dict[str, Any]:
        self._supervisor.read_beats()
        return bus_status(self._supervisor)

    async def _check(self, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("names"):
            units = self._named(request)
            problems = [
                {"name": unit.name, "reason": reason}
                for unit in units
                if (reason := reason_of(unit))
            ]
        else:
            problems = unhealthy(self._supervisor)
            units = tuple(self._supervisor.units.values())
        self._supervisor.read_beats()
        data = data_state(units)
        if request.get("data"):
            at_fault = {problem["name"] for problem in problems}
            problems += [each for each in data_problems(data) if each["name"] not in at_fault]
        return {"healthy": not problems, "problems": problems, "data": data}

    async def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        self._named(request)
        await self._supervisor.premises.renew_code()
        return await self._each(request, Unit.start, settled, "is not ready")

    async def _restart(self, request: dict[str, Any]) -> dict[str, Any]:
        self._must_run()
        units, timeout_s = self._named(request), _timeout_s(request)
        await self._supervisor.premises.renew_code()
        reasons = await replace_all(units, timeout_s)
        if reasons:
            late = any(unit.state.wanted and not settled(unit) for unit in units)
            shown = "; ".join(f"{name}: {why}" for name, why in reasons.items())
            raise _Refused(exit_codes.TIMEOUT if late else exit_codes.FAILED, shown)
        return self._outcome(units)

    async def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        return await self._each(
            request, Unit.stop, lambda unit: unit.phase is Phase.STOPPED, "has not stopped"
        )

    async def _command(self, request: dict[str, Any]) -> dict[str, Any]:
        """Pass a command on to one process, which must have said that it takes it.

        Of a feed's symbols the settings in force are kept up to date, so that its next start has
        them too.
        """
        unit = self._one(request)
        verb, arguments = request.get("command"), request.get("arguments", {})
        if not isinstance(verb, str) or not isinstance(arguments, dict):
            raise _Refused(exit_codes.USAGE, "a command is a text and its arguments an object")
        timeout_s = _timeout_s(request)
        if unit.spec.feed and verb in (ADD, REMOVE):
            return await change_symbols(self._supervisor, unit, verb, arguments, timeout_s)
        result = await self._supervisor.commands.ask(unit, verb, arguments, timeout_s)
        return {"process": unit.name, "result": result}

    async def _reload(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._supervisor.state != "running":
            raise _Refused(exit_codes.FAILED, f"the supervisor is {self._supervisor.state}")
        return await reload(
            self._supervisor,
            dry_run=bool(request.get("dry_run")),
            timeout_s=_timeout_s(request),
        )

    async def _scale(self, request: dict[str, Any]) -> dict[str, Any]:
        name, count = request.get("name"), request.get("count")
        if name != "bridge":
            self._named({"names": [name]})  # which refuses a name that there is not
            raise _Refused(exit_codes.USAGE, f"only bridge can be scaled, not {name!r}")
        if isinstance(count, bool) or not isinstance(count, int):
            raise _Refused(exit_codes.USAGE, "count is not a whole number")
        if self._supervisor.state != "running":
            raise _Refused(exit_codes.FAILED, f"the supervisor is {self._supervisor.state}")
        return await scale(self._supervisor, count, _timeout_s(request))

    async def _dump(self, request: dict[str, Any]) -> dict[str, Any]:
        unit = self._one(request)
        log_path = self._supervisor.premises.directory.log_dir / f"{unit.name}.log"
        return {"process": unit.name, "stacks": await dump(unit, log_path, _timeout_s(request))}

    async def _reexec(self, request: dict[str, Any]) -> dict[str, Any]:
        supervisor = self._supervisor
        if supervisor.state != "running":
            raise _Refused(exit_codes.FAILED, f"the supervisor is {supervisor.state}")
        timeout_s = _timeout_s(request)
        await try_out(timeout_s, supervisor.helpers)
        supervisor.succession.begin(timeout_s)  # once this is answered, as all else
        return {"pid": os.getpid(), "program_started_at_ns": supervisor.program_started_at_ns}

    async def _down(self, _request: dict[str, Any]) -> dict[str, Any]:
        self._supervisor.succession.forbid()
        # answered first, done after: the answer must still get through
        asyncio.get_running_loop().call_later(0.01, self._supervisor.request_stop, "mdbus down")
        return {"pid": os.getpid()}

    async def _each(
        self,
        request: dict[str, Any],
        act: Callable[[Unit], None],
        done: Callable[[Unit], bool],
        otherwise: str,
    ) -> dict[str, Any]:
        """Act on every named process at once and wait for all of them."""
        units = self._named(request)
        timeout_s = _timeout_s(request)

        async def one(unit: Unit) -> bool:
            async with unit.operator_lock:
                if unit.is_dismissed:
                    raise _Refused(exit_codes.NO_SUCH_PROCESS, f"{unit.name} {DISMISSED}")
                act(unit)
                return await unit.until(done, timeout_s)

        self._must_run()
        in_time = await asyncio.gather(*(one(unit) for unit in units))
        late = [unit for unit, met in zip(units, in_time, strict=True) if not met]
        if late:
            names = ", ".join(unit.name for unit in late)
            raise _Refused(exit_codes.TIMEOUT, f"{names} {otherwise} after {timeout_s:g} s")
        return self._outcome(units)

    def _must_run(self) -> None:
        if self._supervisor.state == "stopping":
            raise _Refused(exit_codes.FAILED, "the supervisor is stopping")

    @staticmethod
    def _outcome(units: Sequence[Unit]) -> dict[str, Any]:
        """What became of those acted on; refused when one that should run does not."""
        idle = [unit for unit in units if not unit.operator_lock.locked()]  # else another one's
        failed = [unit for unit in idle if unit.state.wanted and reason_of(unit)]
        if failed:
            reasons = "; ".join(f"{unit.name}: {reason_of(unit)}" for unit in failed)
            raise _Refused(exit_codes.FAILED, reasons)
        return {"processes": [{"name": u.name, "state": u.phase.value} for u in units]}

    def _one(self, request: dict[str, Any]) -> Unit:
        """The process that ``name`` means; a kind means none."""
        name = request.get("name")
        units = self._named({"names": [name]})
        if units[0].name != name:
            raise _Refused(
                exit_codes.NO_SUCH_PROCESS,
                f"one process is meant, and {name!r} is several",
                known=[unit.name for unit in units],
            )
        return units[0]

    def _named(self, request: dict[str, Any]) -> Sequence[Unit]:
        """The processes that ``names`` mean: names, or a kind (``bridge``) for all of that kind."""
        names = request.get("names")
        if not isinstance(names, list) or not names:
            raise _Refused(exit_codes.USAGE, "no process is named")
        known = self._supervisor.units
        found: dict[str, Unit] = {}
        for name in names:
            unit = known.get(str(name))
            of_kind = [each for each in known.values() if each.spec.kind == name]
            if unit is None and not of_kind:
                raise _Refused(
                    exit_codes.NO_SUCH_PROCESS,
                    f"there is no process {name!r}",
                    nearest=nearest(str(name), dict.fromkeys([*_KINDS, *known])),
                    known=list(known),
                )
            found |= {each.name: each for each in ([unit] if unit is not None else of_kind)}
        return list(found.values())


def _timeout_s(request: dict[str, Any]) -> float:
    given = request.get("timeout_s", 60.0)
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not given > 0:
        raise _Refused(exit_codes.USAGE, "timeout_s is not a positive number")
    return min(float(given), _MAX_WAIT_S)


def _error(code: int, message: str, **facts: Any) -> dict[str, Any]:
    return {"ok": False, "code": code, "error": message, **facts}


def _peer_uid(writer: asyncio.StreamWriter) -> int | None:
    peer = writer.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, uid, _ = struct.unpack("3i", raw)
        return int(uid)
    return None
