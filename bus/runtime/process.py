"""From ``python -m bus.<package> --config FILE --name NAME`` to a running process.

`run_async` and `run_blocking` do for every process what is the same for all: arguments,
settings, logs, the link to the supervisor, signals, exit codes. A bad setting is one clear line
and exit code 78, so that the supervisor does not try again; a failure the process reports itself
is one line and 1; a bug is one line that ends in the traceback, and 1.

asyncio is imported by processes with an event loop only. The broker has none, and asyncio is a
sixth of what starting it would cost; it is down for as long as that takes. What reads arguments is
imported by who has some: the supervisor, which has the loggers of this package, has none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bus.config import Settings, load
from bus.errors import ConfigError, MdbusError
from bus.runtime.environment import Spawned, take_spawned
from bus.runtime.guard import arm_stack_dump, bind_to_parent, end_descendants, watch_lifeline
from bus.runtime.life import BlockingLife, Life
from bus.runtime.log import configure, get_logger

if TYPE_CHECKING:
    import asyncio

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_CONFIG: Final = 78
"""sysexits' EX_CONFIG: the supervisor does not start such a process again by itself."""

AsyncBody = Callable[[Life, Settings], Awaitable[None]]
BlockingBody = Callable[[BlockingLife, Settings], None]

_log = get_logger("runtime.process")


def run_async(
    body: AsyncBody, argv: Sequence[str] | None = None, *, loop_kind: str = "uvloop"
) -> int:
    """Run ``body(life, settings)`` on an event loop until it returns; the exit code.

    ``loop_kind`` is ``"uvloop"`` or ``"asyncio"``. The body is cancelled only by a second Ctrl-C.
    """

    def serve(name: str, settings: Settings, spawned: Spawned | None) -> int:
        return _serve(body, name, settings, spawned, loop_kind)

    return _run(argv, serve)


def run_blocking(body: BlockingBody, argv: Sequence[str] | None = None) -> int:
    """Run ``body(life, settings)``, which has a poll loop of its own; the exit code.

    The body calls ``life.service()`` at least every 250 ms and returns when ``life.stopping``.
    """

    def serve(name: str, settings: Settings, spawned: Spawned | None) -> int:
        life = BlockingLife(name, spawned)
        if spawned is not None:
            watch_lifeline(spawned, life.supervisor_lost)
        life.attach()
        try:
            _conclude(life, lambda: body(life, settings))
        finally:
            _leave(life)
            life.detach()
        return life.exit_code

    return _run(argv, serve)


def _serve(
    body: AsyncBody, name: str, settings: Settings, spawned: Spawned | None, loop_kind: str
) -> int:
    import asyncio

    with asyncio.Runner(loop_factory=_loop_factory(loop_kind)) as runner:
        life = Life(name, spawned)
        if spawned is not None:
            watch_lifeline(spawned, life.supervisor_lost)

        async def alive() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(_on_loop_error)
            task = asyncio.ensure_future(body(life, settings))
            life.attach(loop, task.cancel)
            try:
                await task
            except asyncio.CancelledError:
                life.exit_code = life.exit_code or EXIT_FAILED
            finally:
                if life.supervised:  # while signals are still heard: between the loop's handlers
                    end_descendants()  # and ignoring them, one more would end this process first
                life.detach()

        try:
            _conclude(life, lambda: runner.run(alive()))
        finally:
            _leave(life)
        return life.exit_code


def _conclude(life: Life | BlockingLife, run: Callable[[], object]) -> None:
    """Run, and turn whatever ends it into the life's exit code and one line."""
    try:
        run()
    except ConfigError as error:
        life.exit_code, life.failure_line = EXIT_CONFIG, str(error)
        if life.supervised:
            for problem in error.problems:
                _log.error("bad setting", problem=problem)
        else:
            _report_problems(life.name, error)
    except KeyboardInterrupt:
        life.exit_code = life.exit_code or EXIT_FAILED
    except Exception as error:  # noqa: BLE001 - the last place where a bug can still be reported
        life.exit_code = EXIT_FAILED
        first = _first_of(error)
        if _explains_itself(first):
            if not life.failure_line:
                life.failure_line = str(first)
                _log.error("failed", reason=life.failure_line)
        else:
            life.failure_line = life.failure_line or f"{type(first).__name__}: {first}"
            _log.exception("crashed", error)


def _leave(life: Life | BlockingLife) -> None:
    """End what this process started itself, then say the last word.

    The supervisor would end the descendants too, but it may be dead, and in its last moments
    there is no telling: its signal comes when one of its threads ends, its pipe when all have.
    """
    if life.supervised:
        end_descendants()
    life.close()


def _first_of(error: Exception) -> Exception:
    """What went wrong first, where a group of tasks was ended by it."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _explains_itself(error: Exception) -> bool:
    """Whether the message alone tells an operator what is wrong (port taken, no permission)."""
    return isinstance(error, MdbusError) or (isinstance(error, OSError) and bool(error.errno))


def _run(argv: Sequence[str] | None, serve: Callable[[str, Settings, Spawned | None], int]) -> int:
    arm_stack_dump()
    name, config, overrides = read_arguments(argv)
    try:
        spawned = take_spawned(os.environ)
    except ValueError as error:
        sys.stderr.write(f"{name}: the MDBUS_* variables of a supervisor are broken: {error}\n")
        return EXIT_CONFIG
    if spawned is not None and not bind_to_parent(spawned):
        return EXIT_FAILED  # the supervisor died before this process was up: nobody wants it
    try:
        settings = load(config, overrides)
        configure(name, settings.log_level)
        if spawned is None:
            _make_run_directory(settings.run_path)
    except ConfigError as error:
        _report_problems(name, error)
        return EXIT_CONFIG
    try:
        return serve(name, settings, spawned)
    except KeyboardInterrupt:
        return EXIT_FAILED


def _make_run_directory(path: Path) -> None:
    """Make the run directory, private, for a process run by hand; one that exists is left alone.

    Raises `ConfigError` when it cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ConfigError.of("run_dir", f"{path} is not a directory") from error
    except OSError as error:
        raise ConfigError.of("run_dir", f"cannot make {path}: {error.strerror}") from error


def read_arguments(argv: Sequence[str] | None) -> tuple[str, Path | None, list[str]]:
    """The name, the settings file and the overrides; ends the process for wrong arguments."""
    import argparse

    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    package = spec.parent if spec is not None and spec.parent else ""
    parser = argparse.ArgumentParser(
        prog=f"python -m {package}" if package else None,
        description=f"One process of mdbus ({package or 'run by hand'}); `mdbus up` runs them all.",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the TOML file to read")
    parser.add_argument("--name", default=package.rpartition(".")[2], help="its name in logs")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="one setting, over the file; may be repeated",
    )
    arguments = parser.parse_args(argv)
    return arguments.name or "process", arguments.config, arguments.overrides


def _report_problems(name: str, error: ConfigError) -> None:
    for problem in error.problems:
        sys.stderr.write(f"{name}: {problem}\n")


def _loop_factory(loop_kind: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if loop_kind == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    import asyncio

    return asyncio.new_event_loop


def _on_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    error = context.get("exception")
    message = str(context.get("message", "error in the event loop"))
    if isinstance(error, BaseException):
        _log.exception(message, error)
    else:
        _log.error(message)
