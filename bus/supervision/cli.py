"""The command line, ``mdbus``: reads the arguments and hands them to the verb's own module.

Only what a verb needs is imported, when it is needed: ``mdbus status`` is run by probes and
prompts and must answer in some tens of milliseconds. So paths are texts here, and in what every
query imports: `pathlib` takes as long as the answer of the supervisor.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from bus.supervision import exit_codes
from bus.supervision.arguments import make_parser
from bus.supervision.lean import import_asyncio

_VERBS: Final = {
    "up": "up",
    "down": "operator_verbs",
    "status": "operator_verbs",
    "start": "operator_verbs",
    "stop": "operator_verbs",
    "restart": "operator_verbs",
    "check": "operator_verbs",
    "logs": "log_verb",
    "config": "config_verb",
    "tail": "data_verbs",
    "get": "data_verbs",
    "topics": "data_verbs",
    "metrics": "metrics_verb",
    "feed": "feed_verbs",
    "reload": "reload_verb",
    "replay": "replay_verb",
    "scale": "operator_verbs",
    "dump": "operator_verbs",
    "events": "event_verb",
    "top": "top_verb",
    "doctor": "doctor_verb",
    "reexec": "operator_verbs",
    "token": "token_verb",
}
"""The module of each verb; its function is named ``run_<verb>(arguments) -> exit code``."""
_STAYING: Final = ("up", "replay")
"""The verbs that become the supervisor."""
INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as of any program that SIGINT ends."""


def program() -> NoReturn:
    """``mdbus``, as it is installed: `main`, and away.

    Whoever only asks has closed and written all by then, and Python would take its modules apart
    one by one, which is a tenth of the time that ``mdbus status`` takes.
    """
    code = main()
    if sys.argv[1:2] and sys.argv[1] in _STAYING:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # a full disk, which has been told
            stream.flush()
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. Never raises, and shows no traceback to a user."""
    try:
        return _run(argv)
    except KeyboardInterrupt:  # also one that comes while modules are being imported
        return INTERRUPTED


def _run(argv: Sequence[str] | None) -> int:
    _hold_standard_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    only = words[0] if words and words[0] in _VERBS else ""
    parser = make_parser(program_name(), only)
    if words and not words[0].startswith("-") and words[0] not in _VERBS:
        parser.error(_no_such_verb(words[0]))
    arguments = parser.parse_args(words)
    if arguments.verb is None:
        parser.print_help()
        return exit_codes.USAGE
    if arguments.verb in _STAYING:
        import_asyncio()
    verb = importlib.import_module(f"bus.supervision.{_VERBS[arguments.verb]}")
    try:
        code: int = getattr(verb, f"run_{arguments.verb}")(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of our output has gone: `mdbus tail … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.OK
    except Exception as error:
        explained = _explained(error)
        if explained is None:
            raise
        if getattr(arguments, "json", False) and not isinstance(error, OSError):  # a full disk
            from bus.supervision.documents import json_line

            sys.stdout.write(json_line({"error": str(error), "code": explained}) + "\n")
        return explained


def _hold_standard_streams() -> None:
    """Have the three standard descriptors open, whoever started us without (``mdbus up >&-``).

    Else the first file or socket made would be what everybody prints to.
    """
    missing = []
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
            os.set_inheritable(fd, True)
            missing.append(fd)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale without "…" must not end the bus
            stream.reconfigure(errors="replace")
    for fd, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        if fd in missing:
            setattr(sys, name, open(fd, "r" if fd == 0 else "w", closefd=False))  # noqa: SIM115


def _no_such_verb(word: str) -> str:
    import difflib

    near = difflib.get_close_matches(word, _VERBS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the verbs are {', '.join(_VERBS)}"
    return f"there is no verb {word!r}; {hint}"


def _explained(error: Exception) -> int | None:
    """Print an error that explains itself, one line a problem; None for a bug."""
    from bus.errors import ConfigError, MdbusError
    from bus.supervision.control_client import RefusedError

    if isinstance(error, ConfigError):
        for problem in error.problems:
            sys.stderr.write(f"mdbus: {problem}\n")
        return exit_codes.USAGE
    if isinstance(error, RefusedError):
        for line in str(error).splitlines() or [""]:
            sys.stderr.write(f"mdbus: {line}\n")
        return error.exit_code
    if isinstance(error, FileNotFoundError) and _nowhere():
        sys.stderr.write("mdbus: the current directory was removed: change to one that exists\n")
        return exit_codes.FAILED
    if isinstance(error, MdbusError):
        sys.stderr.write(f"mdbus: {error}\n")
        return exit_codes.FAILED
    if isinstance(error, OSError) and error.errno:
        what = "" if error.filename is None else f"{error.filename}: "
        if error.errno == errno.ENOSPC and not what:
            what = "cannot print: "
        sys.stderr.write(f"mdbus: {what}{error.strerror}\n")
        return exit_codes.FAILED
    return None


def _nowhere() -> bool:
    """Whether the directory this runs in does not exist any more."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _on_the_path(name: str) -> str:
    """Which program ``name`` is when typed, or nothing; `shutil.which`, without its imports.

    A part of the PATH may be forbidden to this user: of whoever he was before.
    """
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return ""


def program_name() -> str:
    """What the user types, in this directory, to run this program."""
    path = sys.argv[0]
    if os.path.basename(path) == "__main__.py":  # `python -m`: of a service, or of `up --detach`
        path = os.path.join(os.path.dirname(sys.executable), "mdbus")
        if not os.access(path, os.X_OK):
            return "python -m bus.supervision"
    name = os.path.basename(path)
    if name.endswith(".py"):
        return f"python {name}"
    found = _on_the_path(name)
    if found and os.path.realpath(found) == os.path.realpath(path):
        return name
    # Not on the PATH (a virtual environment that is not activated): the short name would fail.
    try:
        here = os.getcwd()
    except FileNotFoundError:  # removed under our feet
        return path
    near = here != "/" and path.startswith(here + "/")  # a service runs in the root
    return path.removeprefix(here + "/") if near else path
