"""The supervisor replaced in place: same pid, same processes, everything watched as before."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import asdict
from pathlib import Path

import pytest

from bus.supervision import handover as module
from bus.supervision.control_client import RefusedError, ask
from bus.supervision.generation import Generation, LastExit
from bus.supervision.handover import Handover, HandoverError, received, try_out
from bus.supervision.policy import Phase, State
from bus.testing import wait_until
from tests.supervision.conftest import WholeBus

PASSED = Handover(
    settings_file="/run/effective.toml",
    origin={"file": "/etc/mdbus.toml", "required": True, "overrides": ["a=1"], "feeds": []},
    started_at_ns=7,
    detached=True,
    descriptors={"lock": 3, "lifeline": [4, 5], "listeners": [6]},
    links=[["a", 1, 7, 8]],
    units={"a": {"state": State().to_facts()}},
)


def passed_on(text: str) -> int:
    """A descriptor that holds ``text``, as it comes over `execve`."""
    fd = os.memfd_create("test")
    os.write(fd, text.encode())
    return fd


def test_what_is_passed_on_arrives() -> None:
    got = received(passed_on(json.dumps(asdict(PASSED))))
    assert got == PASSED
    origin = got.settings_origin()
    assert origin is not None
    assert (origin.file, origin.required, origin.overrides) == (
        Path("/etc/mdbus.toml"),
        True,
        ("a=1",),
    )


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', "\x00"])
def test_what_is_no_handover_is_refused(text: str) -> None:
    with pytest.raises(HandoverError):
        received(passed_on(text))


def test_another_versions_handover_is_refused() -> None:
    with pytest.raises(HandoverError, match="version 99"):
        received(passed_on(json.dumps({**asdict(PASSED), "version": 99})))


def test_state_survives_as_it_was() -> None:
    state = State(Phase.BACKOFF, True, 12.5, None, 3, (1.0, 2.5), 4, "exited")
    assert State.of_facts(json.loads(json.dumps(state.to_facts()))) == state
    last = LastExit(None, "SIGKILL", "a line", "exited", 9, ("x", "y"))
    assert LastExit.of_facts(json.loads(json.dumps(asdict(last)))) == last
    run = Generation("a", 4, 3.5, ready=True)
    run.vitals.endpoints, run.vitals.verbs = {"http": "x"}, ("v",)
    assert Generation.of_facts("a", json.loads(json.dumps(run.to_facts()))) == run


async def test_code_that_does_not_load_is_found_before_anything_is_touched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    helpers: set[int] = set()
    await try_out(20, helpers)
    monkeypatch.setattr(module, "_TRIAL", "import no_such_module")
    with pytest.raises(HandoverError, match="no_such_module"):
        await try_out(20, helpers)
    monkeypatch.setattr(module, "_TRIAL", "print(99)")
    with pytest.raises(HandoverError, match="another version"):
        await try_out(20, helpers)
    monkeypatch.setattr(module, "_TRIAL", "import signal; signal.pause()")
    with pytest.raises(HandoverError, match="did not load within"):
        await try_out(0.2, helpers)
    assert not helpers
    assert asyncio.get_running_loop().is_running()


def pids(bus: WholeBus) -> dict[str, int]:
    return {row["name"]: row["pid"] for row in ask(bus.run_dir, "status")["processes"]}


def test_a_running_bus_keeps_its_processes_and_is_watched_on(whole_bus: WholeBus) -> None:
    status = ask(whole_bus.run_dir, "status")
    before = pids(whole_bus)
    done = whole_bus.ask("reexec", "--timeout", "40")
    assert done.returncode == 0, done.stderr
    assert "5 processes kept" in done.stdout
    assert pids(whole_bus) == before
    after = ask(whole_bus.run_dir, "status")
    assert (after["pid"], after["started_at_ns"]) == (status["pid"], status["started_at_ns"])
    assert after["program_started_at_ns"] > status["program_started_at_ns"]

    def beating() -> bool:
        rows = ask(whole_bus.run_dir, "status")["processes"]
        return all(row["heartbeat_age_ms"] is not None and row["counters"] for row in rows)

    wait_until(beating, 20, "everybody is heard again")
    assert whole_bus.ask("check").returncode == 0
    os.kill(before["bridge.1"], signal.SIGKILL)

    def replaced() -> bool:
        rows = ask(whole_bus.run_dir, "status")["processes"]
        row = next(row for row in rows if row["name"] == "bridge.1")
        return bool(row["state"] == "ready" and row["pid"] != before["bridge.1"])

    wait_until(replaced, 20, "an adopted process is replaced as any other")
    whole_bus.json("restart", "bridge.1", "feed.finnhub")
    assert whole_bus.ask("reload", "--dry-run").returncode == 0, "where the settings came from"


def test_a_process_that_is_starting_is_waited_for(whole_bus: WholeBus) -> None:
    old = pids(whole_bus)["feed.binance"]
    os.kill(old, signal.SIGKILL)
    assert whole_bus.ask("reexec", "--timeout", "40").returncode == 0
    assert whole_bus.ask("feed", "list").returncode == 0, "everybody can be asked again at once"
    wait_until(lambda: whole_bus.ask("check").returncode == 0, 20, "nothing got lost on the way")
    assert pids(whole_bus)["feed.binance"] not in (None, old)


def test_a_bad_request_is_usage(whole_bus: WholeBus) -> None:
    with pytest.raises(RefusedError) as refused:
        ask(whole_bus.run_dir, "reexec", timeout_s="soon")
    assert refused.value.exit_code == 2
