"""What the benchmarks share: processes that end with their block, and what machine this is."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import httpx
import psutil

ROOT = Path(__file__).resolve().parent.parent
NS = 1_000_000_000


@contextlib.contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with this block, by SIGTERM and after 10 s by SIGKILL."""
    started = subprocess.Popen(list(command), cwd=ROOT, text=True, **options)
    try:
        yield started
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGTERM)
            try:
                started.wait(10)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()
        for pipe in (started.stdin, started.stdout, started.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@contextlib.contextmanager
def process(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A Python process of this environment that ends with this block."""
    with running([sys.executable, "-m", *arguments], **options) as started:
        yield started


def wait_for_line(stream: IO[str] | None, pattern: str) -> re.Match[str]:
    """Read until a line matches. Ends the program, showing what was read, if none does."""
    assert stream is not None, "a pipe was asked for"
    seen: list[str] = []
    for line in stream:
        seen.append(line)
        if found := re.search(pattern, line):
            return found
    sys.exit(f"a process ended before it said {pattern!r}:\n{''.join(seen)}")


def wait_in_log(
    log: Path, pattern: str, started: subprocess.Popen[str], limit_s: float = 20.0
) -> re.Match[str]:
    """Until a line in a file that a process writes to matches. Ends the program if none does."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        has_ended = started.poll() is not None
        if found := re.search(pattern, log.read_text()):
            return found
        if has_ended:
            break
        time.sleep(0.02)
    sys.exit(f"a process did not say {pattern!r}:\n{log.read_text()}")


def wait_until_ready(port: str) -> None:
    """Until the bridge on ``port`` takes clients and has found the broker."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
            return
        time.sleep(0.02)
    sys.exit("the bridge did not find the broker")


def symbols_of(count: int) -> list[str]:
    """``S000-USD`` and so on."""
    return [f"S{number:03d}-USD" for number in range(count)]


def write_config(run_dir: str, topics: int, bridge: str = "") -> Path:
    """A settings file for one broker and one bridge; ``bridge`` adds lines to its section."""
    path = Path(run_dir) / "mdbus.toml"
    listed = ", ".join(f'"{symbol}"' for symbol in symbols_of(topics))
    path.write_text(
        f'run_dir = "{run_dir}"\nlog_level = "info"\n[bridge]\nport = 0\n{bridge}\n'
        f"[feeds.binance]\nsymbols = [{listed}]\n[feeds.finnhub]\nenabled = false\n"
    )
    return path


def end_on_sigterm() -> None:
    """Let SIGTERM unwind this program like Ctrl-C, so that the processes it started end too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def allow_files(count: int) -> None:
    """Raise the limit of open files for this process and those it starts; ends the program if the
    machine allows fewer."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        sys.exit(f"only {hard:,} open files are allowed here; this needs {count:,}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def two_sides(*, pin: bool = True) -> tuple[set[int], set[int]]:
    """The cores of what is measured and those of everything else; the same where there is one core,
    or with ``pin`` false."""
    everywhere = os.sched_getaffinity(0)
    first, *others = sorted(everywhere)
    return ({first}, set(others)) if pin and others else (everywhere, everywhere)


@contextlib.contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """What is started in this block runs on ``cores``."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def stolen_s() -> float:
    """CPU seconds that this machine's cores were ready to run and its host gave to others, so far.

    Always 0 on a machine that is not virtual, or whose host does not tell.
    """
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


def cpu_s(pid: int) -> float:
    """CPU seconds a process has used, its children not counted."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def pss_bytes(pid: int) -> int:
    """Resident memory, shared pages counted by share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no Pss in /proc/{pid}/smaps_rollup")


def cpu_model() -> str:
    """The processor's name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine(libraries: Sequence[str]) -> str:
    """Two lines: cores and system, then Python, ``libraries`` and the load of the machine."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    return (
        f"machine: {os.cpu_count()} cores, {cpu_model()}, {platform.platform()}\n"
        f"         Python {platform.python_version()}, {versions}; load average {load}"
    )
