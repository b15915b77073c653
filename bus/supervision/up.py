"""``up``: runs the supervisor, here until Ctrl-C, or in the background.

In the background the supervisor is a program of its own, started by this one, which listens to its
events over a pipe until everything is ready; so both show the same lines.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bus.config import Settings, load
from bus.errors import ConfigError, MdbusError
from bus.runtime.log import configure, get_logger
from bus.supervision import exit_codes
from bus.supervision.cli import program_name
from bus.supervision.events import Happening
from bus.supervision.handover import become, received
from bus.supervision.locate import config_file, origin_of, run_path_for
from bus.supervision.log_files import rotate_log
from bus.supervision.origin import Origin
from bus.supervision.spawn import import_path
from bus.supervision.status import bus_status, reason_of
from bus.supervision.supervisor import Supervisor
from bus.supervision.tables import event_line, up_summary, wants_colour

_log = get_logger("supervision.events")
_STDERR: Final = 2
_FEED_FLAGS: Final = ("binance", "finnhub")


def run_up(arguments: argparse.Namespace) -> int:
    """Start everything; see the exit codes of the command line."""
    if arguments.resume_fd is not None:
        return _serve_resumed(arguments.resume_fd)
    arguments.overrides = [*arguments.overrides, *_shorthands(arguments)]
    flags = [feed for feed in _FEED_FLAGS if getattr(arguments, feed)]
    origin = origin_of(arguments, flags)
    settings = origin.read()
    if arguments.events_fd is not None:
        return _serve_detached(settings, origin, arguments.events_fd)
    if arguments.detach:
        return _detach(arguments, settings)
    return _serve_here(settings, origin, arguments)


def _shorthands(arguments: argparse.Namespace) -> list[str]:
    overrides = []
    if arguments.live:
        overrides.append('mode="live"')
    if arguments.workers is not None:
        overrides.append(f"bridge.workers={arguments.workers}")
    return overrides


def _serve_here(settings: Settings, origin: Origin, arguments: argparse.Namespace) -> int:
    configure("supervisor", settings.log_level)
    supervisor = Supervisor(settings, origin=origin)
    screen = _Screen()
    supervisor.prepare()
    file = config_file(arguments)
    screen.line(f"mdbus: settings {file or 'all default'}, run dir {supervisor.settings.run_path}")
    supervisor.events.listen(screen.event)

    def on_up() -> None:
        of_service = supervisor.manager.listens
        screen.write(
            summary(
                supervisor.settings,
                bus_status(supervisor),
                foreground=not of_service,
                of_service=of_service,
            )
        )
        for unit in supervisor.not_ready():
            screen.line(f"not ready: {unit.name}: {reason_of(unit)}")

    _run(supervisor, on_up)
    return _conclude(supervisor)


def _run(supervisor: Supervisor, on_up: Callable[[], None] | None = None) -> None:
    """Its whole life. A service manager that ends it for being stuck (SIGABRT) learns where."""
    faulthandler.enable(file=_STDERR)
    asyncio.run(supervisor.run(on_up))


def _conclude(supervisor: Supervisor) -> int:
    """The exit code; or no return at all, when another program is to take this one's place."""
    if supervisor.handover is not None:
        become(supervisor.handover, supervisor.manager.to_environment())
    return supervisor.exit_code


def _serve_resumed(fd: int) -> int:
    """Go on where the program before this one, in this very process, has left off."""
    handover = received(fd)
    settings = load(handover.settings_file)
    configure("supervisor", settings.log_level)
    supervisor = Supervisor(settings, origin=handover.settings_origin(), resumed=handover)
    supervisor.detached = handover.detached
    supervisor.prepare()
    if handover.detached:
        supervisor.events.listen(_log_event)
    else:
        supervisor.events.listen(_Screen().event)
    _run(supervisor)
    return _conclude(supervisor)


def _log_event(happening: Happening) -> None:
    _log.info(happening.kind, name=happening.process or "supervisor", text=happening.text)


def _serve_detached(settings: Settings, origin: Origin, events_fd: int) -> int:
    """The supervisor in the background; reports to ``events_fd`` until everything is started."""
    report = _Report(events_fd)
    configure("supervisor", settings.log_level)
    supervisor = Supervisor(settings, origin=origin)
    supervisor.detached = True
    try:
        supervisor.prepare()
    except MdbusError as error:
        code = exit_codes.USAGE if isinstance(error, ConfigError) else exit_codes.FAILED
        report.send({"error": str(error), "code": code})
        return code
    log_path = supervisor.premises.directory.own_log
    rotate_log(log_path, settings.supervisor.log_max_bytes, settings.supervisor.log_files)
    log_fd = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for standard in (1, 2):
        os.dup2(log_fd, standard)
    os.close(log_fd)

    def tell(happening: Happening) -> None:
        _log_event(happening)
        report.send({"event": happening._asdict()})

    def on_up() -> None:
        late = {unit.name: reason_of(unit) for unit in supervisor.not_ready()}
        report.send({"up": bus_status(supervisor), "not_ready": late})
        report.close()

    supervisor.events.listen(tell)
    try:
        _run(supervisor, on_up)
    except (MdbusError, OSError) as error:
        report.send({"error": str(error), "code": exit_codes.FAILED})
        raise
    return _conclude(supervisor)


def _detach(arguments: argparse.Namespace, settings: Settings) -> int:
    """Start the background supervisor and show its events until everything is started."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    command = [sys.executable, "-P", "-m", "bus.supervision", *_arguments_again(arguments)]
    process = subprocess.Popen(
        [*command, "--events-fd", str(write_fd)],
        stdin=subprocess.DEVNULL,
        pass_fds=[write_fd],
        start_new_session=True,
        env=os.environ | import_path(os.environ),
    )
    os.close(write_fd)
    screen = _Screen()
    try:
        with os.fdopen(read_fd, encoding="utf-8") as lines:
            for line in lines:
                code = _show(json.loads(line), screen, settings)
                if code is not None:
                    return code
    except KeyboardInterrupt:
        screen.line(f"still starting in the background (stop it: {program_name()} down)")
        return 130
    code = process.wait()
    sys.stderr.write(f"mdbus: the supervisor ended with exit code {code}\n")
    return exit_codes.FAILED


def _show(message: dict[str, Any], screen: _Screen, settings: Settings) -> int | None:
    """Show one message of the background supervisor; the exit code when it was the last."""
    if "error" in message:
        for line in str(message["error"]).splitlines():
            sys.stderr.write(f"mdbus: {line}\n")
        return int(message["code"])
    if "event" in message:
        screen.event(Happening(**message["event"]))
        return None
    screen.write(summary(settings, message["up"], foreground=False))
    for name, reason in message["not_ready"].items():
        sys.stderr.write(f"mdbus: not ready: {name}: {reason}\n")
    return exit_codes.FAILED if message["not_ready"] else exit_codes.OK


def _arguments_again(arguments: argparse.Namespace) -> list[str]:
    again = ["up"]
    if arguments.config:
        again += ["--config", arguments.config]
    if arguments.run_dir:
        again += ["--run-dir", arguments.run_dir]
    for override in arguments.overrides:
        again += ["--set", override]
    again += [f"--{feed}" for feed in _FEED_FLAGS if getattr(arguments, feed)]
    return again


def summary(
    settings: Settings, status: dict[str, Any], *, foreground: bool, of_service: bool = False
) -> str:
    """What `up` prints when everything is started; a service has no Ctrl-C."""
    names = [*settings.aliases, *(s for f in settings.feeds.values() for s in f.symbols)]
    served = [name for name in names if settings.resolve_alias(name) is not None]
    return up_summary(
        status,
        prog=program_name(),
        symbols=served[:1],
        foreground=foreground,
        where=_where(status["run_dir"], of_service=of_service),
    )


def _where(run_dir: str, *, of_service: bool) -> str:
    """The option a command needs to find the bus in ``run_dir``; none when it does without.

    Nobody types where a service runs, in its environment.
    """
    if of_service:
        return f" --run-dir {shlex.quote(run_dir)}"
    try:
        found = run_path_for(argparse.Namespace(config=None, run_dir=None)).absolute()
    except ConfigError:
        found = None
    return "" if found == Path(run_dir) else f" --run-dir {shlex.quote(run_dir)}"


class _Screen:
    """Standard output; once nobody reads it any more, it is left alone."""

    def __init__(self) -> None:
        self._colour = wants_colour(sys.stdout)
        self._gone = False

    def event(self, happening: Happening) -> None:
        self.line(event_line(*happening, colour=self._colour))

    def line(self, text: str) -> None:
        self.write(text + "\n")

    def write(self, text: str) -> None:
        if self._gone:
            return
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            self._gone = True


class _Report:
    """The pipe to the program that started the background supervisor."""

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)
        self._fd: int | None = fd

    def send(self, message: dict[str, Any]) -> None:
        if self._fd is None:
            return
        try:
            os.write(self._fd, json.dumps(message).encode() + b"\n")
        except OSError:  # nobody listens any more: go on without
            self.close()

    def close(self) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None
