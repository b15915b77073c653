"""Each check of the doctor, well and ill."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from time import time

import psutil
import pytest

from bus.config import Settings
from bus.supervision import doctor
from bus.supervision.doctor import OK, WARNING, WRONG
from bus.supervision.listeners import claim_port


def at(path: Path) -> Settings:
    return replace(Settings(), run_dir=str(path))


def test_this_machine_runs_the_tests_so_python_and_packages_are_well() -> None:
    assert doctor.python().verdict == OK
    assert doctor.packages().verdict in (OK, WARNING), doctor.packages()


@pytest.mark.parametrize(
    ("requirement", "why"),
    [
        ("psutil>=5.0", ""),
        ("psutil>=999.0", "is older than 999.0"),
        ("no-such-package>=1", "is missing"),
        ('no-such-package>=1; extra == "dev"', ""),
        ("psutil", ""),
    ],
)
def test_a_requirement_is_met_or_it_is_said_why_not(requirement: str, why: str) -> None:
    found = doctor._unmet(requirement)
    assert (why in found) if why else (found == "")


def test_a_run_directory_of_somebody_else_is_wrong(run_dir: Path) -> None:
    assert doctor.run_directory(at(run_dir / "new"), None).verdict == OK
    (run_dir / "thesis.txt").touch()
    finding = doctor.run_directory(at(run_dir), None)
    assert finding.verdict == WRONG
    assert "thesis.txt" in finding.text
    assert "--run-dir" in finding.mend
    assert doctor.run_directory(at(run_dir), 42).verdict == OK, "a supervisor runs in it"


def test_a_full_disk_is_told(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.disk(at(run_dir)).verdict in (OK, WARNING)
    usage = type("Usage", (), {"free": 1_000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert doctor.disk(at(run_dir)).verdict == WRONG


def test_a_taken_port_is_named_with_who_has_it(free_port: Callable[[], int]) -> None:
    port = free_port()
    settings = Settings()
    settings = replace(settings, mode="live", bridge=replace(settings.bridge, port=port))
    assert [each.verdict for each in doctor.ports(settings, None)] == [OK]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        (finding,) = doctor.ports(settings, None)
        assert finding.verdict == WRONG
        assert str(port) in finding.text
        assert "pid" in finding.text
        assert [each.verdict for each in doctor.ports(settings, 42)] == [OK], "it is the bus's own"


@pytest.mark.parametrize(("allowed", "verdict"), [("4096\n", OK), ("128\n", WARNING), ("", OK)])
def test_the_backlog(tmp_path: Path, allowed: str, verdict: str) -> None:
    path = tmp_path / "somaxconn"
    path.write_text(allowed)
    assert doctor.backlog(path).verdict == verdict


@pytest.mark.parametrize(("state", "verdict"), [(0, OK), (5, WARNING), (None, OK)])
def test_the_clock(state: int | None, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_clock_state", lambda: state)
    assert doctor.clock().verdict == verdict


def test_files_and_memory_are_counted_against_the_settings() -> None:
    settings = Settings()
    assert doctor.open_files(settings).verdict in (OK, WARNING)
    many = replace(settings, bridge=replace(settings.bridge, max_connections=10**8))
    assert doctor.open_files(many).verdict == WARNING
    assert "ulimit -n" in doctor.open_files(many).mend
    crowd = replace(settings, bridge=replace(settings.bridge, workers=10**6))
    assert doctor.memory(crowd).verdict == WARNING


def test_the_memory_is_what_the_kernel_says_is_available() -> None:
    told, shown = psutil.virtual_memory(), doctor.available_bytes()
    assert abs(shown - told.available) < told.total / 4, "some is taken and given back meanwhile"


@contextmanager
def venue(answer: Callable[[], bytes]) -> Iterator[str]:
    """An HTTP server that gives one answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4_096)
                connection.sendall(answer())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)


@pytest.mark.parametrize(("off_s", "verdict"), [(0, OK), (-60, WARNING)])
def test_a_venue_that_answers_tells_the_time(off_s: int, verdict: str) -> None:
    def answer() -> bytes:
        date = formatdate(time() + off_s, usegmt=True)
        return f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode()

    with venue(answer) as url:
        finding = doctor.reach("feeds.x", url)
    assert finding.verdict == verdict, finding
    assert ("+60 s off" in finding.text) == bool(off_s)


def test_a_venue_that_does_not_answer_is_wrong() -> None:
    port = claim_port("127.0.0.1", 0, "x")
    finding = doctor.reach("feeds.x", f"http://127.0.0.1:{port}")
    assert finding.verdict == WRONG
    assert "refused" in finding.text
    assert doctor.reach("feeds.x", "wss://no.such.host.invalid").verdict == WRONG
    with venue(lambda: b"nonsense\r\n\r\n") as url:
        assert doctor.reach("feeds.x", url).verdict == WRONG


def test_the_addresses_are_the_feeds_own_unless_set() -> None:
    settings = Settings()
    own = doctor.venue_addresses(settings)
    assert own["binance"]
    assert all(url.startswith(("wss://", "https://")) for urls in own.values() for url in urls)
    feeds = dict(settings.feeds)
    feeds["binance"] = replace(feeds["binance"], ws_url="ws://here", rest_url="http://here")
    assert doctor.venue_addresses(replace(settings, feeds=feeds))["binance"] == [
        *("ws://here", "http://here")
    ]
