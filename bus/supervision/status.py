"""The answer to ``status``: a plain table, the contract of ``mdbus status --json``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import bus
from bus.supervision.data_state import data_of
from bus.supervision.generation import LastExit
from bus.supervision.policy import Phase
from bus.supervision.unit import Unit

if TYPE_CHECKING:
    from bus.supervision.supervisor import Supervisor

STATUS_VERSION = 1


def bus_status(supervisor: Supervisor) -> dict[str, Any]:
    """State, endpoints and processes of a bus. Keys are only ever added within a version."""
    settings = supervisor.settings
    endpoints = {
        "publish": settings.endpoints.publish,
        "subscribe": settings.endpoints.subscribe,
        "http": http_url(settings.bridge.host, settings.bridge.port),
    }
    return {
        "version": STATUS_VERSION,
        "state": supervisor.state,
        "healthy": not unhealthy(supervisor),
        "mode": settings.mode,
        "mdbus": bus.__version__,
        "pid": os.getpid(),
        "run_dir": str(settings.run_path),
        "started_at_ns": supervisor.started_at_ns,
        "program_started_at_ns": supervisor.program_started_at_ns,
        "spares": {
            "wanted": settings.supervisor.spares if settings.supervisor.template else 0,
            "ready": supervisor.premises.spares.ready,
            "taken": supervisor.premises.spares.taken,
        },
        "template": {
            "pid": supervisor.premises.spares.template.pid,
            "ready": supervisor.premises.spares.template.ready,
            "forks": supervisor.premises.spares.template.forks,
        },
        "endpoints": endpoints,
        "data": data_state(supervisor.units.values()),
        "processes": [_process(supervisor, unit) for unit in supervisor.units.values()],
    }


def unhealthy(supervisor: Supervisor) -> list[dict[str, str]]:
    """Why the bus is not healthy: ``{"name", "reason"}`` for each process at fault.

    A process the operator stopped is not at fault.
    """
    if supervisor.state != "running":
        return [{"name": "supervisor", "reason": f"is {supervisor.state}"}]
    return [{"name": unit.name, "reason": reason_of(unit)} for unit in supervisor.not_ready()]


def reason_of(unit: Unit) -> str:
    """Why a process is not healthy, in words; empty when it is."""
    if unit.phase is Phase.READY and not unit.failing():
        return ""
    state = _state(unit)
    if unit.last_exit is not None and unit.phase is not Phase.STOPPED:
        return f"{state}, last exit: {unit.last_exit.in_words()}"
    return state


def data_state(units: Iterable[Unit]) -> dict[str, Any]:
    """What the data of those processes is worth that are feeds; see `data_of`."""
    return data_of(
        [
            {
                "name": unit.name,
                "kind": unit.spec.kind,
                "state": _state(unit),
                "wanted": unit.state.wanted,
                "counters": unit.vitals.counters,
            }
            for unit in units
        ]
    )


def http_url(host: str, port: int) -> str:
    """Where a browser on this machine finds the bridge."""
    near = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    shown = f"[{near}]" if ":" in near else near
    return f"http://{shown}:{port}"


def _state(unit: Unit) -> str:
    if unit.phase is Phase.BACKOFF and unit.failing():
        return "failing"
    return unit.phase.value


def _process(supervisor: Supervisor, unit: Unit) -> dict[str, Any]:
    child, beat_age_s = unit.child, unit.beat_age_s()
    usage = supervisor.rounds.figures.look(unit.name, child.pid) if child is not None else None
    deadline = unit.state.deadline
    waiting = unit.phase is Phase.BACKOFF and deadline is not None
    now = asyncio.get_running_loop().time()
    return {
        "name": unit.name,
        "kind": unit.spec.kind,
        "pid": child.pid if child is not None else None,
        "state": _state(unit),
        "restarts": unit.state.restarts,
        "uptime_s": _rounded(unit.age_s(), 1),
        "cpu_percent": usage.cpu_percent if usage else None,
        "rss_bytes": usage.rss_bytes if usage else None,
        "heartbeat_age_ms": None if beat_age_s is None else round(beat_age_s * 1e3),
        "last_exit": _last_exit(unit.last_exit),
        "wanted": unit.state.wanted,
        "failing": unit.failing(),
        "generation": unit.generation,
        "retry_in_s": round(max(0.0, deadline - now), 1) if waiting and deadline else None,
        "loop_lag_ms": round(unit.vitals.loop_lag_ms, 2) if child is not None else None,
        "fds": usage.fds if usage else None,
        "threads": usage.threads if usage else None,
        "endpoints": dict(unit.vitals.endpoints),
        "counters": dict(unit.vitals.counters),
        "rates": {key: round(rate, 1) for key, rate in unit.vitals.rates.items()},
        "quiet_s": _rounded(unit.quiet_s(), 1),
        "commands": list(unit.vitals.verbs),
    }


def _last_exit(last: LastExit | None) -> dict[str, Any] | None:
    if last is None:
        return None
    return {
        "code": last.code,
        "signal": last.signal,
        "reason": last.line or last.cause,
        "at_ns": last.at_ns,
        "log_tail": list(last.log_tail),
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
