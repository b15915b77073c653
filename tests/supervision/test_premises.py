"""What is made before anything starts, and freed when it cannot be."""

from __future__ import annotations

import asyncio
import socket
import stat
from pathlib import Path

import psutil
import pytest

from bus.config import Settings, load
from bus.errors import ConfigError
from bus.supervision.listeners import PortBusyError
from bus.supervision.lock import running_pid
from bus.supervision.plan import ProcessSpec, plan
from bus.supervision.premises import Premises
from bus.testing import eventually
from bus.transport.link import link_pair
from bus.transport.pulse import Pulse


def settings(run_dir: Path, *overrides: str) -> Settings:
    ports = ("bridge.port=0", "simulator.ports.binance=0", "simulator.ports.finnhub=0")
    return load(None, [f"run_dir={run_dir}", *ports, *overrides])


def test_children_get_the_ports_in_force(run_dir: Path) -> None:
    wanted = settings(run_dir)
    premises = Premises(wanted)
    premises.prepare(plan(wanted))
    try:
        read = load(premises.directory.effective_config)
        assert read == premises.settings
        assert read.bridge.port > 0
        assert len({read.bridge.port, read.simulator.ports["binance"]}) == 2
        assert read.run_path == run_dir
        mode = stat.S_IMODE(premises.directory.effective_config.stat().st_mode)
        assert mode == 0o600
    finally:
        premises.close()


async def test_a_slot_that_new_settings_have_not_is_a_reason_and_no_crash(run_dir: Path) -> None:
    wanted = settings(run_dir, "bridge.workers=1")
    premises = Premises(wanted)
    premises.prepare(plan(wanted))
    ends = link_pair()
    pulse = Pulse.make()
    try:
        spec = ProcessSpec("bridge.2", "bridge", "bus.wsbridge", 3, slot=1)
        with pytest.raises(OSError, match="no place for it"):
            premises.launch(spec, 1, (ends[1], pulse), lambda _: None)
    finally:
        premises.close()
        pulse.close()
        for end in ends:
            end.close()


@pytest.mark.parametrize(
    "setting",
    [
        "bridge.port={}",
        "bridge.admin.port={}",
        "simulator.ports.binance={}",
        "broker.publish=tcp://127.0.0.1:{}",
    ],
)
def test_a_busy_port_frees_everything_again(run_dir: Path, setting: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        wanted = settings(run_dir, setting.format(other.getsockname()[1]))
        before = psutil.Process().num_fds()
        with pytest.raises(PortBusyError, match=f"--set {setting.partition('=')[0]}="):
            Premises(wanted).prepare(plan(wanted))
        assert psutil.Process().num_fds() == before
    assert running_pid(run_dir) is None


@pytest.mark.parametrize(
    "setting", ["bridge.port={}", "simulator.ports.binance={}", "broker.publish=tcp://127.0.0.1:{}"]
)
def test_a_change_that_needs_a_busy_port_changes_nothing(run_dir: Path, setting: str) -> None:
    wanted = settings(run_dir)
    premises = Premises(wanted)
    premises.prepare(plan(wanted))
    try:
        before = premises.settings
        fds = psutil.Process().num_fds()
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen(1)
            changed = settings(run_dir, setting.format(other.getsockname()[1]))
            with pytest.raises(PortBusyError):
                premises.change(changed, 5)
        assert premises.settings is before
        assert load(premises.directory.effective_config) == before
        assert psutil.Process().num_fds() == fds
    finally:
        premises.close()


def test_a_change_keeps_the_ports_and_makes_room_for_more_bridges(run_dir: Path) -> None:
    wanted = settings(run_dir)
    premises = Premises(wanted)
    premises.prepare(plan(wanted))
    try:
        port = premises.settings.bridge.port
        fds = psutil.Process().num_fds()
        premises.change(settings(run_dir, "bridge.workers=9"), 9)
        more = psutil.Process().num_fds()
        assert premises.settings.bridge.port == port
        assert load(premises.directory.effective_config).bridge.workers == 9
        premises.change(settings(run_dir, "bridge.workers=1"), 1)
        assert psutil.Process().num_fds() == more - 8 < fds
    finally:
        premises.close()


def test_a_relative_run_directory_means_the_same_to_children(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_dir)
    assert Premises(load(None, ["run_dir=here"])).settings.run_path == run_dir / "here"


def test_a_run_directory_that_is_too_long_is_a_setting_to_change(run_dir: Path) -> None:
    wanted = settings(run_dir, f"run_dir=/tmp/{'x' * 120}")
    with pytest.raises(ConfigError) as wrong:
        Premises(wanted).prepare(plan(wanted))
    assert wrong.value.problems[0].key == "run_dir"
    assert not list(run_dir.iterdir()), "nothing was made"


def test_another_host_for_the_port_it_has_is_no_busy_port(run_dir: Path) -> None:
    wanted = settings(run_dir)
    premises = Premises(wanted)
    premises.prepare(plan(wanted))
    try:
        port, before = premises.settings.bridge.port, premises.settings
        everywhere = ("bridge.host=0.0.0.0", "bridge.auth=none", f"bridge.port={port}")
        premises.change(settings(run_dir, *everywhere), 5)
        assert premises.settings.bridge.host == "0.0.0.0"
        socket.create_connection(("127.0.0.2", port), timeout=5).close()
        premises.change(settings(run_dir, f"bridge.port={port}"), 5)
        with socket.socket() as stranger:
            stranger.bind(("127.0.0.2", port))
            stranger.listen(1)
            with pytest.raises(PortBusyError):
                premises.change(settings(run_dir, *everywhere), 5)
        assert premises.settings == before
    finally:
        premises.close()


def test_keys_that_no_bridge_could_use_are_found_before_anything_starts(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = settings(run_dir, "bridge.auth=jwt")
    with pytest.raises(ConfigError, match=r"bridge\.access\.keys: is empty"):
        Premises(wanted).prepare(plan(wanted))
    assert not list(run_dir.iterdir()), "nothing was made"
    monkeypatch.setenv("MDBUS_TEST_KEY", "0123456789abcdef0123456789abcdef")
    good = settings(run_dir, "bridge.auth=jwt", 'bridge.access.keys.a="env:MDBUS_TEST_KEY"')
    premises = Premises(good)
    premises.prepare(plan(good))
    try:
        before = premises.settings
        with pytest.raises(ConfigError, match="NO_SUCH"):
            premises.change(
                settings(run_dir, "bridge.auth=jwt", 'bridge.access.keys.a="env:NO_SUCH"'), 2
            )
        assert premises.settings is before, "a wrong key changes nothing"
    finally:
        premises.close()


def test_a_pid_that_cannot_be_recorded_does_not_lose_the_process(run_dir: Path) -> None:
    wanted = settings(run_dir)
    premises = Premises(wanted)
    premises.prepare(plan(wanted))
    exits: list[int] = []

    async def launch() -> None:
        (run_dir / "pids").rmdir()
        spec = ProcessSpec("x", "x", "", 0, command=("/bin/true",))
        (ours, theirs), pulse = link_pair(), Pulse.make()
        child = premises.launch(spec, 1, (theirs, pulse), exits.append)
        await eventually(lambda: exits)
        for each in (ours, theirs, pulse):
            each.close()
        assert child.exit_code == 0

    try:
        asyncio.run(launch())
    finally:
        premises.close()


async def test_a_process_whose_pid_cannot_be_recorded_runs_all_the_same(run_dir: Path) -> None:
    """On a full disk: a template that was started is one, and not started again and again."""
    wanted = settings(run_dir)
    premises = Premises(wanted)
    premises.prepare(plan(wanted))
    try:
        (premises.directory.path / "pids").rmdir()
        premises.keep_spares()
        premises.keep_spares()
        (pid,) = premises.spares.pids()
        assert pid == premises.spares.template.pid
        premises.spares.close()
        await eventually(lambda: not premises.spares.pids())
    finally:
        premises.close()
