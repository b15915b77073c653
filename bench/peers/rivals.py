"""Installs the rivals beside, not into, this project's environment, and runs their programs.

An environment lives in ``$MDBUS_BENCH_DIR``, else in the user's cache directory, and is made anew
when its list of requirements has changed. So do Node packages and unpacked Debian packages; nothing
is installed into the system.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAMS = {"cryptofeed": "cryptofeed_peer.py", "ccxt": "ccxt_peer.py"}
INSTALL_TIMEOUT_S = 600
RUN_TIMEOUT_S = 300


class NotHere(Exception):
    """A rival cannot be installed or run on this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class Rival:
    """What one rival took: µs of CPU a frame, by event; events it does not know are missing."""

    name: str
    version: str
    cpu_us: Mapping[str, float]


def cache_dir() -> Path:
    """Where the environment is kept between runs."""
    given = os.environ.get("MDBUS_BENCH_DIR")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mdbus-bench"


def install(group: str = "") -> Path:
    """The Python of an environment with the pinned rivals. Raises :class:`NotHere`.

    ``group`` chooses another list of them: ``requirements_<group>.txt``.
    """
    requirements = HERE / (f"requirements_{group}.txt" if group else "requirements.txt")
    wanted = requirements.read_text()
    kind = f"peers-{group}" if group else "peers"
    folder = cache_dir() / f"{kind}-{sys.version_info.major}.{sys.version_info.minor}"
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    try:
        venv.create(folder, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        _run([*pip, "-r", str(requirements)], INSTALL_TIMEOUT_S)
        stamp.write_text(wanted)
    except (OSError, subprocess.CalledProcessError) as error:  # no ensurepip, no room, no right
        raise NotHere(str(error)) from None
    return python


def install_node(packages: Sequence[str]) -> Path:
    """The folder whose ``node_modules`` holds npm ``packages``. Raises :class:`NotHere`."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise NotHere(f"{tool} is not installed")
    folder = cache_dir() / "peers-node"
    stamp = folder / "installed.txt"
    wanted = "\n".join(packages)
    if not (stamp.exists() and stamp.read_text() == wanted):
        folder.mkdir(parents=True, exist_ok=True)
        _run(
            ["npm", "install", "--silent", "--no-save", "--prefix", str(folder), *packages],
            INSTALL_TIMEOUT_S,
        )
        stamp.write_text(wanted)
    return folder


def unpack_debian(packages: Sequence[str]) -> Path:
    """The folder into which Debian ``packages`` were unpacked, without installing them.

    Raises :class:`NotHere`, also where there is no apt.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise NotHere(f"{tool} is not installed")
    folder = cache_dir() / "peers-debian"
    stamp = folder / "unpacked.txt"
    wanted = "\n".join(packages)
    if not (stamp.exists() and stamp.read_text() == wanted):
        archives = folder / "archives"
        archives.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "download", *packages], INSTALL_TIMEOUT_S, archives)
        for archive in archives.glob("*.deb"):
            _run(["dpkg-deb", "-x", str(archive), str(folder)], RUN_TIMEOUT_S)
        stamp.write_text(wanted)
    return folder


def measure(python: Path, name: str, folder: Path, rounds: int) -> Rival:
    """Run one rival over the frames in ``folder``. Raises :class:`NotHere`."""
    told = _run([str(python), str(HERE / PROGRAMS[name]), str(folder), str(rounds)], RUN_TIMEOUT_S)
    try:
        found = json.loads(told.splitlines()[-1])
        cpu_us = {event: one["cpu_s"] * 1e6 for event, one in found["events"].items()}
        return Rival(name, found["version"], cpu_us)
    except (ValueError, KeyError, IndexError):
        raise NotHere(f"its program said: {told[-200:]!r}") from None


def _run(command: Sequence[str], timeout_s: float, folder: Path | None = None) -> str:
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=clean,
            cwd=folder,
        )
    except subprocess.TimeoutExpired:
        raise NotHere(f"no end after {timeout_s:g} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no word"]
        errors = [line for line in lines if line.startswith(("ERROR", "E: "))]
        raise NotHere((errors or lines)[-1])
    return done.stdout
