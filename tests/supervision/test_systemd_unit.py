"""The unit file, as systemd reads it."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from bus.supervision.systemd_unit import unit_file

PYTHON, CONFIG = "/opt/mdbus/bin/python", "/etc/mdbus.toml"


def parsed(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def test_it_is_of_type_notify() -> None:
    service = parsed(unit_file(PYTHON, CONFIG))["Service"]
    assert service["ExecStart"] == f"{PYTHON} -P -m bus.supervision up --config {CONFIG}"
    assert service["ExecReload"] == f"{PYTHON} -P -m bus.supervision reload --config {CONFIG}"
    assert (service["Type"], service["KillMode"]) == ("notify", "mixed")
    assert service["RestartPreventExitStatus"] == "2", "the exit code of wrong settings"


@pytest.mark.parametrize("of_user_manager", [False, True])
def test_its_logs_outlive_a_reboot(of_user_manager: bool) -> None:
    """The run directory does not: what leads to the logs is made anew with it."""
    service = parsed(unit_file(PYTHON, CONFIG, of_user_manager=of_user_manager))["Service"]
    assert (service["LogsDirectory"], service["LogsDirectoryMode"]) == ("mdbus", "0700")
    assert service["ExecStartPre"] == "-/bin/ln -sfnT %L/mdbus %t/mdbus/log"
    assert service["Environment"] == "MDBUS_RUN_DIR=%t/mdbus"


def test_a_port_that_is_taken_for_a_while_is_no_reason_to_give_up_for_good() -> None:
    assert parsed(unit_file(PYTHON, CONFIG))["Unit"]["StartLimitIntervalSec"] == "0"


def test_it_runs_as_whom_it_is_to() -> None:
    assert parsed(unit_file(PYTHON, CONFIG, user="alice"))["Service"]["User"] == "alice"
    assert "User" not in parsed(unit_file(PYTHON, CONFIG))["Service"]
    assert "# User=mdbus" in unit_file(PYTHON, CONFIG)


def test_the_manager_of_a_user_is_asked_for_nothing_it_cannot_do() -> None:
    """Each of these ends the start with 216/GROUP or 218/CAPABILITIES there."""
    parser = parsed(unit_file(PYTHON, CONFIG, user="alice", of_user_manager=True))
    impossible = {
        *("User", "CapabilityBoundingSet", "PrivateDevices", "ProtectClock"),
        *("ProtectKernelLogs", "ProtectKernelModules"),
    }
    assert impossible.isdisjoint(parser["Service"])
    assert parser["Install"]["WantedBy"] == "default.target"
    assert impossible - {"User"} <= set(parsed(unit_file(PYTHON, CONFIG))["Service"])


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/etc/mdbus.toml", "/etc/mdbus.toml"),
        ("/home/my bus/m.toml", '"/home/my bus/m.toml"'),
        ("/etc/50%$x.toml", "/etc/50%%$$x.toml"),
        ('/etc/a"b\\c.toml', '"/etc/a\\"b\\\\c.toml"'),
    ],
)
def test_a_path_stays_one_word(path: str, word: str) -> None:
    command = parsed(unit_file(PYTHON, path))["Service"]["ExecStart"]
    assert command.endswith(f" --config {word}")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("of_user_manager", [False, True])
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path, of_user_manager: bool) -> None:
    path = tmp_path / "mdbus.service"
    path.write_text(unit_file("/bin/true", CONFIG, of_user_manager=of_user_manager))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=60
    )
    assert not [line for line in done.stderr.splitlines() if str(path) in line]
