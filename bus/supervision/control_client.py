"""Asks a running supervisor one thing and waits for its answer. Standard library only."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from bus.supervision import exit_codes
from bus.supervision.lock import running_pid

if TYPE_CHECKING:
    from _typeshed import StrPath

CONTROL_VERSION: Final = 1
ANSWER_MARGIN_S: Final = 5.0
PATIENCE_S: Final = 3.0
"""How long a supervisor that runs may have no ear: it has just begun, or replaces itself."""
_AGAIN_S: Final = 0.02
LONGEST_PATH_BYTES: Final = 107
"""Of a unix socket, on Linux."""
SERVICE_PATH = "/run/mdbus"
"""The run directory of a bus that systemd runs."""


class RefusedError(Exception):
    """The supervisor would not or could not; ``exit_code`` is the command's.

    Not an `MdbusError`: importing those costs a third of the time of a query.
    """

    def __init__(self, exit_code: int, message: str) -> None:
        self.exit_code = exit_code
        super().__init__(message)


class NoSupervisorError(RefusedError):
    """Nobody runs in that run directory."""

    def __init__(self, path: StrPath) -> None:
        elsewhere = _of_the_service(path)
        super().__init__(
            exit_codes.NO_SUPERVISOR,
            f"no supervisor is running in {path} (start: mdbus up{elsewhere})",
        )


def _of_the_service(path: StrPath) -> str:
    """The advice to look at a bus that systemd runs, where there may be one."""
    service = SERVICE_PATH
    if os.fspath(path) == service or not os.path.isdir(service):
        return ""
    if running_pid(service) is None and os.access(service, os.R_OK):
        return ""
    return f"; the one that systemd runs: --run-dir {service}"


def ask(run_path: StrPath, verb: str, *, wait_s: float = 0.0, **request: Any) -> Any:
    """The result of ``verb``, whose answer may take ``wait_s`` seconds.

    One that is starting, or is being replaced in place, is waited for, `PATIENCE_S` at most. Raises
    `NoSupervisorError`, or `RefusedError` for an error answer or none in time.
    """
    address = os.path.join(run_path, "control.sock")
    if len(os.fsencode(address)) > LONGEST_PATH_BYTES:
        raise RefusedError(
            exit_codes.USAGE,
            f"no run directory: {run_path} (a socket in it would have a path of "
            f"{len(os.fsencode(address))} bytes, at most {LONGEST_PATH_BYTES} work)",
        )
    message = json.dumps({"v": CONTROL_VERSION, "verb": verb, **request}).encode() + b"\n"
    line = _converse(run_path, address, message, wait_s + ANSWER_MARGIN_S)
    answer = json.loads(line)
    if answer.get("ok"):
        return answer["result"]
    text = str(answer.get("error", "refused"))
    if answer.get("nearest"):
        text += f"; did you mean {answer['nearest']}?"
    elif answer.get("known"):
        text += f"; there are {', '.join(answer['known'])}"
    raise RefusedError(int(answer.get("code", exit_codes.FAILED)), text)


def _converse(run_path: StrPath, address: str, message: bytes, limit_s: float) -> bytes:
    """The answer to ``message``. Who is hung up on asks once more: the supervisor that replaces
    itself has not done what it did not answer.
    """
    end = time.monotonic() + PATIENCE_S
    is_second = False
    while True:
        try:
            line = _exchange(run_path, address, message, limit_s)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            pid = running_pid(run_path)
            if pid is None:
                raise NoSupervisorError(run_path) from error
            if time.monotonic() > end:
                text = f"the supervisor (pid {pid}) does not take requests"
                raise RefusedError(exit_codes.FAILED, text) from error
        else:
            if line:
                return line
            if is_second or running_pid(run_path) is None:
                raise RefusedError(exit_codes.FAILED, "the supervisor hung up")
            is_second = True
        time.sleep(_AGAIN_S)


def _exchange(run_path: StrPath, address: str, message: bytes, limit_s: float) -> bytes:
    """One line for another; empty when the supervisor hung up. Raises what `_converse` minds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(limit_s)
        try:
            connection.connect(address)
        except PermissionError as error:
            raise RefusedError(exit_codes.FAILED, f"{run_path} belongs to another user") from error
        except TimeoutError as error:
            raise RefusedError(exit_codes.TIMEOUT, "the supervisor does not answer") from error
        try:
            connection.sendall(message)
            return connection.makefile("rb").readline()
        except TimeoutError as error:
            raise RefusedError(
                exit_codes.TIMEOUT, f"no answer from the supervisor within {limit_s:g} s"
            ) from error
        except ConnectionError:
            return b""
