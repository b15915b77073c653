"""Checks of the machine and the settings, one finding each, and how to mend what is wrong.

Every check stands alone, changes nothing, and ends within a few seconds. What a venue's addresses
are is asked of the feeds' code in a program of its own: no process imports another's package.

What a check alone needs it imports itself: most of the time of all this is importing.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from bus.config import Settings
from bus.errors import MdbusError
from bus.supervision.fd_limit import ENOUGH, wanted_limit
from bus.supervision.listeners import claim_port
from bus.supervision.lock import running_pid
from bus.supervision.run_directory import RunDirectory

OK: Final = "ok"
WARNING: Final = "warning"
WRONG: Final = "wrong"
CONNECT_S: Final = 5.0
SKEW_S: Final = 2.0
_SPACE_BYTES: Final = 512 * 1024 * 1024
_TIME_ERROR: Final = 5
_ADDRESSES: Final = """
import importlib, json, sys
found = {}
for venue in sys.argv[1:]:
    module = importlib.import_module(f"bus.feeds.{venue}.endpoints")
    found[venue] = [getattr(module, "WS_BASE", ""), getattr(module, "REST_BASE", "")]
print(json.dumps(found))
"""
_KEYS: Final = """
import importlib, json, sys
venues = {name: importlib.import_module(f"bus.feeds.{name}.venue") for name in sys.argv[1:]}
print(json.dumps({name: getattr(venues[name], "KEY_VARIABLE", "") for name in venues}))
"""


class Finding(NamedTuple):
    """What a check found: ``verdict`` is one of `OK`, `WARNING`, `WRONG`; ``mend`` says what to
    do, empty when nothing is to be done.
    """

    check: str
    verdict: str
    text: str
    mend: str = ""


def local_findings(settings: Settings) -> Iterator[Finding]:
    """Everything that can be said without the network."""
    yield python()
    yield packages()
    running = running_pid(settings.run_path)
    yield run_directory(settings, running)
    yield disk(settings)
    yield from ports(settings, running)
    yield open_files(settings)
    yield memory(settings)
    yield backlog()
    yield clock()


def python() -> Finding:
    """The interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", OK, f"{version} at {sys.executable}")


def packages() -> Finding:
    """The packages mdbus needs, in the versions it asks for."""
    import importlib.metadata

    try:
        required = importlib.metadata.requires("mdbus") or []
    except importlib.metadata.PackageNotFoundError:
        return Finding("packages", WARNING, "mdbus is not installed here", "run `make up` once")
    bad = [why for line in required if (why := _unmet(line))]
    if bad:
        return Finding("packages", WRONG, "; ".join(bad), "pip install --upgrade mdbus")
    count = sum("extra ==" not in line for line in required)
    return Finding("packages", OK, f"all {count} as required")


def run_directory(settings: Settings, running: int | None) -> Finding:
    """Whether the run directory can be used, and by whom it is."""
    path = settings.run_path
    if running is not None:
        return Finding("run directory", OK, f"{path}, in use by the supervisor with pid {running}")
    try:
        RunDirectory(path).check()
        existing = next(each for each in (path, *path.absolute().parents) if each.exists())
        if not os.access(existing, os.W_OK | os.X_OK):
            mend = "name another one: --run-dir DIR, or $MDBUS_RUN_DIR"
            return Finding("run directory", WRONG, f"cannot write in {existing}", mend)
    except MdbusError as error:
        return Finding("run directory", WRONG, str(error), "name another one: --run-dir DIR")
    return Finding("run directory", OK, str(path))


def disk(settings: Settings) -> Finding:
    """Whether the logs will fit where the run directory is."""
    import shutil

    path = settings.run_path.absolute()
    existing = next(each for each in (path, *path.parents) if each.exists())
    supervisor = settings.supervisor
    processes = settings.bridge.workers + len(settings.feeds) + 4
    needed = supervisor.log_max_bytes * supervisor.log_files * processes
    free = shutil.disk_usage(existing).free
    text = f"{free / 2**20:,.0f} MiB free, logs may take {needed / 2**20:,.0f} MiB"
    if free >= needed:
        return Finding("disk", OK, text)
    verdict = WRONG if free < needed / 20 else WARNING
    return Finding("disk", verdict, text, "free some, or lower supervisor.log_max_bytes")


def ports(settings: Settings, running: int | None) -> Iterator[Finding]:
    """Whether the ports that the settings name are free."""
    wanted = {"bridge.port": (settings.bridge.host, settings.bridge.port)}
    for venue, port in settings.simulated_ports.items():
        wanted[f"simulator.ports.{venue}"] = (settings.simulator.host, port)
    for name in ("publish", "subscribe"):
        endpoint = getattr(settings.broker, name)
        if endpoint.startswith("tcp://"):
            host, _, number = endpoint.removeprefix("tcp://").rpartition(":")
            wanted[f"broker.{name}"] = (host.strip("[]"), int(number))
    for key, (host, port) in wanted.items():
        if port == 0 or running is not None:
            why = "any free one" if port == 0 else f"{port}, a bus runs"
            yield Finding(key, OK, why)
            continue
        try:
            claim_port(host, port, key)
        except MdbusError as error:
            yield Finding(key, WRONG, f"{error}{_holder(port)}", f"--set {key}=0 takes a free one")
        else:
            yield Finding(key, OK, f"{port} is free")


def open_files(settings: Settings) -> Finding:
    """How many files a process may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted_limit(soft, hard)
    wanted = max(ENOUGH, settings.bridge.max_connections * 5 // 4 + 200)
    text = f"{limit} at most ({soft} now, raised by the supervisor)"
    if limit >= wanted:
        return Finding("open files", OK, text)
    mend = f"ulimit -n {wanted}, or LimitNOFILE= of the service, or lower bridge.max_connections"
    return Finding("open files", WARNING, f"{text}, {wanted} wanted", mend)


def memory(settings: Settings) -> Finding:
    """Whether there is memory for the processes."""
    free = available_bytes()
    count = settings.bridge.workers + len(settings.feeds) + 2 + settings.supervisor.spares
    needed = count * 60 * 2**20
    text = f"{free / 2**20:,.0f} MiB available, {count} processes take about {needed / 2**20:,.0f}"
    if free >= needed:
        return Finding("memory", OK, text)
    return Finding("memory", WARNING, text, "fewer bridge.workers, supervisor.spares = 0")


def available_bytes() -> int:
    """Memory that programs may still take, as the kernel estimates it."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024


def backlog(path: Path = Path("/proc/sys/net/core/somaxconn")) -> Finding:
    """How many connections may wait while a bridge is replaced."""
    try:
        allowed = int(path.read_text())
    except (OSError, ValueError):
        return Finding("connection backlog", OK, "cannot be told here")
    if allowed >= 4_096:
        return Finding("connection backlog", OK, str(allowed))
    mend = "sysctl -w net.core.somaxconn=4096"
    return Finding("connection backlog", WARNING, f"{allowed}, 4096 are asked for", mend)


def clock() -> Finding:
    """Whether the kernel believes its clock to be right."""
    state = _clock_state()
    if state is None:
        return Finding("clock", OK, "the system does not say whether it is synchronised")
    if state == _TIME_ERROR:
        mend = "run chrony or systemd-timesyncd: ages and latencies are wrong otherwise"
        return Finding("clock", WARNING, "not synchronised", mend)
    return Finding("clock", OK, "synchronised")


def venue_addresses(settings: Settings) -> dict[str, list[str]]:
    """The addresses each enabled feed connects to in live mode, by feed."""
    feeds = [name for name, feed in settings.feeds.items() if feed.enabled]
    own: dict[str, list[str]] = _said_by_the_feeds(_ADDRESSES, settings)
    found = {}
    for name in feeds:
        ws, rest = own[settings.venue_of(name)]
        feed = settings.feeds[name]
        found[name] = [each for each in (feed.ws_url or ws, feed.rest_url or rest) if each]
    return found


def venue_keys(settings: Settings) -> Iterator[Finding]:
    """Whether each enabled feed has the API key without which it does not start in live mode."""
    variables: dict[str, str] = _said_by_the_feeds(_KEYS, settings)
    for name, feed in settings.feeds.items():
        variable = variables.get(settings.venue_of(name), "")
        if not feed.enabled or not variable:
            continue
        key, file = f"feeds.{name}.api_key_file", feed.api_key_file
        mend = f"export {variable}=…, set {key}, or switch the feed off"
        if file and not os.access(file, os.R_OK):
            yield Finding(key, WRONG, f"{file} cannot be read", mend)
        elif not file and not os.environ.get(variable, "").strip():
            yield Finding(key, WRONG, f"no API key: neither this nor ${variable} is set", mend)
        else:
            yield Finding(key, OK, f"a key in {file or '$' + variable}")


def _said_by_the_feeds(program: str, settings: Settings) -> Any:
    """What ``program`` prints of the venues of the enabled feeds, read as JSON."""
    import subprocess

    from bus.supervision.spawn import import_path

    feeds = [name for name, feed in settings.feeds.items() if feed.enabled]
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, *sorted({settings.venue_of(f) for f in feeds})],
        env={**os.environ, **import_path(os.environ)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return json.loads(done.stdout)


def reach(check: str, url: str) -> Finding:
    """Whether a venue's address answers, how fast, and how far our clock is from its own."""
    import contextlib
    import http.client
    import socket
    import ssl
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    host = parts.hostname or ""
    secure = parts.scheme in ("wss", "https")
    port = parts.port or (443 if secure else 80)
    make = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    begun = time.monotonic()
    try:
        with contextlib.closing(make(host, port, timeout=CONNECT_S)) as connection:
            connection.connect()
            took_ms = (time.monotonic() - begun) * 1e3
            connection.request("HEAD", "/")
            date = connection.getresponse().getheader("Date")
    except socket.gaierror:
        return Finding(check, WRONG, f"{host}: no such name", "check the network and the DNS")
    except ssl.SSLError as error:
        mend = "a proxy in between, or old certificates: update ca-certificates"
        return Finding(check, WRONG, f"{host}: {error.reason or error}", mend)
    except (OSError, http.client.HTTPException) as error:
        mend = "a firewall, or the venue is down; feeds.NAME.ws_url and rest_url name others"
        return Finding(check, WRONG, f"{host}:{port}: {error or type(error).__name__}", mend)
    skew_s = _skew_s(date)
    text = f"{host} in {took_ms:.0f} ms"
    if skew_s is not None and abs(skew_s) > SKEW_S:
        mend = "set the clock: chrony or systemd-timesyncd"
        return Finding(check, WARNING, f"{text}; our clock is {skew_s:+.0f} s off", mend)
    return Finding(check, OK, text)


def _skew_s(date: str | None) -> float | None:
    """How far this clock is ahead of an HTTP ``Date``, which has whole seconds."""
    from email.utils import parsedate_to_datetime

    try:
        return time.time() - parsedate_to_datetime(date or "").timestamp() - 0.5
    except (TypeError, ValueError):
        return None


def _unmet(requirement: str) -> str:
    """What is wrong with one installed package, empty when nothing is."""
    import importlib.metadata
    import re

    if "extra ==" in requirement:
        return ""
    match = re.match(r"([A-Za-z0-9._-]+)\s*(?:>=\s*([0-9.]+))?", requirement)
    assert match is not None
    name, least = match.groups()
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"{name} is missing"
    if least and _numbers(version) < _numbers(least):
        return f"{name} {version} is older than {least}"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    import re

    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _holder(port: int) -> str:
    """Who listens there, as far as this user may see."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and tuple(connection.laddr)[1:2] == (port,):
                pid = connection.pid
                return f" (pid {pid}, {psutil.Process(pid).name()})" if pid else ""
    except (psutil.Error, OSError):
        return ""
    return ""


def _clock_state() -> int | None:
    """The answer of ``adjtimex(2)``; None where there is none."""
    if sys.platform != "linux":
        return None
    import ctypes

    buffer = ctypes.create_string_buffer(512)  # modes = 0: only ask
    state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    return None if state < 0 else int(state)
