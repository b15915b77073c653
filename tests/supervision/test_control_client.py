"""Asking a supervisor that is not there, does not answer, or answers badly."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from bus.supervision import control_client
from bus.supervision.control_client import NoSupervisorError, RefusedError, ask
from bus.supervision.run_directory import RunDirectory
from bus.testing import wait_until


@contextmanager
def pretended(run_dir: Path, *answers: bytes | None) -> Iterator[None]:
    """Somebody on the control socket who says each of ``answers`` once, or nothing at all."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(run_dir / "control.sock"))
        server.listen(1)
        done = threading.Event()

        def serve() -> None:
            for answer in answers:
                connection, _ = server.accept()
                with connection:
                    connection.recv(10_000)
                    if answer is None:
                        done.wait(5)
                    else:
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        done.set()
        thread.join()


def test_nobody_is_there(run_dir: Path) -> None:
    with pytest.raises(NoSupervisorError, match="mdbus up") as missing:
        ask(run_dir, "status")
    assert missing.value.exit_code == 4


def test_a_path_too_long_for_a_socket_is_said(run_dir: Path) -> None:
    with pytest.raises(RefusedError, match="at most 107 work") as refused:
        ask(run_dir / ("x" * 107), "status")
    assert refused.value.exit_code == 2


def test_who_asks_in_the_wrong_place_is_told_of_the_service(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = run_dir / "service"
    monkeypatch.setattr(control_client, "SERVICE_PATH", str(service))
    assert "systemd" not in str(NoSupervisorError(run_dir)), "there is none"
    service.mkdir()
    assert "systemd" not in str(NoSupervisorError(run_dir)), "it does not run"
    directory = RunDirectory(service)
    directory.lock()
    assert f"--run-dir {service}" in str(NoSupervisorError(run_dir))
    assert "systemd" not in str(NoSupervisorError(service))
    directory.unlock()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert f"--run-dir {service}" in str(NoSupervisorError(run_dir)), "it may run: of another user"


def test_a_socket_left_by_the_dead_means_nobody(run_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(run_dir / "control.sock"))
    with pytest.raises(NoSupervisorError):
        ask(run_dir, "status")


def test_a_result_is_returned(run_dir: Path) -> None:
    with pretended(run_dir, b'{"v": 1, "ok": true, "result": [1, 2]}\n'):
        assert ask(run_dir, "status") == [1, 2]


def test_a_refusal_has_its_code_and_its_hint(run_dir: Path) -> None:
    answer = b'{"v":1,"ok":false,"code":3,"error":"no such","nearest":"","known":["a","b"]}\n'
    with (
        pretended(run_dir, answer),
        pytest.raises(RefusedError, match="no such; there are a, b") as refused,
    ):
        ask(run_dir, "stop")
    assert refused.value.exit_code == 3


def test_no_answer_in_time_is_a_timeout(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_client, "ANSWER_MARGIN_S", 0.1)
    with pretended(run_dir, None), pytest.raises(RefusedError) as late:
        ask(run_dir, "status")
    assert late.value.exit_code == 5


@contextmanager
def held(run_dir: Path) -> Iterator[None]:
    """A run directory that a supervisor holds."""
    directory = RunDirectory(run_dir)
    directory.lock()
    yield
    directory.unlock()


ANSWER = b'{"v": 1, "ok": true, "result": [1, 2]}\n'


def test_a_supervisor_that_has_no_ear_yet_is_waited_for(run_dir: Path) -> None:
    """As while it replaces itself in place: no probe may fail for it."""
    asked: list[object] = []
    with held(run_dir):
        asking = threading.Thread(target=lambda: asked.append(ask(run_dir, "status")))
        asking.start()
        wait_until(lambda: psutil.Process().num_threads() > 1)
        with pretended(run_dir, ANSWER):
            asking.join(10)
    assert asked == [[1, 2]]


def test_one_that_never_has_an_ear_is_named(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_client, "PATIENCE_S", 0.1)
    with held(run_dir), pytest.raises(RefusedError, match=f"pid {os.getpid()}") as refused:
        ask(run_dir, "status")
    assert refused.value.exit_code == 1


def test_what_was_not_answered_is_asked_once_more_of_who_comes_next(run_dir: Path) -> None:
    with held(run_dir), pretended(run_dir, b"", ANSWER):
        assert ask(run_dir, "restart", names=["a"]) == [1, 2]
    with (
        held(run_dir),
        pretended(run_dir, b"", b""),
        pytest.raises(RefusedError, match="hung up"),
    ):
        ask(run_dir, "restart", names=["a"])


def test_a_hang_up_is_not_an_answer(run_dir: Path) -> None:
    with pretended(run_dir, b""), pytest.raises(RefusedError, match="hung up"):
        ask(run_dir, "status")
